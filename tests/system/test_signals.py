"""Ctrl-C and other signals, in real processes: at any moment, one line and the exit code."""

import os
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from harness.system import signals

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
]

LINE = "finished results are kept, the same command goes on from here"
AT_IMPORT = """
import os, signal, sys

AT = os.environ.pop("AT", "")

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == AT:
            for number in os.environ["SIGNALS"].split(","):
                os.kill(os.getpid(), int(number))
        return None

if AT:
    sys.meta_path.insert(0, Interrupt())
"""
"""Interrupts the command itself when it imports a module; what it starts does not inherit this."""


@pytest.fixture
def at_import(toy):
    """The command, interrupted once it imports ``AT``."""
    folder = toy.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(AT_IMPORT)
    toy.path.append(folder)
    return toy


def ended(command, *arguments, code=130, **more):
    """Start, wait for the end, and return what was said; checks that it is a word, not a trace."""
    process = command.start(*arguments, **more)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, output + errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    return errors


@pytest.mark.parametrize(
    "module",
    ["harness.cli", "argparse", "harness.hooks.loader", "numpy", "toy_harness", "harness_bias"],
)
def test_ctrl_c_while_the_command_starts(at_import, module):
    arguments = ("list", "--without", "mlflow")
    errors = ended(at_import, *arguments, AT=module, SIGNALS="2", HARNESS_WITHOUT="")
    assert errors.strip().startswith("harness: interrupted")
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (("run", "--dataset", "toy", "--model", "toy-mean"), "harness.analysis.leaderboard"),
        (("run", "--dataset", "toy", "--model", "toy-mean"), "matplotlib.figure"),
        (("audit", "--dataset", "toy"), "harness.execution.execute"),
        (("calibrate", "--phantom", "toy-phantom", "--seeds", "1"), "harness.reports.calibrate"),
        (("check", "toy-mean"), "harness.checks.supervised"),
        (("data", "get", "toy-absent"), "harness.data.download"),
        (("compare", "published:toy-deep", "published:dino"), "harness.analysis.compare_published"),
    ],
)
def test_ctrl_c_in_the_course_of_each_command(at_import, arguments, module):
    errors = ended(at_import, *arguments, AT=module, SIGNALS="2")
    assert errors.endswith(f"\nharness: interrupted; {LINE}\n")


@pytest.mark.parametrize(
    ("numbers", "code", "says"),
    [
        ("2,2,2", 130, "interrupted"),
        ("15", 143, "ended by SIGTERM"),
        ("1", 129, "ended by SIGHUP"),
        ("15,2", 143, "ended by SIGTERM"),
    ],
)
def test_any_signal_that_ends_and_several_of_them(at_import, numbers, code, says):
    errors = ended(at_import, "list", code=code, AT="harness.commands.listing", SIGNALS=numbers)
    assert errors.endswith(f"\nharness: {says}; {LINE}\n")


def test_an_interrupt_that_a_module_swallows_is_not_lost(toy, tmp_path):
    for name, body in {
        "turned": "try:\n    os.kill(os.getpid(), 2); time.sleep(9)\n"
        "except KeyboardInterrupt:\n    raise ImportError('initialization failed') from None\n",
        "tidying": "class Last:\n    def __del__(self):\n        os.kill(os.getpid(), 2)\n"
        "        time.sleep(0.1)\nLast()\nwhile True:\n    time.sleep(0.02)\n",
    }.items():
        file = tmp_path / f"{name}.py"
        body = textwrap.indent(body, "    ")  # not where the import is tried first
        file.write_text(f"import os, sys, time\nif sys.argv[0] != '-c':\n{body}")
        errors = ended(toy, "list", "--plugin", file)
        assert errors.endswith(f"\nharness: interrupted; {LINE}\n")
        assert "left out" not in errors


STUBBORN = """
import os, signal, time
from pathlib import Path
from harness import Model, hookimpl

def fit(train, validation, context):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path("pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)

def gentle(train, validation, context):
    try:
        Path("pid").write_text(str(os.getpid()))
        time.sleep(60)
    except KeyboardInterrupt:
        Path("interrupted").touch()
        raise

@hookimpl
def harness_models():
    made = {"stubborn": fit, "gentle": gentle}
    return [Model(name=name, title=name, fit=f, load=print) for name, f in made.items()]
"""


def started(toy, model, **more):
    (toy.folder / "mine.py").write_text(STUBBORN)
    process = toy.start(
        *("run", "--dataset", "toy", "--no-probes", "--plugin", "mine.py", "--model", model), **more
    )
    pid = toy.folder / "pid"
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process, int(pid.read_text())


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came true")


def state(pid):
    """The state of a process as Linux tells it: "T" is stopped; "" when it is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if state in "ZX" else state


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux")


@linux
def test_a_second_ctrl_c_ends_a_run_that_waits_for_what_computes(toy):
    process, pid = started(toy, "stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # it waits for the process that computes, which does not answer
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.count("harness: interrupted") == 1
    assert "Traceback" not in errors
    wait_until(lambda: not state(pid))


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_in_the_background_ignores_ctrl_c_and_ends_well(toy, number):
    # As in a shell script with "&".
    toy.ignored = (signal.SIGINT,)
    process, pid = started(toy, "gentle")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert f"ended by {number.name}" in errors
    assert (toy.folder / "interrupted").exists(), "what computes was interrupted, not killed"
    wait_until(lambda: not state(pid))


def test_nohup_keeps_a_run_alive_when_its_terminal_is_closed(toy):
    toy.ignored = (signal.SIGHUP,)
    process, _ = started(toy, "gentle")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


@linux
def test_ctrl_z_stops_what_computes_too_and_both_go_on(toy):
    process = toy.start(
        *("run", "--dataset", "toy", "--no-probes", "--model", "toy-mean"), TOY_SLOW_STEP="0.5"
    )
    toy.wait_for("step 0", process)
    (pid,) = [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if state(entry.name)
        and Path(entry, "stat").read_text().rpartition(")")[2].split()[1] == str(process.pid)
    ]
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: state(process.pid) == state(pid) == "T")
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_time_in_which_a_process_is_stopped_is_not_counted(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watch = signals.Stopwatch()
    for step in (0.2, 0.2, 3600.0, 0.2):
        clock[0] += step
        seconds = watch.seconds()
    assert seconds == pytest.approx(0.6 + signals.LONGEST_TICK)


def test_a_limit_in_this_process_counts_no_stop(monkeypatch):
    from harness.errors import HarnessError
    from harness.hooks.limit import TICKS, limited

    # The alarm is raised here as the system does: once for all that came due in a stop.
    set_up = []
    monkeypatch.setattr(signal, "setitimer", lambda *arguments: set_up.append(arguments))
    with limited(1.0):
        for _ in range(TICKS - 1):
            os.kill(os.getpid(), signal.SIGALRM)
        with pytest.raises(HarnessError, match=r"longer than the 1 min of --time-limit"):
            os.kill(os.getpid(), signal.SIGALRM)
        os.kill(os.getpid(), signal.SIGALRM)  # said once
    assert set_up == [
        (signal.ITIMER_REAL, 60 / TICKS, 60 / TICKS),
        (signal.ITIMER_REAL, 0),
    ]


@linux
def test_processes_of_a_calibration_end_with_it(toy):
    process = toy.start("calibrate", "--phantom", "toy-phantom", "--seeds", "50")
    toy.wait_for("plant", process)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert children
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    wait_until(lambda: not any(state(pid) for pid in children))
