"""Robustness: accuracy under changes of staining, scanning and storage, level by level."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness import Figure, Finding, Perturbation, Predictions, Table
from harness.numbers import given, percent
from harness.statistics.paired import paired_difference
from harness_bias.models.interval import in_percent, in_points, mean_figure

REFERENCE = "efficientnet-b0-avg"
"""Errors are also given relative to those of this model, a plain network that everybody can train,
as AlexNet is the reference of mCE (Hendrycks and Dietterich, ICLR 2019)."""
Errors = dict[str, NDArray[np.float64]]


def needs(perturbations: Mapping[str, Perturbation]) -> list[str]:
    """Every change that leaves the label as it is."""
    return [name for name, p in perturbations.items() if p.role == "acquisition"]


def measure(predictions: Predictions) -> Finding | None:
    """Accuracy and the drop from clean patches, for each change and level, and means over changes.

    The mean weighs every kind of change the same, and within it every level; there is none unless
    all of them are stored. The relative error is that of mCE: errors summed over the levels of a
    change, divided by those of the reference model, averaged over changes.
    """
    clean = predictions.clean.argmax(axis=1) == predictions.labels
    rows, errors = [], _errors(predictions)
    right_by_change: dict[str, list[NDArray[np.bool_]]] = {}
    for name, level, right in _right(predictions):
        right_by_change.setdefault(name, []).append(right)
        rows.append((name, level, float(right.mean()), *paired_difference(clean, right)))
    if not rows:
        return None
    worst = min(rows, key=lambda row: row[2])
    text = f"worst under {worst[0]} {given(worst[1])} ({percent(worst[2], 1)} %)"
    figures: list[Figure] = []
    every = needs(predictions.perturbations)
    missing = sum(len(predictions.perturbations[name].levels) for name in every) - len(rows)
    if not missing:
        rights = [np.mean(rights, axis=0) for rights in right_by_change.values()]
        per_patch = np.mean(rights, axis=0)
        mean = mean_figure("mean accuracy under change", per_patch)
        drop = mean_figure("mean drop", clean - per_patch, difference=True)
        figures += [mean, drop]
        text = (
            f"{in_percent(mean)} accuracy on average over {len(every)} kinds of change, "
            f"a drop from clean patches of {in_points(drop)} points; {text}"
        )
    else:
        text += f"; no mean, as {missing} levels of changes are not stored"
    reference = predictions.of(REFERENCE)
    if reference is not None and (relative := _relative(errors, _errors(reference))) is not None:
        figures.append(Figure(name=f"error relative to {REFERENCE}", value=relative))
        text += f"; its errors are {relative:.2f} times those of {REFERENCE}"
    return Finding(
        summary=text,
        figures=tuple(figures),
        tables=(
            Table(
                name="levels",
                title="Accuracy by change and level; the drop from clean patches (paired)",
                headings=("change", "level", "accuracy", "drop", "from", "to"),
                rows=(("clean", None, float(clean.mean()), 0.0, None, None), *rows),
            ),
        ),
    )


def _right(predictions: Predictions) -> list[tuple[str, float, NDArray[np.bool_]]]:
    """Which patches are predicted right, for each change and level that is stored."""
    found = []
    for name in needs(predictions.perturbations):
        for level in predictions.perturbations[name].levels:
            logits = predictions.under(name, level)
            if logits is not None:
                found.append((name, level, logits.argmax(axis=1) == predictions.labels))
    return found


def _errors(predictions: Predictions) -> Errors:
    """Error rates by change, one for each level."""
    errors: dict[str, list[float]] = {}
    for name, _, right in _right(predictions):
        errors.setdefault(name, []).append(1 - float(right.mean()))
    return {name: np.array(rates) for name, rates in errors.items()}


def _relative(errors: Errors, reference: Errors) -> float | None:
    """Mean over changes of summed errors relative to the reference's; None if they differ."""
    if {n: len(e) for n, e in errors.items()} != {n: len(e) for n, e in reference.items()}:
        return None
    if any(rates.sum() == 0 for rates in reference.values()):
        return None
    return float(np.mean([errors[name].sum() / reference[name].sum() for name in errors]))
