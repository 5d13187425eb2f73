"""Contrasts as tables and text for a person, and as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from harness.analysis.compare import Compared
from harness.analysis.contrast import Contrast
from harness.reports import compare_text
from harness.reports.report import render, write_page
from harness.statistics.estimates import Estimate
from harness.text.markup import inline, visible
from harness.text.numbers import p_value, percent, points
from harness.types.findings import Table

SCHEMA = 1
LONGEST = 200
"""Characters of a file's name, which some systems limit to 255 bytes."""


def tables(found: Contrast) -> list[Table]:
    """Accuracies of each model side by side, and its differences in recall by class."""
    one, other = found.titles
    rows: list[tuple[str | float | None, ...]] = []
    for model, compared in found.compared.items():
        gap = compared.difference
        sides = (compared.one, compared.other)
        first = compared.first
        rows.append(
            (
                model,
                *(percent(float(entry.right.mean())) for entry in sides),
                f"{points(gap.value)} {_ends(gap)}",
                p_value(found.p_values[model]),
                f"{first.only_one} / {first.only_other}",
                ", ".join(str(run.record["seed"]) for run in compared.one.runs),
                *(
                    "; ".join(dict.fromkeys(filter(None, (e.record[name] for e in sides))))
                    for name in ("selected_on", "initial_weights", "deviations")
                ),
            )
        )
    accuracies = Table(
        name="accuracy",
        title="Accuracy %",
        headings=(
            *("model", one, other, "difference (95 %)", "p (Holm)", "right only with either"),
            *("seeds", "selected on", "initial weights", "notes"),
        ),
        rows=tuple(rows),
    )
    recalls = Table(
        name="recall",
        title=f"Recall with {one} minus that with {other}, points (95 %)",
        headings=("class", *found.compared),
        rows=tuple(
            (name, *(_recall(compared, name) for compared in found.compared.values()))
            for name in next(iter(found.compared.values())).truth.classes
        ),
    )
    return [accuracies, recalls]


def _recall(compared: Compared, name: str) -> str:
    gap = compared.recalls.get(name)
    return "" if gap is None else f"{points(gap.value)} {_ends(gap)}"


def _ends(gap: Estimate) -> str:
    return f"({points(gap.low or 0)} to {points(gap.high or 0)})"


def about(found: Contrast, name: Callable[[str], str] = visible) -> str:
    """What was done, for the page and the terminal. ``name`` escapes the datasets' names."""
    one, other = map(name, found.titles)
    truth = next(iter(found.compared.values())).truth
    test = "McNemar's" if truth.groups is None else "of the differences summed over groups"
    of_first = ""
    several = [compared.seeds is not None for compared in found.compared.values()]
    if any(several):
        over = "over seeds and patches"
        test = over if all(several) else f"{test}, or {over} where a model has several seeds"
        of_first = (
            " Accuracies, their difference and p are of all seeds; which patches are right only "
            "with either, and recalls, are of the first seed."
        )
    alone = "" if all(several) else " With one seed, p is about these two trainings (`--seeds`)."
    return (
        f"Each model was trained on the {found.n_train:,} training patches that {one} and {other} "
        "both have, once as they are in each, with the same seeds, order and patches to select on, "
        f"and predicts the same {len(truth.labels):,} test patches. Differences are {one} minus "
        f"{other}, with paired intervals; p is {test}, corrected for the number of models."
        f"{of_first}{alone}"
    )


def write(found: Contrast, folder: Path) -> list[Path]:
    """Write ``<one>-against-<other>-of-<models>.md`` and ``.json``."""
    models = "-and-".join(quote(model, safe="+") for model in found.compared)
    name = f"{'-against-'.join(found.titles)}-of-{models}"
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    page = [f"# {inline(' against '.join(found.titles))}", about(found, inline)]
    for table in tables(found):
        page += [f"## {inline(table.title)}", render(table, "github")]
    content = {
        "schema": SCHEMA,
        "datasets": list(found.datasets),
        "n_train": found.n_train,
        "models": {
            model: compare_text.as_json(compared) for model, compared in found.compared.items()
        },
    }
    return write_page(folder / f"{name}.md", page, content)
