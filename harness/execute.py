"""Running a plan: one job after another, nothing finished is ever lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from harness import failures
from harness.failures import FailedModel, Failure
from harness.jobs.spec import JobSpec
from harness.plan import Plan, is_late, title, together
from harness.progress import duration, say
from harness.registry import Registry
from harness.store import Store, disk_error
from harness.stored import forget
from harness.supervise import Worker
from harness.trackers import Trackers

LONG = 600.0
"""Seconds from which a job deserves a hint on how to shorten it."""


def execute(
    plan: Plan,
    store: Store,
    registry: Registry,
    worker: Worker,
    when_clean: Callable[[], None] = lambda: None,
) -> dict[str, Failure]:
    """Compute what the store lacks. Returns, for what did not finish, its label and why.

    A job that fails takes only those with it that need it. Whatever finished is in the store,
    also when this raises KeyboardInterrupt. ``when_clean`` is called when all that is left is
    about perturbed patches.
    """
    with store.locked(), worker:
        return _Execution(plan, store, registry, worker).run(when_clean)


class _Execution:
    """A plan under way, and what has failed by now."""

    def __init__(self, plan: Plan, store: Store, registry: Registry, worker: Worker) -> None:
        self.plan = plan
        self.store = store
        self.registry = registry
        self.worker = worker
        self.failures = dict(plan.failures)
        self.trackers = Trackers(registry, store, self.failures, worker.minutes)
        self.failed: dict[str, Failure] = {}
        """By digest of the result; what needs it has failed for the same reason."""
        self.failed_fits: dict[str, Failure] = {}
        """By the fits of clean predictions that failed: changed patches need not be tried."""
        self.again: dict[str, JobSpec] = {}
        """By digest: jobs of the last group that found an input damaged."""
        self.found_damaged: set[str] = set()
        """Those inputs."""
        self.retried: set[tuple[str, str]] = set()
        """Pairs of both: a second time, it is a failure."""

    def run(self, when_clean: Callable[[], None]) -> dict[str, Failure]:
        """Compute what is lacking."""
        to_do = self.plan.to_do(self.store, self.seconds)
        for warning in self.plan.warnings:
            say(f"WARNING: {warning}")
        self.store.warn_of_damaged(job.key for job in to_do)
        for copy in self.plan.copies:
            self.store.warn_of_current(copy.dataset)
        for job in filter(_has_row, self.plan.jobs.values()):
            about = job.key.dataset, job.key.fields["data"], job.key.name
            failures.forget_damaged(self.store, *about)
        announce(to_do, self.seconds)
        for failure in self.plan.failures.values():
            if failure.model:
                self.record(*failure.model, failure)
        skipped = 0
        self.trackers.tell("harness_run_started", jobs=tuple(job.key.as_dict() for job in to_do))
        try:
            number, clean = 0, any(not is_late(job) for job in to_do)
            groups = deque(together(to_do))
            while groups:
                group = groups.popleft()
                if clean and is_late(group[0]):
                    self.make_current()
                    try:
                        when_clean()
                    except Exception as error:  # what is left to compute does not suffer
                        why = failures.keep_error(self.store, "when-clean", error)
                        say(f"WARNING: the tables could not be written yet: {why}")
                    clean = False
                able = [job for job in group if not self.hopeless(job)]
                skipped += len(group) - len(able)
                number += len(group)
                if not able:
                    continue
                started = time.monotonic()
                last = f"{number}/{len(to_do)}"
                head = f"[{last if len(group) == 1 else f'{number - len(group) + 1}-{last}'}] "
                head += title(able)
                expected = sum(self.seconds(job) or 0 for job in able) if is_late(able[0]) else 0
                if expected > 60:
                    head += f", about {duration(expected)}"
                say(head)
                if self.compute(able):  # what comes next would be computed in vain
                    skipped += len(to_do) - number
                    break
                if self.again:
                    again = self.once_more()
                    groups.extendleft(reversed(together(again)))
                    to_do += again
                if (took := time.monotonic() - started) > 2:
                    say(f"{head}: done in {duration(took)}")
        except KeyboardInterrupt:
            self.failures["run"] = Failure("interrupted")
            raise
        finally:
            if skipped:
                say(f"{skipped} further results were not computed because of that.")
            self.make_current()
            told = {label: str(failure) for label, failure in self.failures.items()}
            self.trackers.tell("harness_run_ended", failures=told)
        return self.failures

    def seconds(self, job: JobSpec) -> float | None:
        """How long a job takes, roughly; None where that is not known.

        A model may be tried out for that, which is not for this process to do.
        """
        if job.estimated:
            return self.worker.estimate(job)
        if job.as_long_as and job.as_long_as in self.store:
            return float(self.store.record(job.as_long_as)["seconds"])
        return None

    def compute(self, group: Sequence[JobSpec]) -> bool:
        """Compute a group. Returns whether the disk is full."""
        full = False
        self.again = {}
        for job, problem in self.worker.compute(group):
            if problem is None:
                if job.key.kind == "dataset" and not self.store.has_current(job.key.dataset):
                    self.store.set_current(job.key)  # no other copy has a board yet
                if _has_row(job):
                    fields = job.key.fields
                    failures.forget(self.store, job.key.dataset, fields["data"], job.key.name)
                self.trackers.tell_stored(job)
                continue
            pair = job.key.digest, problem.damaged
            if problem.damaged in self.plan.jobs and pair not in self.retried:
                self.retried.add(pair)
                self.again[job.key.digest] = job
                self.found_damaged.add(problem.damaged)
                continue
            self.failures[job.label] = problem.failure
            say(f"{job.label}: FAILED: {problem.failure}")
            full = full or problem.disk_is_full
            self.fail(job, problem.failure, not problem.disk_is_full)
        return full

    def once_more(self) -> list[JobSpec]:
        """What to compute so that jobs find their inputs, which they found damaged; and the jobs.

        This process may have seen the inputs before they were.
        """
        found: dict[str, JobSpec] = {}
        for digest in self.found_damaged:
            forget(self.store.folder(self.plan.jobs[digest].key))
            self.plan.lacking(self.plan.jobs[digest], self.store, found)
        self.store.warn_of_damaged(job.key for job in found.values())
        self.found_damaged.clear()
        return [*found.values(), *self.again.values()]

    def hopeless(self, job: JobSpec) -> bool:
        """Whether what a job needs has failed; then so has the job."""
        why = next((self.failed[n.digest] for n in job.needs if n.digest in self.failed), None)
        if why is None and is_late(job):
            why = self.failed_fits.get(str(job.key.fields.get("fits")))
        if why is not None:
            self.fail(job, why)
        return why is not None

    def fail(self, job: JobSpec, why: Failure, with_row: bool = True) -> None:
        """Remember why a job failed."""
        self.failed[job.key.digest] = why
        if job.key.kind == "prediction" and not is_late(job) and "fits" in job.key.fields:
            self.failed_fits[str(job.key.fields["fits"])] = why
        if _has_row(job) and with_row:
            key = job.key
            self.record(key.dataset, key.fields["data"], key.name, why)

    def record(self, dataset: str, data: str, model: str, why: Failure) -> None:
        """Keep why a model has no row of figures."""
        plugin = self.registry.models.plugin[model]
        failed = FailedModel(
            model=model,
            title=self.registry.models[model].title,
            plugin=f"{plugin.distribution} {plugin.version}",
            why=why.why,
            details=why.details.name if why.details else "",
        )
        failures.record(self.store, dataset, data, failed)

    def make_current(self) -> None:
        """Let the leaderboards be about the copies of datasets that this plan is about."""
        try:
            for copy in self.plan.copies:
                if copy in self.store:
                    self.store.set_current(copy)
        except OSError as error:
            why = Failure(str(disk_error(error, self.store.root)))
            self.failures.setdefault("store", why)


def _has_row(job: JobSpec) -> bool:
    """Whether a job's result is a row of the leaderboard."""
    fields = job.key.fields
    return job.key.kind == "prediction" and not is_late(job) and fields["view"] == "identity"


def announce(to_do: Sequence[JobSpec], seconds: Callable[[JobSpec], float | None]) -> None:
    """Say how much there is to do, about how long it takes, and how to shorten it."""
    if not to_do:
        say("Everything is in the store; nothing to compute.")
        return
    models: dict[tuple[str, str], list[JobSpec]] = {}
    for job in to_do:
        if job.key.kind == "fit":
            models.setdefault((job.key.dataset, job.key.name), []).append(job)
    total, unknown = 0.0, []
    for (dataset, model), fits in models.items():
        known = [estimate for job in fits if (estimate := seconds(job)) is not None]
        total += sum(known)
        if len(known) < len(fits):
            unknown.append(f"{model} on {dataset}")
        if sum(known) > LONG:
            hint = f"; to shorten: {fits[0].hint}" if fits[0].hint else ""
            say(f"{model} on {dataset}: fitting takes about {duration(sum(known))}{hint}")
    text = f"{len(to_do)} results to compute"
    if len(unknown) < len(models):
        text += f"; fitting takes about {duration(total)} on this machine"
    if unknown:
        text += f"; how long fitting {', '.join(unknown)} takes is not known"
    changed = sum(is_late(job) and job.key.kind == "prediction" for job in to_do)
    if changed:
        text += f"; {changed} of them are predictions of changed patches"
    say(f"{text}.")
