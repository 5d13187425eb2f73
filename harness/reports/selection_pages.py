"""The page about selection: what choosing the epoch on the test patches adds to an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.leaderboard import Board
from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.reports.report import render, write_page
from harness.statistics.selection import SelectionAudit
from harness.store.failures import Collected
from harness.text.markup import inline
from harness.text.numbers import percent, points
from harness.types.findings import Table

SCHEMA = 2


def write(
    found: dict[str, list[SelectionAudit]], board: Board, folder: Path, problems: Collected
) -> list[Path]:
    """Write ``<dataset>-selection.md``, ``.json`` and a picture; nothing without an audit."""
    if not found:
        return []
    name = f"{board.dataset['name']}-selection"
    path = folder / f"{name}-epochs.png"
    lines = [
        f"# {inline(board.dataset['name'])}: selection",
        "Accuracy % on the test patches of one and the same training, at the epoch that the "
        "held-out part of the training patches chose, at the last, and at the one that the test "
        "patches chose, as published protocols do. “Reported more” is what the test patches chose, "
        "less what the held-out part chose. It is above zero even if all epochs are equally good, "
        "as one of them is the best by chance, and the more so the fewer patches choose, such as "
        "those of a fold. “By chance” is how much of it is gone, on average, on one half of the "
        "test patches when the other half chooses; “optimism” is what is left, with a 95 % "
        "interval: where it holds zero, choosing on test patches found no better epoch, and what "
        "was reported more is chance.",
        render(_table(found)),
    ]
    models = {model: [asdict(one) for one in some] for model, some in found.items()}
    key = key_of(board.dataset["name"], path.stem, _draw, models)
    shown = drawing.write(path, "epochs", partial(_draw, found), problems, key=key)
    lines += shown
    written = drawing.files(path) if shown else []
    lines += board.assumed
    lines.append(
        "Written by `harness run --audit-selection`; `harness leaderboard` writes it again from "
        "the store."
    )
    content = {
        "schema": SCHEMA,
        "dataset": board.dataset["name"],
        "digest": board.dataset["digest"],
        "models": {
            model: [asdict(one) | {"chance": one.chance} for one in some]
            for model, some in found.items()
        },
    }
    return [*write_page(folder / name, lines, content), *written]


def _table(found: dict[str, list[SelectionAudit]]) -> Table:
    rows = tuple(
        (
            model,
            *(
                f"{percent(one.accuracies[how])} ({_epochs(one.epochs[how])})"
                for how in ("held-out", "last", "test")
            ),
            points(one.reported),
            points(one.chance),
            f"{points(one.optimism.value)} ({points(one.optimism.low or 0)} to "
            f"{points(one.optimism.high or 0)})",
        )
        for model, some in found.items()
        for one in some
    )
    return Table(
        name="selection",
        title="",
        headings=(
            "model",
            "held-out chose (epoch)",
            "last (epoch)",
            "test chose (epoch)",
            "reported more, points",
            "by chance",
            "optimism (95 %)",
        ),
        rows=rows,
    )


def _epochs(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, epochs))


def _draw(found: dict[str, list[SelectionAudit]]) -> Any:
    """Accuracy by epoch, at most eight models in one axes."""
    models = drawing.styles(found)
    picture, panels = drawing.panels(list(found))
    for axes, names in panels:
        for model in names:
            color, marker = models[model]
            for number, one in enumerate(found[model]):
                curve = 100 * np.array(one.curve)
                epochs = np.arange(1, len(curve) + 1)
                shown = None if number else drawing.in_legend(model)
                axes.plot(epochs, curve, color=color, label=shown, marker=marker, markevery=0.1)
                for how, style in (("held-out", "--"), ("test", ":")):
                    axes.axhline(100 * one.accuracies[how], color=color, linestyle=style, lw=0.8)
        axes.set(xlabel="epoch", ylabel="test accuracy, %")
        axes.set_ylim(top=100)
        drawing.legend(axes)
    said = "dashed: the epoch that the held-out part chose; dotted: that the test patches chose"
    picture.suptitle(said, fontsize=8)
    return picture
