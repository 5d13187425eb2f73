"""Comparisons of two measured models as text for a person, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.analysis.compare import Compared
from harness.analysis.reproduction import equal_within
from harness.reports.report import simple
from harness.statistics.estimates import Estimate
from harness.statistics.paired import Comparison
from harness.text.markup import visible
from harness.text.numbers import equals_p, percent, points, rounded
from harness.types.findings import Table

SHOWN = 5
"""Patches of a class that are named for a person."""


def text(compared: Compared, show: Callable[[Table], str] = simple) -> list[str]:
    """Paragraphs for a person; ``show`` makes text of tables."""
    lines = [*introduction(compared), show(estimates(compared))]
    lines += about_seeds(compared)
    named = [
        f"{visible(name)}, only {model}: {some(ids, '--json')}"
        for name, model, ids in only_right(compared)
    ]
    return [*lines, show(patches(compared)), "\n".join(named)]


def introduction(compared: Compared) -> list[str]:
    """What is compared, which is more accurate, and what that assumes."""
    one, other = compared.one.name, compared.other.name
    n = len(compared.truth.labels)
    lines = [f"{one} and {other} on {compared.truth.dataset}, {n:,} test patches."]
    lines += [
        f"{entry.name}: selected on {entry.record['selected_on']}"
        + (f"; {entry.record['deviations']}" if entry.record["deviations"] else "")
        for entry in (compared.one, compared.other)
    ]
    lines += [
        f"{entry.name}: {why}, so its AUROC ranks patches by its outputs as they are."
        for entry in (compared.one, compared.other)
        if (why := entry.no_probabilities)
    ]
    lines += [verdict(compared), *of_methods(compared)]
    if compared.design_effect != 1:
        lines.append(
            f"Intervals and p values assume a design effect of {compared.design_effect:g}"
            f"{' besides groups' if compared.truth.groups is not None else ''}."
        )
    elif compared.truth.groups is None:
        lines.append(
            "Patches count as independent. Where several are of one patient, intervals are too "
            "narrow and p too small."
        )
    return lines


def only_right(compared: Compared) -> list[tuple[str, str, tuple[str, ...]]]:
    """Class, the model that alone is right on some of its patches, and the ids of these."""
    names = {"one": compared.one.name, "other": compared.other.name}
    return [
        (name, model, kinds[kind])
        for name, kinds in compared.differing.items()
        for kind, model in names.items()
        if kinds[kind]
    ]


def some(ids: Sequence[str], where: str) -> str:
    """The first ids, and how many more there are; ``where`` says where all are found."""
    more = f" and {len(ids) - SHOWN} more ({where})" if len(ids) > SHOWN else ""
    return ", ".join(map(visible, ids[:SHOWN])) + more


def verdict(compared: Compared) -> str:
    """Which is more accurate, if that can be told, and whether they are equal within the margin."""
    one, other = compared.one.name, compared.other.name
    p, gap = compared.first.p, compared.difference
    test = "McNemar, mid-p" if compared.truth.groups is None else "over groups"
    test += ", of these two trainings"
    if compared.seeds:
        p, test = compared.seeds.p, "over seeds and patches"
    better, worse = (one, other) if gap.value > 0 else (other, one)
    told = f"{better} is more accurate than {worse}"
    if p >= 0.05:
        told = "They cannot be distinguished in accuracy"
    within = equal_within(gap, *compared.ends90, compared.margin)
    return f"{told} ({equals_p(p)}, {test}). {within}."


def of_methods(compared: Compared) -> list[str]:
    """Which question p answers, and which methods are better if that can be told.

    Nothing of pretrained classifiers, which nobody trains again here.
    """
    one, other = compared.one, compared.other
    if not (one.trained_here or other.trained_here):
        return []
    methods = compared.methods
    about = "p answers whether these trainings would differ on other test patches"
    if compared.seeds:
        about = "p answers whether trainings with other seeds would differ on other test patches"
    if methods is None:
        again = (
            f"{about}, not which method is better: trained again, equal methods differ as well "
            "(`--seeds`)."
        )
        return [] if compared.seeds else [again]
    more = "Trainings on other patches are not in it."
    if not compared.seeds:
        more = (
            "It pools the folds, each of which has trainings of its own: equal methods, trained "
            "anew for each, may be called different in more than 5 % of trials."
        )
    gap = methods.difference
    told = f"{one.name if gap.value > 0 else other.name} is the better method"
    if methods.p >= 0.05:
        told = "The methods cannot be distinguished"
    return [
        f"{about}. {more}",
        f"Would the methods differ, trained on other patches? {told} ({equals_p(methods.p)}, "
        f"corrected t-test over {methods.folds} folds; mean difference {points(gap.value)} points, "
        f"{points(gap.low or 0)} to {points(gap.high or 0)}).",
    ]


def estimates(compared: Compared) -> Table:
    """The figures of both and their differences."""
    names = list(_defined(compared.first))
    values = [entry.found[0].estimates for entry in (compared.one, compared.other)]

    def row(name: str) -> tuple[str | float | None, ...]:
        gap = compared.first.differences[name]
        return (
            name.replace("_", " "),
            *(_shown(found.get(name)) for found in values),
            _gap(gap.value),
            f"{_gap(gap.low or 0)} to {_gap(gap.high or 0)}",
        )

    labels = [entry.name for entry in (compared.one, compared.other)]
    return Table(
        name="figures",
        title="",
        headings=("figure", *labels, "difference", "95 % interval"),
        rows=tuple(row(name) for name in names),
    )


def _defined(comparison: Comparison) -> dict[str, Estimate]:
    """Differences that there are: the AUROC is none where all patches are of one class."""
    return {k: gap for k, gap in comparison.differences.items() if math.isfinite(gap.value)}


def _shown(estimate: Estimate | None) -> str:
    return "" if estimate is None else rounded(estimate.value, 4, (-1.0, 0.0, 1.0))


def _gap(value: float) -> str:
    return rounded(value, 4, signed=True)


def about_seeds(compared: Compared) -> list[str]:
    """How trainings differ from seed to seed; nothing where each model has one."""
    if (seeds := compared.seeds) is None:
        return []
    gap = seeds.difference
    share = 100 * seeds.seed_share
    dominates = "seeds dominate" if share > 50 else "the test patches dominate"
    counts = " and ".join(str(len(entry.runs)) for entry in (compared.one, compared.other))
    alone = [e.name for e in (compared.one, compared.other) if len(e.runs) == 1]
    said = (
        f"Of the variance, {share:.0f} % is from seed to seed and {100 - share:.0f} % from the "
        f"test patches: {dominates}."
    )
    if seeds.bound:
        said = (
            "Too few trainings tell how accuracies vary from seed to seed, so the interval is that "
            f"of a standard deviation of {100 * seeds.bound:.1f} points, more than is to be "
            "expected."
        )
    if alone:
        said += f" {alone[0]} was trained once: train it with as many seeds (`--seeds`)."
    return [
        f"Over all trainings ({counts}) accuracies differ by {points(gap.value)} points "
        f"({points(gap.low or 0)} to {points(gap.high or 0)}). {said} The table above is of the "
        "first training of each."
    ]


def patches(compared: Compared) -> Table:
    """By class: recalls, and on how many patches the models differ."""
    one, other = compared.one, compared.other
    counts = np.bincount(compared.truth.labels, minlength=len(compared.truth.classes)).tolist()
    rows: list[tuple[str | float | None, ...]] = []
    for name, n in zip(compared.truth.classes, counts, strict=True):
        recalls = [entry.found[0].recall.get(name) for entry in (one, other)]
        shown = ["" if recall is None else percent(recall.value, 1) for recall in recalls]
        gap = compared.recalls.get(name)
        shown.append("" if gap is None else f"{points(gap.value, 1)} {_ends(gap)}")
        rows.append((name, n, *shown, *map(len, compared.differing[name].values())))
    n, *others = (sum(int(row[column] or 0) for row in rows) for column in (1, 5, 6, 7))
    return Table(
        name="patches",
        title="",
        headings=(
            *("class", "patches", f"recall % {one.name}", f"recall % {other.name}"),
            "difference (95 %)",
            *(f"only {one.name} right", f"only {other.name} right", "both wrong, differently"),
        ),
        rows=(*rows, ("all", n, "", "", "", *others)),
    )


def _ends(gap: Estimate) -> str:
    return f"({points(gap.low or 0, 1)} to {points(gap.high or 0, 1)})"


def as_json(compared: Compared) -> dict[str, Any]:
    """Everything, ids of all patches on which they differ included."""
    return {
        "schema": 1,
        "dataset": compared.truth.dataset,
        "n": len(compared.truth.labels),
        "models": [
            {
                "model": entry.record["model"],
                "selected_on": entry.record["selected_on"],
                "deviations": entry.record["deviations"],
                "seeds": [run.record["seed"] for run in entry.runs],
                "results": [run.record["digest"] for run in entry.runs],
                "figures": [asdict(f) for f in entry.found[0].estimates.values()],
                "recall": [asdict(f) for f in entry.found[0].recall.values()],
                "confusion": entry.found[0].confusion,
            }
            for entry in (compared.one, compared.other)
        ],
        "only_one": compared.first.only_one,
        "only_other": compared.first.only_other,
        "p": compared.first.p,
        "differences": {name: asdict(gap) for name, gap in _defined(compared.first).items()},
        "recall_differences": [asdict(gap) for gap in compared.recalls.values()],
        "seeds": None if compared.seeds is None else asdict(compared.seeds),
        "methods": None if compared.methods is None else asdict(compared.methods),
        "design_effect": compared.design_effect,
        "margin": compared.margin,
        "interval90": list(compared.ends90),
        "patches": compared.differing,
    }
