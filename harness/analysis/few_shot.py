"""Few-shot curves: how well a few labeled patches of each class do, on stored features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.dataframes import of_rows
from harness.data.splits import Subset
from harness.errors import HarnessError
from harness.hooks import settings
from harness.hooks.heads import ENDINGS, FixedPenalty, standardized_logistic
from harness.jobs.dataset import Instance
from harness.jobs.features import load_features, with_features
from harness.planning.plan import PlannedFeatures
from harness.statistics import few_shot, metrics
from harness.store.store import Store
from harness.system.progress import progress
from harness.system.threads import on_all_cores
from harness.types.models import Model

SIZES = (1, 2, 4, 8, 16, 32)
"""Labeled patches of each class."""
EPISODES = 100
AT_ONCE = 10
"""Episodes that a thread predicts at once."""

Floats = NDArray[np.float64]


def _each(
    make: Callable[[], Any], support: NDArray[np.floating], tested: NDArray[np.floating]
) -> NDArray[np.int64]:
    """As ``few_shot.nearest_means``, by an estimator that is fitted in each episode."""
    _, n_classes, size, width = support.shape
    labels = np.repeat(np.arange(n_classes), size)
    fits = (make().fit(drawn.reshape(-1, width), labels) for drawn in support)
    return np.stack([fit.predict_proba(tested).argmax(axis=1) for fit in fits])


PREDICT: Mapping[str, Callable[[NDArray[np.floating], NDArray[np.floating]], NDArray[np.int64]]] = {
    "simpleshot": few_shot.nearest_means,
    "linear": partial(_each, standardized_logistic),
    "linear-uni": partial(_each, FixedPenalty),
}
"""By their names in ``harness.HEADS``, heads that can do without held-out patches: what they
predict in some episodes, from the features drawn (B, classes, k, D) and those tested (N, D)."""


@dataclass(frozen=True)
class Draws:
    """What episodes draw: the same patches whatever the features."""

    classes: tuple[int, ...]
    """Labels of the classes that are drawn: those of which there are patches."""
    sizes: tuple[int, ...]
    left_out: Mapping[int, str]
    """Sizes of which there are too few patches, and why."""
    places: Sequence[NDArray[np.int64]]
    """For each fold, places of patches to fit on, (episodes, classes, largest size); the first k of
    each class are those of the size k."""


@dataclass(frozen=True)
class Source:
    """The features of which curves are."""

    name: str
    """The model's, without the head that is not used."""
    width: int
    weights: str
    """Label of the initial weights, "none" without."""
    notes: str
    """In what its settings differ from the defaults."""


@dataclass(frozen=True)
class Point:
    """What the episodes of one size gave, of one model with one head."""

    model: str
    head: str
    size: int
    """Labeled patches of each class."""
    balanced: Floats
    """Balanced accuracy of each episode, (episodes,)."""
    accuracy: Floats
    """The same of accuracies."""

    def as_row(self) -> dict[str, Any]:
        """By column."""
        row: dict[str, Any] = {"model": self.model, "head": self.head, "per_class": self.size}
        for name, values in (("balanced_accuracy", self.balanced), ("accuracy", self.accuracy)):
            low, high = spread(values)
            row |= {
                name: float(values.mean()),
                f"{name}_low": low,
                f"{name}_high": high,
                f"{name}_standard_error": standard_error(values),
            }
        return row


def spread(values: Floats) -> tuple[float, float]:
    """Between which values the middle 95 % of episodes are."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def standard_error(values: Floats) -> float:
    """Of the mean over episodes, of which there are two or more."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@dataclass(frozen=True)
class FewShot:
    """Few-shot curves of some models on a dataset."""

    dataset: str
    title: str
    classes: tuple[str, ...]
    """Those that are drawn and distinguished."""
    n_test: int
    folds: int
    """0 where one set of patches is drawn from, and the others are tested."""
    grouped: bool
    """Whether patients or slides of the patches that are drawn from are known."""
    episodes: int
    seed: int
    sizes: tuple[int, ...]
    left_out: Mapping[int, str]
    """Sizes of which there are too few patches, and why."""
    sources: tuple[Source, ...]
    points: tuple[Point, ...]
    failed: Mapping[str, str] = field(default_factory=dict)
    """What could not be computed, and why."""

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.classes)

    @property
    def heads(self) -> tuple[str, ...]:
        """Those that were fitted."""
        return tuple(dict.fromkeys(point.head for point in self.points))

    def curve(self, model: str, head: str) -> list[Point]:
        """By ascending size."""
        return [point for point in self.points if (point.model, point.head) == (model, head)]

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row for each model, head and size.

        Balanced accuracy and accuracy are means over episodes, low and high their 2.5 and 97.5
        percentiles. Raises HarnessError without pandas.
        """
        return of_rows([point.as_row() for point in self.points])

    def plot(self) -> Any:
        """The curves as a matplotlib figure, to look at or to save."""
        from harness.reports import display

        return display.plot_of_few_shot(self)

    def __repr__(self) -> str:
        names = ", ".join(source.name for source in self.sources)
        return f"<few-shot curves on {self.dataset}: {names}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_few_shot(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_few_shot(self)


def draws(instance: Instance, episodes: int, seed: int) -> Draws:
    """What is drawn of a dataset, in each fold from the patches that are fitted on there.

    Raises HarnessError when a class has no patch to draw.
    """
    classes = instance.dataset.classes
    fitted = [np.bincount(train.labels, minlength=len(classes)) for train, _ in instance.pairs]
    tested = np.bincount(instance.splits.test.labels, minlength=len(classes))
    present = np.flatnonzero(np.sum(fitted, axis=0) + tested)
    counts = np.array(fitted)[:, present]
    least = int(counts.min())
    fold, rarest = np.unravel_index(counts.argmin(), counts.shape)
    where = f" in fold {fold + 1} of {len(fitted)}" if instance.splits.folds else ""
    name = classes[present[rarest]]
    if not least:
        raise HarnessError(
            f"few-shot: class {name} of {instance.dataset.name} has no training patch{where}, so "
            "that none can be drawn; add some, or leave the class out"
        )
    sizes = tuple(size for size in SIZES if size <= least)
    return Draws(
        classes=tuple(present.tolist()),
        sizes=sizes,
        left_out={
            size: f"class {name} has {least} training patches{where}"
            for size in SIZES
            if size > least
        },
        places=[
            few_shot.draw(train.labels, present.tolist(), sizes[-1], episodes, (seed, number))
            for number, (train, _) in enumerate(instance.pairs)
        ],
    )


def curves(models: Sequence[Model], planned: Mapping[str, PlannedFeatures]) -> dict[str, Model]:
    """By the name of its curve, a model of each of the features that were ``planned``.

    Models that differ in the head alone, which is not used here, have one curve; it is called as
    they are without it, unless others would be called so as well.
    """
    first: dict[tuple[str, ...], Model] = {}
    for model in models:
        if model.name in planned:
            keys = (key.digest for key in planned[model.name].keys.values())
            first.setdefault((*keys, str(_columns(model))), model)
    names = Counter(map(_without_head, first.values()))
    return {
        _without_head(model) if names[_without_head(model)] == 1 else model.name: model
        for model in first.values()
    }


def _without_head(model: Model) -> str:
    name, _, head = model.name.rpartition("+")
    return name if name and head in ENDINGS else model.name


def _columns(model: Model) -> slice | Sequence[int]:
    return slice(None) if model.columns is None else model.columns


def source(name: str, model: Model, planned: PlannedFeatures, store: Store) -> Source:
    """The stored features of a model. Raises DamagedError."""
    test = load_features(store, planned.instance.part("test"), planned.keys["test"])
    return Source(
        name=name,
        width=test.values[:1, _columns(model)].shape[1],
        weights=planned.weights,
        notes=settings.deviations(model, planned.settings),
    )


def points(
    name: str,
    model: Model,
    planned: PlannedFeatures,
    drawn: Draws,
    heads: Sequence[str],
    store: Store,
) -> list[Point]:
    """The curve of a model with each head, from its stored features; ``name`` is the curve's.

    Raises DamagedError, and HarnessError when the features are of other patches.
    """
    confusions = _confusions(name, model, planned, drawn, heads, store)
    found = []
    for (head, size), matrices in confusions.items():
        accuracy, balanced, *_ = metrics.of_confusion(matrices).T
        found.append(Point(name, head, size, balanced, accuracy))
    return found


def _confusions(
    name: str,
    model: Model,
    planned: PlannedFeatures,
    drawn: Draws,
    heads: Sequence[str],
    store: Store,
) -> dict[tuple[str, int], NDArray[np.int64]]:
    """By head and size, confusion matrices of all test patches, (episodes, C, C)."""
    instance = planned.instance
    stored = {}
    for part, key in planned.keys.items():
        instance.check_shared(store.record(key))
        split = instance.part(part)
        stored[split.fingerprint] = load_features(store, split, key)
    n_classes = len(instance.dataset.classes)
    n_episodes = len(drawn.places[0])
    found = {
        (head, size): np.zeros((n_episodes, n_classes, n_classes), np.int64)
        for head in heads
        for size in drawn.sizes
    }
    blocks = [slice(start, start + AT_ONCE) for start in range(0, n_episodes, AT_ONCE)]
    classes = np.array(drawn.classes)
    for number, ((train, tested), places) in enumerate(
        zip(instance.pairs, drawn.places, strict=True)
    ):
        used, row_of = np.unique(places, return_inverse=True)
        support = with_features(train, stored).read(used)[:, _columns(model)]
        rows = row_of.reshape(places.shape)
        test = with_features(Subset(instance.splits.test, tested), stored)
        asked = test.read(np.arange(len(tested)))[:, _columns(model)]

        def confusion(item: tuple[str, int, slice]) -> NDArray[np.int64]:
            head, size, block = item
            guesses = PREDICT[head](support[rows[block, :, :size]], asked)  # noqa: B023
            return np.stack(
                [
                    metrics.confusion_matrix(test.labels, classes[guess], n_classes)  # noqa: B023
                    for guess in guesses
                ]
            )

        items = [(head, size, block) for head, size in found for block in blocks]
        label = f"{name}: episodes"
        if instance.splits.folds:
            label += f" of fold {number + 1} of {instance.splits.folds}"
        answers = progress(on_all_cores(confusion, items), total=len(items), label=label)
        for (head, size, block), matrices in zip(items, answers, strict=True):
            found[head, size][block] += matrices
    return found
