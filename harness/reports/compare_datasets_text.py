"""Comparisons over several datasets as text for a person, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.analysis.compare_datasets import ComparedDatasets
from harness.reports import drawing
from harness.reports.report import simple
from harness.statistics.over_datasets import Ranks, not_different
from harness.text.numbers import equals_p, percent
from harness.types.findings import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
LINE = 0.3
"""Height of a model's line in the picture, in inches."""


def text(compared: ComparedDatasets, show: Callable[[Table], str] = simple) -> list[str]:
    """Paragraphs for a person; ``show`` makes text of tables."""
    lines = [
        f"{', '.join(compared.models)} on {len(compared.datasets)} datasets.",
        show(accuracies(compared)),
        *_ranked(compared),
        show(pairs(compared)),
        "Probabilities of the Bayesian signed-rank test that the accuracy on a further dataset is "
        f"rather more than {100 * compared.margin:g} points lower, within ±"
        f"{100 * compared.margin:g} points (`--margin`), or higher.",
        "Datasets count as independent, and the accuracy on each as known.",
    ]
    lines += [
        f"WARNING: {', '.join(same)} share test patches and are no independent datasets."
        for same in compared.same_patches
    ]
    return lines


def accuracies(compared: ComparedDatasets) -> Table:
    """Accuracies by dataset and model, and the mean ranks."""
    rows: list[tuple[str, ...]] = [
        (name, *map(percent, values))
        for name, values in zip(compared.datasets, compared.accuracies.tolist(), strict=True)
    ]
    if compared.ranks is not None:
        rows.append(("mean rank", *(f"{rank:.2f}" for rank in compared.ranks.mean)))
    return Table(
        name="accuracies",
        title="",
        headings=("accuracy %", *compared.models),
        rows=tuple(rows),
    )


def pairs(compared: ComparedDatasets) -> Table:
    """For each pair of models, the probabilities of what it may come to."""
    return Table(
        name="pairs",
        title="",
        headings=("model", "beside", "worse", "equal", "better"),
        rows=tuple(
            (other, one, *(f"{value:.3f}" for value in (p.worse, p.equal, p.better)))
            for (one, other), p in compared.pairs.items()
        ),
    )


def _ranked(compared: ComparedDatasets) -> list[str]:
    """What Friedman's and Nemenyi's tests say; nothing of two models."""
    if (found := compared.ranks) is None:
        return []
    cliques = [
        ", ".join(compared.models[number] for number in clique)
        for clique in not_different(found.mean, found.critical_difference)
    ]
    alike = f"cannot be distinguished: {'; '.join(cliques)}"
    told = alike if cliques else "all can be distinguished"
    said = f"That all are equally good: {equals_p(found.p)} (Friedman's test)."
    if found.p >= 0.05:
        return [f"{said} So no two can be distinguished."]
    return [
        f"{said} Mean ranks that differ by {found.critical_difference:.2f} or more differ in truth "
        f"(Nemenyi's test, 5 % over all pairs); {told}."
    ]


def as_json(compared: ComparedDatasets) -> dict[str, Any]:
    """Everything."""
    found = compared.ranks
    return {
        "schema": SCHEMA,
        "datasets": list(compared.datasets),
        "models": list(compared.models),
        "accuracies": compared.accuracies.tolist(),
        "margin": compared.margin,
        "pairs": [
            {"model": other, "beside": one, **asdict(p)}
            for (one, other), p in compared.pairs.items()
        ],
        "mean_ranks": None if found is None else found.mean.tolist(),
        "p": None if found is None else found.p,
        "critical_difference": None if found is None else found.critical_difference,
        "same_patches": list(map(list, compared.same_patches)),
    }


def diagram(compared: ComparedDatasets, found: Ranks) -> Figure:
    """The critical difference diagram (Demšar, JMLR 7, 2006).

    Models at their mean ranks, the best on the left. A bar joins those that are not distinguished.
    """
    m = len(compared.models)
    order = sorted(range(m), key=lambda number: float(found.mean[number]))
    bars = not_different(found.mean, found.critical_difference)
    if found.p >= 0.05:
        bars = [tuple(order)]
    left = (m + 1) // 2
    depth = len(bars) + left + 1
    picture = drawing.figure(drawing.DOUBLE, 0.8 + LINE * depth)
    axes = picture.subplots()
    axes.set_xlim(1 - 0.6 * (m - 1), m + 0.6 * (m - 1))
    axes.set_ylim(depth, -1.8)
    axes.set_axis_off()
    axes.plot([1, m], [0, 0], color="black", linewidth=1)
    for tick in range(1, m + 1):
        axes.plot([tick, tick], [-0.2, 0], color="black", linewidth=1)
        axes.text(tick, -0.3, str(tick), ha="center", va="bottom")
    width = min(found.critical_difference, m - 1)
    axes.plot([1, 1 + width], [-1.3, -1.3], color="black", linewidth=1, marker="|")
    more = "" if width == found.critical_difference else ", wider than all ranks"
    critical = f"critical difference {found.critical_difference:.2f}{more}"
    axes.text(1, -1.45, critical, ha="left", va="bottom")
    for height, bar in enumerate(bars):
        ends = [float(found.mean[number]) for number in (bar[0], bar[-1])]
        axes.plot(ends, 2 * [0.5 + height], color="black", linewidth=4, solid_capstyle="butt")
    for place, number in enumerate(order):
        rank, name = float(found.mean[number]), drawing.label(compared.models[number])
        on_left = place < left
        line = len(bars) + 0.7 + (place if on_left else m - 1 - place)
        end = 1 - 0.1 * (m - 1) if on_left else m + 0.1 * (m - 1)
        axes.plot([rank, rank, end], [0, line, line], color="black", linewidth=0.8)
        shown = f" {name} {rank:.2f} " if on_left else f" {rank:.2f} {name} "
        axes.text(end, line, shown, ha="right" if on_left else "left", va="center")
    return picture
