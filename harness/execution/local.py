"""Computing on this machine: a number of processes, each with its own share of cores and GPUs."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.errors import HarnessError
from harness.execution.supervise import Worker
from harness.jobs.spec import JobSpec, SessionSpec
from harness.store.store import Store
from harness.system.threads import CORES, ENVIRONMENT, cpu_count
from harness.types.executors import Event, ExecutorOptions


class LocalProcesses:
    """Computes groups of jobs in processes of this machine, ``n`` groups at a time.

    Of several processes each gets a share of the cores, so that the threads of one do not stand in
    the way of another, and one of the GPUs.
    """

    def __init__(
        self, session: SessionSpec, store: Store, minutes: float | None = None, n: int = 1
    ) -> None:
        self.workers = [
            Worker(session, store, minutes, cpus=cpus, environment=environment, bars=n == 1)
            for cpus, environment in shares(n)
        ]
        # Threads that stay: a process that computes ends with the thread that has started it.
        self.threads = [ThreadPoolExecutor(1) for _ in self.workers]
        self.idle = set(range(n))
        self.events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stops = [
            threading.Thread(target=worker.stop, args=(kind is None,)) for worker in self.workers
        ]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        for thread in self.threads:
            thread.shutdown(wait=True, cancel_futures=True)

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes here; None when that cannot be told."""
        return self.workers[0].estimate(job)

    @property
    def where(self) -> str:
        """What computes: how many processes, which share how many cores and GPUs."""
        n, devices = len(self.workers), len(gpus())
        has = f"cores: {cpu_count()}" + (f", GPUs: {devices}" if devices else "")
        return f"{n} process{'es' if n > 1 else ''} of this machine ({has})"

    @property
    def has_room(self) -> bool:
        """Whether one more group can be computed at once."""
        return bool(self.idle)

    def submit(self, group: Sequence[JobSpec]) -> None:
        """Begin to compute a group; there must be room for it."""
        number = min(self.idle, key=lambda n: (self.workers[n].cost(group[0]), n))
        self.idle.remove(number)
        self.threads[number].submit(self._run, number, group)

    def next(self, seconds: float) -> Event | None:
        """What happened next; None if nothing did for so long."""
        try:
            number, event = self.events.get(timeout=seconds)
        except queue.Empty:
            return None
        if event.job is None:
            self.idle.add(number)
        return event

    def _run(self, number: int, group: Sequence[JobSpec]) -> None:
        try:
            for job, problem in self.workers[number].compute(group):
                self.events.put((number, Event(group, job, problem)))
        except BaseException as error:
            self.events.put((number, Event(group, error=error)))
        else:
            self.events.put((number, Event(group)))


def start(session: SessionSpec, options: ExecutorOptions) -> LocalProcesses:
    """The processes of a run: the executor ``local``. Raises HarnessError for an address."""
    if options.address:
        raise HarnessError(
            f"--address {options.address}: the executor local computes on this machine; add "
            "--executor ray, or leave out --address"
        )
    return LocalProcesses(session, Store(Path(session.store)), options.minutes, options.jobs)


def shares(n: int) -> list[tuple[list[int] | None, dict[str, str]]]:
    """For each of ``n`` processes, its cores (None: all of them), and what tells it its GPU."""
    if n == 1:
        return [(None, {})]
    known = _cores()
    devices = gpus()
    found: list[tuple[list[int] | None, dict[str, str]]] = []
    for number in range(n):
        cores = known and (known[number::n] or [known[number % len(known)]])
        share = str(max(1, cpu_count() // n))
        environment = {**dict.fromkeys(ENVIRONMENT, share), CORES: share}
        if len(devices) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        found.append((cores or None, environment))
    return found


def _cores() -> list[int]:
    """The cores that this process may use; none where a process cannot be bound to some."""
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return []
    return sorted(os.sched_getaffinity(0))


def gpus() -> list[str]:
    """The GPUs of NVIDIA that this process may use, as $CUDA_VISIBLE_DEVICES names them."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line for line in done.stdout.splitlines() if line.startswith(b"GPU ")]
    return [str(number) for number in range(len(lines))]
