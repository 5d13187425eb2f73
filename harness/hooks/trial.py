"""Loading plugins in a process of its own first, as one may hang there or end the process.

Only those that are not built in. The process says which plugin is about to be loaded, so when it
takes too long or dies, it is known whose fault that is, and a new one tries the others.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import queue
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from harness.hooks.loader import OURS, guests, load_plugins
from harness.hooks.registry import Registry
from harness.system import child, signals

log = logging.getLogger(__name__)

TICK = 0.2
"""Seconds between two looks at whether the process is alive."""
MINUTES = 10.0
"""How long loading a plugin may take without a limit of the user's."""
AT_LEAST = 10.0
"""Seconds that it may take in any case: a limit for jobs may be shorter than a cold import."""
TAIL = 4000
"""Bytes of what the process printed that are kept."""


def load(
    without: Sequence[str] = (),
    files: Sequence[Path] = (),
    minutes: float | None = None,
    trace: bool = False,
) -> Registry:
    """Load plugins, after those that are not built in were tried in a process of their own.

    ``minutes`` is the user's time limit. With ``trace``, each hook that is called is named.
    """
    say_hook = (lambda line: log.info(f"hook: {line}")) if trace else None
    started = time.monotonic()
    with Trial(without, files, minutes) as trial:
        registry = load_plugins(without, files, say_hook, trial.why_not)
    log.debug(
        f"{len(registry.plugins)} plugins loaded in {time.monotonic() - started:.2f} s, "
        f"{len(registry.broken)} of them broken"
    )
    return registry


class Trial:
    """Why plugins that are not built in cannot be loaded; known when it is asked for.

    ``minutes`` is the user's time limit.
    """

    def __init__(
        self,
        without: Sequence[str] = (),
        files: Sequence[Path] = (),
        minutes: float | None = None,
    ) -> None:
        described = any(path.suffix == ".toml" for path in files)
        self.task = {
            "without": [*without, *([] if described else [OURS])],
            "files": [str(path) for path in files],
        }
        self.limit = 60 * MINUTES if minutes is None else max(60 * minutes, AT_LEAST)
        self.refused: dict[str, str] = {}
        self.printed: IO[bytes] | None = None
        self.child: child.Child | None = None
        if guests(without, files):
            self._start()  # it imports while this process loads what is built in

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self.printed is not None:
            self.printed.close()

    def why_not(self, name: str) -> str:
        """Why a plugin cannot be loaded, then what it printed, in further lines; "" if it can."""
        while self.child is not None:
            loading, why = self._hear(self.child)
            self._end()
            if why and loading:
                self.refused[loading] = f"{why}\n{self._tail()}".rstrip()
                self._start()
        return self.refused.get(name, "")

    def _start(self) -> None:
        with contextlib.suppress(OSError):  # without a place for it, what it prints is lost
            self.printed = self.printed or tempfile.TemporaryFile()  # noqa: SIM115
        with contextlib.suppress(OSError):  # without it, this process will see for itself
            self.child = child.Child("harness.hooks.trial:work", self.printed or subprocess.DEVNULL)
            self.child.ask({**self.task, "refused": self.refused})

    def _end(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def _hear(self, tried: child.Child) -> tuple[str, str]:
        """The plugin that the process loaded last, and what went wrong with it; "" if nothing."""
        loading = ""
        watch: signals.Stopwatch | None = None
        while True:
            answer: dict[str, str] | None = {}
            try:
                answer = tried.answer(TICK)
            except queue.Empty:
                pass
            except child.NoAnswerError as error:
                return loading, f"{error}, when it was loaded"
            if answer is None:
                with contextlib.suppress(Exception):
                    tried.process.wait(TICK)
                how = child.how_it_died(tried.process.poll())
                return loading, f"{how} when it was loaded"
            if "done" in answer:
                return loading, ""
            if answer:
                loading = answer["loading"]
                watch = signals.Stopwatch()
            elif watch and watch.seconds() > self.limit:
                if hasattr(signal, "SIGUSR1"):  # it prints where it is
                    tried.process.send_signal(signal.SIGUSR1)
                    time.sleep(TICK)
                return loading, f"took longer than {self.limit:g} s to be loaded (--time-limit)"

    def _tail(self) -> str:
        if self.printed is None:
            return ""
        size = self.printed.seek(0, os.SEEK_END)
        self.printed.seek(max(0, size - TAIL))
        return self.printed.read().decode("utf-8", "replace")


def work() -> None:
    """In the process: load the plugins, and say of each that it is about to be loaded."""
    receive, tell = child.channels()
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    task = receive()

    def why_not(name: str) -> str:
        known: str = task["refused"].get(name, "")
        if not known:
            tell({"loading": name})
        return known

    with contextlib.suppress(Exception):  # the other process finds the same, and says so
        files = [Path(path) for path in task["files"]]
        load_plugins(task["without"], files, why_not=why_not)
    tell({"done": True})
