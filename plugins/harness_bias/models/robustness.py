"""Robustness: accuracy under changes of staining, scanning and storage, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness import Estimate, Finding, Perturbation, Predictions, Table
from harness.statistics.intervals import mean_of_shares, ratio
from harness.statistics.paired import mean_difference
from harness.text.numbers import given, percent
from harness_bias.models.interval import in_percent, in_points, sampling

REFERENCE = "efficientnet-lite0+linear"
"""Errors are also given relative to those of this model, as mCE relates them to those of AlexNet
(Hendrycks and Dietterich, ICLR 2019). Its weights are those of a Python package, and only a
logistic regression is fitted: up to rounding it makes the same errors wherever it is run. A network
that is fine-tuned does not. The errors of AlexNet on PathMNIST that come with MedMNIST-C (Di Salvo,
Doerrich and Ledig, 2024) are of other changes and levels than these."""
MCE = f"mCE relative to {REFERENCE}"
Errors = dict[str, NDArray[np.float64]]
"""By change: how wrong each patch is, summed over the levels of the change, (N,)."""


def needs(perturbations: Mapping[str, Perturbation]) -> list[str]:
    """Every change that leaves the label as it is, but for those that are made on request."""
    known = perturbations.items()
    return [name for name, p in known if p.role == "acquisition" and not p.on_request]


def measure(predictions: Predictions) -> Finding | None:
    """Accuracy and the drop from clean patches, for each change and level, and means over changes.

    The mean weighs every kind of change the same, and within it every level; there is none unless
    all of them are stored. The mean corruption error (mCE) has errors summed over the levels of a
    change, divided by those of the reference model, averaged over changes; 1 is as good as that.
    Changes on request have rows in the table where they are stored, and count nowhere else, so that
    figures of models for which others were asked can be compared.
    """
    labels, drawn = predictions.labels, sampling(predictions)
    clean = (predictions.clean.argmax(axis=1) == labels).astype(np.float64)
    rows = []
    right_by_change: dict[str, list[NDArray[np.bool_]]] = {}
    every = needs(predictions.perturbations)
    for name, level, right in _right(predictions, [*every, *_on_request(predictions)]):
        right_by_change.setdefault(name, []).append(right)
        accuracy = mean_of_shares(name, right.astype(np.float64), labels, drawn)
        drop = mean_difference(name, clean - right, drawn)
        ends = accuracy.low, accuracy.high
        neutral = predictions.perturbations[name].neutral
        rows.append((name, level, accuracy.value, drop.value, drop.low, drop.high, *ends, neutral))
    if not rows:
        return None
    counted = [row for row in rows if row[0] in every]
    worst = min(counted or rows, key=lambda row: row[2])
    text = f"worst under {worst[0]} {given(worst[1])} ({percent(worst[2], 1)} %)"
    estimates: list[Estimate] = []
    missing = sum(len(predictions.perturbations[name].levels) for name in every) - len(counted)
    if counted and not missing:
        rights = [np.mean(right_by_change[name], axis=0) for name in every]
        per_patch = np.mean(rights, axis=0)
        mean = mean_of_shares("mean accuracy under change", per_patch, labels, drawn)
        drop = mean_difference("mean drop", clean - per_patch, drawn)
        estimates += [mean, drop]
        text = (
            f"{in_percent(mean)} accuracy on average over {len(every)} kinds of change, "
            f"a drop from clean patches of {in_points(drop)} points; {text}"
        )
    else:
        text += f"; no mean, as {missing} levels of changes are not stored"
    reference = predictions.of(REFERENCE)
    if reference is not None and (relative := _relative(predictions, reference)) is not None:
        estimates.append(relative)
        text += f"; {MCE}: {relative.value:.2f}"
        if relative.low is not None and relative.high is not None:
            text += f" ({relative.low:.2f} to {relative.high:.2f})"
    accuracy = mean_of_shares("clean", clean, labels, drawn)
    unchanged = ("clean", None, accuracy.value, 0.0, None, None, accuracy.low, accuracy.high, None)
    return Finding(
        summary=text,
        estimates=tuple(estimates),
        tables=(
            Table(
                name="levels",
                title="Accuracy by change and level; the drop from clean patches (paired)",
                headings=(
                    *("change", "level", "accuracy", "drop", "from", "to"),
                    *("accuracy from", "accuracy to", "unchanged at"),
                ),
                rows=(unchanged, *rows),
            ),
        ),
    )


def _on_request(predictions: Predictions) -> list[str]:
    known = predictions.perturbations.items()
    return [name for name, p in known if p.role == "acquisition" and p.on_request]


def _right(
    predictions: Predictions, changes: Sequence[str]
) -> list[tuple[str, float, NDArray[np.bool_]]]:
    """Which patches are predicted right, for each of some changes and each level that is stored."""
    found = []
    for name in changes:
        for level in predictions.perturbations[name].levels:
            logits = predictions.under(name, level)
            if logits is not None:
                found.append((name, level, logits.argmax(axis=1) == predictions.labels))
    return found


def _errors(predictions: Predictions) -> tuple[Errors, dict[str, int]]:
    """How wrong each patch is under each change, and how many levels of each are stored."""
    errors: Errors = {}
    levels: dict[str, int] = {}
    for name, _, right in _right(predictions, needs(predictions.perturbations)):
        errors[name] = errors.get(name, np.zeros(len(right))) + ~right
        levels[name] = levels.get(name, 0) + 1
    return errors, levels


def _relative(predictions: Predictions, reference: Predictions) -> Estimate | None:
    """Mean over changes of summed errors relative to the reference's; None if they differ."""
    (own, levels), (theirs, same_levels) = _errors(predictions), _errors(reference)
    if levels != same_levels or any(wrong.sum() == 0 for wrong in theirs.values()):
        return None
    n = len(predictions.labels)
    ratios, moves, one_patch = [], [], []
    for name, wrong in own.items():
        rate, other_rate = wrong.mean(), theirs[name].mean()
        ratios.append(rate / other_rate)
        moves.append((wrong - ratios[-1] * theirs[name]) / (other_rate * n))
        one_patch.append(levels[name] / (other_rate * n))
    return ratio(
        MCE,
        float(np.mean(ratios)),
        np.mean(moves, axis=0),
        float(np.mean(one_patch)),
        predictions.labels,
        sampling(predictions),
    )
