"""Pictures of what the probes found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from harness import Finding, PublishedResult, Table
from harness.reports import drawing
from harness.reports.drawing import label
from harness.text.numbers import given

SPLITS = {"train": "tab:gray", "test": "tab:blue"}
CHANNELS = {"red": "tab:red", "green": "tab:green", "blue": "tab:blue"}
MODELS = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]
"""Colors of models: twenty, the strong ones first."""
Rows = list[dict[str, Any]]


def _rows(table: Table) -> Rows:
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def _classes(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["class"] for row in rows))


def _splits(rows: Rows) -> list[str]:
    present = {row["split"] for row in rows}
    return [name for name in SPLITS if name in present]


def _by_class(rows: Rows, high: float) -> Picture:
    """An empty picture as wide as the classes need."""
    return drawing.figure(max(9, 0.4 * len(_classes(rows))), high)


def color_signatures(finding: Finding) -> Picture:
    """Quartiles of the channel means of each class, above a swatch of its mean color."""
    rows, means = _rows(finding.table("signatures")), _rows(finding.table("classes"))
    classes, splits = _classes(rows), _splits(rows)
    picture = _by_class(rows, 3.2 * len(splits))
    for number, split in enumerate(splits):
        axes = picture.add_subplot(len(splits), 1, number + 1)
        for place, channel in enumerate(CHANNELS):
            for row in rows:
                if row["split"] == split and row["channel"] == channel:
                    x = classes.index(row["class"]) + 0.2 * (place - 1)
                    axes.plot(
                        [x, x],
                        [row["lower quartile"], row["upper quartile"]],
                        color=CHANNELS[channel],
                        linewidth=5,
                        solid_capstyle="butt",
                        alpha=0.5,
                    )
                    axes.plot(x, row["median"], "_", color=CHANNELS[channel], markersize=13, mew=2)
        for row in means:
            if row["split"] == split:
                color = tuple(row[channel] / 255 for channel in CHANNELS)
                x = classes.index(row["class"])
                axes.fill_between([x - 0.35, x + 0.35], 0, 24, color=color)
        axes.set_ylim(0, 255)
        drawing.name_axis(axes.xaxis, classes)
        axes.set_ylabel("channel mean")
        axes.set_title(f"{split}: quartiles of the channel means; swatch: mean color", fontsize=10)
    return picture


def tint(finding: Finding) -> Picture:
    """Mean tint of each class with its standard deviation."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 3.4)
    axes = picture.add_subplot()
    for split, x, row in _places(rows):
        if row["tint"] is not None:
            axes.errorbar(x, row["tint"], row["tint: SD"], fmt="o", color=SPLITS[split], capsize=3)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("optical density off the\nplane of the two stains")
    axes.set_title("Color cast not explained by H&E stains (mean ± SD of patches)", fontsize=10)
    _class_axis(axes, rows)
    return picture


def blockiness(finding: Finding) -> Picture:
    """Share of patches with a JPEG grid, and how strong it is, by class."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 5)
    shares, contrast = picture.subplots(2, 1, sharex=True)
    for split, x, row in _places(rows):
        shares.bar(x, 100 * row["compressed"], 0.36, color=SPLITS[split])
        if row["blockiness: median"] is not None:
            contrast.bar(x, row["blockiness: median"] - 1, 0.36, bottom=1, color=SPLITS[split])
    shares.set_ylabel("patches with an\n8-pixel grid, %")
    shares.set_ylim(0, 100)
    contrast.set_ylabel("contrast of the grid\n(median where found)")
    shares.set_title("Traces of JPEG compression by class", fontsize=10)
    _class_axis(contrast, rows)
    return picture


def dynamic_range(finding: Finding) -> Picture:
    """Share of pixels cut off at either end, and of corrupt patches, by class."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 5)
    cut, corrupt = picture.subplots(2, 1, sharex=True)
    for split, x, row in _places(rows):
        cut.bar(x, 100 * row["cut off at 255"], 0.36, color=SPLITS[split])
        cut.bar(x, -100 * row["cut off at 0"], 0.36, color=SPLITS[split], hatch="//")
        corrupt.bar(x, 100 * row["corrupt patches"], 0.36, color=SPLITS[split])
    cut.axhline(0, color="black", linewidth=0.6)
    cut.set_ylabel("values cut off, %\n(up: at 255, down: at 0)")
    corrupt.set_ylabel("corrupt patches, %")
    cut.set_title("Traces of wrong dynamic range by class", fontsize=10)
    _class_axis(corrupt, rows)
    return picture


def _places(rows: Rows) -> list[tuple[str, float, dict[str, Any]]]:
    """Split, position and row, the splits of a class side by side."""
    classes, splits = _classes(rows), _splits(rows)
    offset = {name: 0.38 * (i - (len(splits) - 1) / 2) for i, name in enumerate(splits)}
    return [(row["split"], classes.index(row["class"]) + offset[row["split"]], row) for row in rows]


def _class_axis(axes: Axes, rows: Rows) -> None:
    drawing.name_axis(axes.xaxis, _classes(rows))
    for split in _splits(rows):
        axes.plot([], [], "s", color=SPLITS[split], label=split)
    axes.legend(fontsize=8, ncols=2)


def robustness(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """Accuracy against level, one panel a change; published accuracies dashed."""
    measured = {model: _curves(finding) for model, finding in findings.items()}
    clean = {
        model: row["accuracy"]
        for model, finding in findings.items()
        for row in _rows(finding.table("levels"))
        if row["change"] == "clean"
    }
    changes = list(dict.fromkeys(change for curves in measured.values() for change in curves))
    if not changes:
        return None
    known = [r for r in published if r.perturbation in changes and r.tta == "none" and r.accuracy]
    names = list(dict.fromkeys([*measured, *(r.name for r in known)]))
    color = {name: MODELS[i % len(MODELS)] for i, name in enumerate(names)}
    across = 4
    down = -(-len(changes) // across)
    picture = drawing.figure(3.2 * across, 2.5 * down + 0.8 + 0.05 * len(names))
    for number, change in enumerate(changes):
        axes = picture.add_subplot(down, across, number + 1)
        levels = list(next(curves[change] for curves in measured.values() if change in curves))
        for model, curves in measured.items():
            if change in curves:
                values = [100 * curves[change].get(level, np.nan) for level in levels]
                axes.plot(values, "o-", color=color[model], markersize=3, linewidth=1.2)
                axes.axhline(100 * clean[model], color=color[model], linewidth=0.8, linestyle=":")
        for name in names:
            theirs = {
                r.level: r.accuracy for r in known if (r.perturbation, r.name) == (change, name)
            }
            if theirs:
                values = [100 * (theirs.get(level) or np.nan) for level in levels]
                axes.plot(values, "s--", color=color[name], markersize=4, linewidth=1, mfc="none")
        axes.set_xticks(range(len(levels)), list(map(given, levels)), fontsize=7)
        axes.set_ylim(0, 100)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(label(change), fontsize=9)
    handles = [axes.plot([], [], "o-", color=color[name], label=label(name))[0] for name in names]
    if known:
        handles += axes.plot([], [], "s--", color="black", mfc="none", label="published")
    picture.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    picture.suptitle(
        "Accuracy (%) against the level of a change (dotted: clean patches)", fontsize=11
    )
    return picture


def _curves(finding: Finding) -> dict[str, dict[float, float]]:
    curves: dict[str, dict[float, float]] = {}
    for row in _rows(finding.table("levels")):
        if row["level"] is not None:
            curves.setdefault(row["change"], {})[row["level"]] = row["accuracy"]
    return curves


def reliance(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """Accuracy with information removed, a group of bars a model."""
    measured = {
        model: {_bar(row): row["accuracy"] for row in _rows(finding.table("levels"))}
        for model, finding in findings.items()
    }
    bars = list(dict.fromkeys(bar for accuracies in measured.values() for bar in accuracies))
    picture = drawing.figure(max(9, 1.2 * len(measured)), 3.8)
    axes = picture.add_subplot()
    wide = 0.85 / len(bars)
    for number, bar in enumerate(bars):
        values = [100 * accuracies.get(bar, np.nan) for accuracies in measured.values()]
        places = np.arange(len(measured)) + wide * (number - (len(bars) - 1) / 2)
        color = "black" if bar == "clean" else MODELS[number - 1]
        axes.bar(places, values, wide, label=label(bar), color=color)
    drawing.name_axis(axes.xaxis, list(measured), size=8)
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(0, 119)
    axes.set_yticks(range(0, 101, 20))
    axes.axhline(100 / len(classes), color="black", linewidth=0.6, linestyle=":")
    axes.legend(fontsize=8, ncols=4, loc="upper center")
    axes.set_title("Accuracy with structure or color removed (dotted: guessing)", fontsize=10)
    return picture


def _bar(row: dict[str, Any]) -> str:
    """Name of a bar; a change with one level only goes by its name."""
    return row["change"] if row["level"] in (None, 1) else f"{row['change']} {given(row['level'])}"


def steering(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """For each model and kind of transfer, how far predictions follow it, class by class."""
    panels = [(model, table) for model, finding in findings.items() for table in finding.tables]
    if not panels:
        return None
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    side = max(4, 0.14 * len(classes))
    picture = drawing.figure((side + 0.2) * across, side * down)
    for number, (model, table) in enumerate(panels):
        axes = picture.add_subplot(down, across, number + 1)
        values = np.array(
            [[np.nan if v is None else 100 * float(v) for v in row[1:]] for row in table.rows]
        )
        image = axes.imshow(values, cmap="RdBu_r", vmin=-100, vmax=100)
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value) and abs(value) >= 0.5:
                dark = "white" if abs(value) > 60 else "black"
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6, color=dark)
        drawing.name_axis(axes.xaxis, classes, size=7, room=0)
        drawing.name_axis(axes.yaxis, classes, size=7)
        axes.set_title(f"{label(model)}\n{label(table.name)}", fontsize=8)
        axes.set_xlabel("given the look of", fontsize=8)
        axes.set_ylabel("true class", fontsize=8)
    picture.colorbar(image, ax=picture.axes, shrink=0.6, label="points more often called so")
    return picture
