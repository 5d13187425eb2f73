"""Checking in a process of its own: what a plugin does may end it, crash it or never end.

The process says what it will check, then what came of each promise in turn. So when it dies or
takes too long, it is known which promise is broken, and a new process goes on with the next one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import queue
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.checks.bench import Bench
from harness.checks.cases import cases, innermost
from harness.checks.outcome import Broken, Outcome
from harness.errors import HarnessError
from harness.hooks import trial
from harness.store.failures import warn_of_broken
from harness.system import child, messages, signals

TICK = 0.2
"""Seconds between two looks at whether the process is alive."""


@dataclass(frozen=True)
class Asked:
    """What is checked, and with what: plain data, for the process that checks."""

    names: Sequence[str]
    """Plugins, or what they offer."""
    settings: Sequence[str]
    """As ``--set`` takes them."""
    dataset: str | None
    data: str
    without: Sequence[str]
    files: Sequence[str]
    minutes: float | None
    """How long each promise may take."""
    trace: bool


class Checking:
    """Outcomes of the promises that are asked about.

    After iterating, ``patches`` names the dataset whose patches were used, if any were. Raises
    HarnessError for what is wrong with the question.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.minutes = asked.minutes
        self.patches = ""
        self.cases: list[tuple[str, str, str]] | None = None
        self.done = 0
        self.making: list[str] = []
        """What the process makes at the moment for several promises, such as a fit."""
        self.lost: list[str] = []
        """What processes died or hung of, and is not tried again."""

    def __iter__(self) -> Iterator[Outcome]:
        while self.cases is None or self.done < len(self.cases):
            with TemporaryDirectory(prefix="harness-check-", ignore_cleanup_errors=True) as folder:
                yield from self._one_process(Path(folder).resolve())

    def _one_process(self, folder: Path) -> Iterator[Outcome]:
        """What one process says; and of what it died, if it did."""
        checks = child.Child("harness.checks.supervised:work")
        try:
            task = {
                "asked": asdict(self.asked),
                "folder": str(folder),
                "done": self.done,
                "lost": self.lost,
                "level": messages.LOGGER.getEffectiveLevel(),
            }
            with contextlib.suppress(OSError):  # it is dead, as is seen below
                checks.ask(task)
            yield from self._exchange(checks, folder)
        finally:
            checks.kill()

    def _exchange(self, checks: child.Child, folder: Path) -> Iterator[Outcome]:
        """What the process says, until all is said, or it is dead or late."""
        watch: signals.Stopwatch | None = None
        process = checks.process
        while self.cases is None or self.done < len(self.cases):
            answer: dict[str, Any] | None = {}
            try:
                answer = checks.answer(TICK)
            except queue.Empty:
                pass
            except child.NoAnswerError as error:
                yield self._broken(
                    str(error), "write to no descriptor that it did not open", folder
                )
                return
            if answer is None:
                process.wait()
                yield self._broken(*_died(process.returncode), folder)
                return
            if "log" in answer:
                messages.relay(answer["log"])
                answer = {}
            if "error" in answer:
                raise HarnessError(answer["error"])
            if "making" in answer:
                self.making = answer["making"]
            elif "cases" in answer:
                self.cases = [tuple(case) for case in answer["cases"]]
                watch = signals.Stopwatch()
            elif answer:
                self.patches = answer["patches"] or self.patches
                self.done += 1
                watch = signals.Stopwatch()
                yield Outcome(**answer["outcome"])
            spent = watch.seconds() if watch else 0.0
            if not answer and self.minutes is not None and spent > 60 * self.minutes:
                yield self._broken(*_hung(process, self.minutes), folder)
                return

    def _broken(self, seen: str, fix: str, folder: Path) -> Outcome:
        """The promise that was under way is broken."""
        if self.cases is None:
            raise HarnessError(f"check: loading the plugins {seen}; {fix}")
        self.lost += self.making
        self.making = []
        name, text, own = self.cases[self.done]
        self.done += 1
        stack = folder / "stack.txt"
        details = stack.read_text(encoding="utf-8", errors="replace") if stack.exists() else ""
        current = details.rpartition("Current thread")[2]
        frames = re.findall(r'File "(.+)", line (\d+)', current + details)
        error = Broken(seen + innermost(frames[::-1], own), fix)
        return Outcome(name, text, "BROKEN", str(error), details)


def _hung(process: subprocess.Popen[bytes], minutes: float) -> tuple[str, str]:
    if hasattr(signal, "SIGUSR1"):  # it writes down where it is
        process.send_signal(signal.SIGUSR1)
        time.sleep(TICK)
    what = f"took longer than the {minutes:g} min of --time-limit"
    return what, "let it come to an end, or give it more time"


def _died(code: int) -> tuple[str, str]:
    if code >= 0:
        fix = "return, or raise an exception"
    else:
        fix = "use less of it" if -code == signal.SIGKILL else "see more with --traceback"
    return child.how_it_died(code), fix


def work() -> None:
    """In the process: check one promise after the other. What plugins print is standard error."""
    receive, tell = child.channels()
    task = receive()
    stack = (Path(task["folder"]) / "stack.txt").open("w", encoding="utf-8")
    faulthandler.enable(stack)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, stack, all_threads=True)
    asked = Asked(**task["asked"])
    messages.LOGGER.addHandler(messages.Forwarder(tell))
    messages.LOGGER.setLevel(task["level"])
    messages.LOGGER.propagate = False
    quiet = contextlib.ExitStack()
    try:
        if task["done"]:  # the process before this one has said all there is to say
            quiet.enter_context(messages.silent())
        files = [Path(path) for path in asked.files]
        registry = trial.load(asked.without, files, asked.minutes, asked.trace)
        warn_of_broken(registry)
        bench = Bench(registry, Path(asked.data), asked.dataset, asked.without, files)
        quiet.close()
        bench.folder = Path(task["folder"])
        bench.lost = task["lost"]
        bench.told = lambda making: tell({"making": making})
        found = cases(bench, asked.names, asked.settings)
    except HarnessError as error:
        tell({"error": str(error)})
        return
    tell({"cases": [(str(case), case.text, case.own(bench)) for case in found]})
    for case in found[task["done"] :]:
        outcome = asdict(case.check(bench))
        tell({"outcome": outcome, "patches": bench.dataset.name if bench.looked else ""})
