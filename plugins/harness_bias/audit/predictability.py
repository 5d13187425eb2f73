"""How well some numbers of a patch, none of them about tissue, predict its class."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.feature_selection import f_classif
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.tree import DecisionTreeClassifier

from harness import Audit, Estimate
from harness.statistics.deviations import deviations
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import FEWEST, Opinion, to_shrink
from harness_bias.audit.groups import DEALS, shuffled

FEW = 3
"""Columns from which on a forest is grown; of one or two numbers one tree says as much, in a tenth
of the time."""
TREES = 25
MANY = 2_000
"""Patches from which on several cores grow a forest faster than one."""
MOST = 20_000
"""Patches that a forest is grown on; from more of them, this many are drawn, by class."""
DEALT = 10_000
"""Patches of which labels are dealt at random; of more, this many are drawn."""
FOLDS = 5
MARGIN = 0.02
"""How far above chance the interval must lie to count: what is true but tiny raises no flag."""
LUCK = 0.02
"""Largest p that counts. Intervals alone are too short where groups are few."""
UNDECIDED = 0.15
"""How far above chance the interval may reach before nothing can be said for lack of patches."""


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
    p: float
    """How often labels dealt at random, groups as a whole, fit the predictions as well."""

    def above_chance(self, margin: float = MARGIN) -> bool:
        """Whether the whole interval lies above chance by more than a margin, and not by luck."""
        return self.low > self.chance + margin and self.p <= LUCK

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
    audit: Audit,
    values: NDArray[np.float32],
    keep: NDArray[np.bool_] | None = None,
    linear: bool = False,
) -> list[Score]:
    """How well numbers (N, D) of all patches predict the class: from training to test patches or
    fold by fold, as the dataset is evaluated, and within each of the splits.

    Patches that ``keep``, bool (N,), leaves out are neither fitted on nor predicted. What cannot
    be judged for lack of patches is not in the list. By trees, or a ``linear`` model.
    """
    labels, groups = audit.labels, audit.groups
    kept = np.ones(len(labels), bool) if keep is None else keep
    scores = []
    if audit.folds:
        folds = [
            (_of_others(fitted[kept[fitted]], asked, groups), asked[kept[asked]])
            for fitted, asked in audit.folds
        ]
        how = "train to test" if len(folds) == 1 else f"{len(folds)} folds over test"
        scores.append(score(labels, _predict(values, labels, folds, linear=linear), how, groups))
    else:
        rows = np.flatnonzero(kept)
        scores.append(cross_validated(values, labels, rows, groups=groups, linear=linear))
    if audit.train is not None:
        cut = len(audit.train.labels)
        for name, rows in zip(audit.parts, np.split(np.arange(len(labels)), [cut]), strict=True):
            how = f"cross-validated on {name}"
            scores.append(
                cross_validated(values, labels, rows[kept[rows]], how, groups, linear=linear)
            )
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
    groups: NDArray[np.int64] | None = None,
    strongest: int | None = None,
    linear: bool = False,
) -> Score | None:
    """Stratified cross-validation within some rows; None when no two classes have two patches.

    With ``strongest``, only so many columns are fitted, those that differ most between the classes
    of the patches to fit on.

    Classes with a single patch are left out. Those with fewer patches than there are folds are in
    some of the folds only. No group is cut by a fold: to recognize a patient is no fault.
    """
    if groups is not None:
        return _by_groups(values, labels, rows, how, groups, strongest, linear)
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
    return score(labels, _predict(values, labels, folds, strongest, linear), how)


def _by_groups(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    how: str,
    groups: NDArray[np.int64],
    strongest: int | None,
    linear: bool,
) -> Score | None:
    """Cross-validation of classes with at least two groups; None if there are no two of them."""
    n_groups = np.array(
        [len(np.unique(groups[rows[labels[rows] == label]])) for label in range(labels.max() + 1)]
    )
    rows = rows[n_groups[labels[rows]] > 1]
    if len(np.unique(labels[rows])) < 2:
        return None
    cutter = StratifiedGroupKFold(min(FOLDS, n_groups[n_groups > 1].min()))
    with warnings.catch_warnings():  # of classes with fewer patches than there are folds
        warnings.simplefilter("ignore", UserWarning)
        cut = list(cutter.split(rows, labels[rows], groups[rows]))
    folds = [(rows[fitted], rows[asked]) for fitted, asked in cut]
    return score(labels, _predict(values, labels, folds, strongest, linear), how, groups)


def _of_others(
    fitted: NDArray[np.int64], asked: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Patches to fit on that share no group with those that are asked about."""
    if groups is None:
        return fitted
    return fitted[~np.isin(groups[fitted], groups[asked])]


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
    strongest: int | None = None,
    linear: bool = False,
) -> NDArray[np.int64]:
    predicted = np.full(len(labels), -1)
    rng = np.random.default_rng(0)
    for fitted, asked in folds:
        if not len(fitted) or not len(asked):
            continue
        n_classes = len(np.unique(labels[fitted]))
        if (values == values[0]).all() or n_classes < 2:  # nobody could but guess
            predicted[asked] = labels[fitted[0]]
            continue
        if linear and len(fitted) <= n_classes:  # no variance within classes
            continue
        fitted = _thinned(fitted, labels, rng)
        columns = _strongest(values, labels, fitted, strongest)
        model = _model(labels, fitted, values.shape[1], linear)
        # To look at parameters tree by tree takes longer than to grow a tree.
        with (
            config_context(assume_finite=True, skip_parameter_validation=True),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)  # of classes with a single patch
            model.fit(values[fitted][:, columns], labels[fitted])
            if isinstance(model, ExtraTreesClassifier):
                model.n_jobs = 1  # several threads would sum the trees' votes in any order
            predicted[asked] = model.predict(values[asked][:, columns])
    return predicted


def _model(labels: NDArray[np.int64], fitted: NDArray[np.int64], columns: int, linear: bool) -> Any:
    """What is fitted. Rare classes count as much as common ones, as in balanced accuracy."""
    n = len(np.unique(labels[fitted]))
    if linear:
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n, 1 / n))
    if columns < FEW:
        leaf = max(2, len(fitted) // 50)
        return DecisionTreeClassifier(
            min_samples_leaf=leaf, class_weight="balanced", random_state=0
        )
    return ExtraTreesClassifier(
        TREES,
        class_weight="balanced",
        min_samples_leaf=2,
        random_state=0,
        n_jobs=-1 if len(fitted) > MANY else 1,
    )


def _strongest(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    fitted: NDArray[np.int64],
    n: int | None,
) -> slice | NDArray[np.int64]:
    """The n columns that differ most between the classes of some patches, or all of them."""
    if n is None:
        return slice(None)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of columns that never change
        ratio, _ = f_classif(values[fitted], labels[fitted])
    return np.argsort(-np.nan_to_num(ratio))[:n]


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


def score(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    how: str = "",
    groups: NDArray[np.int64] | None = None,
) -> Score | None:
    """Balanced accuracy of the patches that were predicted (not -1); None below two classes.

    Its variance is that of a mean of independent recalls; each recall's is taken after adding one
    patch predicted right and one predicted wrong (Agresti and Coull 1998), so that a class
    without errors does not count as certain. With groups it is at least that of the sums over
    groups.
    """
    asked = predicted >= 0
    recalls, variances, counts = [], [], []
    influence = np.zeros(len(labels))
    for label in np.unique(labels[asked]):
        own = asked & (labels == label)
        right = predicted[own] == label
        n, k = len(right), int(right.sum())
        smooth = (k + 1) / (n + 2)
        counts.append(n)
        recalls.append(k / n)
        variances.append(smooth * (1 - smooth) / (n + 2))
        influence[own] = (right - k / n) / n
    if len(recalls) < 2:
        return None
    value = float(np.mean(recalls))
    variance = float(np.sum(variances))
    if groups is not None:
        sums = deviations(
            influence[asked], labels[asked], np.unique(groups[asked], return_inverse=True)[1]
        )
        variance = max(variance, float(np.square(sums).sum()))
    half = 1.96 * float(np.sqrt(variance)) / len(recalls)
    return Score(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        chance=1 / len(recalls),
        half=half,
        fewest=min(counts),
        predicted=predicted,
        how=how,
        p=_p(value, labels[asked], predicted[asked], None if groups is None else groups[asked]),
    )


def _p(
    value: float,
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
) -> float:
    """How often labels dealt at random give a balanced accuracy as high with these predictions."""
    if len(labels) > DEALT:
        rows = drawn(np.arange(len(labels)), labels, DEALT)
        labels, predicted = labels[rows], predicted[rows]
        groups = None if groups is None else groups[rows]
        value = float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))
    present, dense = np.unique(labels, return_inverse=True)
    as_high = 0
    for dealt, _ in shuffled(dense, groups):
        hits = np.bincount(dealt[present[dealt] == predicted], minlength=len(present))
        as_high += float(np.mean(hits / np.bincount(dealt))) >= value - 1e-9
    return (1 + as_high) / (1 + DEALS)


def sentence(score: Score | None, what: str = "predicts the class") -> str:
    """The line that every property group gets."""
    if score is None:
        return "cannot be judged: it takes two classes with patches that tell"
    return (
        f"{what} with balanced accuracy {score.value:.2f} "
        f"({score.low:.2f} to {score.high:.2f}; chance {score.chance:.2f}; p {score.p:.3f}; "
        f"{score.how})"
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
