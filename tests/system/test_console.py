"""Standard output and error of every kind: encodings, full devices, closed ones, gone readers."""

import errno
import io
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from harness.errors import one_line, printable
from harness.system import console

pytestmark = pytest.mark.once

C_LOCALE = {
    **{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "PYTHONIOENCODING": "",  # which tox sets
}
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "iso-8859-1": {"PYTHONIOENCODING": "iso-8859-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "utf-8": C_LOCALE | {"PYTHONIOENCODING": "utf-8"},
    "C locale": C_LOCALE,
    "unbuffered": {"PYTHONIOENCODING": "cp1252", "PYTHONUNBUFFERED": "1"},
}
RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")
COMMANDS = {
    "run": RUN,
    "leaderboard": ("leaderboard",),
    "compare": ("compare", "toy-mean", "toy-features"),
    "compare --json": ("compare", "toy-mean", "toy-features", "--json"),
    "list": ("list",),
    "plugins": ("plugins",),
    "plugins --json": ("plugins", "--json"),
    "check": ("check", "toy-noise"),
    "audit": ("audit", "--dataset", "toy"),
    "calibrate": ("calibrate", "--phantom", "toy-phantom", "--seeds", "1"),
    "help": ("run", "--help"),
}
CLASSES = "röt,грун,青"
"""Class names that no encoding of these but UTF-8 has."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory, new_toy):
    """The toy command, with a store that has results."""
    command = new_toy(tmp_path_factory.mktemp("measured"))
    command(*RUN, TOY_CLASSES=CLASSES)
    return command


def run(command, *arguments, **environment):
    """Bytes of both outputs; checks the exit code."""
    done = subprocess.run(
        command.arguments(*arguments),
        cwd=command.folder,
        env=command.environment(**environment),
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_where_no_letter_but_those_of_ascii_can_be_shown(measured, name):
    output, errors = run(
        measured, *COMMANDS[name], TOY_CLASSES=CLASSES, PYTHONIOENCODING="ascii:strict"
    )
    assert output.isascii()
    assert errors.isascii()
    assert output
    if "--json" in name:
        json.loads(output)


@pytest.mark.parametrize("name", ENCODINGS)
def test_tables_print_in_every_encoding(measured, name):
    output, _ = run(measured, "leaderboard", TOY_CLASSES=CLASSES, **ENCODINGS[name])
    encoding = {"C locale": "ascii", "unbuffered": "cp1252"}.get(name, name)
    text = output.decode(encoding)
    assert "ToyDeep" in text
    assert ("Δ ToyDeep" if encoding == "utf-8" else "Delta ToyDeep") in text
    assert "\\u2013" not in text, "intervals can be read"
    written = (measured.folder / "reports/toy-errors.md").read_text(encoding="utf-8")
    assert "青" in written, "files are UTF-8 whatever the terminal is"


@pytest.mark.parametrize("environment", [{}, C_LOCALE], ids=["utf-8", "C locale"])
@pytest.mark.parametrize("option", ["--plugin", "--data", "--store"])
def test_a_name_that_is_not_utf8_can_be_printed(command, environment, option):
    arguments = {
        "--plugin": ["list", "--plugin", b"caf\xe9.toml"],
        "--data": ["list", "--data", b"caf\xe9"],
        "--store": ["leaderboard", "--store", b"caf\xe9"],
    }[option]
    done = subprocess.run(
        [*command.arguments(arguments[0]), *arguments[1:]],
        cwd=command.folder,
        env=command.environment(**environment),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (line,) = [li for li in done.stderr.decode().splitlines() if li.startswith("harness: error")]
    assert f"{option} caf\\udce9" in line


def shell(command, text, **environment):
    """Exit code and standard error of a line for bash; ``harness`` is the command."""
    harness = " ".join(command.arguments())
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; harness() {{ {harness} "$@"; }}; {text}'],
        cwd=command.folder,
        env=command.environment(**environment),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        timeout=600,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


posix = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")


@posix
@pytest.mark.parametrize("name", ["leaderboard", "list", "help"])
def test_a_full_disk_behind_standard_output_is_said(measured, name):
    code, errors = shell(measured, f"harness {' '.join(COMMANDS[name])} > /dev/full")
    assert code == 1
    assert errors.splitlines()[-1] == (
        "harness: error: standard output: No space left on device; what was printed is not complete"
    )


@posix
@pytest.mark.parametrize("where", ["2> /dev/full", ">&-", ">&- 2>&- <&-", "2>&1 | head -c 1"])
def test_a_run_whose_words_nobody_hears_is_as_good_as_any(toy, where):
    code, _ = shell(toy, f"harness {' '.join(RUN)} --no-probes {where}")
    assert code == 0
    assert (toy.folder / "reports/toy.md").exists()
    # With a descriptor closed, the next file to be opened must not get its number.
    for path in (toy.folder / "runs").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


@posix
def test_a_failure_counts_also_when_the_reader_has_left(toy):
    arguments = f"{' '.join(RUN)} --no-probes --set toy-mean.fail=true"
    code, errors = shell(toy, f"harness {arguments} | head -c 1")
    assert code == 1
    assert "the toy model was told to fail" in errors


@posix
def test_a_check_that_nobody_reads_ends(toy):
    code, errors = shell(toy, "harness check toy-harness | head -n 1")
    assert code == 0, errors


@posix
def test_a_pipe_that_does_not_block_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    device = console._Device(writer, "w", closefd=True)
    text = io.TextIOWrapper(io.BufferedWriter(device), encoding="utf-8")
    received = []

    def read():
        while chunk := os.read(reader, 1000):
            received.append(chunk)

    reading = threading.Thread(target=read)
    reading.start()
    text.write("x" * 300_000)
    text.close()
    reading.join()
    os.close(reader)
    assert sum(map(len, received)) == 300_000


@posix
def test_what_a_broken_pipe_does_not_take_is_dropped():
    reader, writer = os.pipe()
    os.close(reader)
    device = console._Device(writer, "w", closefd=True)
    assert device.write(b"hello") == 5
    assert device.error.errno == errno.EPIPE
    device.close()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b[?25l\x1b[2Jhidden", "hidden"),
        ("two\nlines\r\x08", "two lines"),
        ("\x9b31mC1", "31mC1"),
        ("right\u202eleft", "right left"),
        ("caf\udce9", "caf\\udce9"),
        ("Δ 青", "Δ 青"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(raw, shown):
    assert one_line(raw) == shown
    assert printable(raw).strip().isprintable()


def test_a_text_that_is_too_long_is_cut():
    assert one_line("x" * 1000, 20) == "x" * 20 + " ..."


def on_a_terminal(command, size, *arguments, **environment):
    """Exit code and what a terminal of so many lines and columns gets."""
    import fcntl
    import struct
    import termios

    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        command.arguments(*arguments),
        cwd=command.folder,
        env=command.environment(**environment),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(controller, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(controller)
    return process.wait(), shown


@posix
def test_tables_are_as_wide_as_the_terminal_and_longer_in_a_pipe(toy):
    code, shown = on_a_terminal(toy, (24, 72), "list", "models", TERM="xterm")
    assert code == 0
    lines = shown.decode().replace("\r", "").splitlines()
    assert "Columns not shown, as the terminal has 72: title; plugin." in " ".join(lines)
    assert max(map(len, lines)) <= 72
    assert "toy (toy-harness 1.0)" in toy("list", "models")


@posix
@pytest.mark.parametrize(("term", "size"), [("xterm", (0, 0)), ("dumb", (24, 1))])
def test_terminals_without_a_width(toy, term, size):
    code, shown = on_a_terminal(toy, size, *RUN, "--no-probes", TERM=term)
    assert code == 0, shown
    assert b"Traceback" not in shown
    assert b"toy-mean" in shown
    if term == "dumb":
        assert b"\r" not in shown.replace(b"\r\n", b"\n"), "nothing is drawn over"
