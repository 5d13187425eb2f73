"""Pictures of a board: accuracies with their intervals, and the confusion matrix of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import reproduction
from harness.analysis.leaderboard import Board
from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.statistics.intervals import Sampling
from harness.store.failures import Collected
from harness.text.numbers import percent
from harness.types.published import PublishedResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[str, float, float, float]
"""A name, its accuracy and the ends of the interval, in percent."""
LINE = 0.165
"""Inches of a row."""
CLOSE = 90
"""Percent from which on most accuracies of a good board are; they are then shown once more."""
DASHES = (0, (2, 1))
FULL, SHARES = 14, 40
"""Classes up to which a confusion matrix has counts, and shares, as text."""


def write_intervals(
    board: Board, baselines: Collection[str], folder: Path, problems: Collected
) -> tuple[list[str], list[Path]]:
    """Write ``<dataset>-intervals``; returns Markdown that shows it, and the paths.

    ``baselines`` are models that see no structure of tissue. Nothing without a measured row.
    """
    content = intervals(board, baselines)
    if not content["measured"]:
        return [], []
    name = board.dataset["name"]
    path = folder / f"{name}-intervals.png"
    key = key_of(name, path.stem, draw_intervals, content)
    draw = partial(draw_intervals, content)
    shown = drawing.write(path, "accuracies with intervals", draw, problems, key=key)
    return shown, drawing.files(path) if shown else []


def intervals(board: Board, baselines: Collection[str] = ()) -> dict[str, Any]:
    """What the picture shows, as JSON.

    Published results are beside measured ones where they are of the same test patches. Of others
    only the reference and the counterparts of measured models are kept, apart.
    """
    sampling = Sampling(design_effect=board.sampling.design_effect)

    def of(result: PublishedResult) -> Point:
        found = reproduction.estimates(result, sampling)["accuracy"]
        return (result.name, *_ends(found.value, found.low, found.high))

    known = [r for r in board.published if r.perturbation == "clean" and r.accuracy is not None]
    rows = [r for r in board.rows if r["result"] == "measured"]
    measured = [
        (row["model"], *_ends(row["accuracy"], row["accuracy_low"], row["accuracy_high"]))
        for row in rows
    ]
    own = {row["model"]: row["trained_on"] for row in rows}
    same = [r for r in known if not board.other_test_data(r)]
    wanted = [r for r in known if r.name in own or r is board.reference]
    apart = sorted((of(r) for r in wanted if r not in same), key=lambda point: -point[1])
    reference = board.reference
    random = {
        entry.record["model"]
        for entry in board.entries
        if entry.record.get("initial_weights_fallback")
        or str(entry.record["initial_weights"]).startswith("random")
    }
    return {
        "n": len(board.truth.labels),
        "measured": measured,
        "counterparts": [of(r) for r in same if r.name in own and own[r.name] == r.trained_on],
        "published": sorted(
            (of(r) for r in same if own.get(r.name) != r.trained_on), key=lambda point: -point[1]
        ),
        "apart": apart,
        "n_apart": sorted({r.n for r in wanted if r not in same}),
        "reference": (reference.title, of(reference)[1]) if reference in same else None,
        "color": max((p[1] for p in measured if p[0] in baselines), default=None),
        "random": max((p[1] for p in measured if p[0] in random), default=None),
    }


def _ends(value: float, low: float | None, high: float | None) -> tuple[float, float, float]:
    return (
        100 * value,
        100 * (value if low is None else low),
        100 * (value if high is None else high),
    )


def draw_intervals(content: Mapping[str, Any]) -> Figure:
    """A line a model: measured filled, published hollow and dashed; other test patches apart."""
    rows = sorted(
        [(True, *point) for point in content["measured"]]
        + [(False, *point) for point in content["published"]],
        key=lambda row: -row[2],
    )
    apart = [(False, *point) for point in content["apart"]]
    heights = [len(rows) + 1, *([len(apart) + 1] if apart else [])]
    picture = drawing.figure(drawing.DOUBLE, LINE * sum(heights) + 0.55 + 0.25 * len(heights))
    starts = [0]
    if sum(row[2] >= CLOSE for row in rows) > len(rows) / 2:  # too near each other to see
        starts.append(CLOSE)
    grid: dict[str, Any] = {
        "sharex": "col",
        "sharey": "row",
        "squeeze": False,
        "height_ratios": heights,
    }
    panels = picture.subplots(len(heights), len(starts), **grid)
    models = drawing.styles(dict.fromkeys(row[1] for row in (*rows, *apart)))
    counterparts = {name: point for name, *point in content["counterparts"]}
    for column, start in zip(panels.T, starts, strict=True):
        handles = _floors(column[0], content)
        if content["reference"]:
            title, value = content["reference"]
            shown = f"{drawing.in_legend(title)}, published"
            line: dict[str, Any] = {"color": "black", "lw": 0.8, "ls": (0, (4, 2)), "label": shown}
            handles.append(column[0].axvline(value, **line))
        _points(column[0], rows, models, counterparts, start)
        if apart:
            _points(column[1], apart, models, {}, start)
            column[1].set_facecolor("0.96")
        again = f", from {start} % on" if start else ""
        column[-1].set_xlabel(f"accuracy, % (95 % intervals){again}")
    for axes, some in zip(panels[:, -1], (rows, apart), strict=False):
        for place, row in enumerate(some):
            at = (1.02, place)
            axes.text(
                *at, percent(row[2] / 100, 1), va="center", transform=axes.get_yaxis_transform()
            )
    panels[0, 0].set_title(f"{content['n']:,} test patches", loc="left")
    if apart:
        several = " or ".join(f"{n:,}" for n in content["n_apart"])
        said = f"published on other test patches ({several}): not comparable"
        panels[1, 0].set_title(said, loc="left")
    blank: dict[str, Any] = {"color": "0.3", "marker": "o"}
    handles.append(panels[0, 0].plot([], [], label="measured", **blank)[0])
    if apart or content["published"] or content["counterparts"]:
        hollow = {**blank, "mfc": "white", "linestyle": DASHES}
        handles.append(panels[0, 0].plot([], [], label="published", **hollow)[0])
    picture.legend(handles=handles, loc="outside lower center", ncols=3)
    return picture


def _floors(axes: Any, content: Mapping[str, Any]) -> list[Any]:
    """What is reached without tissue, or without training that learned, shaded."""
    floors = (
        ("color", "0.91", "", "what color alone reaches"),
        ("random", "0.83", "////", "what random weights reach"),
    )
    return [
        axes.axvspan(0, content[kind], color=shade, hatch=hatch, ec="white", lw=0, label=text)
        for kind, shade, hatch, text in floors
        if content[kind] is not None
    ]


def _points(
    axes: Any,
    rows: Sequence[tuple[bool, str, float, float, float]],
    models: Mapping[str, drawing.Style],
    counterparts: Mapping[str, Sequence[float]],
    start: float,
) -> None:
    for place, (measured, name, *point) in enumerate(rows):
        _point(axes, place, point, models[name], measured)
        if measured and name in counterparts:
            _point(axes, place + 0.28, counterparts[name], models[name], False)
    drawing.name_axis(axes.yaxis, [row[1] for row in rows], longest=drawing.LONGEST_IN_LEGEND)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(start, 100)
    axes.grid(axis="x")


def _point(
    axes: Any, y: float, point: Sequence[float], style: drawing.Style, measured: bool
) -> None:
    value, low, high = point
    color, marker = style
    fill = color if measured else "white"
    dashes = "-" if measured else DASHES
    axes.plot([low, high], [y, y], color=color, linestyle=dashes, linewidth=1.1)
    axes.plot(value, y, marker, color=color, mfc=fill, markersize=4.5 if measured else 3.8)


def draw_confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], model: str) -> Figure:
    """Which class patches of a class (rows) are called: shares by row in percent, and counts."""
    counts = np.array(matrix)
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    n = len(classes)
    side = drawing.SINGLE if n <= 10 else drawing.DOUBLE
    picture = drawing.figure(side, side + 0.1)
    axes = picture.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (i, j), count in np.ndenumerate(counts):
        if count and n <= SHARES:
            text = f"{shares[i, j]:.0f}" + (f"\n{count}" if n <= FULL else "")
            dark = "white" if shares[i, j] > 55 else "black"
            style: dict[str, Any] = {"fontsize": 7, "color": dark, "linespacing": 0.9}
            axes.text(j, i, text, ha="center", va="center", **style)
    drawing.name_axis(axes.xaxis, classes, room=5 * n)
    drawing.name_axis(axes.yaxis, classes)
    second = "" if n > FULL else "; below: patches"
    axes.set(xlabel=f"predicted (% of the true class{second})", ylabel="true class")
    axes.set_title(drawing.in_legend(model))
    axes.spines[:].set_visible(False)
    return picture
