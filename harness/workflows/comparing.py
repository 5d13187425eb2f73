"""What ``harness compare`` does: find results by their names, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.analysis import compare as measured
from harness.analysis import compare_datasets as over_datasets
from harness.analysis import compare_published as published
from harness.analysis.compare import Compared
from harness.analysis.compare_datasets import ComparedDatasets
from harness.analysis.compare_published import PREFIX, ComparedCounts
from harness.analysis.rows import Entry
from harness.errors import HarnessError
from harness.hooks.registry import Registry
from harness.statistics.equivalence import MARGIN
from harness.statistics.intervals import Sampling
from harness.store.predictions import GroundTruth
from harness.store.store import Store


def compare(
    root: Path,
    registry: Registry,
    one: str,
    other: str,
    dataset: str | None = None,
    design_effect: float = 1.0,
    margin: float = MARGIN,
) -> Compared | ComparedCounts:
    """Two results by the names that ``harness compare`` takes.

    ``root`` is the store, which only measured results need; without ``dataset`` it is the only one
    of it. Raises HarnessError when a result is not there, or both are of different patches.
    """
    if any(name.startswith(PREFIX) for name in (one, other)):
        return _counts(root, registry, one, other, dataset, design_effect, margin)
    truth, (left, right) = _entries(root, registry, [one, other], dataset, design_effect)
    return measured.compare(truth, left, right, design_effect, margin)


def compare_datasets(
    root: Path,
    registry: Registry,
    names: Sequence[str],
    datasets: Sequence[str],
    margin: float = MARGIN,
) -> ComparedDatasets:
    """Models by their names on two or more datasets.

    Raises HarnessError when a result is not there, or is a published one.
    """
    if twice := [name for name in datasets if datasets.count(name) > 1]:
        raise HarnessError(f"--dataset {twice[0]} is given twice; name each dataset once")
    if published_names := [name for name in names if name.startswith(PREFIX)]:
        raise HarnessError(
            f"compare: {published_names[0]}: over several datasets, only measured models are "
            "compared"
        )
    measured_on = [_entries(root, registry, list(names), name, 1.0) for name in datasets]
    return over_datasets.compare_datasets(names, measured_on, margin)


def _counts(
    root: Path,
    registry: Registry,
    one: str,
    other: str,
    dataset: str | None,
    design_effect: float,
    margin: float,
) -> ComparedCounts:
    results = [result for result, _ in registry.published]
    known = {}
    for name in (one, other):
        if not name.startswith(PREFIX):
            truth, (entry,) = _entries(root, registry, [name], dataset, design_effect)
            known[name] = published.of_entry(entry, truth)
    test_set = next((side.test_set for side in known.values()), "")
    sampling = Sampling(design_effect=design_effect)
    left, right = (
        known.get(name) or published.of_result(results, name, test_set, registry.plugins, sampling)
        for name in (one, other)
    )
    return published.compare(left, right, results, design_effect, margin)


def _entries(
    root: Path, registry: Registry, names: list[str], dataset: str | None, design_effect: float
) -> tuple[GroundTruth, list[Entry]]:
    """Measured models by name."""
    store = Store.existing(root)
    known = store.datasets()
    if dataset is None and len(known) != 1:
        raise HarnessError(
            f"compare: give --dataset, one of {', '.join(known)}"
            if known
            else f"--store {root}: no results there; run harness run --all first"
        )
    name = dataset or known[0]
    truth, entries = measured.measured(store, name, registry.versions, design_effect)
    failed = measured.failed(store, truth)
    return truth, [measured.find(entries, one, name, failed) for one in names]
