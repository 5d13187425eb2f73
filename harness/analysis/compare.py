"""Two measured models side by side: differences, whether they are chance, and on which patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.analysis import leaderboard
from harness.analysis.dataframes import of_rows
from harness.analysis.estimates import RunFigures
from harness.analysis.rows import Entry
from harness.errors import HarnessError
from harness.statistics import design_effect as widening
from harness.statistics import paired
from harness.statistics.equivalence import MARGIN, narrowed
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.statistics.methods import MethodsComparison, compare_methods
from harness.statistics.paired import Comparison
from harness.statistics.seeds import RunsComparison, compare_runs
from harness.store import predictions
from harness.store.failures import Failure, as_failure
from harness.store.predictions import GroundTruth
from harness.store.store import Store
from harness.text.names import suggest


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
    recalls: Mapping[str, Estimate]
    """Differences in recall of the first trainings, by class."""
    differing: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Of the first trainings, by class: ids of patches that only the one gets right (``one``), only
    the other (``other``), or that both get wrong in different ways (``neither``)."""
    methods: MethodsComparison | None = None
    """Of the methods, where each fold of the test patches has trainings of its own."""
    design_effect: float = 1.0
    margin: float = MARGIN
    """Difference in accuracy within which they count as equal."""

    def __repr__(self) -> str:
        return f"<comparison of {self.one.name} and {self.other.name} on {self.truth.dataset}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_comparison(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_comparison(self)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame: the figures of both and their differences, then recall by class.

        They are of the first training of each. Raises HarnessError without pandas.
        """
        rows = [("", name, gap) for name, gap in self.first.differences.items()]
        rows += [(name, "recall", gap) for name, gap in self.recalls.items()]
        sides = [entry.found[0] for entry in (self.one, self.other)]

        def value(side: RunFigures, of_class: str, name: str) -> float | None:
            found = side.recall.get(of_class) if of_class else side.estimates.get(name)
            return None if found is None else found.value

        return of_rows(
            [
                {
                    "figure": name,
                    "class": of_class or None,
                    self.one.name: value(sides[0], of_class, name),
                    self.other.name: value(sides[1], of_class, name),
                    "difference": gap.value,
                    "low": gap.low,
                    "high": gap.high,
                }
                for of_class, name, gap in rows
            ]
        )

    @property
    def p(self) -> float:
        """Of the difference in accuracy; of all trainings where either has several."""
        return self.seeds.p if self.seeds else self.first.p

    @property
    def difference(self) -> Estimate:
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
        methods=_methods(truth, left, right, design_effect),
        design_effect=design_effect,
        margin=margin,
    )


def _methods(
    truth: GroundTruth, left: Entry, right: Entry, design_effect: float
) -> MethodsComparison | None:
    """The comparison of methods; None without folds, or where neither is trained here."""
    if not (left.trained_here or right.trained_here):
        return None
    return compare_methods(left.right, right.right, truth.folds, design_effect)


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


def _recalls(truth: GroundTruth, one: Any, other: Any) -> dict[str, Estimate]:
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
            found[name] = Estimate(name=name, value=value, low=low, high=high)
    return found
