"""The page about errors: which classes are confused, which patches nobody gets right, and whether
models know when they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import comparability, drawing, predictions, reproduction
from harness.failures import Collected
from harness.kept_pictures import key_of
from harness.leaderboard import Board
from harness.markup import inline
from harness.numbers import percent
from harness.predictions import Run
from harness.probes import Figure, Table
from harness.report import render, write_page
from harness.rows import Entry
from harness.statistics import calibration, reliability
from harness.statistics.metrics import probabilities
from harness.types import PublishedResult

SCHEMA = 2
COVERAGES = (0.5, 0.8, 0.9, 0.95, 1.0)
PAIRS = 10
"""Confused pairs of classes that are shown."""
IN_A_BIN = 25
"""Patches of a bin that make a point of the reliability diagram worth drawing."""
LISTED = 50
"""Patches that are listed for a person; JSON has all."""


def write(board: Board, folder: Path, problems: Collected) -> list[Path]:
    """Write ``<dataset>-errors.md``, ``.json`` and pictures; nothing without a measured row."""
    if not board.entries:
        return []
    name = f"{board.dataset['name']}-errors"
    hard = nobody_right(board)
    lines = [
        f"# {inline(board.dataset['name'])}: errors",
        "From the logits stored for clean test patches, of the first training of each model.",
        *board.assumed,
        "## Patches that every model gets wrong",
        *_hard(board, hard),
        "## Confidence",
    ]
    written = []
    confidence = "How often predictions of a confidence are right."
    coverage = "Error rate among the patches that a model is most confident about."
    pictures: tuple[tuple[str, str, Callable[[Any], Any], Any], ...] = (
        ("reliability", confidence, _draw_reliability, _reliabilities(board)),
        ("coverage", coverage, _draw_coverage, _coverages(board)),
    )
    for plot, caption, draw, curves in pictures:
        path = folder / f"{name}-{plot}.png"
        key = key_of(board.dataset["name"], path.stem, draw, curves)
        shown = drawing.write(path, plot, partial(draw, curves), problems, caption, key)
        lines += shown
        written += [path] if shown else []
    risks = {
        entry.name: reliability.risk(board.truth.labels, logits, COVERAGES, board.sampling)
        for entry, logits in _logits(board)
    }
    lines += [*_risks(risks), *_without_confidence(board)]
    for entry in board.entries:
        lines += [f"## {inline(entry.name)}", *_model(board, entry)]
    for result, names in published(board):
        if pairs := _pairs(confused(np.array(result.confusion), names)):
            lines += [f"## {inline(result.name)}, published", *pairs]
    lines.append("Written by `harness run`; `harness leaderboard` writes it again from the store.")
    content = {
        "schema": SCHEMA,
        "dataset": board.dataset["name"],
        "digest": board.dataset["digest"],
        "wrong_in_every_model": hard,
        "models": [
            {
                "model": entry.name,
                "result": entry.record["digest"],
                "confused": confused(np.array(entry.found[0].confusion), board.truth.classes),
                **_confidence(board, entry.runs[0], risks.get(entry.name)),
                "against_published": [
                    {
                        "class": one.name,
                        "difference": one.difference.value,
                        "low": one.difference.low,
                        "high": one.difference.high,
                        "p": one.p,
                        "moved_to": one.moved_to,
                    }
                    for one in against_published(board, entry)
                ],
            }
            for entry in board.entries
        ],
        "published": [
            {
                "model": result.name,
                "confused": confused(np.array(result.confusion), names),
            }
            for result, names in published(board)
        ],
    }
    return [*write_page(folder / name, lines, content), *written]


Risks = tuple[Figure, list[Figure]]
"""Area under the risk-coverage curve, and the error at each of ``COVERAGES``."""


def _risks(risks: Mapping[str, Risks]) -> list[str]:
    if not risks:
        return []
    rows = tuple((model, *map(_interval, (area, *at))) for model, (area, at) in risks.items())
    headings = ("model", "area under the curve", *(f"at {percent(c, 0)} %" for c in COVERAGES))
    return [
        "Error rate, %, among the patches that a model is most confident about: the mean over all "
        "coverages (area under the risk-coverage curve), and at some; with 95 % intervals.",
        render(Table(name="risk", title="", headings=headings, rows=rows)),
    ]


def _confidence(board: Board, run: Run, risks: Risks | None) -> dict[str, Any]:
    """What the pictures show: bins of confidence, and error against coverage.

    Nothing of a model whose outputs are no probabilities, but the reason.
    """
    if run.no_probabilities or risks is None:
        return {
            "reliability": None,
            "error_at_coverage": None,
            "area_under_risk_coverage": None,
            "area_under_risk_coverage_low": None,
            "area_under_risk_coverage_high": None,
            "confidence_empty_because": run.no_probabilities,
        }
    logits = run.mean_logits()
    bins = calibration.bins(board.truth.labels, probabilities(logits), equal_mass=True)
    area, at = risks
    return {
        "reliability": [
            {"confidence": float(c), "accuracy": float(a), "n": int(n)}
            for c, a, n in zip(bins.confidence, bins.accuracy, bins.n, strict=True)
        ],
        "error_at_coverage": [
            {"coverage": share, "error": one.value, "low": one.low, "high": one.high}
            for share, one in zip(COVERAGES, at, strict=True)
        ],
        "area_under_risk_coverage": area.value,
        "area_under_risk_coverage_low": area.low,
        "area_under_risk_coverage_high": area.high,
        "confidence_empty_because": "",
    }


def nobody_right(board: Board) -> list[dict[str, Any]]:
    """Test patches that no model gets right, by id: their class and what is predicted most."""
    truth = board.truth
    wrong = ~np.any([entry.right[0] for entry in board.entries], axis=0)
    guesses = np.stack([entry.runs[0].logits().argmax(axis=1) for entry in board.entries])
    found = []
    for index in np.flatnonzero(wrong).tolist():
        counts = np.bincount(guesses[:, index], minlength=len(truth.classes))
        found.append(
            {
                "id": truth.ids[index],
                "class": truth.classes[int(truth.labels[index])],
                "predicted": truth.classes[int(counts.argmax())],
                "models": int(counts.max()),
            }
        )
    return found


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
        (name, *line, _interval(entry.found[0].recall.get(name)))
        for name, line in zip(classes, matrix.tolist(), strict=True)
    )
    headings = ("label", *classes, "recall % (95 %)")
    parts = [render(Table(name="confusion", title="", headings=headings, rows=rows))]
    parts += _pairs(confused(matrix, classes))
    differences = against_published(board, entry)
    if differences:
        parts += [
            "Against the published confusion matrix; whether the protocols are comparable is in "
            "the leaderboard:",
            render(reproduction.class_table(differences)),
        ]
    return parts


def _interval(share: Figure | None) -> str:
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


def published(board: Board) -> list[tuple[PublishedResult, tuple[str, ...]]]:
    """Published results of the same test set, without changes, whose confusion matrix is known.

    With each the names of its classes; where these are not known it is left out.
    """
    return [
        (result, names)
        for result in board.published
        if result.perturbation == "clean"
        and result.confusion is not None
        and (names := comparability.class_names(result, board.dataset))
    ]


def confused(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs of classes by how many patches of one are called the other, most first."""
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")
    n_of = matrix.sum(axis=1)
    return [
        {
            "label": classes[i],
            "predicted": classes[j],
            "n": int(off[i, j]),
            "share": float(off[i, j] / n_of[i]),
        }
        for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[i, j]
    ]


def against_published(board: Board, entry: Entry) -> list[reproduction.ClassDifference]:
    """Differences in recall to the published matrix of the same model on the same patches."""
    for result, _ in published(board):
        same = entry.record["model"], predictions.trained_on(entry.record, board.dataset)
        if (result.name, result.trained_on) == same and not board.other_test_data(result):
            assert result.confusion is not None
            ours = entry.found[0].confusion
            effect = board.sampling.design_effect
            return reproduction.by_class(ours, result.confusion, board.truth.classes, effect)
    return []


Curves = list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]
"""Of each model its name, x and y."""


def _reliabilities(board: Board) -> tuple[int, Curves]:
    """At most so many bins, and the confidence and accuracy in them."""
    most = min(calibration.BINS, max(2, len(board.truth.labels) // IN_A_BIN))
    curves: Curves = []
    for entry, logits in _logits(board):
        scores = probabilities(logits)
        bins = calibration.bins(board.truth.labels, scores, equal_mass=True, most=most)
        curves.append((entry.name, bins.confidence, bins.accuracy))
    return most, curves


def _coverages(board: Board) -> Curves:
    """The share of patches that a model is most confident about, and its error rate among them."""
    return [
        (entry.name, *reliability.risk_coverage(board.truth.labels, logits))
        for entry, logits in _logits(board)
    ]


def _draw_reliability(found: tuple[int, Curves]) -> Any:
    most, curves = found
    if not curves:
        return None
    figure, axes = _axes(curves)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, confidence, accuracy in curves:
        axes.plot(confidence, accuracy, marker=".", label=drawing.label(name))
    axes.set(xlabel=f"confidence ({most} bins of equal mass)", ylabel="accuracy", xlim=(0, 1))
    axes.set_ylim(0, 1)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


def _draw_coverage(curves: Curves) -> Any:
    if not curves:
        return None
    figure, axes = _axes(curves)
    for name, coverage, risk in curves:
        axes.plot(100 * coverage, 100 * risk, label=drawing.label(name))
    axes.set(xlabel="coverage, % of patches, by confidence, descending", ylabel="error rate, %")
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return figure


def _axes(curves: Curves) -> tuple[Any, Any]:
    """A figure as high as its legend needs, and its axes."""
    figure = drawing.figure(8, max(4.5, 1 + 0.2 * len(curves)))
    return figure, figure.subplots()


def _logits(board: Board) -> list[tuple[Entry, NDArray[np.float32]]]:
    """Of each model that has probabilities, what their softmax is."""
    return [
        (entry, entry.runs[0].mean_logits())
        for entry in board.entries
        if not entry.runs[0].no_probabilities
    ]


def _without_confidence(board: Board) -> list[str]:
    """Which models the pictures leave out, and why."""
    return [
        f"Without {inline(entry.name)}: {inline(why)}."
        for entry in board.entries
        if (why := entry.runs[0].no_probabilities)
    ]
