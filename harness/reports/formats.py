"""The leaderboard as a table for people, a Markdown page, LaTeX, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.analysis import estimates
from harness.analysis.leaderboard import Board
from harness.data import classes, comparability
from harness.reports import columns
from harness.reports.columns import Shown
from harness.reports.latex import RANDOM
from harness.reports.latex import table as latex_table
from harness.statistics.intervals import Sampling, of_matrix
from harness.system.atomic import write_atomically
from harness.text import markup
from harness.text.markup import csv_table, inline, visible
from harness.text.numbers import percent

SCHEMA = 4
DATASET_FIELDS = (
    *("name", "title", "classes", "license", "source", "digest", "folds"),
    *("test_set", "trained_on", "shortfall", "train_shortfall"),
    *("test_identity", "train_identity", "described_by"),
    *("n_train", "n_train_max", "n_train_own", "n_test", "test_counts"),
    *("unfitted", "untested", "not_selected_on"),
)
MATRICES = ("recall", "confusion")
FELL_BACK = (
    "The pretrained weights of these models could not be downloaded here, so training started from "
    "random ones. That is not the recipe, and their accuracies say little of the models."
)
ASSUMED = 5.0
"""Design effect of the example under a table whose groups are not known."""


def filled(board: Board, names: Sequence[str] | None = None) -> tuple[list[Shown], list[list[str]]]:
    """The chosen columns in which any row has something to say, and the rows' cells.

    ``names`` are those of ``--columns``; by default, the board's own.
    """
    chosen = columns.of_board(board, board.columns if names is None else names)
    cells = [[column.cell(row) for column in chosen] for row in board.rows]
    kept = [
        number
        for number, column in enumerate(chosen)
        if column.name == "rank" or any(row[number] for row in cells)
    ]
    return [chosen[number] for number in kept], [[row[number] for number in kept] for row in cells]


def table(board: Board, style: str, names: Sequence[str] | None = None) -> str:
    """The table for people, in a format of ``tabulate`` ("github" for Markdown)."""
    chosen, cells = filled(board, names)
    return markup.table([column.heading for column in chosen], cells, style)


def about(
    board: Board,
    names: Sequence[str] | None = None,
    name: Callable[[str], str] = visible,
    *,
    brief: bool = False,
) -> list[str]:
    """Sentences that a reader of the table needs. ``name`` escapes texts of others in them.

    In ``brief``, without where the data are from and what the columns mean.
    """
    dataset = board.dataset
    lines = [_evaluated(board, name)]
    if any(not entry.record.get("trained_on") for entry in board.entries):
        lines += [f"WARNING: {name(warning)}." for warning in classes.warnings(dataset)]
    lines += [f"WARNING: {name(warning)}." for warning in classes.group_warnings(dataset)]
    lines += map(name, filter(None, [classes.untested(dataset)]))
    if dataset["source"] and not brief:
        license_ = f" License: {name(dataset['license'])}." if dataset["license"] else ""
        lines.append(f"Data: {name(dataset['source'])}{license_}")
    lines += map(name, _identity(board))
    lines.append(_independence(board))
    lines += _told_apart(board)
    doubts = {e.name: why for e in board.entries if (why := e.runs[0].doubt)}
    lines += [f"{name(m)}: {name(why)}. Its calibration is not shown." for m, why in doubts.items()]
    if any(row["result"] == "failed" for row in board.rows):
        lines.append("“Failed”: could not be measured; the notes say why and where details are.")
    if any(row["result"] == "scaled" for row in board.rows):
        lines.append(
            "“Scaled”: the logits of the row above, divided by a temperature that was fitted on "
            "held-out patches. What is predicted, and so rank and accuracy, stays the same."
        )
    if brief:
        return lines
    chosen, _ = filled(board, names)
    grouped = board.truth.groups is not None
    said = dict.fromkeys(column.sentence(board.rows, grouped) for column in chosen)
    lines.append(" ".join(filter(None, said)))
    return lines


def _evaluated(board: Board, name: Callable[[str], str]) -> str:
    """What the dataset is, and how models are evaluated on it."""
    dataset, how = board.dataset, "a fixed test split"
    if dataset["folds"]:
        how = (
            f"stratified {dataset['folds']}-fold cross-validation over the test patches; each is "
            "predicted by a model that has not seen it"
        )
        if any(entry.record.get("trained_on") for entry in board.entries):
            how += ", but for pretrained classifiers"
    return (
        f"{name(dataset['title'])}: {dataset['n_test']:,} test patches, {len(dataset['classes'])} "
        f"classes, models fitted on {_fitted_on(board)}. Evaluation: {how}."
    )


def _fitted_on(board: Board) -> str:
    """How many patches a model is fitted on, and which."""
    dataset = board.dataset
    text = f"{_range(dataset['n_train'], dataset.get('n_train_max'))} patches"
    if dataset["folds"] and (own := dataset.get("n_train_own")):
        text += f" ({own:,} training patches and the test patches of the other folds)"
    held = [row for row in board.rows if row["result"] == "measured" and row["n_held_out"]]
    if held:
        least = min(row["n_held_out"] for row in held)
        most = max(row["n_held_out_max"] for row in held)
        text += f"; those that select on a held-out part set {_range(least, most)} of these aside"
    return text


def _range(least: int, most: int | None) -> str:
    return f"{least:,}" if most in (None, least) else f"{least:,} to {most:,}"


def _identity(board: Board) -> list[str]:
    """Whether test and training patches are the published ones, and how that is known."""
    dataset = board.dataset
    if not dataset["test_set"]:
        return [dataset["shortfall"]] if dataset["shortfall"] else []
    others = [board.other_test_data(result) for result in board.published]
    if dataset["shortfall"] or (others and all(others)):
        differing = dict.fromkeys(filter(None, [dataset["shortfall"], *others]))
        text = (
            f"Not the published test set {dataset['test_set']} ({'; '.join(differing)}): published "
            "figures are for reference only, and no difference between a measured and a published "
            "result is shown."
        )
    else:
        known = comparability.identity(dataset, "test")
        text = f"Test patches are taken to be those of {dataset['test_set']}: {known}."
    if known := comparability.identity(dataset, "train"):
        text += f" Training patches, {dataset['trained_on']}: {known}."
    return [text]


def _independence(board: Board) -> str:
    """What is known of patches that belong together."""
    groups, effect = board.truth.groups, board.sampling.design_effect
    if groups is not None:
        widened = "" if effect == 1 else f" All assume a design effect of {effect:g} besides."
        text = (
            f"Patches come from {groups.max() + 1:,} groups (patients or slides), which count as "
            f"independent: intervals and comparisons of measured rows go by groups.{widened}"
        )
        if any(row["result"] == "published" for row in board.rows):
            text += " Intervals of published rows count patches as independent."
        return text
    folds = (
        ", and patches of one patient may be on both sides of a fold"
        if board.dataset["folds"]
        else ""
    )
    text = "Which patches come from one patient is not known here. "
    if effect != 1:
        return text + (
            f"Intervals assume a design effect of {effect:g}, which is how much larger variances "
            f"are than those of independent patches{folds}; so do ranks and verdicts."
        )
    text += f"They count as independent, so intervals and ranks are too narrow{folds}."
    if board.entries:
        wider = [
            of_matrix(found.confusion, Sampling(design_effect=ASSUMED))
            for found in board.entries[0].found
        ]
        accuracy = estimates.mean(wider)["accuracy"]
        low, high = accuracy.low or 0, accuracy.high or 0
        text += (
            f" With a design effect of {ASSUMED:g}, the 95 % CI of the accuracy in the first row "
            f"would be {percent(low)}–{percent(high)} (`--design-effect {ASSUMED:g}`)."
        )
    return text


def _told_apart(board: Board) -> list[str]:
    """Which differences show on so many patches, and what ranks from pooled folds speak of."""
    said = []
    if (pairs := board.pairs) is not None:
        alone, holm = (percent(x, 1) for x in (pairs.detectable, pairs.detectable_holm))
        corrected = f", and {holm} after Holm's correction for {pairs.pairs:,} pairs, as of ranks"
        discordance = percent(pairs.discordance, 1)
        said.append(
            f"A difference in accuracy between two models shows in 80 % of trials if it is {alone} "
            f"points or more{corrected if pairs.pairs > 1 else ''}; smaller ones often go unseen. "
            "That assumes models that vary as the median pair here does, of which only one is "
            f"right on {discordance} % of the patches."
        )
    if board.dataset["folds"] and pairs is not None:
        said.append(
            "Ranks pool the folds and are about these trainings, of which each fold has its own: "
            "equal methods, trained anew, may be called different in more than 5 % of trials. "
            "`harness compare` has a test of methods."
        )
    return [" ".join(said)] if said else []


def markdown(board: Board, names: Sequence[str] | None = None) -> str:
    """The board as a Markdown page."""
    name = board.dataset["name"]
    paragraphs = "\n\n".join(about(board, names, inline))
    made = "Written by `harness`; `harness leaderboard` writes it again from the store."
    chosen, cells = filled(board, names)
    headings = [column.heading for column in chosen]
    tables = [
        markup.table(headings, some, "github")
        for fell_back in (False, True)
        if (
            some := [
                line
                for line, row in zip(cells, board.rows, strict=True)
                if row["initial_weights_fallback"] is fell_back
            ]
        )
    ]
    if any(row["initial_weights_fallback"] for row in board.rows):
        tables.insert(-1, f"## {RANDOM.capitalize()}\n\n{FELL_BACK}")
    return "\n\n".join([f"# {inline(name)}", *board.pictures, paragraphs, *tables, made]) + "\n"


def latex(board: Board, names: Sequence[str] | None = None) -> str:
    """A table for a paper: of chosen rows and columns, with caption and label."""
    return latex_table(board, names, _caption(board))


def _caption(board: Board) -> str:
    """What a reader of a paper needs to know: patches, protocol, and the method of intervals."""
    groups, effect = board.truth.groups, board.sampling.design_effect
    unit = "patch" if groups is None else "group of patches (patient or slide)"
    widened = "" if effect == 1 else f", for a design effect of {effect:g}"
    said = [
        _evaluated(board, visible),
        f"In parentheses: 95 % intervals, Wilson's score with a standard error from how much each "
        f"{unit} moves the figure{widened}.",
    ]
    if groups is None and effect == 1:
        said.append("Patches count as independent.")
    if len([row for row in board.rows if row["rank"] is not None]) > 1:
        said.append("Models that share ranks are not distinguished (Holm-adjusted, 5 %).")
    if any(board.rows[number]["initial_weights_fallback"] for number in board.chosen.of(board)):
        said.append(f"{RANDOM.capitalize()}: {FELL_BACK[0].lower()}{FELL_BACK[1:]}")
    return " ".join(said)


def to_json(board: Board) -> str:
    """The board with every figure, confusion matrices included: ``leaderboard.schema.json``."""
    content = {
        "schema": SCHEMA,
        "dataset": {field: board.dataset.get(field) for field in DATASET_FIELDS},
        "groups": None if board.truth.groups is None else int(board.truth.groups.max()) + 1,
        "design_effect": board.sampling.design_effect,
        "margin": board.margin,
        "reference": board.reference.name if board.reference else None,
        "pairs": _pairs(board),
        "rows": board.rows,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _pairs(board: Board) -> dict[str, Any] | None:
    """How measured models compare, each with each; None where there are fewer than two."""
    if (pairs := board.pairs) is None:
        return None
    return {
        "models": [entry.name for entry in board.entries],
        "p": pairs.p.tolist(),
        "p_holm": pairs.holm.tolist(),
        "discordance": pairs.discordance,
        "detectable": pairs.detectable,
        "detectable_holm": pairs.detectable_holm,
    }


def to_csv(board: Board) -> str:
    """The rows without their matrices, as CSV; accuracies are fractions of 1."""
    fields = [field for field in (board.rows[0] if board.rows else {}) if field not in MATRICES]
    rows = [{field: _cell(row[field]) for field in fields} for row in board.rows]
    return csv_table(fields, rows)


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


FORMATS: Mapping[str, Callable[[Board], str]] = {
    ".md": markdown,
    ".tex": latex,
    ".csv": to_csv,
    ".json": to_json,
}


def write(suffix: str, board: Board, folder: Path) -> list[Path]:
    """Write ``<dataset><suffix>`` into a folder; returns its path.

    The board's ``columns`` are those of Markdown and LaTeX; the others always have all.
    """
    path = folder / f"{board.dataset['name']}{suffix}"
    write_atomically(path, FORMATS[suffix](board))
    return [path]
