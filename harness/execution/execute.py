"""Running a plan: nothing finished is ever lost, and runs that share a store share the work."""

from __future__ import annotations

import contextlib
import heapq
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.execution.kept_patches import remove_caches, with_cache
from harness.execution.trackers import Trackers
from harness.hooks.registry import Registry
from harness.jobs.spec import JobSpec
from harness.planning.plan import Plan, is_late, title, together
from harness.store import failures
from harness.store.claims import Claims
from harness.store.failures import FailedModel, Failure
from harness.store.keys import SWEEP, Key
from harness.store.store import Store
from harness.system.atomic import disk_error
from harness.system.progress import duration
from harness.types.executors import Event, Execution

log = logging.getLogger(__name__)

LONG = 600.0
"""Seconds from which a job deserves a hint on how to shorten it."""
TICK = 0.5
"""Seconds between two looks at what other runs have computed."""


def execute(
    plan: Plan,
    store: Store,
    registry: Registry,
    executor: Execution,
    minutes: float | None = None,
    when_clean: Callable[[], None] = lambda: None,
) -> dict[str, Failure]:
    """Compute what the store lacks. Returns, for what did not finish, its label and why.

    A job that fails takes only those with it that need it. What another run computes at the moment
    is waited for. Whatever finished is in the store, also when this raises KeyboardInterrupt.
    ``when_clean`` is called when all that is left is about perturbed patches. ``minutes`` is how
    long a tracker may take.
    """
    with Claims(store.root) as claims:
        try:
            with executor:
                return _Execution(plan, store, registry, executor, claims, minutes).run(when_clean)
        finally:  # nobody writes to them any more
            with contextlib.suppress(OSError):
                remove_caches(store, claims)


_Waiting = tuple[int, list[JobSpec]]
"""A group that is not begun, and its place in the order, which no other has at that time."""


@dataclass
class _Group:
    """Jobs that are computed together, under way."""

    jobs: Sequence[JobSpec]
    head: str
    started: float = field(default_factory=time.monotonic)
    again: list[JobSpec] = field(default_factory=list)
    """Jobs that found an input damaged."""
    damaged: set[str] = field(default_factory=set)
    """Digests of those inputs."""


class _Execution:
    """A plan under way, and what has failed by now."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        registry: Registry,
        executor: Execution,
        claims: Claims,
        minutes: float | None,
    ) -> None:
        self.plan = plan
        self.store = store
        self.registry = registry
        self.executor = executor
        self.claims = claims
        self.failures = dict(plan.failures)
        self.trackers = Trackers(registry, store, self.failures, minutes)
        self.failed: dict[str, Failure] = {}
        """By digest of the result; what needs it has failed for the same reason."""
        self.failed_fits: dict[str, Failure] = {}
        """By the fits of clean predictions that failed: perturbed patches need not be tried."""
        self.retried: set[tuple[str, str]] = set()
        """Pairs of a job and an input that it found damaged: a second time, it is a failure."""
        self.waiting: list[_Waiting] = []
        """A heap of groups that are not begun, in the order in which their turn comes."""
        self.blocked: dict[str, list[_Waiting]] = {}
        """Further groups, by the digest of an unfinished job that they need: nobody looks at them
        until it ends."""
        self.last = self.first = 0
        """The last and the first place in that order."""
        self.running: dict[str, _Group] = {}
        """By digest of their first job."""
        self.unfinished: set[str] = set()
        """Digests of the jobs that are waiting or running."""
        self.clean: set[str] = set()
        """Those of them that are not about perturbed patches."""
        self.elsewhere: dict[str, str] = {}
        """Digests of jobs that other runs have claimed, and who."""
        self.claimed: dict[str, set[str]] = {}
        """By name of a claim, the digests of the jobs for which this run has it."""
        self.looked = 0.0
        """When these were looked for."""
        self.told_of: set[str] = set()
        """The other runs that were named."""
        self.half_written = store.half_written()
        """By digest: what is of processes that are gone, once this run has claimed the result."""
        self.total = self.begun = self.skipped = 0
        self.full = False
        """Whether the disk is."""

    def run(self, when_clean: Callable[[], None]) -> dict[str, Failure]:
        """Compute what is lacking."""
        to_do = with_cache(self.plan.to_do(self.store, self.seconds), self.claims, self.registry)
        for warning in self.plan.warnings:
            log.warning(warning)
        self.store.warn_of_damaged(job.key for job in to_do)
        for copy in self.plan.copies:
            self.store.warn_of_current(copy.dataset)
        for job in filter(_has_row, self.plan.jobs.values()):
            about = job.key.dataset, job.key.fields["data"], job.key.name
            failures.forget_damaged(self.store, *about)
        log.debug(
            f"{len(self.plan.jobs)} results are planned, {len(to_do)} are not in {self.store.root}"
        )
        announce(to_do, self.seconds)
        for failure in self.plan.failures.values():
            if failure.model:
                self.record(*failure.model, failure)
        jobs = tuple({**job.key.as_dict(), "dataset": job.about} for job in to_do)
        self.trackers.tell("harness_run_started", jobs=jobs)
        self.add(to_do)
        clean = bool(self.clean)
        try:
            while self.waiting or self.blocked or self.running:
                if clean and not self.clean and self.unfinished and not self.full:
                    clean = False
                    self.write_tables(when_clean)
                self.begin()
                if event := self.executor.next(TICK):
                    self.take(event)
                if self.full and not self.running:  # what comes next would be computed in vain
                    blocked = (group for groups in self.blocked.values() for group in groups)
                    self.skipped += sum(len(group) for _, group in (*self.waiting, *blocked))
                    break
        except KeyboardInterrupt:
            self.failures["run"] = Failure("interrupted")
            raise
        finally:
            if self.skipped:
                log.info(f"{self.skipped} further results were not computed because of that.")
            self.make_current()
            with contextlib.suppress(OSError, HarnessError):  # what stays is named again
                self.store.drop_replaced(self.is_lasting)
                self.store.drop_workspaces()
                self.drop_half_written()
            told = {label: str(failure) for label, failure in self.failures.items()}
            self.trackers.tell("harness_run_ended", failures=told)
        return self.failures

    def seconds(self, job: JobSpec) -> float | None:
        """How long a job takes, roughly; None where that is not known.

        A model may be tried out for that, which is not for this process to do.
        """
        if job.estimated:
            return self.executor.estimate(job)
        if job.as_long_as and job.as_long_as in self.store:
            return float(self.store.record(job.as_long_as)["seconds"])
        return None

    def add(self, jobs: Sequence[JobSpec], first: bool = False) -> None:
        """Let jobs wait for their turn, before all others or after them."""
        groups = together(jobs)
        if first:
            self.first -= len(groups)
            places = range(self.first, self.first + len(groups))
        else:
            places = range(self.last + 1, self.last + 1 + len(groups))
            self.last += len(groups)
        for place, group in zip(places, groups, strict=True):
            heapq.heappush(self.waiting, (place, group))
        self.unfinished |= {job.key.digest for job in jobs}
        self.clean |= {job.key.digest for job in jobs if not is_late(job)}
        self.total += len(jobs)

    def begin(self) -> None:
        """Begin as much as there is room for: whole groups, or parts where nothing else is left."""
        self.begin_groups(whole=True)
        if not self.running and self.elsewhere:
            for groups in self.blocked.values():
                self.waiting += groups
            self.blocked.clear()
            heapq.heapify(self.waiting)
            self.begin_groups(whole=False)

    def begin_groups(self, whole: bool) -> None:
        """Begin groups whose needs are there, or, if not ``whole``, those jobs of them."""
        look = time.monotonic() - self.looked > TICK
        if look:
            self.looked = time.monotonic()
        later: list[_Waiting] = []
        while self.waiting and self.executor.has_room and not self.full:
            place, group = heapq.heappop(self.waiting)
            needs = [
                next((need.digest for need in job.needs if need.digest in self.unfinished), "")
                for job in group
            ]
            if any(needs) and (whole or all(needs)):
                self.blocked.setdefault(next(filter(None, needs)), []).append((place, group))
                continue
            must_wait = [job for job, need in zip(group, needs, strict=True) if need]
            waits = {job.key.digest for job in must_wait}
            mine, left = [], must_wait
            for job in group:
                if job.key.digest in waits or self.is_hopeless(job):
                    continue
                if not self.claim(job, look):
                    left.append(job)
                elif job.key in self.store:  # another run has computed it meanwhile
                    self.begun += 1
                    self.done(job)
                else:
                    mine.append(job)
            if left:
                later.append((place, left))
            if mine:
                self.submit(mine)
        for waiting in later:
            heapq.heappush(self.waiting, waiting)
        if self.elsewhere and not self.running:
            for who in sorted({*self.elsewhere.values()} - self.told_of):
                log.info(f"Waiting for results that {who} is computing for the same store.")
                self.told_of.add(who)

    def is_hopeless(self, job: JobSpec) -> bool:
        """Whether what a job needs has failed; then so has the job."""
        why = next((self.failed[n.digest] for n in job.needs if n.digest in self.failed), None)
        if why is None and is_late(job):
            why = self.failed_fits.get(str(job.key.fields.get("fits")))
        if why is not None:
            self.skipped += 1
            self.begun += 1
            self.fail(job, why)
        return why is not None

    def claim(self, job: JobSpec, look: bool) -> bool:
        """Claim a job, unless another run has; whether it still has is seen when ``look``."""
        digest = job.key.digest
        if digest in self.elsewhere and not look:
            return False
        name = _claim(job)
        try:
            taken = self.claims.take(name)
        except HarnessError as error:  # the disk is full, or may not be written to
            self.full = True
            self.failures.setdefault(job.label, Failure(str(error)))
            return False
        if not taken:
            self.elsewhere[digest] = self.claims.holder(name) or "another process"
            return False
        self.claimed.setdefault(name, set()).add(digest)
        self.elsewhere.pop(digest, None)
        for leftover in self.half_written.pop(digest, ()):
            shutil.rmtree(leftover, ignore_errors=True)
        return True

    def submit(self, jobs: Sequence[JobSpec]) -> None:
        """Begin to compute a group."""
        first, last = self.begun + 1, self.begun + len(jobs)
        self.begun = last
        numbers = str(last) if first == last else f"{first}-{last}"
        head = f"[{numbers}/{self.total}] {title(jobs)}"
        expected = sum(self.seconds(job) or 0 for job in jobs) if is_late(jobs[0]) else 0
        if expected > 60:
            head += f", about {duration(expected)}"
        log.info(head)
        for job in jobs:
            log.debug(f"{job.label}: computes {self.store.folder(job.key)}")
        self.running[jobs[0].key.digest] = _Group(jobs, head)
        self.executor.submit(jobs)

    def take(self, event: Event) -> None:
        """Note what became of a job, or that a group has ended."""
        if event.error is not None:
            raise event.error
        group, job, problem = self.running[event.group[0].key.digest], event.job, event.problem
        if job is None:
            del self.running[event.group[0].key.digest]
            if group.again:
                self.once_more(group)
            if (took := time.monotonic() - group.started) > 2:
                log.info(f"{group.head}: done in {duration(took)}")
        elif problem is None:
            self.done(job)
            self.trackers.tell_stored(job)
        elif (found := self.planned(problem.damaged)) and self.is_first(job, problem.damaged):
            group.again.append(job)
            group.damaged |= found
        else:
            why = failures.below(self.store, problem.failure)
            self.failures[job.label] = why
            log.error(f"{job.label}: FAILED: {why}")
            self.full = self.full or problem.disk_is_full
            self.fail(job, why, not problem.disk_is_full)

    def planned(self, damaged: str) -> set[str]:
        """Digests of the jobs of this plan whose results are in a folder of this name."""
        if not damaged.startswith(SWEEP):
            return self.plan.jobs.keys() & {damaged}
        swept = (job.key for job in self.plan.jobs.values() if job.key.is_swept)
        return {key.digest for key in swept if self.store.folder(key).name == damaged}

    def is_first(self, job: JobSpec, damaged: str) -> bool:
        """Whether a job finds an input damaged for the first time."""
        pair = job.key.digest, damaged
        if pair in self.retried:
            return False
        self.retried.add(pair)
        return True

    def once_more(self, group: _Group) -> None:
        """Compute the inputs that were found damaged, then what found them so.

        This process may have seen the inputs before they were.
        """
        found: dict[str, JobSpec] = {}
        for digest in group.damaged:
            self.store.forget(self.plan.jobs[digest].key)
            self.plan.lacking(self.plan.jobs[digest], self.store, found)
        for digest in found.keys() & self.unfinished:  # another group has found the same
            del found[digest]
        self.store.warn_of_damaged(job.key for job in found.values())
        self.add([*found.values(), *group.again], first=True)

    def done(self, job: JobSpec) -> None:
        """A result is stored, by this run or another."""
        self.settle(job)
        if job.key.kind == "dataset" and not self.store.has_current(job.key.dataset):
            self.store.set_current(job.key)  # no other copy has a board yet
        if _has_row(job):
            fields = job.key.fields
            failures.forget(self.store, job.key.dataset, fields["data"], job.key.name)

    def drop_half_written(self) -> None:
        """Remove what killed runs had begun to write, and others have stored since."""
        for digest, leftovers in self.half_written.items():
            job = self.plan.jobs.get(digest)
            if job is None or digest in self.unfinished or not self.claims.take(_claim(job)):
                continue
            for leftover in leftovers:
                shutil.rmtree(leftover, ignore_errors=True)
            self.claims.give_up(_claim(job))

    def is_lasting(self, key: Key) -> bool:
        """Whether a result under a perturbation can still be asked for."""
        name = key.fields["perturbation"]
        known = self.registry.perturbations
        return name in known and known[name].version == key.fields["perturbation_version"]

    def settle(self, job: JobSpec) -> None:
        """Nothing waits for a job any more."""
        digest = job.key.digest
        self.unfinished.discard(digest)
        for waiting in self.blocked.pop(digest, ()):
            heapq.heappush(self.waiting, waiting)
        self.clean.discard(digest)
        self.elsewhere.pop(digest, None)
        name = _claim(job)
        if claimed := self.claimed.get(name):
            claimed.discard(digest)
            if not claimed:
                self.claims.give_up(name)

    def fail(self, job: JobSpec, why: Failure, with_row: bool = True) -> None:
        """Remember why a job failed."""
        self.settle(job)
        self.failed[job.key.digest] = why
        if job.key.kind == "prediction" and not is_late(job) and "fits" in job.key.fields:
            self.failed_fits[str(job.key.fields["fits"])] = why
        if _has_row(job) and with_row:
            key = job.key
            self.record(key.dataset, key.fields["data"], key.name, why)

    def write_tables(self, write: Callable[[], None]) -> None:
        """Write tables while perturbed patches are still to be predicted."""
        self.make_current()
        try:
            write()
        except Exception as error:  # what is left to compute does not suffer
            why = failures.keep_error(self.store, "when-clean", error)
            log.warning(f"the tables could not be written yet: {why}")

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


def _claim(job: JobSpec) -> str:
    """What is claimed for a job: its result or, where that is part of a sweep, all that it may be
    stored with."""
    return job.key.common().digest if job.key.is_swept else job.key.digest


def _has_row(job: JobSpec) -> bool:
    """Whether a job's result is a row of the leaderboard."""
    fields = job.key.fields
    return job.key.kind == "prediction" and not is_late(job) and fields["view"] == "identity"


def announce(to_do: Sequence[JobSpec], seconds: Callable[[JobSpec], float | None]) -> None:
    """Say how much there is to do, about how long it takes, and how to shorten it."""
    if not to_do:
        log.info("Everything is in the store; nothing to compute.")
        return
    models: dict[tuple[str, str], list[JobSpec]] = {}
    for job in to_do:
        if job.key.kind == "fit":
            models.setdefault((job.about, job.key.name), []).append(job)
    total, unknown = 0.0, []
    for (dataset, model), fits in models.items():
        known = [estimate for job in fits if (estimate := seconds(job)) is not None]
        total += sum(known)
        if len(known) < len(fits):
            unknown.append(f"{model} on {dataset}")
        if sum(known) > LONG:
            hint = f"; to shorten: {fits[0].hint}" if fits[0].hint else ""
            log.info(f"{model} on {dataset}: fitting takes about {duration(sum(known))}{hint}")
    text = f"{len(to_do)} results to compute"
    if len(unknown) < len(models):
        text += f"; fitting takes about {duration(total)} on this machine"
    if unknown:
        text += f"; how long fitting {', '.join(unknown)} takes is not known"
    changed = sum(is_late(job) and job.key.kind == "prediction" for job in to_do)
    if changed:
        text += f"; {changed} of them are predictions of perturbed patches"
    log.info(f"{text}.")
