"""Storing the results of a pass: each alone, or those under perturbations together as sweeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.hooks.guard import alone
from harness.jobs.passes import LOGITS, Finish, Logits
from harness.jobs.spec import JobSpec
from harness.store import keys
from harness.store.store import Store
from harness.store.stored import Record, sweep_record

Outcome = tuple[JobSpec, BaseException | None]
"""A job, and what went wrong with it."""


def store_all(
    jobs: Sequence[JobSpec], finishes: Sequence[Finish], store: Store, workspace: Path
) -> Iterator[Outcome]:
    """Store results; yields each job with what went wrong, if anything.

    What goes wrong with one result of a sweep costs the others nothing: the sweep goes without it.
    """
    sweeps: dict[str, list[tuple[JobSpec, Finish]]] = {}
    for job, finish in zip(jobs, finishes, strict=True):
        if job.key.is_swept:
            sweeps.setdefault(job.key.common().digest, []).append((job, finish))
        else:
            yield _store_one(job, finish, store)
    for together in sweeps.values():
        yield from _store_sweep(together, store, workspace / "parts")


def _store_one(job: JobSpec, finish: Finish, store: Store) -> Outcome:
    try:
        with store.write(job.key) as (folder, record):
            with alone():
                record |= finish(folder)
            record["needs"] = _needs(job, store)
    except (Exception, SystemExit) as error:
        return job, error
    return job, None


def _store_sweep(
    together: Sequence[tuple[JobSpec, Finish]], store: Store, scratch: Path
) -> Iterator[Outcome]:
    """Store what can be finished of a sweep: logits as one array, and what else there is, which may
    be of many gigabytes, in a folder for each result. ``scratch`` is for these folders."""
    shutil.rmtree(scratch, ignore_errors=True)
    jobs: list[JobSpec] = []
    records: list[Record] = []
    arrays: list[NDArray[np.float32]] = []
    for job, finish in together:
        part = scratch / str(len(jobs))
        try:
            with alone():
                if isinstance(finish, Logits):
                    values = finish.values()
                    record = finish.about(values)
                else:
                    part.mkdir(parents=True)
                    record = finish(part)
            record["needs"] = _needs(job, store)
        except (Exception, SystemExit) as error:
            shutil.rmtree(part, ignore_errors=True)
            yield job, error
        else:
            jobs.append(job)
            records.append(record)
            if isinstance(finish, Logits):
                arrays.append(values)
    if not jobs:
        return
    wrong: BaseException | None = None
    try:
        with store.write(keys.sweep([job.key for job in jobs])) as (folder, whole):
            whole |= sweep_record(records)
            if arrays:
                np.save(folder / LOGITS, np.stack(arrays))
            for part in sorted(scratch.glob("*")):
                part.rename(folder / part.name)
    except (Exception, SystemExit) as error:
        wrong = error
    shutil.rmtree(scratch, ignore_errors=True)
    yield from ((job, wrong) for job in jobs)


def _needs(job: JobSpec, store: Store) -> list[str]:
    """Digests of what is stored of that which a job needs, for its record.

    What is shared does not name the dataset, so that it stays when that is removed.
    """
    shared = job.key.dataset == keys.SHARED
    needs = [need for need in job.needs if not (shared and need.kind == "dataset")]
    return [*dict.fromkeys(store.folder(need).name for need in needs)]
