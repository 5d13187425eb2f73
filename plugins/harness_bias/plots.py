"""Pictures of what the probes found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.image import AxesImage
from matplotlib.transforms import offset_copy

from harness import Finding, PublishedResult, Table
from harness.reports import drawing
from harness.reports.drawing import label
from harness.statistics.intervals import wilson
from harness.text.numbers import given

SPLITS = {"train": ("#6B2D00", "s"), "test": ("#0072B2", "o")}
"""Color and marker of each part."""
CHANNELS = {"red": "#C84E00", "green": "#009E73", "blue": "#0072B2"}
PAGE = 9.0
"""Inches that a picture may be high, for a page of a paper."""
AROUND = 1.1
"""Inches of them for names of classes and a bar of colors."""
Rows = list[dict[str, Any]]
Curve = dict[Any, tuple[Any, Any, Any]]
"""By level, accuracy and the ends of its interval."""
Curves = Mapping[str, Curve]


def _rows(table: Table) -> Rows:
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def _classes(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["class"] for row in rows))


def _splits(rows: Rows) -> list[str]:
    present = {row["split"] for row in rows}
    return [name for name in SPLITS if name in present]


def _by_class(rows: Rows, high: float) -> Picture:
    """An empty picture as wide as the classes need."""
    return drawing.figure(max(drawing.DOUBLE, 0.3 * len(_classes(rows))), high)


def color_signatures(finding: Finding) -> Picture:
    """Quartiles of the channel means of each class, above a swatch of its mean color."""
    rows, means = _rows(finding.table("signatures")), _rows(finding.table("classes"))
    classes, splits = _classes(rows), _splits(rows)
    picture = _by_class(rows, 2.2 * len(splits))
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
                        linewidth=4,
                        solid_capstyle="butt",
                        alpha=0.5,
                    )
                    axes.plot(x, row["median"], "_", color=CHANNELS[channel], markersize=8, mew=2)
        for row in means:
            if row["split"] == split:
                mean = tuple(row[channel] / 255 for channel in CHANNELS)
                x = classes.index(row["class"])
                axes.fill_between([x - 0.35, x + 0.35], 0, 24, color=mean)
        axes.set_ylim(0, 255)
        drawing.name_axis(axes.xaxis, classes)
        axes.set_ylabel("channel mean")
        axes.set_title(f"{split}: quartiles of the channel means; swatch: mean color")
        for channel, color in CHANNELS.items():
            axes.plot([], [], color=color, linewidth=4, label=channel)
        if not number:
            drawing.legend(axes)
    return picture


def tint(finding: Finding) -> Picture:
    """Mean tint of each class with its standard deviation."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 2.4)
    axes = picture.add_subplot()
    for split, x, row in _places(rows):
        if row["tint"] is not None:
            color, marker = SPLITS[split]
            axes.errorbar(x, row["tint"], row["tint: SD"], fmt=marker, color=color)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("optical density off the\nplane of the two stains")
    axes.set_title("Color cast not explained by H&E stains (mean ± SD of patches)")
    _class_axis(axes, rows, bars=False)
    return picture


def blockiness(finding: Finding) -> Picture:
    """Share of patches with a JPEG grid, and how strong it is, by class."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 3.6)
    shares, contrast = picture.subplots(2, 1, sharex=True)
    for split, x, row in _places(rows):
        _share(shares, x, row, "compressed", split)
        if row["blockiness: median"] is not None:
            contrast.bar(x, row["blockiness: median"] - 1, 0.36, bottom=1, **_bars(split))
    shares.set_ylabel("patches with an\n8-pixel grid, %")
    shares.set_ylim(0, 100)
    contrast.set_ylabel("contrast of the grid\n(median where found)")
    shares.set_title("Traces of JPEG compression by class (shares with 95 % intervals)")
    _class_axis(contrast, rows)
    return picture


def dynamic_range(finding: Finding) -> Picture:
    """Share of pixels cut off at either end, and of corrupt patches, by class."""
    rows = _rows(finding.table("classes"))
    picture = _by_class(rows, 3.6)
    cut, corrupt = picture.subplots(2, 1, sharex=True)
    for split, x, row in _places(rows):
        cut.bar(x, 100 * row["cut off at 255"], 0.36, **_bars(split))
        cut.bar(x, -100 * row["cut off at 0"], 0.36, hatch="////", **_bars(split, "white"))
        _share(corrupt, x, row, "corrupt patches", split)
    cut.axhline(0, color="black", linewidth=0.6)
    low, high = cut.get_ylim()
    cut.set_ylim(max(-100, low), min(100, high))
    is_whole = max(-low, high) >= 100
    room = "" if is_whole else "\naxis ends before 100 %"
    cut.set_ylabel(f"values cut off, %\n(up: at 255, down: at 0){room}")
    corrupt.set_ylabel("corrupt patches, %")
    corrupt.set_ylim(0, 100)
    cut.set_title(
        "Traces of wrong dynamic range by class\n"
        "(values: mean of the patches; corrupt: share of patches with 95 % interval)"
    )
    _class_axis(corrupt, rows)
    return picture


def _places(rows: Rows) -> list[tuple[str, float, dict[str, Any]]]:
    """Split, position and row, the splits of a class side by side."""
    classes, splits = _classes(rows), _splits(rows)
    offset = {name: 0.38 * (i - (len(splits) - 1) / 2) for i, name in enumerate(splits)}
    return [(row["split"], classes.index(row["class"]) + offset[row["split"]], row) for row in rows]


def _bars(split: str, fill: str | None = None) -> dict[str, Any]:
    """How bars of a part look: those of the training patches hollow."""
    color, _ = SPLITS[split]
    hollow = "white" if split == "train" else (color, 0.35)
    return {"color": fill or hollow, "edgecolor": color, "linewidth": 1}


def _share(axes: Axes, x: float, row: dict[str, Any], column: str, split: str) -> None:
    """A bar for the share of patches of a class, in percent, with its interval."""
    share, n = row[column], row["patches"]
    low, high = wilson(share * n, n)
    ends = drawing.lengths([100 * share], [100 * low], [100 * high])
    axes.bar(x, 100 * share, 0.36, yerr=ends, ecolor=SPLITS[split][0], **_bars(split))


def _class_axis(axes: Axes, rows: Rows, bars: bool = True) -> None:
    drawing.name_axis(axes.xaxis, _classes(rows))
    for split in _splits(rows):
        color, marker = SPLITS[split]
        fill = _bars(split)["color"] if bars else color
        axes.plot([], [], "s" if bars else marker, color=color, label=split, mfc=fill)
    drawing.legend(axes)


def robustness(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """Accuracy with its interval against level, one panel a change; published ones hollow, dashed.

    With more models than there are colors, each change has a panel for each group of them.
    """
    measured = {model: _curves(finding) for model, finding in findings.items()}
    changes = [
        change for change in dict.fromkeys(c for own in measured.values() for c in own) if change
    ]
    if not changes:
        return None
    known = [r for r in published if r.perturbation in changes and r.tta == "none" and r.accuracy]
    names = list(dict.fromkeys([*measured, *(r.name for r in known)]))
    models, groups = drawing.styles(names), drawing.groups(names)
    across = 4
    down = -(-len(changes) // across)
    high = 1.3 * down + 0.35 + 0.07 * max(map(len, groups))
    picture = drawing.figure(drawing.DOUBLE, high * len(groups) + 0.3)
    parts = picture.subfigures(len(groups), 1, squeeze=False)[:, 0]
    for part, group in zip(parts, groups, strict=True):
        for number, change in enumerate(changes):
            axes = part.add_subplot(down, across, number + 1)
            theirs = [r for r in known if r.perturbation == change and r.name in group]
            _levels(axes, change, {n: measured.get(n, {}) for n in group}, theirs, models)
            _mark_neutral(axes, change, findings)
            axes.set_title(label(change))
            if number % across:
                axes.set_yticklabels([])
        handles = [
            axes.plot([], [], color=color, marker=marker, label=drawing.in_legend(name))[0]
            for name, (color, marker) in models.items()
            if name in group
        ]
        if any(r.name in group for r in known):
            handles += axes.plot([], [], "s--", color="0.35", mfc="none", label="published")
        part.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    picture.suptitle(
        "Accuracy, %, against the level of a change, with 95 % intervals\n"
        "(leftmost: clean patches; dotted: where a level would change nothing)"
    )
    return picture


def _levels(
    axes: Axes,
    change: str,
    measured: Mapping[str, Curves],
    theirs: Sequence[PublishedResult],
    models: Mapping[str, drawing.Style],
) -> None:
    """Curves of some models under a change; what is clean stands apart on the left."""
    own = [curves[change] for curves in measured.values() if change in curves]
    levels = list(next(iter(own), {})) or sorted({r.level for r in theirs if r.level is not None})
    for place, (name, curves) in enumerate(measured.items()):
        color, marker = models[name]
        shift = 0.5 * ((place + 0.5) / len(measured) - 0.5)  # or intervals hide each other
        style: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "markersize": 3,
            "linewidth": 0.9,
        }
        for at, some in ((-1.3, curves.get("")), (0, curves.get(change))):
            if some and change in curves:
                wanted = [None] if at else levels
                points = np.array([some.get(level, (np.nan,) * 3) for level in wanted], float)
                ends = drawing.lengths(*100 * points.T)
                x = at + shift + np.arange(len(points))
                axes.errorbar(x, 100 * points[:, 0], ends, elinewidth=0.5, **style)
        found = {r.level: r.accuracy for r in theirs if r.name == name}
        if found:
            y = [100 * (found.get(level) or np.nan) for level in levels]
            x = np.arange(len(levels)) + shift
            axes.plot(x, y, **{**style, "linestyle": "--", "mfc": "none", "markersize": 4})
    axes.axvline(-0.75, color="0.8", linewidth=0.6)
    drawing.mark_levels(axes, levels)
    axes.set_xlim(-1.8, len(levels) - 0.5)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 25))
    axes.grid(axis="y")


def _mark_neutral(axes: Axes, change: str, findings: Mapping[str, Finding]) -> None:
    """A dotted line between the levels where a change changes nothing."""
    rows = [
        row
        for finding in findings.values()
        for row in _rows(finding.table("levels"))
        if row["change"] == change and row.get("unchanged at") is not None
    ]
    if rows:
        below = len({row["level"] for row in rows if row["level"] < row["unchanged at"]})
        axes.axvline(below - 0.5, color="0.4", linewidth=0.8, linestyle=":")


def _curves(finding: Finding) -> dict[str, Curve]:
    """By change, "" for clean patches, and level: accuracy and the ends of its interval."""
    curves: dict[str, Curve] = {}
    for row in _rows(finding.table("levels")):
        change = "" if row["level"] is None else row["change"]
        ends = row["accuracy"], row["accuracy from"], row["accuracy to"]
        curves.setdefault(change, {})[row["level"]] = ends
    return curves


def reliance(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """Accuracy with information removed and its interval: one panel a change, one line a model."""
    measured = {model: _removed(finding) for model, finding in findings.items()}
    bars = list(dict.fromkeys(bar for accuracies in measured.values() for bar in accuracies))
    models = drawing.styles(measured)
    across = 4
    down = -(-len(bars) // across)
    picture = drawing.figure(drawing.DOUBLE, (0.17 * len(measured) + 0.45) * down + 0.3)
    panels = drawing.grid(picture, len(bars), across, sharex=True, sharey=True)
    for axes, bar in zip(panels, bars, strict=True):
        for place, (model, accuracies) in enumerate(measured.items()):
            if bar in accuracies:
                (color, marker), points = models[model], 100 * np.array(accuracies[bar], float)
                ends = drawing.lengths(*points[:, None])
                axes.errorbar(points[0], place, xerr=ends, color=color, marker=marker, elinewidth=1)
        axes.axvline(100 / len(classes), color="black", linewidth=0.6, linestyle=":")
        axes.set_title(label(bar, drawing.LONGEST_ON_AXIS))
        axes.set_xlim(0, 100)
        axes.set_xticks(range(0, 101, 25))
        axes.grid(axis="x")
        axes.xaxis.set_tick_params(labelbottom=True)
    drawing.name_axis(picture.axes[0].yaxis, list(measured), longest=drawing.LONGEST_IN_LEGEND)
    picture.axes[0].set_ylim(len(measured) - 0.5, -0.5)
    picture.suptitle(
        "Accuracy, %, with structure or color removed, with 95 % intervals (dotted: guessing)"
    )
    return picture


def _removed(finding: Finding) -> dict[str, tuple[Any, Any, Any]]:
    """Accuracy and the ends of its interval, by what is removed."""
    # Two columns are called "from" and two "to": the first are those of the accuracy.
    return {
        _bar({"change": change, "level": level}): (accuracy, low, high)
        for change, level, accuracy, low, high, *_ in finding.table("levels").rows
    }


def _bar(row: dict[str, Any]) -> str:
    """Name of a bar; a change with one level only goes by its name."""
    return row["change"] if row["level"] in (None, 1) else f"{row['change']} {given(row['level'])}"


def steering(
    findings: Mapping[str, Finding], published: Sequence[PublishedResult], classes: Sequence[str]
) -> Picture | None:
    """For each model and kind of transfer, how far predictions follow it, class by class.

    It has the models that fit a page, in the order of the leaderboard.
    """
    kinds = max((len(finding.tables) for finding in findings.values()), default=0)
    if not kinds:
        return None
    row = 0.135 * len(classes) + 0.45
    across, down = _on_a_page(len(findings) * kinds, kinds, row, len(classes))
    shown = list(findings)[: max(1, across * down // kinds)]
    panels = [(model, table) for model in shown for table in findings[model].tables]
    wide = max(drawing.DOUBLE, min(across, 2) * 0.3 * len(classes))
    down = -(-len(panels) // across)
    picture = drawing.figure(wide, row * down + AROUND)
    styles = drawing.styles(findings)
    for number, (model, table) in enumerate(panels):
        axes = picture.add_subplot(down, across, number + 1)
        is_named = across < 4 or table is findings[model].tables[0]
        image = _followed(axes, table, has_numbers=wide / across / len(classes) > 0.25)
        name = label(model, drawing.LONGEST_IN_LEGEND) if is_named else ""
        axes.set_title(f"{name}\n{label(table.name, drawing.LONGEST_ON_AXIS)}", loc="left")
        if is_named:
            _mark(picture, axes, styles[model])
        _name_classes(axes, classes, across, number, len(panels))
    bar = picture.colorbar(image, ax=picture.axes, location="bottom", aspect=50, pad=0.01)
    bar.set_label("percentage points more often called so")
    if len(shown) < len(findings):
        picture.suptitle(f"The first {len(shown)} of {len(findings)} models of the leaderboard")
    return picture


def _on_a_page(panels: int, kinds: int, row: float, classes: int) -> tuple[int, int]:
    """How many panels go beside each other, and how many rows there may be.

    With two kinds of transfer, two models stand beside each other if all would not fit otherwise.
    """
    most = max(1, int((PAGE - AROUND) / row))
    if panels == 1 or classes > 12:
        return 1, most
    return (4 if kinds == 2 and panels > 2 * most else 2), most


def _followed(axes: Axes, table: Table, has_numbers: bool) -> AxesImage:
    """The matrix of how much more often a class is called another."""
    values = np.array(
        [[np.nan if v is None else 100 * float(v) for v in row[1:]] for row in table.rows]
    )
    for (i, j), value in np.ndenumerate(values):
        if has_numbers and np.isfinite(value) and abs(value) >= 0.5:
            dark = "white" if abs(value) > 60 else "black"
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=7, color=dark)
    return axes.imshow(values, cmap="RdBu_r", vmin=-100, vmax=100, aspect="auto")


def _mark(picture: Picture, axes: Axes, style: drawing.Style) -> None:
    """The marker of a model on the left of its name, which is the upper line of a title."""
    color, marker = style
    place = offset_copy(axes.transAxes, picture, -7, 19, units="points")
    axes.plot(0, 1, marker, color=color, transform=place, clip_on=False)


def _name_classes(
    axes: Axes, classes: Sequence[str], across: int, number: int, panels: int
) -> None:
    """Names of classes along the outer axes of panels that all have the same classes."""
    axes.set(xticks=range(len(classes)), yticks=range(len(classes)))
    axes.tick_params(labelbottom=False, labelleft=False)
    if number >= panels - across:
        drawing.name_axis(axes.xaxis, classes, room=95 // across)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("given the look of")
    if number % across == 0:
        drawing.name_axis(axes.yaxis, classes)
        axes.tick_params(labelleft=True)
        axes.set_ylabel("true class")
