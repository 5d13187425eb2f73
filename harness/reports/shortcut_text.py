"""Planted shortcuts as a table, a picture, and files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.analysis.shortcut import Accuracy
from harness.data.planting import TESTED
from harness.reports import drawing
from harness.reports.report import render, write_page
from harness.store.failures import Collected
from harness.system.atomic import write_atomically
from harness.text.markup import code, csv_table, inline
from harness.text.numbers import percent
from harness.types.faults import PlantedFault
from harness.types.findings import Table

SCHEMA = 1
SAID = {
    "clean": "without the fault",
    "planted": "with it, as in training",
    "swapped": "with that of other classes",
}
COLORS = {"clean": "tab:blue", "planted": "tab:gray", "swapped": "tab:red"}


def table(found: Sequence[Accuracy]) -> Table:
    """Accuracy by model and dose, in three columns."""
    rows: list[tuple[str | float | None, ...]] = []
    for model, dose in dict.fromkeys((one.model, one.dose) for one in found):
        own = {one.tested: one for one in found if (one.model, one.dose) == (model, dose)}
        rows.append((model, dose, *(_cell(own.get(tested)) for tested in TESTED)))
    return Table(
        name="accuracy",
        title="Accuracy % on test patches (95 % interval)",
        headings=("model", "dose", *SAID.values()),
        rows=tuple(rows),
    )


def _cell(one: Accuracy | None) -> str:
    if one is None:
        return ""
    return f"{percent(one.accuracy)} ({percent(one.low, 1)} to {percent(one.high, 1)})"


def draw(found: Sequence[Accuracy], unit: str) -> Any:
    """Accuracy by dose with its interval, one panel a model; a matplotlib figure."""
    models = list(dict.fromkeys(one.model for one in found))
    picture = drawing.figure(5 * len(models), 4)
    for number, model in enumerate(models):
        axes = picture.add_subplot(1, len(models), number + 1)
        for tested in TESTED:
            own = [one for one in found if (one.model, one.tested) == (model, tested)]
            axes.errorbar(
                [one.dose for one in own],
                [100 * one.accuracy for one in own],
                [
                    [100 * (one.accuracy - one.low) for one in own],
                    [100 * (one.high - one.accuracy) for one in own],
                ],
                label=SAID[tested],
                color=COLORS[tested],
                marker="o",
                capsize=3,
            )
        axes.set(ylim=(0, 100), xlabel=drawing.label(unit), ylabel="accuracy %")
        axes.set_title(drawing.label(model))
    picture.axes[0].legend(title="test patches")
    return picture


def write(
    dataset: str,
    fault: PlantedFault,
    found: Sequence[Accuracy],
    command: str,
    folder: Path,
    problems: Collected,
) -> list[Path]:
    """Write ``<dataset>-shortcut-<fault>-of-<models>`` as Markdown, JSON, CSV and a picture.

    A picture that cannot be drawn is added to ``problems``.
    """
    models = "-and-".join(quote(name, safe="+") for name in dict.fromkeys(o.model for o in found))
    path = folder / f"{dataset}-shortcut-{fault.name}-of-{models}.md"
    picture = path.with_suffix(".png")
    shown = drawing.write(picture, "shortcut", partial(draw, found, fault.unit), problems)
    page = [
        f"# {inline(dataset)}: {inline(fault.title)} as a shortcut",
        f"Trained on patches with a fault planted by class: {inline(fault.title)}. A dose is in "
        f"{inline(fault.unit)}. The same models predict test patches without the fault, with it as "
        "in training, and with the levels of the classes in reverse order.",
        render(table(found)),
        *shown,
        f"Written by {code(command)}.",
    ]
    rows = [one.as_row() for one in found]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "fault": [fault.name, fault.version],
        "unit": fault.unit,
        "command": command,
        "accuracies": rows,
    }
    table_path = path.with_suffix(".csv")
    write_atomically(table_path, csv_table([*rows[0]], rows))
    written = [*write_page(path, page, content), table_path]
    return [*written, picture] if shown else written
