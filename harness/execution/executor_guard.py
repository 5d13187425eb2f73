"""Around an executor of a plugin: what it does wrong is said with its name, and costs no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from harness.errors import HarnessError, one_line
from harness.jobs.spec import JobSpec
from harness.store.failures import Failure, keep_error
from harness.store.store import Store
from harness.types.executors import Event, Execution, Problem


class Guarded:
    """An ``Execution`` of a plugin.

    An exception becomes a HarnessError that names the executor, with the details in the store. A
    job that is said to be done and whose result is not in the store has failed.
    """

    def __init__(self, name: str, start: Callable[[], Execution], store: Store) -> None:
        self.name = name
        self.store = store
        self.groups: dict[str, Sequence[JobSpec]] = {}
        """Groups that are under way, by the digest of their first job."""
        self.left: dict[str, set[str]] = {}
        """Digests of their jobs of which no event has come."""
        self.base: Execution = self._call(start)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except HarnessError:
            raise
        except Exception as error:
            kept = keep_error(self.store, f"executor-{self.name}", error)
            where = f" (details in {kept.details})" if kept.details else ""
            said = one_line(f"{type(error).__name__}: {error}")
            raise self._wrong(f"raised {said}{where}") from error

    def _wrong(self, what: str) -> HarnessError:
        return HarnessError(
            f"the executor {self.name} {what}; report it to the plugin's author, or leave out "
            f"--executor {self.name}"
        )

    def __enter__(self) -> Guarded:
        self._call(self.base.__enter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._call(self.base.__exit__, kind, error, where)

    @property
    def where(self) -> str:
        """What computes."""
        said = self._call(lambda: getattr(self.base, "where", ""))
        return one_line(str(said or f"the executor {self.name}"))

    @property
    def has_room(self) -> bool:
        """Whether one more group can be submitted."""
        return bool(self._call(lambda: self.base.has_room))

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes, as the executor says."""
        found = self._call(self.base.estimate, job)
        return None if found is None else float(found)

    def submit(self, group: Sequence[JobSpec]) -> None:
        """Hand on a group."""
        first = group[0].key.digest
        self.groups[first] = group
        self.left[first] = {job.key.digest for job in group}
        self._call(self.base.submit, tuple(group))

    def next(self, seconds: float) -> Event | None:
        """Hand on what happened, if it can have happened."""
        event = self._call(self.base.next, seconds)
        if event is None:
            return None
        if not isinstance(event, Event):
            raise self._wrong(f"returned {event!r} from next where an Event is expected")
        if event.error is not None:
            raise self._wrong(f"says that it failed: {one_line(str(event.error))}")
        first = event.group[0].key.digest if event.group else ""
        if first not in self.groups:
            raise self._wrong("told of a group of jobs that is not under way")
        group, left = self.groups[first], self.left[first]
        if event.job is None:
            if left:
                raise self._wrong(f"ended a group without a word about {len(left)} of its jobs")
            del self.groups[first], self.left[first]
            return Event(group)
        if event.job.key.digest not in left:
            raise self._wrong(f"told twice of {event.job.label}, or of a job of another group")
        left.discard(event.job.key.digest)
        problem = event.problem
        if problem is None and event.job.key not in self.store:
            why = f"the executor {self.name} says that it is done, but it is not in the store"
            problem = Problem(Failure(f"{why}; report it to the plugin's author"))
        return Event(group, event.job, problem)
