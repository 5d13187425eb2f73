"""What ``harness calibrate`` does: ask probes about phantoms and about patches that are changed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import audits
from harness.execution.execute import execute
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Registry
from harness.jobs import planted
from harness.jobs.calibration import Reading, check_job, seed_job
from harness.jobs.dataset import Instance, load
from harness.jobs.planted import Graded, Judges
from harness.planning.plan import Plan
from harness.store.failures import Failure
from harness.store.store import Key, Store
from harness.store.stored import load_json
from harness.types.datasets import Dataset
from harness.types.faults import PlantedFault
from harness.types.findings import Finding, Table, table_from
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe
from harness.workflows import auditing

if TYPE_CHECKING:
    from harness.types.executors import Execution


@dataclass(frozen=True)
class Calibration:
    """What probes measured."""

    readings: Mapping[str, list[Reading]]
    """By phantom; one of which seeds failed is left out."""
    checks: Sequence[tuple[str, Table]]
    """With their titles, tables of what was measured of known changes to real patches."""
    real: Mapping[str, Mapping[str, Finding]]
    """What was found in datasets, by dataset and probe."""
    failures: Mapping[str, Failure]


@dataclass(frozen=True)
class RealCalibration:
    """What probes said of a real dataset with planted faults."""

    dataset: Dataset
    judges: Judges
    readings: Mapping[str, list[Graded]]
    """By fault; one that failed is left out."""
    failures: Mapping[str, Failure]


def calibrate_real(
    registry: Registry,
    store: Store,
    dataset: Dataset,
    data: Path,
    faults: Sequence[PlantedFault],
    probes: Sequence[DatasetProbe],
    draws: int,
    most: int,
    executor: Execution,
    minutes: float | None = None,
) -> RealCalibration:
    """Plant faults in patches of a dataset, with labels dealt at random, and ask probes.

    ``draws`` is how often labels are dealt, ``most`` how many patches there are at most.
    """
    plan, instance = Plan(), _listed(registry, dataset, data, minutes)
    owners = (
        registry.datasets.plugin[dataset.name],
        *(registry.probes.plugin[p.name] for p in probes),
    )
    keys = {}
    for fault in faults:
        guests = registry.guests_of(registry.faults.plugin[fault.name], *owners)
        keys[fault.name] = plan.add(planted.job(fault, instance, probes, draws, most, guests))
    failures = execute(plan, store, registry, executor, minutes)
    return RealCalibration(
        dataset=dataset,
        judges=planted.judges(instance, probes, most),
        readings={
            name: [Graded(**one) for one in load_json(store.folder(key), "readings.json")]
            for name, key in keys.items()
            if key in store
        },
        failures=failures,
    )


def calibrate(
    registry: Registry,
    store: Store,
    phantoms: Sequence[Phantom],
    datasets: Sequence[Dataset],
    data: Path,
    probes: Sequence[DatasetProbe],
    n_seeds: int,
    executor: Execution,
    minutes: float | None = None,
) -> Calibration:
    """Ask probes about ``n_seeds`` of each phantom and about datasets that are changed."""
    names = [probe.name for probe in probes]
    plan = auditing.plan(registry, store, datasets, data, names)
    checks = _plan_checks(registry, plan, datasets, data, probes, minutes)
    owners = [registry.probes.plugin[name] for name in names]
    seeds: dict[str, list[Key]] = {}
    for phantom in phantoms:
        guests = registry.guests_of(registry.phantoms.plugin[phantom.name], *owners)
        jobs = [seed_job(phantom, probes, seed, guests) for seed in range(n_seeds)]
        seeds[phantom.name] = [plan.add(job) for job in jobs]
    failures = execute(plan, store, registry, executor, minutes)
    every = auditing.plan(registry, store, datasets, data, ())
    real = audits.load_findings(store, every, failures)
    return Calibration(
        readings={
            name: [
                Reading(**reading)
                for key in keys
                for reading in load_json(store.folder(key), "readings.json")
            ]
            for name, keys in seeds.items()
            if all(key in store for key in keys)
        },
        checks=[
            (title, table_from(content))
            for title, key in checks.items()
            if key in store
            for content in load_json(store.folder(key), "tables.json")
        ],
        real=real,
        failures=failures,
    )


def _plan_checks(
    registry: Registry,
    plan: Plan,
    datasets: Sequence[Dataset],
    data: Path,
    probes: Sequence[DatasetProbe],
    minutes: float | None,
) -> dict[str, Key]:
    """Plan what probes measure of known changes to real patches; keys by title."""
    found = {}
    for dataset in datasets:
        if f"dataset {dataset.name}" in plan.failures:
            continue
        instance = _listed(registry, dataset, data, minutes)
        for probe in probes:
            if probe.check is not None:
                owners = registry.datasets.plugin[dataset.name], registry.probes.plugin[probe.name]
                job = check_job(probe, instance, registry.guests_of(*owners))
                found[f"{probe.name} on {dataset.name}"] = plan.add(job)
    return found


def _listed(registry: Registry, dataset: Dataset, data: Path, minutes: float | None) -> Instance:
    with limited(minutes), contained(), contextlib.redirect_stdout(sys.stderr):
        return load(dataset, data, registry.described_by(dataset.name))
