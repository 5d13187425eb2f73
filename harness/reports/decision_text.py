"""Decision curves as text for a person, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.analysis.compare import Compared
from harness.analysis.decision import DecisionCurves
from harness.reports import drawing
from harness.reports.report import simple
from harness.text.markup import visible
from harness.text.numbers import percent, rounded
from harness.types.findings import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINE = tuple(number / 100 for number in range(1, 51))
"""Thresholds of a picture."""


def text(
    compared: Compared, found: DecisionCurves, show: Callable[[Table], str] = simple
) -> list[str]:
    """Paragraphs for a person; ``show`` makes text of tables."""
    return [
        f"Net benefit where {visible(found.positive)} is the positive class, which "
        f"{percent(found.prevalence, 1)} % of these test patches are: true positives less false "
        "positives, weighed by the odds of the threshold, by patch. A threshold is the probability "
        "from which on one acts. To act on none has a net benefit of 0. Where the class is rarer, "
        "as in practice, it is another.",
        show(table(compared, found)),
    ]


def table(compared: Compared, found: DecisionCurves) -> Table:
    """Net benefits by threshold."""
    columns = zip(
        found.thresholds,
        *(found.one, found.other, found.differences, found.act_on_all),
        strict=True,
    )
    return Table(
        name="decision",
        title="",
        headings=(
            *("threshold %", compared.one.name, compared.other.name),
            *("difference (95 %)", "act on all"),
        ),
        rows=tuple(
            (
                percent(threshold, 0),
                *(rounded(value, 3) for value in (one, other)),
                f"{rounded(gap.value, 3, signed=True)} ({rounded(gap.low or 0, 3, signed=True)} to "
                f"{rounded(gap.high or 0, 3, signed=True)})",
                rounded(every, 3),
            )
            for threshold, one, other, gap, every in columns
        ),
    )


def draw(compared: Compared, found: DecisionCurves) -> Figure:
    """The decision curves of both, of acting on all, and of acting on none."""
    picture = drawing.figure(drawing.DOUBLE, 2.8)
    axes = picture.subplots()
    models = drawing.styles([compared.one.name, compared.other.name])
    thresholds = [100 * threshold for threshold in found.thresholds]
    for entry, values in ((compared.one, found.one), (compared.other, found.other)):
        color, marker = models[entry.name]
        shown = drawing.in_legend(entry.name)
        axes.plot(thresholds, values, color=color, marker=marker, markevery=0.1, label=shown)
    axes.plot(*(thresholds, found.act_on_all), color="0.45", linestyle="--", label="act on all")
    axes.axhline(0, color="0.45", linewidth=1, label="act on none")
    highest = max(found.prevalence, *found.one, *found.other)
    axes.set(
        xlabel=f"threshold, % ({drawing.label(found.positive)} is the positive class)",
        ylabel="net benefit by patch",
        xlim=(0, thresholds[-1]),
        ylim=(-0.1 * highest, 1.1 * highest),
    )
    drawing.legend(axes)
    return picture
