"""One thread of BLAS, OpenMP and OpenCV in each of our own threads, so that they do not multiply.

These libraries start a thread for each core, in every thread that calls them. Where several of our
threads call them at once, N cores get N x N threads, which spin while they wait for each other: on
two cores beside one busy process, a small matrix product takes 30 times as long with two BLAS
threads as with one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from harness.system.modules import loaded

Item = TypeVar("Item")
Result = TypeVar("Result")

LOADED_FIRST = ("scipy.linalg", "cv2")
"""Libraries with threads of their own that most passes use. A limit holds only for what is loaded,
so they are loaded before the limit is set, not by the first patch."""
ENVIRONMENT = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
)
"""What keeps libraries to one thread that are loaded later in this process, torch included."""


class Limits:
    """What the libraries of this process are limited to while passes run, and were before.

    BLAS and OpenCV have one number of threads for the process; it is set when the first pass
    begins and put back when the last one ends, in whatever order passes end. OpenMP has one number
    for each thread that calls it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes = 0
        self._modules = 0
        self._limited: dict[str, Any] = {}
        """Limits by the file of the library, to be put back."""
        self._opencv = 0
        self._openmp: Any = None
        self._own = threading.local()

    def begin(self) -> None:
        """A pass begins."""
        for name in LOADED_FIRST:
            import_module(name)
        with self._lock:
            self._passes += 1
            if self._passes == 1:
                self._opencv = sys.modules["cv2"].getNumThreads()
                sys.modules["cv2"].setNumThreads(1)
                self._look()

    def end(self) -> None:
        """A pass has ended."""
        with self._lock:
            self._passes -= 1
            if not self._passes:
                for limit in self._limited.values():
                    limit.restore_original_limits()
                self._limited.clear()
                sys.modules["cv2"].setNumThreads(self._opencv)

    def are_complete(self) -> bool:
        """Whether no module has been loaded since, which may have brought a library."""
        return self._modules == len(sys.modules)

    def complete(self) -> None:
        """Limit libraries that were loaded since. No other thread may be importing anything:
        looking for libraries while one is loaded can end in a deadlock."""
        with self._lock:
            self._look()

    def here(self) -> None:
        """Limit OpenMP in this thread, one of ours."""
        openmp = self._openmp
        if getattr(self._own, "openmp", None) is not openmp:
            self._own.openmp = openmp
            # The first call of torch in a thread sets the number to what it was at the start.
            if set_up := getattr(loaded("torch"), "get_num_threads", None):
                set_up()
            openmp.limit(limits=1)

    def _look(self) -> None:
        from threadpoolctl import ThreadpoolController

        self._modules = len(sys.modules)
        known = ThreadpoolController()
        self._openmp = known.select(user_api="openmp")
        for library in known.select(user_api="blas").info():
            path = library["filepath"]
            # Torch's own is not limited: a network that answers one batch after the other, in the
            # thread that consumes them, needs all cores.
            if path not in self._limited and "torch" not in Path(path).parts:
                self._limited[path] = known.select(filepath=path).limit(limits=1)


_LIMITS = Limits()


@contextmanager
def one_thread_each() -> Iterator[Limits]:
    """While it lasts, BLAS and OpenCV have one thread, whatever the environment says.

    Threads that are started meanwhile call ``here`` of what it yields, for OpenMP.
    """
    _LIMITS.begin()
    try:
        yield _LIMITS
    finally:
        _LIMITS.end()


CORES = "HARNESS_CORES"
"""The variable that says how many cores a process may use at most, such as one on a cluster."""


def cpu_count() -> int:
    """Cores that this process may use."""
    try:
        there = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        there = os.cpu_count() or 1
    allowed = os.environ.get(CORES, "")
    return min(there, max(1, int(allowed))) if allowed.isdecimal() else there


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What ``work`` makes of each item, in order, in as many threads as there are cores.

    It pays where the work is in numpy, OpenCV or files. All items are taken at once, and results
    are kept until they are asked for.
    """
    with (
        one_thread_each() as limits,
        ThreadPoolExecutor(cpu_count(), initializer=limits.here) as pool,
    ):
        yield from pool.map(work, items)
