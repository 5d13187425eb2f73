"""Models that were measured on several datasets: which is better on datasets in general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness.analysis.rows import Entry
from harness.errors import HarnessError
from harness.statistics.metrics import Floats
from harness.statistics.over_datasets import Ranks, SignedRank, ranks, signed_rank
from harness.store.predictions import GroundTruth


@dataclass(frozen=True)
class ComparedDatasets:
    """Models on the same datasets."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    accuracies: Floats
    """Of each dataset and model, (D, M): means over trainings."""
    pairs: dict[tuple[str, str], SignedRank]
    """Of each pair of models: whether the second is worse than the first, equal, or better."""
    ranks: Ranks | None
    """None of two models."""
    margin: float
    same_patches: tuple[tuple[str, ...], ...]
    """Datasets that share their test patches, or parts of one test set."""


def compare_datasets(
    names: Sequence[str],
    measured: Sequence[tuple[GroundTruth, Sequence[Entry]]],
    margin: float,
) -> ComparedDatasets:
    """Compare models, entries of each dataset in the order of their ``names``.

    Raises HarnessError where a model is named twice.
    """
    if twice := [name for name in names if names.count(name) > 1]:
        raise HarnessError(f"compare: {twice[0]} is compared with itself; name each model once")
    accuracies = np.array([[float(e.right.mean()) for e in entries] for _, entries in measured])
    by_test_set: dict[str, list[str]] = {}
    for truth, _ in measured:
        test_set = truth.described["test_set"] or truth.described["digest"]
        by_test_set.setdefault(test_set, []).append(truth.dataset)
    return ComparedDatasets(
        models=tuple(names),
        datasets=tuple(truth.dataset for truth, _ in measured),
        accuracies=accuracies,
        pairs={
            (names[one], names[other]): signed_rank(
                accuracies[:, other] - accuracies[:, one], margin
            )
            for one, other in combinations(range(len(names)), 2)
        },
        ranks=ranks(accuracies) if len(names) > 2 else None,
        margin=margin,
        same_patches=tuple(tuple(same) for same in by_test_set.values() if len(same) > 1),
    )
