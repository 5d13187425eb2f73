"""What ``harness audit`` does: plan what probes of datasets ask, compute it, and read it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import audits
from harness.analysis.audits import DatasetAudit
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks.registry import Registry
from harness.planning import choose, planner
from harness.planning.plan import Plan, Request
from harness.store.failures import Failure
from harness.store.store import Store
from harness.types.datasets import Dataset

if TYPE_CHECKING:
    from harness.types.executors import Execution


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
    # The largest datasets take seconds to list.
    shown = plan(registry, store, datasets, data, ()) if names else to_do
    return audits.load(store, shown, every, failures), failures
