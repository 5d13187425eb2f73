"""Steering: does a prediction follow the color, or the compression, of another class?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness import Finding, Perturbation, Predictions, Table
from harness_bias.models.interval import in_points, mean_figure, sampling

COLOR, COMPRESSION = "color-transfer", "jpeg-as-class"
TITLES = {COLOR: "color", COMPRESSION: "compression"}


def needs(perturbations: Mapping[str, Perturbation]) -> list[str]:
    """Every change that makes a patch look like another class."""
    named = [name for name, p in perturbations.items() if p.role == "steering"]
    return sorted(named, key=lambda name: name != COLOR)


def measure(predictions: Predictions) -> Finding | None:
    """How much more often patches of class A are called B once they are given the look of B.

    The rate at which they are called B without the transfer is subtracted: cell (A, B) is a
    difference of rates, and the figure its mean over all patches and all B other than A. A model
    that any transfer throws off its track calls patches of A something else, too, and so gets up to
    1 / (C - 1) of this figure; the second figure subtracts how often patches are called B once they
    are given the look of a third class, and is 0 for such a model.
    """
    estimates, tables, text = [], [], []
    for name in needs(predictions.perturbations):
        perturbation = predictions.perturbations[name]
        levels = perturbation.levels_for(predictions.classes)
        logits = {int(level): predictions.under(name, level) for level in levels}
        stored = {level: values for level, values in logits.items() if values is not None}
        title = TITLES.get(name, name)
        if name == COMPRESSION:
            known = {k: v for k, v in stored.items() if not _is_unchanged(v, predictions.clean)}
            if len(known) < 2 <= len(stored):
                text.append("of the compression of too few classes is anything known")
            stored = known
        if len(stored) < 2:
            continue
        moved = _moved(predictions, stored)
        drawn = sampling(predictions)
        mean = np.nanmean(moved, axis=1)
        estimate = mean_figure(f"follows {title}", mean, difference=True, sampling=drawn)
        estimates.append(estimate)
        tables.append(_matrix(name, title, predictions, moved))
        text.append(
            f"given the {title} of another class, a patch is called that class "
            f"{in_points(estimate)} points more often"
        )
        if (beyond := _beyond(predictions, stored)) is not None:
            name = f"follows {title}, not just any change of it"
            estimates.append(mean_figure(name, beyond, difference=True, sampling=drawn))
            text[-1] += f", and {in_points(estimates[-1])} than given that of a third class"
    if not text:
        return None
    return Finding(summary="; ".join(text), estimates=tuple(estimates), tables=tuple(tables))


def _is_unchanged(logits: NDArray[np.float32], clean: NDArray[np.float32]) -> bool:
    """Whether patches stayed as they were, as where no compression of a class is known."""
    return bool(np.allclose(logits, clean, rtol=1e-3, atol=1e-3))


def _moved(
    predictions: Predictions, stored: Mapping[int, NDArray[np.float32]]
) -> NDArray[np.float64]:
    """(N, C): called B after the transfer less called B before; NaN where B is the own class."""
    moved = np.full((len(predictions.labels), len(predictions.classes)), np.nan)
    before = predictions.clean.argmax(axis=1)
    for level, logits in stored.items():
        change = (logits.argmax(axis=1) == level).astype(float) - (before == level)
        moved[:, level] = np.where(predictions.labels == level, np.nan, change)
    return moved


def _beyond(
    predictions: Predictions, stored: Mapping[int, NDArray[np.float32]]
) -> NDArray[np.float64] | None:
    """(N,): called B given the look of B less called B given that of a third class, mean over B."""
    targets = sorted(stored)
    called = np.stack([stored[target].argmax(axis=1) for target in targets])
    # (given, B, N); the own class is neither given nor asked about.
    is_called = (called[:, None] == np.array(targets)[:, None]).astype(float)
    own = np.array(targets)[:, None] == predictions.labels
    is_called[own[:, None] | own[None]] = np.nan
    given = np.eye(len(targets), dtype=bool)
    if (len(targets) - own.sum(axis=0) < 2).any():
        return None
    to_it, to_third = is_called[given], is_called[~given]
    return np.asarray(np.nanmean(to_it, axis=0) - np.nanmean(to_third, axis=0))


def _matrix(name: str, title: str, predictions: Predictions, moved: NDArray[np.float64]) -> Table:
    def cell(label: int, target: int) -> float | None:
        values = moved[predictions.labels == label, target]
        return float(values.mean()) if len(values) and np.isfinite(values).all() else None

    classes = range(len(predictions.classes))
    return Table(
        name=name,
        title=f"Patches of a class (rows) given the {title} of another (columns): "
        "change of the share that is called that other class",
        headings=("class", *predictions.classes),
        rows=tuple(
            (predictions.classes[label], *(cell(label, target) for target in classes))
            for label in classes
        ),
    )
