"""A bar in a notebook for the results that a run computes."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from harness.jobs.spec import JobSpec
from harness.planning.plan import Plan, title
from harness.store.store import Store
from harness.system import progress

if TYPE_CHECKING:
    from harness.types.executors import Event, Execution


def watched(executor: Execution, plan: Plan, store: Store) -> Execution:
    """An executor that shows how many of the results of a plan are there; itself elsewhere."""
    if not progress.in_notebook() or progress.instead is not None:
        return executor
    total = len(plan.to_do(store))
    return Watched(executor, total) if total else executor


class Watched:
    """Passes groups of jobs on to an executor and moves a bar on with each job that ends."""

    def __init__(self, executor: Execution, total: int) -> None:
        self.executor = executor
        self.bar = progress.notebook_bar(total)

    def __enter__(self) -> Watched:
        self.executor.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
        /,
    ) -> bool | None:
        try:
            return self.executor.__exit__(kind, error, where)
        finally:
            self.bar.close()

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes; None when that cannot be told."""
        return self.executor.estimate(job)

    @property
    def where(self) -> str:
        """What computes."""
        return self.executor.where

    @property
    def has_room(self) -> bool:
        """Whether one more group can be computed at once."""
        return self.executor.has_room

    def submit(self, group: Sequence[JobSpec]) -> None:
        """Begin to compute a group."""
        self.bar.set_description(title(group))
        self.executor.submit(group)

    def next(self, seconds: float) -> Event | None:
        """What happened next; None if nothing did for so long."""
        event = self.executor.next(seconds)
        if event is not None and event.job is not None:
            self.bar.update()
        return event
