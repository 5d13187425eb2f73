"""How well some numbers of a patch, none of them about tissue, predict its class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from harness import Audit, Estimate
from harness_bias.audit.enough import FEWEST, Opinion, to_shrink

TREES = 25
MANY = 2_000
"""Patches from which on several cores grow a forest faster than one."""
MOST = 20_000
"""Patches that a forest is grown on; from more of them, this many are drawn, by class."""
FOLDS = 5
MARGIN = 0.02
"""How far above chance the interval must lie to count: what is true but tiny raises no flag."""
UNDECIDED = 0.15
"""How far above chance the interval may reach before nothing can be said for want of patches."""


@dataclass(frozen=True)
class Score:
    """Balanced accuracy with its 95 % interval, and what guessing would give."""

    value: float
    low: float
    high: float
    chance: float
    half: float
    """Half the interval, where it does not end at 0 or 1."""
    fewest: int
    """Patches of the class of which the fewest were predicted."""
    predicted: NDArray[np.int64]
    """Predicted label of each patch, -1 where it was not predicted."""
    how: str
    """What was fitted on what, in words."""

    def above_chance(self, margin: float = MARGIN) -> bool:
        """Whether the whole interval lies above chance by more than a margin."""
        return self.low > self.chance + margin

    def verdict(self, margin: float = MARGIN) -> bool | None:
        """Whether it is above chance; None when the patches are too few to tell."""
        return self.opinion(margin).flag

    def opinion(self, margin: float = MARGIN) -> Opinion:
        """Whether it is above chance, or how many patches it would take to tell.

        A score below chance is luck, and no reason to be surer that there is nothing.
        """
        if self.above_chance(margin):
            return Opinion(True)
        value = max(self.value, self.chance)
        if value + self.half <= self.chance + UNDECIDED:
            return Opinion(False)
        wanted = max(value - self.chance - margin, self.chance + UNDECIDED - value)
        return Opinion(None, to_shrink(self.fewest, self.half, wanted))

    def opinion_of_spread(
        self, values: NDArray[Any], labels: NDArray[np.int64], limit: float
    ) -> Opinion:
        """The same of numbers (N,) whose classes must differ by ``limit``, as ``spread`` says.

        Where they differ by less, but may by more as there are few patches, they are judged to be
        sound only where the score is at chance.
        """
        if (known := spread_and_error(values, labels, self)) is None:
            return Opinion(None, FEWEST)
        far, error = known
        opinion = self.opinion()
        if far > limit or opinion.flag is False:
            return opinion
        if far**2 + error**2 <= limit**2:
            return Opinion(False)
        room = max(limit**2 - far**2, (limit / 2) ** 2) ** 0.5
        return Opinion(None, max(opinion.needed, to_shrink(self.fewest, error, room)))

    def estimate(self, name: str) -> Estimate:
        """The score as a figure of a finding."""
        return Estimate(name=f"{name}, {self.how}", value=self.value, low=self.low, high=self.high)


def compared(
    audit: Audit, values: NDArray[np.float32], keep: NDArray[np.bool_] | None = None
) -> list[Score]:
    """How well numbers (N, D) of all patches predict the class: from training to test patches or
    fold by fold, as the dataset is evaluated, and within each of the splits.

    Patches that ``keep``, bool (N,), leaves out are neither fitted on nor predicted. What cannot
    be judged for want of patches is not in the list.
    """
    labels = audit.labels
    kept = np.ones(len(labels), bool) if keep is None else keep
    scores = []
    if audit.folds:
        folds = [(fitted[kept[fitted]], asked[kept[asked]]) for fitted, asked in audit.folds]
        how = "train to test" if len(folds) == 1 else f"{len(folds)} folds over test"
        scores.append(score(labels, _predict(values, labels, folds), how))
    else:
        scores.append(cross_validated(values, labels, np.flatnonzero(kept)))
    if audit.train is not None:
        cut = len(audit.train.labels)
        for name, rows in zip(audit.parts, np.split(np.arange(len(labels)), [cut]), strict=True):
            how = f"cross-validated on {name}"
            scores.append(cross_validated(values, labels, rows[kept[rows]], how))
    return [score for score in scores if score is not None]


def surest(scores: Iterable[Score]) -> Score | None:
    """The score whose interval lies highest above chance; None if there is none.

    A fault that only one split has, or each in its own way, does not help to predict from one to
    the other, but is one.
    """
    return max(scores, key=lambda score: score.low - score.chance, default=None)


def cross_validated(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    how: str = "cross-validated",
) -> Score | None:
    """Stratified cross-validation within some rows; None when no two classes have two patches.

    Classes with a single patch are left out. Those with fewer patches than there are folds are in
    some of the folds only.
    """
    rng = np.random.default_rng(0)
    fold = np.full(len(labels), -1)
    start = 0
    for label in np.unique(labels[rows]):
        members = rng.permutation(rows[labels[rows] == label])
        if len(members) > 1:
            fold[members] = (start + np.arange(len(members))) % FOLDS
            start += len(members)  # so that the first folds are not the largest
    folds = [
        (np.flatnonzero((fold >= 0) & (fold != number)), np.flatnonzero(fold == number))
        for number in range(FOLDS)
    ]
    return score(labels, _predict(values, labels, folds), how)


def spread(values: NDArray[Any], labels: NDArray[np.int64], score: Score) -> float | None:
    """How far classes differ: the standard deviation over classes of the median of numbers (N,).

    Of the patches that a score is about, and of classes with at least ``FEWEST`` of them; None of
    fewer than two such classes.
    """
    known = spread_and_error(values, labels, score)
    return None if known is None else known[0]


def spread_and_error(
    values: NDArray[Any], labels: NDArray[np.int64], score: Score
) -> tuple[float, float] | None:
    """The spread, and by how much more classes may differ, as medians of few patches are unsure.

    The latter is 1.645 times the root mean square of the medians' standard errors, from the median
    absolute deviation within classes as of normal numbers: what is added, squared, to the spread
    of classes that do not differ stays below it in 95 %.
    """
    chosen = score.predicted >= 0
    medians, errors = [], []
    for label in np.unique(labels[chosen]):
        own = values[chosen & (labels == label)]
        if len(own) >= FEWEST:
            medians.append(np.median(own))
            deviation = 1.4826 * np.median(np.abs(own - medians[-1]))
            errors.append(1.2533 * deviation / len(own) ** 0.5)
    if len(medians) < 2:
        return None
    return float(np.std(medians)), 1.645 * float(np.sqrt(np.mean(np.square(errors))))


def _predict(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> NDArray[np.int64]:
    predicted = np.full(len(labels), -1)
    rng = np.random.default_rng(0)
    for fitted, asked in folds:
        if not len(fitted) or not len(asked):
            continue
        if (values == values[0]).all():  # nothing found in any patch: no forest could but guess
            predicted[asked] = labels[fitted[0]]
            continue
        fitted = _thinned(fitted, labels, rng)
        # Rare classes count as much as common ones, as they do in balanced accuracy.
        forest = RandomForestClassifier(
            TREES,
            class_weight="balanced",
            min_samples_leaf=2,
            random_state=0,
            n_jobs=-1 if len(fitted) > MANY else 1,
        )
        forest.fit(values[fitted], labels[fitted])
        forest.n_jobs = 1  # several threads would sum the trees' votes in any order
        predicted[asked] = forest.predict(values[asked])
    return predicted


def _thinned(
    fitted: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most about ``MOST`` of some patches, the same share of each class, one at least."""
    share = MOST / max(len(fitted), 1)
    if share >= 1:
        return fitted
    classes = [fitted[labels[fitted] == label] for label in np.unique(labels[fitted])]
    return np.concatenate(
        [rng.choice(c, -int(-len(c) * share // 1), replace=False) for c in classes]
    )


def score(labels: NDArray[np.int64], predicted: NDArray[np.int64], how: str = "") -> Score | None:
    """Balanced accuracy of the patches that were predicted (not -1); None below two classes.

    Its variance is that of a mean of independent recalls; each recall's is taken after adding one
    patch predicted right and one predicted wrong (Agresti and Coull 1998), so that a class
    without errors does not count as certain.
    """
    asked = predicted >= 0
    recalls, variances, counts = [], [], []
    for label in np.unique(labels[asked]):
        right = predicted[asked & (labels == label)] == label
        n, k = len(right), int(right.sum())
        smooth = (k + 1) / (n + 2)
        counts.append(n)
        recalls.append(k / n)
        variances.append(smooth * (1 - smooth) / (n + 2))
    if len(recalls) < 2:
        return None
    value = float(np.mean(recalls))
    half = 1.96 * float(np.sqrt(np.sum(variances))) / len(recalls)
    return Score(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        chance=1 / len(recalls),
        half=half,
        fewest=min(counts),
        predicted=predicted,
        how=how,
    )


def sentence(score: Score | None, what: str = "predicts the class") -> str:
    """The line that every property group gets."""
    if score is None:
        return "cannot be judged: it takes two classes with patches that tell"
    return (
        f"{what} with balanced accuracy {score.value:.2f} "
        f"({score.low:.2f} to {score.high:.2f}; chance {score.chance:.2f}; {score.how})"
    )


def by_class(
    audit: Audit, cells: dict[str, tuple[str, slice | list[int]]]
) -> tuple[tuple[str, ...], tuple[tuple[str | float | None, ...], ...]]:
    """Headings and rows of a table of class means, split by split.

    ``cells`` maps a heading to the features and the columns of which the mean is shown.
    """
    rows: list[tuple[str | float | None, ...]] = []
    for name, part in audit.parts.items():
        for label, class_name in enumerate(audit.classes):
            chosen = part.labels == label
            if chosen.any():
                means = [
                    float(part.values[features][chosen][:, columns].mean())
                    for features, columns in cells.values()
                ]
                rows.append((class_name, name, int(chosen.sum()), *means))
    return ("class", "split", "patches", *cells), tuple(
        sorted(rows, key=lambda row: (str(row[0]), str(row[1])))
    )
