"""Plugins that raise, hang, crash, lie or babble, in real subprocesses: the others go on."""

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

pytestmark = pytest.mark.once
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "harness/reports/leaderboard.schema.json").read_text(
        encoding="utf-8"
    )
)
posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")

HEAD = """
import ctypes, os, signal, subprocess, sys, threading, time
import numpy as np
from harness import Features, HarnessError, Model, Perturbation, hookimpl

class Fixed:
    def __init__(self, change=lambda rows: rows):
        self.change = change
    def logits(self, inputs):
        return self.change(np.eye(3, dtype=np.float32)[np.arange(len(inputs)) % 3])
    def save(self, folder):
        (folder / "saved").write_text("yes")

def model(name, fit=lambda context: None, logits=lambda rows: rows, **more):
    def fitted(train, validation, context):
        fit(context)
        return Fixed(logits)
    load = lambda folder, settings: Fixed(logits)
    return Model(name=name, title=name, fit=fitted, load=load, **more)

def fail(*_):
    raise ValueError("it broke\\nin two lines")

def forever(context):
    while True:
        pass

def sleeping_thread(context):
    thread = threading.Thread(target=lambda: [signal.pause() for _ in iter(int, 1)])
    thread.start()
    thread.join()

def sleep_in_c(context):
    ctypes.PyDLL(None).sleep(100000)  # holds the interpreter's lock

def print_much(context):
    block = b"x" * 2**20
    for _ in range(300):
        os.write(1, block)
    ctypes.CDLL(None).puts(b"C was here")
    subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('a child was here')"])
    sys.stderr.write("Traceback (most recent call last): not for the user\\n")
    print("Python was here")
    context.say("a word for the user")

MODELS = dict(
    fit=model("fit", fail),
    logits=model("logits", logits=fail),
    shape=model("shape", logits=lambda rows: rows[:, :2]),
    nan=model("nan", logits=lambda rows: rows * np.nan),
    rows=model("rows", logits=lambda rows: rows[1:]),
    exit=model("exit", lambda context: sys.exit("leaving")),
    loop=model("loop", forever),
    thread=model("thread", sleeping_thread),
    c=model("c", sleep_in_c),
    segfault=model("segfault", lambda context: ctypes.string_at(0)),
    gone=model("gone", lambda context: os._exit(7)),
    killed=model("killed", lambda context: os.kill(os.getpid(), signal.SIGKILL)),
    loud=model("loud", print_much),
    loudly=model("loudly", lambda context: (print_much(context), fail())),
    good=model("good"),
)

@hookimpl
def harness_models():
    names = dict.fromkeys([*filter(None, os.environ["BAD"].split(",")), "good"])
    return [MODELS[name] for name in names]
"""

WHY = {
    "fit": "ValueError: it broke; report it to the plugin's author",
    "logits": "ValueError: it broke; report it to the plugin's author",
    "shape": "model 'shape' returned logits of shape (30, 2) where (30, 3) is expected",
    "nan": "model 'nan' returned logits that are not finite",
    "rows": "model 'rows' returned logits of shape (29, 3) where (30, 3) is expected",
    "exit": "SystemExit: leaving; report it",
}
CRASHES = {
    "segfault": "crashed with SIGSEGV (Segmentation fault)",
    "gone": "ended the process with exit code 7",
    "killed": "was killed (SIGKILL), as happens when memory runs out",
}


@pytest.fixture
def bad(toy, make_distribution):
    """Run toy models beside bad ones, and return the output and the rows by model."""
    toy.path.append(make_distribution("x-bad", {"bad": HEAD}))

    def run(*names, options=(), code=1, **more):
        models = [part for name in (*names, "good") for part in ("--model", name)]
        output = toy(
            *("run", "--dataset", "toy", "--no-probes", *models, *options),
            code=code,
            BAD=",".join(names),
            **more,
        )
        return output, rows(toy)

    run.command = toy
    return run


def rows(command, name="toy"):
    board = json.loads((command.folder / f"reports/{name}.json").read_text())
    jsonschema.validate(board, SCHEMA)
    return {row["model"]: row for row in board["rows"] if row["result"] != "published"}


def details(command, row):
    """The file that a row names."""
    (path,) = re.findall(r"\(details in (\S+)\)$", row["notes"])
    return (command.folder / path).read_text()


def test_what_raises_or_lies_fails_and_the_others_go_on(bad):
    output, found = bad(*WHY)
    assert found["good"]["rank"] == 1
    for name, why in WHY.items():
        row = found[name]
        assert row["result"] == "failed"
        assert row["rank"] is None
        assert row["accuracy"] is None
        assert row["notes"].startswith(why)
        assert "\n" not in row["notes"]
        assert "Traceback (most recent call last)" in details(bad.command, row)
        assert re.search(
            rf"harness: failed: .*{re.escape(why)}.* \(details in runs/errors/", output
        )
    page = (bad.command.folder / "reports/toy.md").read_text()
    assert "“Failed”: could not be measured" in page
    assert len([line for line in page.splitlines() if "| failed " in line]) == len(WHY)
    assert "\\itshape Failed" in (bad.command.folder / "reports/toy.tex").read_text()
    with (bad.command.folder / "reports/toy.csv").open() as file:
        results = [row["result"] for row in csv.DictReader(file)]
    assert results.count("failed") == len(WHY)


def test_a_failed_row_outlives_the_run_and_goes_when_the_model_succeeds(bad):
    command = bad.command
    arguments = ("run", "--dataset", "toy", "--no-probes", "--model", "toy-mean")
    command(*arguments, "--set", "fail=true", code=1, BAD="")
    assert rows(command)["toy-mean"]["result"] == "failed", "also with nothing else on the board"
    before = (command.folder / "reports/toy.json").read_bytes()
    command("leaderboard", BAD="")
    assert (command.folder / "reports/toy.json").read_bytes() == before
    command("run", "--dataset", "toy", "--no-probes", "--model", "good", BAD="")
    output = command("compare", "toy-mean", "good", code=2, BAD="")
    assert "toy-mean failed on toy: RuntimeError: the toy model was told to fail" in output
    assert "(details in runs/errors/" in output
    command(*arguments, BAD="", TOY_TRAIN="90")
    assert rows(command)["toy-mean"]["result"] == "measured"
    command(*arguments, "--set", "fail=true", code=1, BAD="")
    assert rows(command)["toy-mean"]["result"] == "failed", "that was another copy of the data"
    command(*arguments, BAD="")
    assert rows(command)["toy-mean"]["result"] == "measured"
    command(*arguments, "--seed", 1, "--set", "fail=true", code=1, BAD="")
    (row,) = [row for name, row in rows(command).items() if name == "toy-mean"]
    assert row["result"] == "measured", "a model with a good row keeps just that"


def test_what_cannot_be_planned_has_a_failed_row(toy):
    models = ("--model", "toy-mean", "--model", "toy-mean+flips", "--model", "toy-features")
    arguments = ("run", "--dataset", "toy", "--no-probes", *models)
    toy(*arguments, code=1, TOY_NO_WEIGHTS="1")
    found = rows(toy)
    assert found["toy-features"]["rank"] == 1
    for name in ("toy-mean", "toy-mean+flips"):
        assert found[name]["notes"].startswith("weights.bin: not there (details in runs/errors/")
        assert "HarnessError: weights.bin: not there" in details(toy, found[name])
    toy(*arguments)
    assert {row["result"] for row in rows(toy).values()} == {"measured"}


@posix
def test_what_crashes_costs_the_others_nothing(bad):
    output, found = bad(*CRASHES)
    assert found["good"]["rank"] == 1
    for name, why in CRASHES.items():
        assert found[name]["result"] == "failed"
        assert found[name]["notes"].startswith(why)
        assert why in output
    assert "string_at" in details(bad.command, found["segfault"]), "it says where"
    assert bad.command.toy_log.count("run started with 9 jobs") == 1
    assert bad.command.toy_log.count("run ended with 3 failures") == 1
    assert sum(line.startswith("stored") for line in bad.command.toy_log) == 3


@posix
def test_what_hangs_is_ended_after_the_time_limit(bad):
    names = ("loop", "thread", "c")
    output, found = bad(*names, options=("--time-limit", "0.03"))
    assert found["good"]["rank"] == 1
    for name, where in zip(names, ("forever", "sleeping_thread", "sleep_in_c"), strict=True):
        why = "took longer than the 0.03 min of --time-limit"
        assert found[name]["notes"].startswith(why)
        assert f"fit {name}: FAILED: {why}" in output
        assert where in details(bad.command, found[name]), "it says where"
    output, _ = bad("loop", HARNESS_TIME_LIMIT="0.03")
    assert "took longer than the 0.03 min" in output


@posix
def test_what_is_printed_reaches_neither_the_terminal_nor_all_of_the_disk(bad):
    output, found = bad("loud", "loudly")
    assert len(output) < 20_000
    assert "a word for the user" in output
    assert found["loud"]["result"] == "measured"
    kept = re.findall(r"printed 314.6 MB, the first 1.0 MB are in (\S+)", output)
    assert len(kept) == 2
    for path in kept:
        assert (bad.command.folder / path).stat().st_size == 2**20
    text = details(bad.command, found["loudly"])
    for who in ("C was here", "a child was here", "Python was here", "in two lines"):
        assert who in text
    assert sum(f.stat().st_size for f in bad.command.folder.rglob("*") if f.is_file()) < 10 * 2**20


@posix
def test_a_child_that_outlives_its_job_does_not_hold_it_up(toy, make_distribution):
    source = HEAD.replace(
        'good=model("good"),',
        'good=model("good", lambda context: print(subprocess.Popen(["sleep", "1000"]).pid)),',
    )
    toy.path.append(make_distribution("x-bad", {"bad": source}))
    arguments = ("run", "--dataset", "toy", "--no-probes", "--model", "good")
    output = toy(*arguments, BAD="")
    (path,) = re.findall(r"printed \d+ bytes, see (\S+)", output)
    pid = int((toy.folder / path).read_text())
    assert not alive(pid), "it is ended with the run"


def alive(pid):
    """Whether a process is there and no mere zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return False


FEATURES = """
def broken(images):
    ctypes.string_at(0)

@hookimpl
def harness_models():
    extract = {"broken": broken, "fine": lambda images: images.mean(axis=(1, 2))}
    return [
        model(name, features=Features(name=f"x-{name}", extract=extract[name]))
        for name in ("broken", "fine")
    ]

@hookimpl
def harness_perturbations():
    return [Perturbation(name="x-crash", title="Crash", levels=(1,), apply=broken)]
"""


@posix
def test_a_crash_in_a_pass_for_many_costs_only_its_own_results(toy, make_distribution):
    source = HEAD.partition("MODELS =")[0] + FEATURES.replace("broken(images)", "broken(*_)")
    toy.path.append(make_distribution("x-bad", {"bad": source}))
    arguments = ("run", "--dataset", "toy", "--no-probes")
    output = toy(*arguments, "--model", "broken", "--model", "fine", code=1)
    assert "trying its 2 parts one by one" in output
    found = rows(toy)
    assert found["fine"]["result"] == "measured"
    assert found["broken"]["notes"].startswith("crashed with SIGSEGV")
    changed = ("--perturbation", "x-crash", "--perturbation", "toy-noise", "--model", "fine")
    output = toy(*arguments, *changed, code=1)
    assert "x-fine features of test (x-crash 1): FAILED: crashed" in output
    done = sorted(path.name for path in (toy.folder / "runs/prediction/toy/fine").iterdir())
    assert len(done) == 2, "clean patches, and two levels of noise in one sweep"
    record = json.loads(
        (toy.folder / "runs/prediction/toy/fine" / done[1] / "record.json").read_text()
    )
    conditions = record["key"]["fields"]["conditions"]
    assert {condition["perturbation"] for condition in conditions} == {"toy-noise"}
    assert len(conditions) == 2


def test_a_plugin_that_raises_in_a_hook_or_on_import_is_left_out(toy, make_distribution):
    hook = (
        "from harness import hookimpl\n@hookimpl\ndef harness_models():\n    raise KeyError('x')\n"
    )
    modules = {"in-hook": hook, "on-import": "raise SystemExit(5)\n"}
    toy.path.append(make_distribution("x-worse", modules))
    output = toy("run", "--dataset", "toy", "--no-probes", "--model", "toy-features", code=3)
    assert rows(toy)["toy-features"]["rank"] == 1
    for name, why in (("in-hook", "KeyError: 'x'"), ("on-import", "SystemExit: 5")):
        file = f"runs/errors/plugin-{name}.txt"
        assert f"plugin {name} of x-worse is left out: {why} (details in {file})" in output
        assert "Traceback" in (toy.folder / file).read_text()


def test_what_cannot_be_loaded_twice_fails_in_words(toy, make_distribution):
    source = HEAD + "\nif sys.argv[0] == '-c':\n    raise OSError('only once')\n"
    toy.path.append(make_distribution("x-bad", {"bad": source}))
    arguments = ("run", "--dataset", "toy", "--no-probes", "--model", "good")
    output = toy(*arguments, code=1, BAD="")
    assert "no model named 'good'" in output
    assert "plugin bad of x-bad is left out: OSError: only once" in output


def test_what_raises_where_nobody_expects_it_is_one_line(toy, make_distribution):
    source = (
        "from harness import Model, hookimpl\n"
        "@hookimpl\n"
        "def harness_models():\n"
        "    return [Model(name='x', title='x', fit=None, load=None, requires=None)]\n"
    )
    toy.path.append(make_distribution("x-requires", {"requires": source}))
    output = toy("run", "--model", "x", code=1, TMPDIR=str(toy.folder))
    (path,) = re.findall(r"TypeError: .*NoneType \(details in (\S+)\); report it", output)
    assert "Traceback" in Path(path).read_text()


@posix
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_when_the_run_ends_the_process_that_computes_ends_too(bad, how):
    command = bad.command
    pid_file = command.folder / "pid"
    source = command.path[-1] / "x_bad_bad.py"
    body = "def sleep_in_c(context):\n    open('pid', 'w').write(str(os.getpid()))"
    source.write_text(source.read_text().replace("def sleep_in_c(context):", body))
    arguments = ("run", "--dataset", "toy", "--no-probes", "--model", "good", "--model", "c")
    process = command.start(*arguments, BAD="c")
    for _ in range(3000):
        if pid_file.exists() and pid_file.read_text():
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pid = int(pid_file.read_text())
    assert alive(pid)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    code = -how if how == signal.SIGKILL else 128 + how
    assert process.returncode == code, errors
    for _ in range(500):  # where the run was killed, the system ends it a moment later
        if not alive(pid):
            break
        time.sleep(0.02)
    assert not alive(pid)
    assert "Traceback" not in errors
    before = command.toy_log
    _, found = bad("c", options=("--time-limit", "0.03"))
    stored = {line for line in before if line.startswith("stored")}
    assert not stored & set(command.toy_log[len(before) :])
    assert found["good"]["rank"] == 1


@posix
def test_without_standard_error_a_run_goes_on(bad):
    command = bad.command
    arguments = command.arguments("run", "--dataset", "toy", "--no-probes", "--model", "good")
    line = " ".join(f"'{word}'" for word in arguments) + " >&- 2>&-"
    done = subprocess.run(
        ["sh", "-c", line], cwd=command.folder, env=command.environment(BAD=""), check=False
    )
    assert done.returncode == 0
    assert rows(command)["good"]["rank"] == 1


@posix
def test_bars_and_messages_of_jobs_reach_the_terminal(bad):
    import pty

    command = bad.command
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command.arguments("run", "--dataset", "toy", "--no-probes", "--model", "loud"),
        cwd=command.folder,
        env=command.environment(BAD="loud"),
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while chunk := os.read(controller, 65536):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        os.close(controller)
    assert process.returncode == 0
    assert b"loud predicts:   0%" in shown
    assert b"a word for the user" in shown
    assert b"was here" not in shown


@pytest.mark.parametrize("text", ["0", "-1", "x", "inf", "nan"])
def test_a_time_limit_that_is_none_is_refused(toy, text):
    output = toy("run", "--all", "--time-limit", text, code=2)
    assert f"argument --time-limit: {text!r} is not a number of minutes above 0" in output
