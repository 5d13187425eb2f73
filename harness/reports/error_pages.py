"""The page about errors: which classes are confused, which patches nobody gets right, and whether
models know when they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis import error_analysis, reproduction
from harness.analysis.error_analysis import (
    COVERAGES,
    OF_A_GROUP,
    ByGroup,
    Coverage,
    Reliability,
    Risks,
)
from harness.analysis.leaderboard import Board
from harness.analysis.rows import Entry
from harness.reports import drawing
from harness.reports.board_pictures import draw_confusion
from harness.reports.kept_pictures import key_of
from harness.reports.report import render, write_page
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import wilson
from harness.store.failures import Collected
from harness.store.stored import file_name
from harness.text.markup import inline
from harness.text.numbers import percent
from harness.types.findings import Table

SCHEMA = 2
PAIRS = 10
"""Confused pairs of classes that are shown."""
LISTED = 50
"""Patches that are listed for a person; JSON has all."""


def write(board: Board, folder: Path, problems: Collected) -> list[Path]:
    """Write ``<dataset>-errors.md``, ``.json`` and pictures; nothing without a measured row."""
    if not board.entries:
        return []
    name = f"{board.dataset['name']}-errors"
    hard = error_analysis.nobody_right(board)
    sizes = error_analysis.group_sizes(board)
    lines = [
        f"# {inline(board.dataset['name'])}: errors",
        "From the logits stored for clean test patches, of the first training of each model.",
        *board.assumed,
        "## Patches that every model gets wrong",
        *_hard(board, hard),
        "## Confidence",
    ]
    written = []
    risks = error_analysis.risks(board)
    confidence = "How often predictions of a confidence are right."
    coverage = "Error rate among the patches that a model is most confident about."
    pictures: tuple[tuple[str, str, Callable[[Any], Any], Any], ...] = (
        ("reliability", confidence, draw_reliability, error_analysis.reliabilities(board)),
        ("coverage", coverage, draw_coverage, error_analysis.coverages(board, risks)),
    )
    for plot, caption, draw, curves in pictures:
        path = folder / f"{name}-{plot}.png"
        key = key_of(board.dataset["name"], path.stem, draw, curves)
        shown = drawing.write(path, plot, partial(draw, curves), problems, caption, key)
        lines += shown
        written += drawing.files(path) if shown else []
    lines += [*_risks(risks), *_without_confidence(board)]
    by_group = {entry.name: error_analysis.by_group(board, entry) for entry in board.entries}
    lines += _by_group(board, by_group)
    for entry in board.entries:
        path = folder / f"{name}-confusion-{file_name(entry.name)}.png"
        counted = (entry.found[0].confusion, board.truth.classes, entry.name)
        key = key_of(board.dataset["name"], path.stem, draw_confusion, counted)
        draw_it = partial(draw_confusion, *counted)
        shown = drawing.write(path, "confusion matrix", draw_it, problems, key=key)
        lines += [f"## {inline(entry.name)}", *shown, *_model(board, entry)]
        written += drawing.files(path) if shown else []
    for result, names in error_analysis.published(board):
        if pairs := _pairs(error_analysis.confused(np.array(result.confusion), names)):
            lines += [f"## {inline(result.name)}, published", *pairs]
    lines.append("Written by `harness run`; `harness leaderboard` writes it again from the store.")
    content = {
        "schema": SCHEMA,
        "dataset": board.dataset["name"],
        "digest": board.dataset["digest"],
        "groups": None if sizes is None else len(sizes),
        "groups_with_few_patches": None if sizes is None else int((sizes < OF_A_GROUP).sum()),
        "wrong_in_every_model": hard,
        "models": [
            {
                "model": entry.name,
                "result": entry.record["digest"],
                "confused": error_analysis.confused(
                    np.array(entry.found[0].confusion), board.truth.classes
                ),
                **error_analysis.confidence(board, entry.runs[0], risks.get(entry.name)),
                "by_group": _group_fields(by_group[entry.name]),
                "against_published": [
                    {
                        "class": one.name,
                        "difference": one.difference.value,
                        "low": one.difference.low,
                        "high": one.difference.high,
                        "p": one.p,
                        "moved_to": one.moved_to,
                    }
                    for one in error_analysis.against_published(board, entry)
                ],
            }
            for entry in board.entries
        ],
        "published": [
            {
                "model": result.name,
                "confused": error_analysis.confused(np.array(result.confusion), names),
            }
            for result, names in error_analysis.published(board)
        ],
    }
    return [*write_page(folder / name, lines, content), *written]


def _risks(risks: Mapping[str, Risks]) -> list[str]:
    if not risks:
        return []
    rows = tuple((model, *map(interval, (area, *at))) for model, (area, at) in risks.items())
    headings = ("model", "area under the curve", *(f"at {percent(c, 0)} %" for c in COVERAGES))
    return [
        "Error rate, %, among the patches that a model is most confident about: the mean over all "
        "coverages (area under the risk-coverage curve), and at some; with 95 % intervals.",
        render(Table(name="risk", title="", headings=headings, rows=rows)),
    ]


def _by_group(board: Board, found: Mapping[str, ByGroup | None]) -> list[str]:
    """The section about groups; nothing where they are not known."""
    sizes = error_analysis.group_sizes(board)
    if sizes is None:
        return []
    few = int((sizes < OF_A_GROUP).sum())
    rows = []
    for model, one in found.items():
        assert one is not None
        worst = ("", "", "")
        if one.worst:
            name, accuracy, n = one.worst
            worst = (percent(accuracy, 1), name, f"{n:,}")
        rows.append((model, interval(one.mean), percent(one.median, 1), *worst))
    headings = ("model", "mean % (95 %)", "median %", "worst %", "worst group", "its patches")
    lines = [
        "## Accuracy by group",
        f"The {board.truth.labels.size:,} test patches are of {len(sizes):,} groups (patients or "
        f"slides), {sizes.min():,} to {sizes.max():,} of each. Here each group counts alike; in "
        "the leaderboard each patch does. The interval is that of another sample of groups. The "
        "worst of many groups is low by chance, too.",
    ]
    if few:
        lines.append(
            f"{few:,} of {len(sizes):,} groups have fewer than {OF_A_GROUP} patches: they count in "
            "mean and median, and none of them is called the worst, as their accuracy is mostly "
            "chance."
        )
    return [*lines, render(Table(name="groups", title="", headings=headings, rows=tuple(rows)))]


def _group_fields(found: ByGroup | None) -> dict[str, Any] | None:
    """The same of one model, for JSON."""
    if found is None:
        return None
    name, accuracy, n = found.worst or (None, None, None)
    return {
        "mean_accuracy": found.mean.value,
        "mean_accuracy_low": found.mean.low,
        "mean_accuracy_high": found.mean.high,
        "median_accuracy": found.median,
        "worst_group": name,
        "worst_accuracy": accuracy,
        "worst_n": n,
    }


def _hard(board: Board, hard: Sequence[dict[str, Any]]) -> list[str]:
    n, models = len(board.truth.labels), len(board.entries)
    which = "the one model" if models == 1 else f"all {models} models"
    lines = [
        f"{len(hard):,} of {n:,} test patches are wrong in {which}. Where models agree "
        "on another class the label may be wrong."
    ]
    if hard:
        # Those that models agree on first.
        first = sorted(hard, key=lambda patch: (-patch["models"], patch["class"], patch["id"]))
        rows = tuple((p["id"], p["class"], p["predicted"], p["models"]) for p in first[:LISTED])
        headings = ("patch", "label", "mostly predicted", f"by of {models} models")
        lines.append(render(Table(name="hard", title="", headings=headings, rows=rows)))
        if len(hard) > LISTED:
            lines.append(f"{len(hard) - LISTED:,} more are in the JSON file.")
    return lines


def _model(board: Board, entry: Entry) -> list[str]:
    classes = board.truth.classes
    matrix = np.array(entry.found[0].confusion)
    rows = tuple(
        (name, *line, interval(entry.found[0].recall.get(name)))
        for name, line in zip(classes, matrix.tolist(), strict=True)
    )
    headings = ("label", *classes, "recall % (95 %)")
    parts = [render(Table(name="confusion", title="", headings=headings, rows=rows))]
    parts += _pairs(error_analysis.confused(matrix, classes))
    differences = error_analysis.against_published(board, entry)
    if differences:
        parts += [
            "Against the published confusion matrix; whether the protocols are comparable is in "
            "the leaderboard:",
            render(reproduction.class_table(differences)),
        ]
    return parts


def interval(share: Estimate | None) -> str:
    """A share with its 95 % interval, in percent; "" where either is not known."""
    if share is None or share.low is None or share.high is None:
        return ""
    return f"{percent(share.value, 1)} ({percent(share.low, 1)}–{percent(share.high, 1)})"


def _pairs(pairs: Sequence[dict[str, Any]]) -> list[str]:
    if not pairs:
        return []
    total = sum(pair["n"] for pair in pairs)
    listed = "; ".join(
        f"{inline(pair['label'])} as {inline(pair['predicted'])} {pair['n']:,} "
        f"({percent(pair['share'], 1)} % of the class)"
        for pair in pairs[:PAIRS]
    )
    return [f"Most confused, of {total:,} errors: {listed}."]


def draw_reliability(found: tuple[int, Sequence[Reliability]]) -> Any:
    """Accuracy by confidence of models; None without any."""
    most, curves = found
    if not curves:
        return None
    by_name = {curve.model: curve for curve in curves}
    models = drawing.styles(by_name)
    picture, panels = drawing.panels(list(by_name), 3)
    for axes, names in panels:
        axes.plot([0, 100], [0, 100], color="0.6", linewidth=0.8)
        for place, name in enumerate(names):
            color, marker = models[name]
            _, confidence, accuracy, n = by_name[name]
            ends = [wilson(a * count, count) for a, count in zip(accuracy, n, strict=True)]
            shift = place - (len(names) - 1) / 2  # or intervals hide each other
            axes.errorbar(
                *(100 * confidence + 0.3 * shift, 100 * accuracy),
                drawing.lengths(100 * accuracy, *100 * np.array(ends).T),
                **{"color": color, "marker": marker, "label": drawing.in_legend(name)},
                **{"elinewidth": 0.6, "linewidth": 1},
            )
        axes.set(ylabel="accuracy, %", xlim=(0, 100), ylim=(0, 100))
        drawing.legend(axes, "95 % intervals;\ngray: as sure as right")
    axes.set_xlabel(f"confidence, % ({most} bins of equal mass)")
    return picture


def draw_coverage(curves: Sequence[Coverage]) -> Any:
    """Error rate of models by coverage; None without any."""
    if not curves:
        return None
    by_name = {curve.model: curve for curve in curves}
    models = drawing.styles(by_name)
    picture, panels = drawing.panels(list(by_name))
    for axes, names in panels:
        for place, name in enumerate(names):
            color, marker = models[name]
            curve = by_name[name]
            at, (value, *ends) = 100 * np.array(COVERAGES), 100 * curve.at.T
            style: dict[str, Any] = {"color": color, "clip_on": False}
            axes.plot(100 * curve.share, 100 * curve.error, color=color)
            axes.plot(at, value, marker, label=drawing.in_legend(name), **style)
            beside = 0.35 * (len(names) - 1 - place)  # or intervals hide each other
            axes.vlines(at - beside, *ends, linewidth=0.6, **style)
        axes.set(ylabel="error rate, %", xlim=(0, 100), ylim=(0, 100))
        drawing.legend(axes, "95 % intervals,\nbeside their points")
    axes.set_xlabel("coverage, % of patches, by confidence, descending")
    return picture


def _without_confidence(board: Board) -> list[str]:
    """Which models the pictures leave out, and why."""
    return [
        f"Without {inline(entry.name)}: {inline(why)}."
        for entry in board.entries
        if (why := entry.runs[0].no_probabilities)
    ]
