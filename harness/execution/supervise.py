"""Watching over the process that computes: it may hang, crash or print without end.

None of that may cost other results, so jobs run in a process of their own
(``harness.execution.worker``). When it takes too long or dies, what was under way has failed, and a
new one does the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from harness.data.images import JPEG_DAMAGE
from harness.jobs.compute import problem_in
from harness.jobs.spec import JobSpec, SessionSpec, sweep_key
from harness.planning.plan import title
from harness.store.failures import keep
from harness.store.store import Store
from harness.system import child, messages, progress, signals
from harness.system.output import Output, Printed
from harness.types.executors import Problem

log = logging.getLogger(__name__)
TICK = 0.2
"""Seconds between two looks at whether the process is alive."""
OWN_DESCRIPTORS = "let it write to no descriptor that it did not open; report it to its author"
GRACE = 5.0
"""Seconds that it gets to end by itself."""


class _EndedError(Exception):
    """The process is gone. The message says why."""


class Worker:
    """A process that computes jobs in a session.

    It is started when it is first needed. ``minutes`` is how long each command to it may take. It
    is bound to the cores ``cpus``, if they are given, has ``environment`` added to its environment
    and, with ``bars``, draws bars if this process may.
    """

    def __init__(
        self,
        session: SessionSpec,
        store: Store,
        minutes: float | None = None,
        *,
        cpus: Sequence[int] | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        bars: bool = True,
    ) -> None:
        self.session = session
        self.cpus = cpus
        self.environment = environment
        self.bars = bars
        self.store = store
        self.minutes = minutes
        self.estimates: dict[str, float | None] = {}
        self.child: child.Child | None = None
        self.output: Output | None = None
        self.in_a_line = False
        self.closed = False
        """Whether nothing is to be computed any more."""
        self.owner = ""
        """The plugin whose models the process has run."""
        self.guests: tuple[str, ...] = ()
        """The plugins, other than built-in ones, whose code the process has run."""

    def stop(self, politely: bool) -> None:
        """End the process; if not ``politely``, what it computes is interrupted."""
        self.closed = self.closed or not politely
        if (started := self.child) is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if politely or os.name != "posix":
                started.ask(["end", None])
            else:
                started.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.process.wait(GRACE)
        self._kill()

    def cost(self, job: JobSpec) -> int:
        """What it takes to compute a job here: 0 for nothing, more for a new process."""
        if self.child is None:
            return 1
        return 2 if self._must_renew(job) else 0

    def _must_renew(self, job: JobSpec) -> bool:
        """Whether a job needs another process than that of the jobs before.

        What a model sets for its own process, such as how numpy takes an overflow or torch its
        gradients, is not to change another plugin's results. And a process in which other than
        built-in plugins have run, the jobs' ``guests``, does nothing that is not theirs.
        """
        other_owner = job.owner and self.owner not in ("", job.owner)
        return bool(other_owner or (self.guests and self.guests != job.guests))

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes; None when that cannot be told."""
        digest = job.key.digest
        if digest not in self.estimates:
            self.estimates[digest] = None
            self.guests = tuple(sorted({*self.guests, *job.guests}))
            with contextlib.suppress(_EndedError):
                for answer in self._ask("estimate", job.as_json(), "estimates"):
                    self.estimates[digest] = answer["seconds"]
            if self.output:
                self.output.end(GRACE)
        return self.estimates[digest]

    def compute(self, group: Sequence[JobSpec]) -> Iterator[tuple[JobSpec, Problem | None]]:
        """Compute jobs together and store them; yields each with what went wrong, if anything."""
        if self._must_renew(group[0]):
            self.stop(politely=True)
        self.owner = group[0].owner or self.owner
        self.guests = group[0].guests
        left = {job.key.digest: job for job in group}
        name = group[0].key.digest
        problems: list[tuple[JobSpec, dict[str, Any]]] = []
        ended = ""
        models = len({job.key.name for job in group if job.kind == "prediction"})
        given = [job.as_json() for job in group]
        try:
            for answer in self._ask("compute", given, name, max(models, 1)):
                if answer["digest"] not in left:
                    self._end(f"{child.NoAnswerError()}; {OWN_DESCRIPTORS}")
                job = left.pop(answer["digest"])
                if "why" in answer:
                    problems.append((job, answer))
                else:
                    yield job, None
        except _EndedError as error:
            ended = str(error)
        if self.closed:
            return
        printed = self.output.end(GRACE) if self.output else None
        if printed:
            log.info(f"{title(group)}: printed {printed}")
            if damage := JPEG_DAMAGE.search(printed.text()):
                log.warning(
                    f"{title(group)}: JPEG files with damaged data were read, which are "
                    f"partly gray or in wrong colors ({damage[0].strip()!r}); find them with "
                    "`jpeginfo -c`, replace them and run again"
                )
        for job, answer in problems:
            details = answer.get("traceback", "") + _last_lines(printed)
            yield job, problem_in(self.store, answer, details)
        if not left:
            return
        parts = _parts(list(left.values()))
        if len(parts) > 1:  # one of them is to blame, and the others need not suffer
            log.info(f"{title(group)}: {ended}; trying its {len(parts)} parts one by one")
            shutil.rmtree(self.store.workspace(sweep_key(group)), ignore_errors=True)
            for part in parts:
                yield from self.compute(part)
            return
        failure = keep(self.store, name, ended, _last_lines(printed))
        for job in left.values():
            yield job, Problem(failure)

    def _ask(self, command: str, given: Any, name: str, times: int = 1) -> Iterator[dict[str, Any]]:
        """Give a command and yield what is answered; ``name`` is that of the file for output.

        It may take the time limit, or ``times`` as long.
        """
        if self.child is None:
            self._start()
        assert self.output is not None
        self.output.begin(self._file(name))
        limit = None if self.minutes is None else self.minutes * times
        yield from self._exchange(command, given, limit)

    def _start(self) -> None:
        if self.closed:
            raise _EndedError("interrupted")
        self.output = None
        size = shutil.get_terminal_size()
        try:
            self.child = child.Child(
                "harness.execution.worker:work",
                subprocess.PIPE,
                # Bars are drawn for the terminal that it does not see.
                {
                    **os.environ,
                    # As the command sets them; a notebook has its own.
                    "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
                    "MPLBACKEND": "agg",
                    **self.environment,
                    "COLUMNS": str(size.columns),
                    "LINES": str(size.lines),
                },
                self.cpus,
            )
        except OSError as error:
            raise _EndedError(
                f"no process can be started ({error.strerror}); end other processes, then run again"
            ) from error
        if self.closed:  # meanwhile
            self._end("interrupted")
        cores = f"cores {', '.join(map(str, self.cpus))}" if self.cpus else "all cores"
        log.debug(f"process {self.child.process.pid} is started to compute, on {cores}")
        assert self.child.process.stderr is not None
        marker = f"\0{uuid.uuid4().hex}\n"
        self.output = Output(self.child.process.stderr, marker.encode())
        self.output.begin(self._file("open"))
        setup = {
            "session": self.session.as_json(),
            "terminal": self.bars and progress.draws(progress.terminal()),
            "level": messages.LOGGER.getEffectiveLevel(),
            "marker": marker,
        }
        # No limit: this process has loaded the same plugins, within the limit.
        for answer in self._exchange("open", setup, None):
            self._end(answer["why"])
        self.output.end(GRACE)

    def _file(self, name: str) -> Path:
        return self.store.root / "output" / f"{name}.txt"

    def _exchange(
        self, command: str, given: Any, minutes: float | None
    ) -> Iterator[dict[str, Any]]:
        """Give a command and yield what is answered until it is done."""
        started = self.child
        assert started is not None
        process = started.process
        lost = False  # whether it does not hear what it is asked
        watch = signals.Stopwatch()
        try:
            started.ask([command, given])
        except OSError:
            lost = True
        while True:
            answer: dict[str, Any] = {}
            spent = watch.seconds()
            try:
                heard = started.answer(TICK)
            except queue.Empty:
                if lost:
                    self._end(_how_it_died(started))
            except child.NoAnswerError as error:
                self._end(f"{error}; {OWN_DESCRIPTORS}")
            else:
                if heard is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(GRACE)
                    self._end(_how_it_died(started))
                answer = heard
            if "done" in answer:
                return
            if "ready" in answer:  # what comes now counts
                watch = signals.Stopwatch()
                continue
            if "log" in answer:
                messages.relay(answer["log"])
            elif "draw" in answer:
                self._draw(answer["draw"])
            elif answer:
                yield answer
                # What is left of a group may take as long again, such as the next probe.
                watch = signals.Stopwatch()
                continue
            if minutes is not None and spent > 60 * minutes:
                if hasattr(signal, "SIGUSR1"):  # it prints where it is
                    process.send_signal(signal.SIGUSR1)
                    time.sleep(TICK)
                self._end(f"took longer than the {minutes:g} min of --time-limit")

    def _draw(self, text: str) -> None:
        file = progress.terminal()
        file.write(text)
        file.flush()
        self.in_a_line = not text.endswith("\n")

    def _end(self, why: str) -> NoReturn:
        """End the process and raise."""
        if self.in_a_line:
            self._draw("\n")
        self._kill()
        raise _EndedError(why)

    def _kill(self) -> None:
        """End the process with all that it has started."""
        started, self.child = self.child, None
        if started is not None:  # nobody else has done so meanwhile
            started.kill()
        self.owner, self.guests = "", ()


def _how_it_died(started: child.Child) -> str:
    code = started.process.poll()
    if code in signals.ENDING:  # a system that ends both tells this process any moment
        time.sleep(5 * TICK)
    fix = "use less of it" if code == child.KILLED else "report it to the plugin's author"
    return f"{child.how_it_died(code)}; {fix}"


def _last_lines(printed: Printed | None) -> str:
    if printed is None:
        return "\nIt printed nothing."
    return f"\nIt printed {printed}. The end of it:\n\n{printed.tail}"


def _parts(group: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """Jobs of one pass by whose code they run: the model's or the features', if there are several,
    else the perturbation's."""
    names = [job.key.name for job in group]
    if len(set(names)) == 1:
        names = [str(job.key.fields.get("perturbation", "clean")) for job in group]
    parts: dict[str, list[JobSpec]] = {}
    for name, job in zip(names, group, strict=True):
        parts.setdefault(name, []).append(job)
    return list(parts.values())
