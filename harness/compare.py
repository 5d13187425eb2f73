"""Two measured models side by side: differences, whether they are chance, and on which patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np

from harness import leaderboard, predictions
from harness.errors import HarnessError
from harness.failures import Failure, as_failure
from harness.markup import visible
from harness.numbers import equals_p, percent, points, rounded
from harness.predictions import GroundTruth
from harness.probes import Figure, Table
from harness.registry import suggest
from harness.report import simple
from harness.reproduction import equal_within
from harness.rows import Entry
from harness.statistics import design_effect as widening
from harness.statistics import paired
from harness.statistics.equivalence import MARGIN, narrowed
from harness.statistics.intervals import Sampling
from harness.statistics.paired import Comparison
from harness.statistics.seeds import RunsComparison, compare_runs
from harness.store import Store

SHOWN = 5
"""Patches of a class that are named for a person."""


@dataclass(frozen=True)
class Compared:
    """Two models on the same patches."""

    truth: GroundTruth
    one: Entry
    other: Entry
    first: Comparison
    """Of the first training of each."""
    seeds: RunsComparison | None
    """Of all trainings, where either has several."""
    recalls: Mapping[str, Figure]
    """Differences in recall of the first trainings, by class."""
    differing: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Of the first trainings, by class: ids of patches that only the one gets right (``one``), only
    the other (``other``), or that both get wrong in different ways (``neither``)."""
    design_effect: float = 1.0
    margin: float = MARGIN
    """Difference in accuracy within which they count as equal."""

    def __str__(self) -> str:
        return "\n\n".join(text(self))

    def _repr_html_(self) -> str:
        """What the command prints, for a notebook."""
        return f"<pre>{escape(str(self))}</pre>"

    @property
    def difference(self) -> Figure:
        """In accuracy; of all trainings where either has several."""
        return self.seeds.difference if self.seeds else self.first.differences["accuracy"]

    @property
    def ends90(self) -> tuple[float, float]:
        """Its 90 % interval."""
        if self.seeds:
            return self.seeds.low90, self.seeds.high90
        inner = narrowed(self.difference)
        return inner.low or 0.0, inner.high or 0.0


def measured(
    store: Store,
    dataset: str,
    versions: Mapping[str, int] = MappingProxyType({}),
    design_effect: float = 1.0,
) -> tuple[GroundTruth, list[Entry]]:
    """Every measured model on a dataset of the store. Raises HarnessError without any.

    ``versions`` has the version of each model that is installed. ``design_effect`` widens the
    intervals of each.
    """
    known = store.datasets()
    if dataset not in known:
        raise HarnessError(
            f"--dataset {dataset}: nothing of it is in {store.root}; {suggest(dataset, known)}"
        )
    truth = predictions.ground_truth(store, dataset)
    sampling = Sampling(groups=truth.groups, design_effect=design_effect)
    return truth, leaderboard.collect(store, truth, sampling, versions=versions)


def failed(store: Store, truth: GroundTruth) -> dict[str, Failure]:
    """Why models could not be measured, by their name."""
    return {one.model: as_failure(store, one) for one in leaderboard.failed(store, truth)}


def compare(
    truth: GroundTruth,
    left: Entry,
    right: Entry,
    design_effect: float = 1.0,
    margin: float = MARGIN,
) -> Compared:
    """Compare two measured models. Raises HarnessError when they are the same.

    ``design_effect`` widens the intervals of differences and makes p larger.
    """
    if left is right:
        raise HarnessError(f"compare: {left.name} is compared with itself; name two results")
    logits = [entry.runs[0].logits() for entry in (left, right)]
    guesses = [values.argmax(axis=1) for values in logits]
    seeds = None
    if len(left.runs) > 1 or len(right.runs) > 1:
        seeds = compare_runs(left.right, right.right, truth.groups, design_effect)
    first = paired.compare(
        truth.labels,
        logits[0],
        logits[1],
        Sampling(groups=truth.groups),
        (left.runs[0].scores(), right.runs[0].scores()),
    )
    recalls = _recalls(truth, *guesses)
    return Compared(
        truth=truth,
        one=left,
        other=right,
        first=_widened(first, design_effect),
        seeds=seeds,
        recalls={name: widening.wider(gap, design_effect) for name, gap in recalls.items()},
        differing=_differing(truth, *guesses),
        design_effect=design_effect,
        margin=margin,
    )


def _widened(found: Comparison, effect: float) -> Comparison:
    """A comparison with a design effect; that of Matthews correlation is from -2 to 2."""
    differences = {
        name: widening.wider(gap, effect, *((-2.0, 2.0) if name == "mcc" else (-1.0, 1.0)))
        for name, gap in found.differences.items()
    }
    return replace(found, p=float(widening.larger(found.p, effect)), differences=differences)


def find(
    entries: Sequence[Entry], name: str, dataset: str, failed: Mapping[str, Failure] | None = None
) -> Entry:
    """The entry that a name stands for: MODEL, MODEL:SELECTED_ON, or the digest of a result.

    ``failed`` says of models why they could not be measured. Raises HarnessError when there is
    none, or several.
    """
    named = [
        entry
        for entry in entries
        if name
        in (
            entry.name,
            entry.record["model"],
            f"{entry.record['model']}:{entry.record['selected_on']}",
            *(run.record["digest"] for run in entry.runs),
        )
    ]
    if not named and failed and name in failed:
        raise HarnessError(f"compare: {name} failed on {dataset}: {failed[name]}")
    if not named:
        models = [entry.record["model"] for entry in entries]
        raise HarnessError(
            f"compare: no predictions of {name} for {dataset} are stored; {suggest(name, models)}"
        )
    if len(named) > 1:
        choices = "; ".join(
            f"{entry.record['digest']} (selected on {entry.record['selected_on']}"
            + (f", {entry.record['deviations']})" if entry.record["deviations"] else ")")
            for entry in named
        )
        raise HarnessError(f"compare: {name} was run in several ways; name a result: {choices}")
    return named[0]


def _differing(truth: GroundTruth, one: Any, other: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    ids = np.array(truth.ids, dtype=object)
    kinds = {
        "one": (one == truth.labels) & (other != truth.labels),
        "other": (other == truth.labels) & (one != truth.labels),
        "neither": (one != truth.labels) & (other != truth.labels) & (one != other),
    }
    return {
        name: {
            kind: tuple(map(str, ids[found & (truth.labels == label)]))
            for kind, found in kinds.items()
        }
        for label, name in enumerate(truth.classes)
    }


def text(compared: Compared, show: Callable[[Table], str] = simple) -> list[str]:
    """Paragraphs for a person; ``show`` makes text of tables."""
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
    lines.append(_verdict(compared))
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
    lines.append(show(_figures(compared)))
    if compared.seeds:
        lines.append(_seeds(compared, compared.seeds))
    lines.append(show(_patches(compared)))
    named = []
    for name, kinds in compared.differing.items():
        for kind, model in (("one", one), ("other", other)):
            ids = kinds[kind]
            if ids:
                more = f" and {len(ids) - SHOWN} more (--json)" if len(ids) > SHOWN else ""
                shown = ", ".join(map(visible, ids[:SHOWN]))
                named.append(f"{visible(name)}, only {model}: {shown}{more}")
    return [*lines, "\n".join(named)]


def _verdict(compared: Compared) -> str:
    one, other = compared.one.name, compared.other.name
    p, gap = compared.first.p, compared.difference
    test = "McNemar, mid-p" if compared.truth.groups is None else "over groups"
    test += ", of these two trainings"
    if compared.seeds:
        p, test = compared.seeds.p, "over seeds and patches"
    better, worse = (one, other) if gap.value > 0 else (other, one)
    told = f"{better} is more accurate than {worse}"
    if p >= 0.05:
        told = "They cannot be told apart in accuracy"
    within = equal_within(gap, *compared.ends90, compared.margin)
    return f"{told} ({equals_p(p)}, {test}). {within}."


def _figures(compared: Compared) -> Table:
    names = list(_defined(compared.first))
    values = [entry.found[0].figures for entry in (compared.one, compared.other)]

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


def _defined(comparison: Comparison) -> dict[str, Figure]:
    """Differences that there are: the AUROC is none where all patches are of one class."""
    return {k: gap for k, gap in comparison.differences.items() if math.isfinite(gap.value)}


def _shown(figure: Figure | None) -> str:
    return "" if figure is None else rounded(figure.value, 4, (-1.0, 0.0, 1.0))


def _gap(value: float) -> str:
    return rounded(value, 4, signed=True)


def _seeds(compared: Compared, seeds: RunsComparison) -> str:
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
    return (
        f"Over all trainings ({counts}) accuracies differ by {points(gap.value)} points "
        f"({points(gap.low or 0)} to {points(gap.high or 0)}). {said} The table above is of the "
        "first training of each."
    )


def _patches(compared: Compared) -> Table:
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


def _ends(gap: Figure) -> str:
    return f"({points(gap.low or 0, 1)} to {points(gap.high or 0, 1)})"


def _recalls(truth: GroundTruth, one: Any, other: Any) -> dict[str, Figure]:
    """Differences in recall, by class with patches, with paired intervals."""
    found = {}
    for label, name in enumerate(truth.classes):
        own = truth.labels == label
        if own.any():
            right = one[own] == label, other[own] == label
            value, low, high = paired.paired_difference(*right)
            if truth.groups is not None:
                _, (low, high) = paired.of_groups(
                    right[0].astype(float) - right[1],
                    np.unique(truth.groups[own], return_inverse=True)[1],
                )
            found[name] = Figure(name=name, value=value, low=low, high=high)
    return found


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
                "figures": [asdict(f) for f in entry.found[0].figures.values()],
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
        "design_effect": compared.design_effect,
        "margin": compared.margin,
        "interval90": list(compared.ends90),
        "patches": compared.differing,
    }
