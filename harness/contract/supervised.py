"""Checking in a process of its own: what a plugin does may end it, crash it or never end.

The process says what it will check, then what came of each promise in turn. So when it dies or
takes too long, it is known which promise is broken, and a new process goes on with the next one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from harness import progress
from harness.contract.cases import Outcome, cases, innermost
from harness.contract.outcome import Broken
from harness.errors import HarnessError
from harness.worker import _channels, _end_with_parent, _listen

TICK = 0.2
"""Seconds between two looks at whether the process is alive."""


class Checking:
    """Outcomes of the promises that the command line ``arguments`` of ``harness check`` is about.

    ``minutes`` is how long each may take. After iterating, ``patches`` names the dataset whose
    patches were used, if any were. Raises HarnessError for what is wrong with the command line.
    """

    def __init__(self, arguments: Sequence[str], minutes: float | None) -> None:
        self.arguments = list(arguments)
        self.minutes = minutes
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
        # As ``python -m`` would, but without the working folder as a place of modules.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; import harness.contract.supervised as own; "
        )
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code + "own.work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # To be ended with its children; and Ctrl-C is answered here.
            process_group=0 if os.name == "posix" else None,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            task = {
                "arguments": self.arguments,
                "folder": str(folder),
                "done": self.done,
                "lost": self.lost,
            }
            with contextlib.suppress(OSError):  # it is dead, as is seen below
                process.stdin.write(json.dumps(task).encode() + b"\n")
                process.stdin.flush()
            answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
            threading.Thread(target=_hear, args=(process.stdout, answers), daemon=True).start()
            yield from self._exchange(process, answers, folder)
        finally:
            _kill(process)

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        answers: queue.SimpleQueue[dict[str, Any] | None],
        folder: Path,
    ) -> Iterator[Outcome]:
        """What the process says, until all is said, or it is dead or late."""
        started: float | None = None
        dead = False
        while self.cases is None or self.done < len(self.cases):
            answer: dict[str, Any] | None = {}
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=TICK)
            if answer is None or (not answer and dead):  # and all it said has been heard
                process.wait()
                yield self._broken(*_died(process.returncode), folder)
                return
            dead = process.poll() is not None
            if "error" in answer:
                raise HarnessError(answer["error"])
            if "making" in answer:
                self.making = answer["making"]
            elif "cases" in answer:
                self.cases = [tuple(case) for case in answer["cases"]]
                started = time.monotonic()
            elif answer:
                self.patches = answer["patches"] or self.patches
                self.done += 1
                started = time.monotonic()
                yield Outcome(**answer["outcome"])
            if (
                not answer
                and self.minutes is not None
                and started is not None
                and time.monotonic() - started > 60 * self.minutes
            ):
                yield self._broken(*_hung(process, self.minutes), folder)
                return

    def _broken(self, seen: str, mend: str, folder: Path) -> Outcome:
        """The promise that was under way is broken."""
        if self.cases is None:
            raise HarnessError(f"check: loading the plugins {seen}; {mend}")
        self.lost += self.making
        self.making = []
        name, text, own = self.cases[self.done]
        self.done += 1
        stack = folder / "stack.txt"
        details = stack.read_text(errors="replace") if stack.exists() else ""
        current = details.rpartition("Current thread")[2]
        frames = re.findall(r'File "(.+)", line (\d+)', current + details)
        error = Broken(seen + innermost(frames[::-1], own), mend)
        return Outcome(name, text, "BROKEN", str(error), details)


def _hear(pipe: IO[bytes], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in pipe:
        answers.put(json.loads(line))
    answers.put(None)


def _hung(process: subprocess.Popen[bytes], minutes: float) -> tuple[str, str]:
    if hasattr(signal, "SIGUSR1"):  # it writes down where it is
        process.send_signal(signal.SIGUSR1)
        time.sleep(TICK)
    what = f"took longer than the {minutes:g} min of --time-limit"
    return what, "let it come to an end, or give it more time"


def _died(code: int) -> tuple[str, str]:
    if code >= 0:
        return f"ended the process with exit code {code}", "return, or raise an exception"
    if -code == signal.SIGKILL:
        return "was killed (SIGKILL), as happens when memory runs out", "use less of it"
    known = {one.value: one.name for one in signal.Signals}
    what = f"{known.get(-code, f'signal {-code}')} ({signal.strsignal(-code)})"
    return f"crashed with {what}", "see more with --traceback"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it has started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()


def work() -> None:
    """In the process: check one promise after the other. What plugins print is standard error."""
    from harness.cli import parse
    from harness.commands.extending import bench_of

    commands, tell = _channels()
    _end_with_parent()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, lines), daemon=True).start()
    task = json.loads(lines.get())
    stack = (Path(task["folder"]) / "stack.txt").open("w")
    faulthandler.enable(stack)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, stack, all_threads=True)
    options = parse(task["arguments"])
    try:
        if task["done"]:  # the process before this one has said all there is to say
            progress.instead = io.StringIO()
        bench = bench_of(options)
        progress.instead = None
        bench.folder = Path(task["folder"])
        bench.lost = task["lost"]
        bench.told = lambda making: tell({"making": making})
        found = cases(bench, options.names, options.settings)
    except HarnessError as error:
        tell({"error": str(error)})
        return
    tell({"cases": [(str(case), case.text, case.own(bench)) for case in found]})
    for case in found[task["done"] :]:
        outcome = asdict(case.check(bench))
        tell({"outcome": outcome, "patches": bench.dataset.name if bench.looked else ""})
