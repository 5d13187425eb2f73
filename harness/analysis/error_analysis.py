"""What models get wrong: which classes are confused, which patches nobody gets right, and whether
models know when they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis import reproduction
from harness.analysis.leaderboard import Board
from harness.analysis.rows import Entry
from harness.data import comparability
from harness.statistics import calibration, reliability
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import mean_of_groups
from harness.statistics.metrics import Floats, probabilities
from harness.store import predictions
from harness.store.predictions import Run
from harness.types.published import PublishedResult

COVERAGES = (0.5, 0.8, 0.9, 0.95, 1.0)
IN_A_BIN = 25
"""Patches of a bin that make a point of the reliability diagram worth drawing."""

OF_A_GROUP = 10
"""Patches that a group must have to be called the worst: the accuracy of fewer is mostly chance."""

Risks = tuple[Estimate, list[Estimate]]
"""Area under the risk-coverage curve, and the error at each of ``COVERAGES``."""


class Reliability(NamedTuple):
    """How often a model is right, by bins of confidence, (B,) each."""

    model: str
    confidence: Floats
    accuracy: Floats
    n: NDArray[np.int64]
    """Patches in each bin."""


class Coverage(NamedTuple):
    """Error rate of a model among the patches that it is most confident about, (N,) each."""

    model: str
    share: Floats
    error: Floats
    at: Floats
    """Error rates at ``COVERAGES`` and the ends of their intervals, (K, 3)."""


@dataclass(frozen=True)
class ByGroup:
    """Accuracy of a model in the groups of the test patches, of which each counts alike."""

    mean: Estimate
    median: float
    worst: tuple[str, float, int] | None
    """Name, accuracy and patches of the group with the least accuracy, of those with at least
    ``OF_A_GROUP`` patches; None if there are none."""


def group_sizes(board: Board) -> NDArray[np.int64] | None:
    """Number of test patches of each group, (G,); None where groups are not known."""
    groups = board.truth.groups
    return None if groups is None else np.bincount(groups)


def by_group(board: Board, entry: Entry) -> ByGroup | None:
    """Accuracy of the first training of a model by group; None where groups are not known.

    The interval of the mean says how it varies from one sample of groups to another.
    """
    groups, sizes = board.truth.groups, group_sizes(board)
    if groups is None or sizes is None:
        return None
    accuracy = np.bincount(groups, entry.right[0]) / sizes
    mean = mean_of_groups("mean_by_group", accuracy, sizes, board.sampling.design_effect)
    large = np.flatnonzero(sizes >= OF_A_GROUP)
    worst = None
    if len(large):
        # Of those that are equally bad, the one with most patches.
        number = min(large.tolist(), key=lambda group: (accuracy[group], -sizes[group]))
        worst = board.truth.group_names[number], float(accuracy[number]), int(sizes[number])
    return ByGroup(mean, float(np.median(accuracy)), worst)


def risks(board: Board) -> dict[str, Risks]:
    """Error rates at coverages of the models that have probabilities, by name."""
    return {
        entry.name: reliability.risk(board.truth.labels, logits, COVERAGES, board.sampling)
        for entry, logits in _logits(board)
    }


def confidence(board: Board, run: Run, risks: Risks | None) -> dict[str, Any]:
    """Bins of confidence, and error against coverage, for JSON.

    Nothing of a model whose outputs are no probabilities, but the reason.
    """
    if run.no_probabilities or risks is None:
        return {
            "reliability": None,
            "error_at_coverage": None,
            "area_under_risk_coverage": None,
            "area_under_risk_coverage_low": None,
            "area_under_risk_coverage_high": None,
            "confidence_empty_because": run.no_probabilities,
        }
    logits = run.mean_logits()
    bins = calibration.bins(board.truth.labels, probabilities(logits), equal_mass=True)
    area, at = risks
    return {
        "reliability": [
            {"confidence": float(c), "accuracy": float(a), "n": int(n)}
            for c, a, n in zip(bins.confidence, bins.accuracy, bins.n, strict=True)
        ],
        "error_at_coverage": [
            {"coverage": share, "error": one.value, "low": one.low, "high": one.high}
            for share, one in zip(COVERAGES, at, strict=True)
        ],
        "area_under_risk_coverage": area.value,
        "area_under_risk_coverage_low": area.low,
        "area_under_risk_coverage_high": area.high,
        "confidence_empty_because": "",
    }


def nobody_right(board: Board) -> list[dict[str, Any]]:
    """Test patches that no model gets right, by id: their class and what is predicted most."""
    truth = board.truth
    wrong = ~np.any([entry.right[0] for entry in board.entries], axis=0)
    guesses = np.stack([entry.runs[0].logits().argmax(axis=1) for entry in board.entries])
    found = []
    for index in np.flatnonzero(wrong).tolist():
        counts = np.bincount(guesses[:, index], minlength=len(truth.classes))
        found.append(
            {
                "id": truth.ids[index],
                "class": truth.classes[int(truth.labels[index])],
                "predicted": truth.classes[int(counts.argmax())],
                "models": int(counts.max()),
            }
        )
    return found


def published(board: Board) -> list[tuple[PublishedResult, tuple[str, ...]]]:
    """Published results of the same test set, without changes, whose confusion matrix is known.

    With each the names of its classes; where these are not known it is left out.
    """
    return [
        (result, names)
        for result in board.published
        if result.perturbation == "clean"
        and result.confusion is not None
        and (names := comparability.class_names(result, board.dataset))
    ]


def confused(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs of classes by how many patches of one are called the other, most first."""
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")
    n_of = matrix.sum(axis=1)
    return [
        {
            "label": classes[i],
            "predicted": classes[j],
            "n": int(off[i, j]),
            "share": float(off[i, j] / n_of[i]),
        }
        for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[i, j]
    ]


def against_published(board: Board, entry: Entry) -> list[reproduction.ClassDifference]:
    """Differences in recall to the published matrix of the same model on the same patches."""
    for result, _ in published(board):
        same = entry.record["model"], predictions.trained_on(entry.record, board.dataset)
        if (result.name, result.trained_on) == same and not board.other_test_data(result):
            assert result.confusion is not None
            ours = entry.found[0].confusion
            effect = board.sampling.design_effect
            return reproduction.by_class(ours, result.confusion, board.truth.classes, effect)
    return []


def reliabilities(board: Board) -> tuple[int, list[Reliability]]:
    """At most so many bins, and the curve of each model that has probabilities."""
    most = min(calibration.BINS, max(2, len(board.truth.labels) // IN_A_BIN))
    curves = []
    for entry, logits in _logits(board):
        scores = probabilities(logits)
        bins = calibration.bins(board.truth.labels, scores, equal_mass=True, most=most)
        curves.append(Reliability(entry.name, bins.confidence, bins.accuracy, bins.n))
    return most, curves


def coverages(board: Board, risks: Mapping[str, Risks]) -> list[Coverage]:
    """The curve of each model that has probabilities, with its ``risks`` at ``COVERAGES``."""
    at = {
        name: np.array([(one.value, one.low, one.high) for one in some], float)
        for name, (_, some) in risks.items()
    }
    return [
        Coverage(entry.name, *reliability.risk_coverage(board.truth.labels, logits), at[entry.name])
        for entry, logits in _logits(board)
    ]


def _logits(board: Board) -> list[tuple[Entry, NDArray[np.float32]]]:
    """Of each model that has probabilities, what their softmax is."""
    return [
        (entry, entry.runs[0].mean_logits())
        for entry in board.entries
        if not entry.runs[0].no_probabilities
    ]
