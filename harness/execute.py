"""Running a plan: one process, one job after another, nothing finished is ever lost."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harness.errors import HarnessError
from harness.plan import Job, Plan, seconds
from harness.plugins import Registry
from harness.progress import duration, say
from harness.store import Store, disk_error, write_atomically

LONG = 600.0
"""Seconds from which a job deserves a hint on how to shorten it."""


def execute(plan: Plan, store: Store, registry: Registry) -> dict[str, str]:
    """Compute what the store lacks. Returns, for what did not finish, its label and why.

    A job that fails takes only those with it that need it. Whatever finished is in the store,
    also when this raises KeyboardInterrupt.
    """
    with store.locked():
        return _execute(plan, store, registry)


def _execute(plan: Plan, store: Store, registry: Registry) -> dict[str, str]:
    to_do = plan.to_do(store)
    for warning in plan.warnings:
        say(f"WARNING: {warning}")
    announce(to_do)
    failures = dict(plan.failures)
    failed: set[str] = set()
    skipped = 0
    hooks = registry.manager.hook
    _tell(partial(hooks.harness_run_started, jobs=tuple(job.key.as_dict() for job in to_do)))
    try:
        for number, job in enumerate(to_do, 1):
            head = f"[{number}/{len(to_do)}] {job.label}"
            if failed & {need.digest for need in job.needs}:
                failed.add(job.key.digest)
                skipped += 1
                continue
            started = time.monotonic()
            say(head)
            try:
                with store.write(job.key) as (folder, record):
                    record |= job.compute(folder)
            except Exception as error:
                failed.add(job.key.digest)
                failures[job.label] = _explain(error, job, store)
                say(f"{head}: FAILED: {failures[job.label]}")
                if _disk_is_full(error):  # what comes next would be computed in vain
                    skipped += len(to_do) - number
                    break
                continue
            if (took := time.monotonic() - started) > 2:
                say(f"{head}: done in {duration(took)}")
            _tell(
                partial(
                    hooks.harness_result_stored,
                    record=store.record(job.key),
                    folder=store.folder(job.key),
                )
            )
    except KeyboardInterrupt:
        failures["run"] = "interrupted"
        raise
    finally:
        if skipped:
            say(f"{skipped} further results were not computed because of that.")
        try:
            for copy in plan.copies:
                if copy in store:
                    store.set_current(copy)
        except OSError as error:
            failures.setdefault("store", str(disk_error(error, store.root)))
        _tell(partial(hooks.harness_run_ended, failures=failures))
    return failures


def announce(to_do: Sequence[Job]) -> None:
    """Say how much there is to do, about how long it takes, and how to shorten it."""
    if not to_do:
        say("Everything is in the store; nothing to compute.")
        return
    models: dict[tuple[str, str], list[Job]] = {}
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
    if models:
        text += f"; fitting takes about {duration(total)} on this machine"
    if unknown:
        text += f", and what {', '.join(unknown)} takes is not known"
    say(f"{text}.")


def _explain(error: Exception, job: Job, store: Store) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if _disk_is_full(error):
        return str(disk_error(OSError(errno.ENOSPC, ""), store.root))
    if isinstance(error, OSError):
        return str(disk_error(error, store.root))
    log = store.root / "errors" / f"{job.key.digest}.txt"
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        write_atomically(log, "".join(traceback.format_exception(error)))
    except OSError:
        return summary
    return f"{summary} (traceback in {log}; report it to the plugin's author)"


def _disk_is_full(error: Exception) -> bool:
    # Libraries that write by themselves, such as safetensors, have error types of their own.
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)


def _tell(hook: Callable[[], Any]) -> None:
    """Call lifecycle hooks; a tracker that fails must not end a run."""
    try:
        hook()
    except Exception as error:
        say(f"WARNING: a lifecycle hook failed: {type(error).__name__}: {error}")
