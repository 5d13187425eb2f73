"""Whether a measured model reproduces what was published, and if that can be asked at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from harness.statistics import intervals, metrics
from harness.statistics.equivalence import MARGIN, Needed, narrowed, needed, outcome
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import INDEPENDENT, Sampling
from harness.statistics.ranking import holm
from harness.statistics.unpaired import difference, proportions_p
from harness.text.numbers import p_value, points
from harness.types.findings import Table
from harness.types.published import PublishedResult

Verdict = Literal["reproduced", "higher", "lower", "inconclusive", "not comparable"]


@dataclass(frozen=True)
class Reproduction:
    """How a measured accuracy compares with a published one."""

    verdict: Verdict
    because: str
    """Why they are not comparable, or what would decide; "" where there is a verdict."""
    difference: Estimate | None
    """Measured minus published, with its 95 % interval; None when the test patches are not the
    same."""
    low90: float | None = None
    high90: float | None = None
    """Its 90 % interval."""
    needed: Needed = field(default_factory=Needed)
    """What would decide, where the verdict is inconclusive."""


def judge(
    measured: Estimate,
    per_seed: Sequence[float],
    published: PublishedResult,
    record: dict[str, Any],
    dataset: dict[str, Any],
    sampling: Sampling = INDEPENDENT,
    margin: float = MARGIN,
) -> Reproduction:
    """Compare an accuracy, and those of its trainings, with that of a published result.

    Reproduced: within the margin, as two one-sided tests show. Higher, lower: by more than the
    margin, and not by chance; see ``equivalence.outcome``.

    The predictions behind a published accuracy are not known, so the two count as unpaired, which
    makes the interval of the difference wider than it need be. Where the model was trained with
    several seeds, the spread of these is added: the published training was one more of them. With
    one seed the spread is not known, and the verdict is about these two trainings.
    """
    if dataset["shortfall"]:
        return Reproduction("not comparable", dataset["shortfall"], None)
    of_patches = difference(measured, estimates(published, sampling)["accuracy"])
    gap = _with_seeds(of_patches, per_seed, 0.975)
    inner = _with_seeds(narrowed(of_patches), per_seed, 0.95)
    because = "; ".join(_other_protocol(published, record, dataset))
    if because:
        return Reproduction("not comparable", because, gap)
    assert inner.low is not None
    assert inner.high is not None
    found = outcome(gap, inner.low, inner.high, margin)
    if found == "inconclusive":
        assert of_patches.low is not None
        assert of_patches.high is not None
        error = (of_patches.high - of_patches.low) / 2 / intervals.Z
        more = needed(gap.value, margin, error, published.n, per_seed)
        why = would_decide(more)
        return Reproduction("inconclusive", why, gap, inner.low, inner.high, more)
    verdict: Verdict = "higher" if gap.value > 0 else "lower"
    if found == "equivalent":
        verdict = "reproduced"
    return Reproduction(verdict, "", gap, inner.low, inner.high)


def would_decide(more: Needed) -> str:
    """What it would take to decide, for a person."""
    if more.never:
        return "no number of test patches or seeds would decide at this spread over seeds"
    amounts = []
    if more.seeds:
        amounts.append(f"{more.seeds:,} seeds")
    if more.patches:
        amounts.append(f"{float(f'{more.patches:.3g}'):,.0f} test patches")
    if not amounts:
        return "too near the margin"
    return f"about {(' and ' if more.both else ' or ').join(amounts)} would decide"


def equal_within(gap: Estimate, low90: float, high90: float, margin: float) -> str:
    """Whether a difference is shown to be within the margin, for a person."""
    ends = f"90 % interval {points(low90)} to {points(high90)}"
    if outcome(gap, low90, high90, margin) == "equivalent":
        return f"The difference is within ±{100 * margin:g} points ({ends})"
    return f"That it is within ±{100 * margin:g} points is not shown ({ends})"


def _other_protocol(
    published: PublishedResult, record: dict[str, Any], dataset: dict[str, Any]
) -> list[str]:
    fitted_here = not record.get("trained_on")
    fewer = _other_training_patches(published, dataset) if fitted_here else ""
    reasons = [fewer, record["deviations"]]
    if fitted_here and dataset.get("folds"):
        reasons.append("fitted on test patches of other folds, too")
    if record.get("initial_weights_fallback"):
        reasons.append(record["initial_weights"])
    if len({published.selected_on, record["selected_on"]} - {"unknown"}) > 1:
        reasons.append(f"selected on {record['selected_on']}, published on {published.selected_on}")
    return [reason for reason in reasons if reason]


def _other_training_patches(published: PublishedResult, dataset: dict[str, Any]) -> str:
    """Why the training patches of a dataset are not the published ones of its name; "" if so."""
    own, meant = dataset.get("n_train_own"), published.n_train
    if dataset["train_shortfall"] or dataset["trained_on"] != published.trained_on:
        return str(dataset["train_shortfall"])
    if own is None or meant is None or own == meant:
        return ""
    return f"{own:,} {'of' if own < meant else 'in place of'} {meant:,} training patches"


def _with_seeds(gap: Estimate, per_seed: Sequence[float], quantile: float) -> Estimate:
    """A difference with the spread over seeds in its interval, where there are several."""
    from scipy.special import stdtrit

    assert gap.low is not None
    assert gap.high is not None
    n = len(per_seed)
    if n < 2:
        return gap
    spread = stdtrit(n - 1, quantile) * np.std(per_seed, ddof=1) * np.sqrt(1 + 1 / n)
    below, above = np.hypot(gap.value - gap.low, spread), np.hypot(gap.high - gap.value, spread)
    return replace(gap, low=float(gap.value - below), high=float(gap.value + above))


def of_counts(name: str, share: float, n: float) -> Estimate:
    """A share of n patches, which may be an effective number, with Wilson's interval."""
    low, high = intervals.wilson(share * n, n)
    return Estimate(name=name, value=share, low=low, high=high)


@dataclass(frozen=True)
class ClassDifference:
    """How the recall of a class differs from what was published."""

    name: str
    difference: Estimate
    p: float
    """Of the score test, after Holm's correction for the number of classes."""
    moved_to: str
    """The wrong class that is predicted more often than was published, and by how much."""


def by_class(
    confusion: Sequence[Sequence[int]],
    published: Sequence[Sequence[int]],
    classes: Sequence[str],
    design_effect: float = 1.0,
) -> list[ClassDifference]:
    """Differences in recall of a confusion matrix to a published one, by class with patches."""
    ours, theirs = np.asarray(confusion), np.asarray(published)
    found = []
    for label, name in enumerate(classes):
        n, other_n = int(ours[label].sum()), int(theirs[label].sum())
        if not n or not other_n:
            continue
        right, other_right = int(ours[label, label]), int(theirs[label, label])
        gap = difference(
            of_counts(name, right / n, n / design_effect),
            of_counts(name, other_right / other_n, other_n / design_effect),
        )
        more = ours[label] / n - theirs[label] / other_n
        more[label] = 0
        worst = int(more.argmax())
        moved = f"{classes[worst]} ({points(more[worst], 1)} points)" if more[worst] > 0 else ""
        counts = [count / design_effect for count in (right, n, other_right, other_n)]
        p = proportions_p(*counts)
        found.append(ClassDifference(name, gap, p, moved))
    corrected = holm(np.array([one.p for one in found]))
    return [replace(one, p=float(p)) for one, p in zip(found, corrected, strict=True)]


def class_table(found: Sequence[ClassDifference]) -> Table:
    """Differences by class, for a person."""
    return Table(
        name="classes",
        title="",
        headings=("class", "recall, points", "95 % interval", "p (Holm)", "more often called"),
        rows=tuple(
            (
                one.name,
                points(one.difference.value),
                f"{points(one.difference.low or 0)} to {points(one.difference.high or 0)}",
                p_value(one.p),
                one.moved_to,
            )
            for one in found
        ),
    )


def estimates(published: PublishedResult, sampling: Sampling = INDEPENDENT) -> dict[str, Estimate]:
    """What a published result says of the figures, with intervals where these are known.

    From the confusion matrix if there is one, else Wilson's for the accuracy.
    """
    found: dict[str, Estimate] = {}
    if published.confusion is not None:
        found = dict(_of_matrix(tuple(map(tuple, published.confusion)), sampling))
    if published.accuracy is not None:
        n = published.n / sampling.design_effect
        counted = of_counts("accuracy", published.accuracy, n)
        found["accuracy"] = replace(found.get("accuracy", counted), value=published.accuracy)
    if published.balanced_accuracy is not None:
        known = found.get("balanced_accuracy", Estimate(name="balanced_accuracy", value=0))
        found["balanced_accuracy"] = replace(known, value=published.balanced_accuracy)
    if published.auroc is not None:
        found["macro_auroc"] = Estimate(name="macro_auroc", value=published.auroc)
    return found


@cache
def _of_matrix(confusion: tuple[tuple[int, ...], ...], sampling: Sampling) -> dict[str, Estimate]:
    """Kept, as every row of a board asks for the same."""
    return intervals.of_matrix(np.array(confusion), sampling)


def recalls(
    published: PublishedResult, classes: Sequence[str], sampling: Sampling = INDEPENDENT
) -> dict[str, Estimate]:
    """Recall of each class that has patches, from a published confusion matrix if there is one."""
    if published.confusion is None:
        return {}
    matrix = np.array(published.confusion)
    values, n_of = metrics.recall(matrix), matrix.sum(axis=1).tolist()
    return {
        name: of_counts(name, float(value), n / sampling.design_effect)
        for name, value, n in zip(classes, values, n_of, strict=True)
        if n
    }
