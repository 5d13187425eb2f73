"""Color reliance: accuracy with structure removed and color kept, and the other way round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness import Figure, Finding, Perturbation, Predictions, Table
from harness.numbers import percent
from harness.statistics.intervals import wilson
from harness.statistics.paired import paired_difference
from harness_bias.models.interval import in_percent

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
    clean = predictions.clean.argmax(axis=1) == labels
    low, high = wilson(int(clean.sum()), len(clean))
    rows: list[tuple[str | float | None, ...]] = [
        ("clean", None, float(clean.mean()), low, high, 0.0, None, None)
    ]
    figures = []
    for name in needs(predictions.perturbations):
        for level in predictions.perturbations[name].levels:
            logits = predictions.under(name, level)
            if logits is None:
                continue
            right = logits.argmax(axis=1) == labels
            low, high = wilson(int(right.sum()), len(right))
            accuracy = float(right.mean())
            rows.append((name, level, accuracy, low, high, *paired_difference(clean, right)))
            if name in (COLOR_ONLY, NO_COLOR):
                title = "color only" if name == COLOR_ONLY else "no color"
                figures.append(Figure(name=title, value=accuracy, low=low, high=high))
    found = {figure.name: figure for figure in figures}
    if not {"color only", "no color"} <= set(found):
        return None
    chance = float(np.bincount(labels).max() / len(labels))
    return Finding(
        summary=f"{in_percent(found['color only'])} accuracy with pixels shuffled, so that only "
        f"color is left, and {in_percent(found['no color'])} in gray; "
        f"{percent(float(clean.mean()), 1)} % on clean patches (always the largest class: "
        f"{percent(chance, 1)} %)",
        figures=tuple(figures),
        tables=(
            Table(
                name="levels",
                title="Accuracy with information removed; the drop from clean patches (paired)",
                headings=("change", "level", "accuracy", "from", "to", "drop", "from", "to"),
                rows=tuple(rows),
            ),
        ),
    )
