"""Storing the results of a pass: each alone, or those under perturbations together as sweeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from harness import keys
from harness.boundary import alone
from harness.jobs.passes import Finish
from harness.jobs.spec import JobSpec
from harness.store import Store
from harness.stored import Record, sweep_record

STACKED = "logits.npy"
"""The file that a sweep has once, with a further axis, and not once for each result: it is small.
Features may be of many gigabytes, and their files are moved, not copied."""

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
            record |= _finished(job, finish, folder, store)
    except (Exception, SystemExit) as error:
        return job, error
    return job, None


def _store_sweep(
    together: Sequence[tuple[JobSpec, Finish]], store: Store, scratch: Path
) -> Iterator[Outcome]:
    """Store what can be finished of a sweep. ``scratch`` is a folder for this."""
    shutil.rmtree(scratch, ignore_errors=True)
    jobs: list[JobSpec] = []
    records: list[Record] = []
    for job, finish in together:
        part = scratch / str(len(jobs))
        try:
            part.mkdir(parents=True)
            record = _finished(job, finish, part, store)
        except (Exception, SystemExit) as error:
            shutil.rmtree(part, ignore_errors=True)
            yield job, error
        else:
            jobs.append(job)
            records.append(record)
    if not jobs:
        return
    wrong: BaseException | None = None
    try:
        with store.write(keys.sweep([job.key for job in jobs])) as (folder, whole):
            whole |= sweep_record(records)
            _join([scratch / str(number) for number in range(len(jobs))], folder)
    except (Exception, SystemExit) as error:
        wrong = error
    shutil.rmtree(scratch, ignore_errors=True)
    yield from ((job, wrong) for job in jobs)


def _finished(job: JobSpec, finish: Finish, folder: Path, store: Store) -> Record:
    """Write a result into a folder. Returns its record; ``needs`` names what is stored."""
    with alone():
        record = finish(folder)
    # What is shared stays when a dataset that it was computed for is removed.
    shared = job.key.dataset == keys.SHARED
    needs = [
        store.folder(need).name for need in job.needs if not (shared and need.kind == "dataset")
    ]
    return {**record, "needs": [*dict.fromkeys(needs)]}


def _join(parts: Sequence[Path], folder: Path) -> None:
    """Bring the files of the results of a sweep into its folder."""
    if (parts[0] / STACKED).exists():
        np.save(folder / STACKED, np.stack([np.load(part / STACKED) for part in parts]))
        return
    for part in parts:
        part.rename(folder / part.name)
