"""Running a plan: one process, one job after another, nothing finished is ever lost."""

from __future__ import annotations

import errno
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.plan import Job, Plan, is_late, seconds, together
from harness.progress import duration, say
from harness.registry import Registry
from harness.store import Key, Store, disk_error, write_atomically
from harness.sweeps import Finish

LONG = 600.0
"""Seconds from which a job deserves a hint on how to shorten it."""


def execute(
    plan: Plan,
    store: Store,
    registry: Registry,
    when_clean: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Compute what the store lacks. Returns, for what did not finish, its label and why.

    A job that fails takes only those with it that need it. Whatever finished is in the store,
    also when this raises KeyboardInterrupt. ``when_clean`` is called when all that is left is
    about perturbed patches.
    """
    with store.locked():
        return _execute(plan, store, registry, when_clean)


def _execute(
    plan: Plan, store: Store, registry: Registry, when_clean: Callable[[], None]
) -> dict[str, str]:
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
        number, clean = 0, any(not is_late(job) for job in to_do)
        for group in together(to_do):
            if clean and is_late(group[0]):
                _make_current(plan, store, failures)
                when_clean()
                clean = False
            able = [job for job in group if not failed & {need.digest for need in job.needs}]
            failed |= {job.key.digest for job in group if job not in able}
            skipped += len(group) - len(able)
            number += len(group)
            if not able:
                continue
            started = time.monotonic()
            title = able[0].sweep.label if able[0].sweep and able[1:] else able[0].label
            last = f"{number}/{len(to_do)}"
            head = f"[{last if len(group) == 1 else f'{number - len(group) + 1}-{last}'}] {title}"
            if is_late(able[0]) and (expected := sum(seconds(job) or 0 for job in able)) > 60:
                head += f", about {duration(expected)}"
            say(head)
            full = False
            for job, error in _compute(able, store):
                if error is None:
                    _tell(
                        partial(
                            hooks.harness_result_stored,
                            record=store.record(job.key),
                            folder=store.folder(job.key),
                        )
                    )
                    continue
                failed.add(job.key.digest)
                failures[job.label] = _explain(error, job, store)
                say(f"{job.label}: FAILED: {failures[job.label]}")
                full = full or _disk_is_full(error)
            if full:  # what comes next would be computed in vain
                skipped += len(to_do) - number
                break
            if (took := time.monotonic() - started) > 2:
                say(f"{head}: done in {duration(took)}")
    except KeyboardInterrupt:
        failures["run"] = "interrupted"
        raise
    finally:
        if skipped:
            say(f"{skipped} further results were not computed because of that.")
        _make_current(plan, store, failures)
        _tell(partial(hooks.harness_run_ended, failures=failures))
    return failures


def _make_current(plan: Plan, store: Store, failures: dict[str, str]) -> None:
    """Let the leaderboards be about the copies of datasets that this plan is about."""
    try:
        for copy in plan.copies:
            if copy in store:
                store.set_current(copy)
    except OSError as error:
        failures.setdefault("store", str(disk_error(error, store.root)))


def _compute(group: Sequence[Job], store: Store) -> Iterator[tuple[Job, Exception | None]]:
    """Compute jobs together and store them; yields each with what went wrong, if anything."""
    sweep = group[0].sweep
    finishes: Sequence[Finish]
    workspace: Path | None = None
    try:
        if sweep is None:
            assert group[0].compute is not None
            finishes = [group[0].compute]
        else:
            workspace = store.workspace(_sweep_key(group))
            finishes = sweep.run([job.part for job in group], workspace)
    except Exception as error:
        yield from ((job, error) for job in group)
        return
    for job, finish in zip(group, finishes, strict=True):
        try:
            with store.write(job.key) as (folder, record):
                record |= finish(folder)
        except Exception as error:
            yield job, error
        else:
            yield job, None
    if workspace is not None:
        shutil.rmtree(workspace, ignore_errors=True)


def _sweep_key(group: Sequence[Job]) -> Key:
    """Names the workspace of a pass: the same when the same results are wanted again."""
    key = group[0].key
    return Key("sweep", key.dataset, key.name, {"parts": [job.key.digest for job in group]})


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
    changed = sum(is_late(job) and job.key.kind == "prediction" for job in to_do)
    if changed:
        text += f". {changed} are predictions of changed patches; --no-probes leaves these out"
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
