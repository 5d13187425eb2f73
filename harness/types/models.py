"""Types of models: what is fitted, what it starts from, what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.types.datasets import Split
from harness.types.options import Option, defaults

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = Sequence[int] | NDArray[np.int64]


Setting = int | float | str | bool


Outputs = Literal["logits", "probabilities", "scores"]


"""What a model returns: logits, whose softmax are its probabilities (logarithms of probabilities
are logits, too); probabilities, which are not negative and sum to 1; or scores, such as the margins
of a support vector machine, of which only the order means something."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """A fixed function from patches to vectors, computed once a dataset and shared by models.

    ``extract`` takes uint8 RGB (B, H, W, 3), read-only, and returns float32 (B, D). It is called
    from several threads at once. Raise ``version`` when its numbers change.
    """

    name: str
    extract: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    version: int = 1
    requires: tuple[str, ...] = ()
    weights: InitialWeights | None = None
    """Of the network that extracts them; their digest enters the key."""
    device: Callable[[], str] | None = None
    """Name of the accelerator that extracts them; "" when it is the CPU."""
    brought: Callable[[Split, str, str], NDArray[np.float32]] | None = None
    """Of features that were computed elsewhere: finds those of all patches of a split, (N, D), in
    the order of its ids, of the part "train", "validation" or "test" of the dataset of a name. It
    is asked in the place of ``extract``; ``Model.given`` says which datasets they are for."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """What a fit starts from. ``digest`` enters the key of the result, ``label`` its row."""

    label: str
    digest: str
    path: Path | None = None
    warning: str = ""
    """Said loudly before the run when these weights are a fallback."""


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """What a fit may depend on besides its patches."""

    seed: int
    classes: tuple[str, ...]
    settings: Mapping[str, Setting]
    """Read-only: ``dict(settings)`` is a copy."""
    folder: Path
    """A folder of this fit's own that survives a killed run: keep checkpoints here, written and
    read with ``harness.system.checkpoints``, so that a damaged one costs time and no wrong result.
    """
    initial_weights: InitialWeights | None = None
    after_epoch: Callable[[int, Classifier, float], None] | None = None
    """Where it is given, call it after each epoch with the epoch's number from 0, a classifier as
    it then is, and how good that is on ``validation`` (more is better). The harness keeps what it
    predicts for the test patches, to audit the selection. A resumed fit calls it for the epochs
    that it still trains."""
    progress: Callable[..., Any] = lambda items, **_: items
    """``progress(iterable, total=n, label=text)`` shows how far a loop has come."""
    say: Callable[[str], None] = lambda message: None
    """Log a message for the user; one that begins with "WARNING: " is a warning."""


class Classifier(Protocol):
    """A fitted model."""

    def logits(self, inputs: Any) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of uint8 RGB patches (B, H, W, 3); see ``Model.outputs``.

        For a model with ``features`` the inputs are those features, float32 (B, D). They are
        read-only. The answer for a patch must not depend on the other patches of the batch.
        """

    def save(self, folder: Path) -> None:
        """Write everything that ``Model.load`` needs into an existing, empty folder."""


@dataclass(frozen=True)
class Given:
    """What was brought along: predictions in the place of a model that predicts, or embeddings in
    the place of what extracts them."""

    dataset: str
    """Name of the dataset whose patches they are of."""
    conditions: tuple[tuple[str, float], ...] = ()
    """Perturbations and levels under which there are some, besides those of clean patches."""
    cohorts: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    """Other datasets, by name, that there is something of as well, to test on what is fitted on
    ``dataset`` (``harness transfer``). Each has a function that returns a digest of it, for the
    key. The name of such a test is ``DATASET-to-COHORT``."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A classifier to fit.

    ``fit(train, validation, context)`` returns a Classifier. ``validation`` is a split to choose a
    checkpoint on, or None unless ``selects``. For a model with ``features``, ``read`` of both
    splits returns those features instead of patches.
    """

    name: str
    title: str
    fit: Callable[[Split, Split | None, FitContext], Classifier]
    load: Callable[[Path, Mapping[str, Setting]], Classifier]
    """``load(folder, settings)`` reads what ``Classifier.save`` wrote."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that change the result, with their defaults; part of the key. In the place of a
    default, an ``Option`` has limits and a help as well; of the model that is made of it, this
    mapping has the default, and ``options`` the rest."""
    execution: Mapping[str, Any] = field(default_factory=dict)
    """Settings that change only how it is computed (workers, device); not part of the key."""
    demo_settings: Mapping[str, Setting] = field(default_factory=dict)
    """Settings for a dataset with ``demo``, where the defaults would be waste."""
    version: int = 1
    """Raise it when the same settings give other results, so that stored ones are not read back."""
    selects: bool = False
    """Chooses among checkpoints, and so needs patches to choose on."""
    reports_epochs: bool = False
    """Calls ``FitContext.after_epoch``."""
    features: Features | Callable[[Mapping[str, Setting]], Features] | None = None
    """What it is fitted on instead of patches, or a function that finds it, within seconds, from
    the settings."""
    columns: slice | Sequence[int] | None = None
    """Of its ``features``, those that it looks at; None for all. Its ``fit`` and its classifiers
    are given all of them; few-shot curves are of these."""
    trained_on: str = ""
    """For a pretrained classifier, whose ``fit`` reads no patch: the data its authors fitted it
    on, as published results call them, or "unknown"."""
    classes: tuple[str, ...] | None = None
    """For a pretrained classifier: the classes that it knows, in any order. Datasets with others
    are not for it."""
    outputs: Outputs | Callable[[Any], Outputs] = "logits"
    """What the ``logits`` of its classifiers returns, "logits", "probabilities" or "scores", or a
    function that tells it from a fitted classifier. Probabilities, rows that sum to 1, are stored
    as their logarithms. Scores, such as the margins of a support vector machine, are no
    probabilities on any scale: their rows have no calibration figures."""
    selected_on: str = "unknown"
    """For a pretrained classifier: the split that its authors chose the checkpoint on, if known:
    "none", "held-out", "validation" or "test"."""
    given: Given | None = None
    """For a pretrained classifier that is not there itself, only what it predicted. What ``fit``
    and ``load`` return then has ``predictions(split, perturbation, level, dataset)`` in the place
    of ``logits``: of all test patches of the dataset of that name, (N, C), in the order of the
    split's ids and the dataset's classes; "clean" and None where they are as they were. For a model
    whose ``features`` are ``brought``: which datasets they are for."""
    initial_weights: Callable[[Mapping[str, Setting]], InitialWeights] | None = None
    """Finds, within seconds, the weights that a fit with these settings would start from."""
    estimate: Callable[[int, Mapping[str, Setting]], float] | None = None
    """Seconds that fitting n patches with these settings takes on this device, roughly."""
    device: Callable[[Mapping[str, Setting]], str] | None = None
    """Name of the accelerator that these settings run on; "" when it is the CPU."""
    hint: str = ""
    """How to shorten a fit, e.g. "--set epochs=5"."""
    about: tuple[str, ...] = ()
    """What there is to know besides, a sentence each, such as a license or where sources differ:
    for ``harness list --model``."""
    baseline: bool = False
    """Whether it sees no structure of tissue, such as a histogram of colors. Such models are tested
    on cohorts along with others (``harness transfer``)."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable."""
    install: str = ""
    """The command that installs what ``requires`` names."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """The settings that were given as an ``Option``, by name. Leave it out: it is filled in."""

    def __post_init__(self) -> None:
        given = {**self.settings, **self.execution}
        found = {name: value for name, value in given.items() if isinstance(value, Option)}
        object.__setattr__(self, "options", MappingProxyType({**self.options, **found}))
        for name in ("settings", "execution", "demo_settings"):
            object.__setattr__(self, name, MappingProxyType(defaults(getattr(self, name))))

    def features_with(self, settings: Mapping[str, Setting]) -> Features | None:
        """The features that it is fitted on with these settings; None for patches.

        Raises HarnessError, as UnavailableError when they need what cannot be obtained here.
        """
        return self.features(settings) if callable(self.features) else self.features


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A family of models, each made when it is named: ``<name>:<rest>``.

    ``make(rest)`` returns the Model or DerivedModel of that full name, or raises HarnessError. Of a
    name that can be written in several ways it may give the model one way, and then keeps to it.
    """

    name: str
    title: str
    make: Callable[[str], Model | DerivedModel]
    example: str
    """A name that works, e.g. "timm:resnet18"."""


@dataclass(frozen=True, kw_only=True)
class DerivedModel:
    """A model without a fit: the sum of stored logits, each of a (model name, view).

    It predicts the class with the largest sum. Its probabilities are the softmax of the mean, so
    that they do not depend on the number of terms.
    """

    name: str
    title: str
    terms: tuple[tuple[str, str], ...]
