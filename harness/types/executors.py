"""Executors: who computes the jobs of a run, such as processes of this machine or a cluster.

A job is data (``JobSpec``), and so is the session that it runs in (``SessionSpec``): both have
``as_json``. Whoever can start a Python process that imports ``harness``, in the same working
folder, and sees the folders of the store and the data can compute jobs with ``harness.jobs.run``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.jobs.spec import JobSpec, SessionSpec
    from harness.store.failures import Failure


@dataclass(frozen=True)
class Problem:
    """Why a job failed: what ``harness.jobs.problem`` makes of an answer of ``jobs.run``."""

    failure: Failure
    disk_is_full: bool = False
    """Whether there was no room to store the result; the run then ends."""
    damaged: str = ""
    """Digest of a result that the job needs and that is damaged; it is computed again."""


@dataclass(frozen=True)
class Event:
    """What became of a job, or the end of a group of jobs that are computed together."""

    group: Sequence[JobSpec]
    """The group as it was submitted."""
    job: JobSpec | None = None
    """None at the end of the group."""
    problem: Problem | None = None
    """None if the result is stored."""
    error: BaseException | None = None
    """A fault of the executor itself, which ends the run."""


class Execution(Protocol):
    """Computes groups of jobs in one session: what an ``Executor`` starts.

    All is called from one thread. It is a context manager: resources are taken on entering, and on
    leaving with an exception, such as KeyboardInterrupt, what is under way is ended. A group is
    computed in one process by ``harness.jobs.run``, which decodes each patch once for all its jobs.
    Several groups may be computed at once; what a group needs is stored before it is submitted.
    """

    def __enter__(self) -> Execution:
        """Itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
        /,
    ) -> bool | None:
        """End what is under way."""

    @property
    def where(self) -> str:
        """What computes, for ``harness run --dry-run``: "2 processes of this machine"."""

    @property
    def has_room(self) -> bool:
        """Whether one more group can be submitted now."""

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes; None when that is not known."""

    def submit(self, group: Sequence[JobSpec]) -> None:
        """Begin to compute a group, without waiting for it. Called only when there is room."""

    def next(self, seconds: float) -> Event | None:
        """What happened next; None if nothing did for so many seconds.

        For a group, an event for each job, then one without a job. A job whose event has no problem
        has its result in the store.
        """


@dataclass(frozen=True)
class ExecutorOptions:
    """What the user asks of an executor."""

    jobs: int = 1
    """``--jobs``: how many groups to compute at once."""
    minutes: float | None = None
    """``--time-limit``: how long a group may take; None for as long as it likes."""
    address: str = ""
    """``--address``: of the cluster that computes; "" for what the executor finds by itself."""
    cores: int = 1
    """``--job-cores``: what a cluster reserves for a group."""
    gpus: float = 1.0
    """``--job-gpus``: what a cluster with GPUs reserves for a group that runs a network."""
    memory: float = 0.0
    """``--job-memory``: gigabytes that a cluster reserves for a group; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Executor:
    """A way to compute jobs: ``harness run --executor NAME``."""

    name: str
    title: str
    start: Callable[[SessionSpec, ExecutorOptions], Execution]
    """Makes what computes the jobs of a run. Nothing is to happen before it is entered."""
