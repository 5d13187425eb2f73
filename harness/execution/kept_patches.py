"""Perturbed patches that the passes of a run keep for each other."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace

from harness.data.perturbed_cache import PerturbedCache
from harness.hooks.registry import Registry
from harness.jobs.session import adds_patches
from harness.jobs.spec import JobSpec
from harness.planning.plan import is_late
from harness.store.claims import Claims
from harness.store.results import size
from harness.store.store import Store

log = logging.getLogger(__name__)

FOLDER = "perturbed"


def with_cache(to_do: Sequence[JobSpec], claims: Claims, registry: Registry) -> list[JobSpec]:
    """The same jobs; those that perturb patches which another group perturbs too have a cache.

    Those that may add patches to it come first, features before predictions: the others then read
    them.
    """
    groups: dict[tuple[object, ...], set[str]] = {}
    kept = set()
    for job in filter(_perturbs, to_do):
        groups.setdefault(_patches(job), set()).add(job.group)
        if adds_patches(job, registry):
            kept.add(_patches(job))
    shared = {patches for patches in kept if len(groups[patches]) > 1}
    marked = [
        replace(job, kept_in=f"{FOLDER}/{claims.run}")
        if _perturbs(job) and _patches(job) in shared
        else job
        for job in to_do
    ]

    def turn(job: JobSpec) -> int:
        if not is_late(job):
            return 0
        adds = bool(job.kept_in) and adds_patches(job, registry)
        return (1 if job.kind == "features" else 2) if adds else 3

    return sorted(marked, key=turn)


def _perturbs(job: JobSpec) -> bool:
    reads_patches = job.kind in ("features", "prediction") and not job.inputs.get("features")
    return is_late(job) and reads_patches


def _patches(job: JobSpec) -> tuple[object, ...]:
    condition = job.condition
    return job.about, job.data, job.part or "test", condition.perturbation, condition.level


def remove_caches(store: Store, claims: Claims) -> None:
    """Remove the cache of this run, and those of runs that are gone."""
    parent = store.root / FOLDER
    for folder in [*parent.glob("run-*")]:
        mine = folder.name == claims.run
        if mine and (kept := PerturbedCache(folder, 0).size()):
            log.info(f"Perturbed patches took {size(kept)} in {parent} while the run lasted.")
        if mine or not (claims.folder / folder.name).exists():
            shutil.rmtree(folder, ignore_errors=True)
    if parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
