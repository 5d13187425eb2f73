"""A model in a report: figures, confusion matrix, pictures, provenance."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.analysis import error_analysis
from harness.analysis.error_analysis import Reliability
from harness.analysis.leaderboard import Board
from harness.analysis.rows import Entry
from harness.reports import error_pages, few_shot_text
from harness.reports.html.board import measured
from harness.reports.html.gathered import FindLoaded, Gathered, Loaded
from harness.reports.report import cells, explanations, show, shown
from harness.types.findings import Finding

FIGURES = {
    "accuracy": "accuracy %",
    "balanced_accuracy": "balanced accuracy %",
    "macro_f1": "macro F1 %",
    "mcc": "Matthews correlation",
    "macro_auroc": "macro AUROC",
    "ece_debiased": "calibration error %, debiased",
    "brier": "Brier score",
}
IN_PERCENT = ("accuracy", "balanced_accuracy", "macro_f1", "ece_debiased")
Draw = Callable[[str, Callable[..., Any], Sequence[Any], Any], str]
"""``draw(title, plot, shows, content)``: ``plot(*shows)`` as HTML; see ``page.picture``."""


def anchors(names: list[str]) -> dict[str, str]:
    """For each model the fragment of the address that shows it."""
    found: dict[str, str] = {}
    for name in names:
        plain = "model-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed")
        anchor, number = plain, 2
        while anchor in found.values():
            anchor, number = f"{plain}-{number}", number + 1
        found[name] = anchor
    return found


def contexts(
    gathered: Gathered,
    draw: Draw,
    links: Mapping[str, str],
    loaded: FindLoaded,
) -> list[dict[str, Any]]:
    """Every measured model."""
    board = gathered.board
    most, found = error_analysis.reliabilities(board)
    curves = {curve.model: (most, [curve]) for curve in found}
    published = {result.name: (result, names) for result, names in error_analysis.published(board)}
    return [
        {
            "name": entry.name,
            "anchor": links[entry.name],
            "title": entry.record["title"],
            "figures": _figures(row),
            "trainings": len(entry.runs),
            "confusion": _confusion(board, entry, published.get(entry.record["model"])),
            "reliability": _reliability(draw, entry, curves),
            "findings": _findings(board, entry, draw),
            "few_shot": _few_shot(gathered, entry, draw),
            "facts": _facts(entry),
            "again": again(board, entry, loaded),
        }
        for row, entry in measured(board)
    ]


def _figures(row: Mapping[str, Any]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, heading in FIGURES.items():
        if row.get(name) is None:
            continue
        scale, decimals = (100, 2) if name in IN_PERCENT else (1, 3)
        value, low, high = (
            "" if row.get(part) is None else f"{scale * row[part]:.{decimals}f}"
            for part in (name, f"{name}_low", f"{name}_high")
        )
        found.append({"name": heading, "value": value, "interval": f"{low}–{high}" if low else ""})
    return found


def _confusion(board: Board, entry: Entry, published: Any) -> dict[str, Any]:
    """Counts and shares of each true class, and how the shares differ from published ones."""
    matrix = np.array(entry.found[0].confusion)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    recall = entry.found[0].recall
    differences = None
    if published:
        result, names = published
        theirs = np.array(result.confusion, dtype=float)
        places = [names.index(name) if name in names else -1 for name in board.truth.classes]
        if -1 not in places:
            theirs = theirs[np.ix_(places, places)]
            differences = shares - theirs / np.maximum(theirs.sum(axis=1, keepdims=True), 1)
    return {
        "classes": board.truth.classes,
        "rows": [
            {
                "name": name,
                "n": int(matrix[k].sum()),
                "cells": [
                    {
                        "count": int(matrix[k, j]),
                        "share": float(shares[k, j]),
                        "right": k == j,
                        "difference": None if differences is None else float(differences[k, j]),
                    }
                    for j in range(len(matrix))
                ],
                "recall": error_pages.interval(recall.get(name)),
            }
            for k, name in enumerate(board.truth.classes)
        ],
        "published": published[0].source if differences is not None else "",
        "elsewhere": board.other_test_data(published[0]) if differences is not None else "",
    }


def _reliability(
    draw: Draw, entry: Entry, curves: Mapping[str, tuple[int, list[Reliability]]]
) -> str:
    if (shows := curves.get(entry.name)) is None:
        return ""
    title = f"{entry.name}: how often predictions of a confidence are right"
    return draw(title, error_pages.draw_reliability, [shows], shows)


def _few_shot(gathered: Gathered, entry: Entry, draw: Draw) -> dict[str, Any] | None:
    """The few-shot curve of a model as a picture and a table, if there is one."""
    model = entry.record["model"]
    points = [
        point
        for point in gathered.few_shot
        if model == point["model"] or model.startswith(f"{point['model']}+")
    ]
    if not points:
        return None
    title = gathered.board.dataset["title"]
    shows = [points, gathered.few_shot_chance, title]
    rows = [
        (
            few_shot_text.TITLES.get(point["head"], point["head"]),
            str(point["per_class"]),
            f"{100 * point['balanced_accuracy']:.1f} ({100 * point['balanced_accuracy_low']:.1f}–"
            f"{100 * point['balanced_accuracy_high']:.1f})",
        )
        for point in points
    ]
    return {
        "picture": draw(f"{entry.name}: few-shot curve", few_shot_text.draw_rows, shows, shows),
        "title": "Balanced accuracy by labeled patches of each class",
        "headings": ("head", "patches of each class", "balanced accuracy %"),
        "rows": rows,
    }


def _findings(board: Board, entry: Entry, draw: Draw) -> list[dict[str, Any]]:
    same_patches = tuple(r for r in board.published if not board.other_test_data(r))
    found = []
    for probe in board.probes:
        finding = entry.findings.get(probe.name)
        if finding is None:
            continue
        of_model = {entry.record["model"]: finding}
        published = list(map(asdict, same_patches))
        content = [entry.record["model"], asdict(finding), published, board.truth.classes]
        pictures = [
            draw(
                f"{entry.name}: {plot.replace('-', ' ')}",
                plotted,
                [MappingProxyType(of_model), same_patches, board.truth.classes],
                content,
            )
            for plot, plotted in probe.plots.items()
        ]
        found.append(
            {"title": probe.title, **body(finding), "pictures": list(filter(None, pictures))}
        )
    return found


def body(finding: Finding) -> dict[str, Any]:
    """A finding as a template shows it: summary, figures, tables that are not empty."""
    return {
        "summary": finding.summary,
        "grade": finding.grade,
        "blind": finding.blind,
        "estimates": [show(estimate) for estimate in finding.estimates],
        "tables": [table_of(table) for table in shown(finding)],
        "terms": explanations(finding),
    }


def table_of(table: Any) -> dict[str, Any]:
    """A table with its cells as text."""
    headings, rows = cells(table)
    return {"title": table.title, "headings": headings, "rows": rows}


def _facts(entry: Entry) -> list[tuple[str, str]]:
    """Where a result is from."""
    record = entry.record
    fits = record.get("fits") or []
    fitted = [fit["n"] for fit in fits if fit.get("n")]
    facts = [
        ("result", ", ".join(run.record["digest"] for run in entry.runs)),
        ("plugin", record["plugin"]),
        ("fitted on", f"{min(fitted):,} to {max(fitted):,} patches" if fitted else ""),
        ("checkpoint selected on", record.get("selected_on") or ""),
        ("initial weights", record.get("initial_weights") or ""),
        ("settings changed", record.get("deviations") or ""),
        ("device", record.get("device") or ""),
        ("created", record.get("created") or ""),
        ("versions", ", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items())),
    ]
    return [(name, value) for name, value in facts if value]


def again(board: Board, entry: Entry, loaded: FindLoaded) -> dict[str, str]:
    """The command that computes a result again, or why there is none."""
    known = loaded(board.dataset["name"], entry.record)
    return {
        "command": "" if known.missing else _command(board, entry, known),
        "missing": known.missing,
    }


def _command(board: Board, entry: Entry, known: Loaded) -> str:
    record = entry.record
    words = ["harness", "run", "--dataset", board.dataset["name"], "--model", record["model"]]
    seeds = [run.record["seed"] for run in entry.runs]
    if seeds[0]:
        words += ["--seed", str(seeds[0])]
    if len(seeds) > 1:
        words += ["--seeds", str(len(seeds))]
    if record.get("selected_on") == "test" and not record.get("trained_on"):
        words += ["--protocol", "published"]
    for name, value in (record.get("settings") or {}).items():
        if name in known.settings and known.settings[name] != value:
            words += ["--set", f"{name}={value}"]
    return shlex.join([*words, *known.options])
