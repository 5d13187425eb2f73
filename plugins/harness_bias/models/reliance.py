"""Color reliance: accuracy with structure removed and color kept, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness import Estimate, Finding, Perturbation, Predictions, Table
from harness.statistics.intervals import mean_of_shares
from harness.statistics.paired import mean_difference
from harness.text.numbers import percent
from harness_bias.models.interval import in_percent, sampling

COLOR_ONLY, NO_COLOR = "pixels-permuted", "grayscale"


def needs(perturbations: Mapping[str, Perturbation]) -> list[str]:
    """Every change that removes information on purpose."""
    return [name for name, p in perturbations.items() if p.role == "ablation"]


def measure(predictions: Predictions) -> Finding | None:
    """Accuracy with pixels permuted (only color left), in gray (none left), with blocks permuted.

    A model never trained on such patches may fail on them for other reasons than missing
    information, so a low accuracy proves little; a high one proves that what was removed is not
    needed.
    """
    labels = predictions.labels
    clean = (predictions.clean.argmax(axis=1) == labels).astype(np.float64)
    drawn = sampling(predictions)
    accuracy = mean_of_shares("clean", clean, labels, drawn)
    rows: list[tuple[str | float | None, ...]] = [
        ("clean", None, accuracy.value, accuracy.low, accuracy.high, 0.0, None, None)
    ]
    estimates: list[Estimate] = []
    for name in needs(predictions.perturbations):
        for level in predictions.perturbations[name].levels:
            logits = predictions.under(name, level)
            if logits is None:
                continue
            right = (logits.argmax(axis=1) == labels).astype(np.float64)
            title = {COLOR_ONLY: "color only", NO_COLOR: "no color"}.get(name, name)
            estimate = mean_of_shares(title, right, labels, drawn)
            drop = mean_difference("drop", clean - right, drawn)
            accuracies = estimate.value, estimate.low, estimate.high
            rows.append((name, level, *accuracies, drop.value, drop.low, drop.high))
            if name in (COLOR_ONLY, NO_COLOR):
                estimates.append(estimate)
    found = {estimate.name: estimate for estimate in estimates}
    if not {"color only", "no color"} <= set(found):
        return None
    chance = float(np.bincount(labels).max() / len(labels))
    return Finding(
        summary=f"{in_percent(found['color only'])} accuracy with pixels shuffled, so that only "
        f"color is left, and {in_percent(found['no color'])} in gray; "
        f"{percent(float(clean.mean()), 1)} % on clean patches (always the largest class: "
        f"{percent(chance, 1)} %)",
        estimates=tuple(estimates),
        tables=(
            Table(
                name="levels",
                title="Accuracy with information removed; the drop from clean patches (paired)",
                headings=("change", "level", "accuracy", "from", "to", "drop", "from", "to"),
                rows=tuple(rows),
            ),
        ),
    )
