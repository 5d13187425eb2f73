"""What ``harness audit`` does: plan what probes of datasets ask, compute it, and read it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import audits, choose, planner
from harness.audits import DatasetAudit
from harness.execute import execute
from harness.failures import Failure
from harness.plan import Plan, Request
from harness.registry import Registry
from harness.store import Store
from harness.types import Dataset
from harness.watched import watched

if TYPE_CHECKING:
    from harness.executors import Execution


def plan(
    registry: Registry, store: Store, datasets: Sequence[Dataset], data: Path, names: Sequence[str]
) -> Plan:
    """What it takes to ask the named probes, or all of them, about datasets."""
    probes = choose.dataset_probes(registry, names)
    request = Request(datasets=datasets, models=(), probes=probes, data=data)
    return planner.build(registry, store, request)


def audit(
    registry: Registry,
    store: Store,
    datasets: Sequence[Dataset],
    data: Path,
    names: Sequence[str],
    executor: Execution,
    minutes: float | None = None,
) -> tuple[list[DatasetAudit], dict[str, Failure]]:
    """Ask the named probes, or all of them, about datasets.

    Returns what all probes have found, those that were asked before included, and what failed.
    """
    to_do = plan(registry, store, datasets, data, names)
    executor = watched(executor, to_do, store)
    failures = execute(to_do, store, registry, executor, minutes)
    every = tuple(choose.dataset_probes(registry, ()))
    return audits.load(store, plan(registry, store, datasets, data, ()), every, failures), failures
