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
from harness.reports.kept_pictures import key_of
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
TOLD = (("#0072B2", "o"), ("#6B2D00", "s"), ("#C84E00", "^"))
"""Color and marker of each of what is tested."""


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
    across = min(3, len(models))
    down = -(-len(models) // across)
    picture = drawing.figure(drawing.DOUBLE if across > 1 else 4.5, 2.2 * down + 0.4)
    panels = drawing.grid(picture, len(models), across, sharey=True)
    for axes, model in zip(panels, models, strict=True):
        for tested, (color, marker) in zip(TESTED, TOLD, strict=True):
            own = [one for one in found if (one.model, one.tested) == (model, tested)]
            values, low, high = (
                [100 * end for end in ends]
                for ends in zip(*((one.accuracy, one.low, one.high) for one in own), strict=True)
            )
            axes.errorbar(
                *([one.dose for one in own], values, drawing.lengths(values, low, high)),
                **{"label": SAID[tested], "color": color, "marker": marker, "elinewidth": 0.8},
            )
        axes.set(ylim=(0, 100), xlabel=drawing.label(unit))
        axes.set_title(drawing.label(model, drawing.LONGEST_IN_LEGEND))
        axes.grid(axis="y")
    for axes in panels[::across]:
        axes.set_ylabel("accuracy, %")
    handles, labels = picture.axes[0].get_legend_handles_labels()
    picture.legend(
        handles, labels, title="test patches", loc="outside lower center", ncols=len(labels)
    )
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
    rows = [one.as_row() for one in found]
    key = key_of(dataset, picture.stem, draw, [rows, fault.unit])
    drawn = partial(draw, found, fault.unit)
    shown = drawing.write(picture, "shortcut", drawn, problems, key=key)
    page = [
        f"# {inline(dataset)}: {inline(fault.title)} as a shortcut",
        f"Trained on patches with a fault planted by class: {inline(fault.title)}. A dose is in "
        f"{inline(fault.unit)}. The same models predict test patches without the fault, with it as "
        "in training, and with the levels of the classes in reverse order.",
        render(table(found)),
        *shown,
        f"Written by {code(command)}.",
    ]
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
    return [*written, *drawing.files(picture)] if shown else written
