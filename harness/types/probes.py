"""The types of probes, which ask questions of datasets and models, and of phantoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.statistics.estimates import Estimate
from harness.types.datasets import Split
from harness.types.findings import Finding, Table
from harness.types.models import Features
from harness.types.perturbations import Perturbation
from harness.types.published import PublishedResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A split with the features that a dataset probe asked for."""

    split: Split
    values: Mapping[str, NDArray[np.float32]]
    """By the features' name: float32 (N, D)."""
    groups: NDArray[np.int64] | None = None
    """Number of the patient or slide of each patch, int64 (N,), the same number in both parts for
    the same one. None if not known."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the patches, int64 (N,)."""
        return self.split.labels


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a dataset probe looks at."""

    classes: tuple[str, ...]
    train: Measured | None
    test: Measured
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    """How the dataset is evaluated: for each fold, what to fit on and what to predict, as indices
    into the training patches followed by the test patches. None where there is nothing to fit on.
    """
    only_verdict: bool = False
    """Whether nothing but reading, flag and grade is looked at: what only informs a reader may be
    left out, as in a calibration that asks thousands of times."""
    progress: Callable[..., Any] = lambda items, **_: items
    """``progress(iterable, total=n, label=text)`` shows how far a loop has come."""

    @property
    def parts(self) -> dict[str, Measured]:
        """The training patches, if any, and the test patches, under "train" and "test"."""
        return (
            {"test": self.test} if self.train is None else {"train": self.train, "test": self.test}
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels of all parts, one after the other, int64 (N,)."""
        import numpy as np

        return np.concatenate([part.labels for part in self.parts.values()])

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Numbers of the groups of all parts, one after the other, int64 (N,).

        A patch of a part without known groups is a group of its own. None if no part has any.
        """
        import numpy as np

        parts = list(self.parts.values())
        if all(part.groups is None for part in parts):
            return None
        found, unused = [], 1 + max(int(p.groups.max()) for p in parts if p.groups is not None)
        for part in parts:
            if part.groups is None:
                found.append(unused + np.arange(len(part.labels)))
                unused += len(part.labels)
            else:
                found.append(part.groups)
        return np.concatenate(found)

    def stacked(self, features: str, columns: slice | list[int]) -> NDArray[np.float32]:
        """Some columns of features of all parts, one after the other, float32 (N, D)."""
        import numpy as np

        return np.concatenate([part.values[features][:, columns] for part in self.parts.values()])


@dataclass(frozen=True, kw_only=True)
class DatasetProbe:
    """A question asked of a dataset.

    ``measure`` gets the values of ``features`` for every patch; those are extracted in one pass
    over the patches for all probes together, and stored.
    """

    name: str
    title: str
    features: tuple[Features, ...]
    measure: Callable[[Audit], Finding]
    plots: Mapping[str, Callable[[Finding], Any]] = field(default_factory=dict)
    """By name, a function from the finding to a matplotlib figure (see
    ``harness.reports.drawing``)."""
    galleries: Mapping[str, Callable[[Finding], Sequence[tuple[str, tuple[str, ...]]]]] = field(
        default_factory=dict
    )
    """By name, a function from the finding to what patches show it: captions, each with the ids of
    patches that are shown side by side, such as the two of a pair."""
    check: Callable[[Split, Callable[..., Any]], Sequence[Table]] | None = None
    """``check(split, progress)`` changes real patches by known amounts and says in tables how well
    it measures them; ``progress`` is that of ``Audit``."""
    tuned_on: Callable[[Sequence[str]], NDArray[np.bool_]] | None = None
    """``tuned_on(ids)``: on which patches, by their ids, its limits were set, bool (N,). These do
    not judge it in ``harness calibrate --real``."""
    question: str = ""
    """What it asks, in plain words: "Are the classes compressed differently?"."""
    meaning: str = ""
    """What it means for a classifier that the fault is there, in sentences."""
    advice: str = ""
    """What can be done about it, in sentences."""
    limits: str = ""
    """What it would have seen, measured on real patches: stands beside a verdict without a flag."""
    false_flags: str = ""
    """How often it raises its flag without the fault, measured on real patches: stands beside a
    flag."""
    threaded: bool = False
    """Whether ``measure`` has threads of its own, such as ``harness.system.threads.on_all_cores``:
    it is asked first then, in the process that may use all cores, which helpers share with it."""
    version: int = 1
    """Raise it when the finding changes, so that stored ones are not read back."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model probe looks at: stored logits of one model, float32 (N, C).

    Those of a sum of models or views are the mean over its terms.
    """

    model: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    ids: Sequence[str]
    clean: NDArray[np.float32]
    perturbations: Mapping[str, Perturbation]
    """Every perturbation that is registered, by name."""
    under: Callable[[str, float], NDArray[np.float32] | None]
    """``under(perturbation, level)``: the logits of perturbed patches; None if there are none."""
    of: Callable[[str], Predictions | None]
    """``of(model)``: the predictions of another model for the same patches; None if none."""
    groups: NDArray[np.int64] | None = None
    """Number of the patient or slide of each patch, (N,), from 0 without gaps; None if not known.
    """
    design_effect: float = 1.0
    """By what factor variances are larger than those of independent patches, or groups."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure of a probe as a column of the leaderboard."""

    estimate: str
    heading: str
    about: str
    """What it means, in a sentence under the table."""
    show: Callable[[Estimate], str]


@dataclass(frozen=True, kw_only=True)
class ModelProbe:
    """A question asked of a model's stored logits.

    ``needs(perturbations)`` names those under which the test patches must be predicted, of all
    that are registered and not ``on_request``. ``measure`` returns None when the logits it needs
    are not stored.
    """

    name: str
    title: str
    measure: Callable[[Predictions], Finding | None]
    needs: Callable[[Mapping[str, Perturbation]], Sequence[str]] = lambda perturbations: ()
    columns: tuple[Column, ...] = ()
    plots: Mapping[
        str, Callable[[Mapping[str, Finding], Sequence[PublishedResult], Sequence[str]], Any]
    ] = field(default_factory=dict)
    """By name, a function from the findings by model, the published results of the test set and
    the classes to a matplotlib figure, or None when there is nothing to draw."""
