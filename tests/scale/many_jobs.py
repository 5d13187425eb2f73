"""How the driver of a run behaves with very many jobs and workers; the jobs compute nothing.

    python tests/scale/many_jobs.py --jobs 1000 10000 100000 --workers 1000 --results 10000

Half of the jobs are fits, the other half predictions, each of which needs a fit. A worker takes a
drawn time for a job, which passes at once: what is measured is the driver's own time, with its real
store and claims on disk. With ``--results``, the store's own operations are timed as well, on small
results like those of fits and predictions.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.execution.execute import execute
from harness.hooks.loader import load_plugins
from harness.jobs.spec import JobSpec
from harness.planning.plan import Plan, together
from harness.store.claims import Claims
from harness.store.store import Key, Store
from harness.store.stored import load_array
from harness.types.executors import Event


class Imagined:
    """Workers that take drawn times, which pass as soon as the driver waits."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.clock = 0.0
        self.busy: list[tuple[float, int, Sequence[JobSpec]]] = []
        self.events: deque[Event] = deque()
        self.rng = np.random.default_rng(0)
        self.begun = 0
        self.idle = 0.0
        """Seconds of workers that had nothing to do, of the imagined time."""

    def __enter__(self) -> Imagined:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    where = "imagined workers"

    @property
    def has_room(self) -> bool:
        return len(self.busy) < self.n

    def estimate(self, job: JobSpec) -> float | None:
        return None

    def submit(self, group: Sequence[JobSpec]) -> None:
        self.begun += 1
        ends = self.clock + float(self.rng.exponential(60.0))
        heapq.heappush(self.busy, (ends, self.begun, group))

    def next(self, seconds: float) -> Event | None:
        if not self.events and self.busy:
            ends, _, group = heapq.heappop(self.busy)
            self.idle += (self.n - len(self.busy) - 1) * (ends - self.clock)
            self.clock = ends
            self.events.extend([*(Event(group, job) for job in group), Event(group)])
        return self.events.popleft() if self.events else None


def plan_of(n: int) -> Plan:
    """A plan of n jobs."""
    plan = Plan()
    for number in range(n // 2):
        fit = Key("fit", "d", f"m{number}", {"seed": 0})
        predicted = Key("prediction", "d", f"m{number}", {"fits": [fit.digest], "view": "flip"})
        plan.add(JobSpec(kind="fit", key=fit, label=f"fit {number}"))
        plan.add(
            JobSpec(
                kind="prediction", key=predicted, label=f"predict {number}", inputs={"fits": (fit,)}
            )
        )
    return plan


def measure(n: int, workers: int) -> None:
    """Print what n jobs cost."""
    registry = load_plugins()
    started = time.perf_counter()
    plan = plan_of(n)
    made = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        started = time.perf_counter()
        to_do = plan.to_do(store)
        listed = time.perf_counter() - started
        started = time.perf_counter()
        together(to_do)
        grouped = time.perf_counter() - started
        executor = Imagined(workers)
        started = time.perf_counter()
        assert not execute(plan, store, registry, executor)
        ran = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    busy = 1 - executor.idle / (executor.clock * workers)
    print(
        f"{n:>9,} {made:>9.1f} {listed:>9.1f} {grouped:>9.1f} {ran:>9.1f} {n / ran:>9,.0f} "
        f"{peak:>8,.0f} {100 * busy:>6.0f}",
        flush=True,
    )


def store_rates(n: int) -> None:
    """Print how many operations a second a store does that gets n results in one folder a model."""
    operations = ("claimed", "written", "found", "lacking", "read", "given up")
    seconds = dict.fromkeys(operations, 0.0)
    made = [Key("prediction", "d", f"m{i % 100}", {"fits": [str(i)]}) for i in range(2 * n)]
    logits = np.zeros((100, 9), np.float32)
    with tempfile.TemporaryDirectory() as folder, Claims(Path(folder)) as claims:
        store = Store(Path(folder))

        def write(key: Key) -> None:
            with store.write(key) as (place, record):
                np.save(place / "logits.npy", logits)
                record["seconds"] = 0.0

        def read(key: Key) -> None:
            load_array(Store(Path(folder)).folder(key), "logits.npy")

        work: dict[str, Callable[[Key], object]] = {
            "claimed": lambda key: claims.take(key.digest),
            "written": write,
            "found": lambda key: key in store,
            "lacking": lambda key: key in store,
            "read": read,
            "given up": lambda key: claims.give_up(key.digest),
        }
        for name, do in work.items():
            started = time.perf_counter()
            for key in made[n:] if name == "lacking" else made[:n]:
                do(key)
            seconds[name] = time.perf_counter() - started
    rates = " ".join(f"{n / took:>9,.0f}" for took in seconds.values())
    print(f"{n:>9,} {rates}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--results", type=int, nargs="*", default=[])
    options = parser.parse_args()
    logging.getLogger("harness").setLevel(logging.ERROR)
    names = ("jobs", "made s", "to do s", "groups s", "run s", "jobs/s", "MB", "busy %")
    print("{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>6}".format(*names))
    for n in options.jobs:
        measure(n, options.workers)
    if options.results:
        print("\nstore operations a second")
        names = ("results", "claimed", "written", "found", "lacking", "read", "given up")
        print(" ".join(f"{name:>9}" for name in names))
    for n in options.results:
        store_rates(n)
