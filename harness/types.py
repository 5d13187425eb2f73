"""The types a plugin author meets: datasets, models, perturbations, published results, reports.

Those of probes and phantoms are in ``harness.probes``, metrics in ``harness.metrics``, executors in
``harness.executors``.

Everything a hook returns is an immutable description. Work happens only when the harness calls one
of the functions that a description carries, so a plugin should import torch, OpenCV and the like
inside those functions, not at the top of its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from harness.options import Option, defaults

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from harness.leaderboard import Board
    from harness.session import Session
    from harness.toml_keys import Keys

    Indices = Sequence[int] | NDArray[np.int64]

Setting = int | float | str | bool
Outputs = Literal["logits", "probabilities", "scores"]
"""What a model returns: logits, whose softmax are its probabilities (logarithms of probabilities
are logits, too); probabilities, which are not negative and sum to 1; or scores, such as the margins
of a support vector machine, of which only the order means something."""


class Split(Protocol):
    """An ordered set of labeled patches that are decoded only when asked for."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels, shape (N,), int64, indices into the dataset's ``classes``."""

    @property
    def ids(self) -> Sequence[str]:
        """N names, unique in the dataset, the same on every machine."""

    @property
    def fingerprint(self) -> str:
        """A digest that changes when the patches, their order or their labels change.

        As far as that can be told in seconds: see ``harness.patches.FileSplit``.
        """

    def read(self, indices: Indices) -> NDArray[Any]:
        """Decode some patches: uint8 RGB, shape (len(indices), H, W, 3).

        To a model with ``features`` this gives their features, float32 (len(indices), D). Must be
        safe to call from several threads at once. Raises HarnessError naming the file when a patch
        cannot be decoded or has another size. What it gives a plugin is the plugin's own to change;
        labels are read-only.
        """


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a dataset turned out to hold on this machine.

    With ``folds`` 0, models are fitted on ``train`` and predict ``test``. With ``folds`` k, the
    test patches are cut into k stratified folds; each is predicted by a model fitted on ``train``
    (if any) and the other folds, and the stored logits are those of all test patches together.
    """

    train: Split | None
    test: Split
    folds: int = 0
    shortfall: str = ""
    """Why ``test`` is not the whole published test set, e.g. "111 of 7,180 test patches"."""
    groups: Sequence[str] | None = None
    """The patient or slide of each test patch, if known. Patches of one group are not independent:
    intervals resample groups, and no group is cut by a fold."""
    train_shortfall: str = ""
    """Why ``train`` is not the whole published training set; stands in every measured row."""
    validation: Split | None = None
    """The dataset's own patches to select on. Without them a tenth of each class of the training
    patches is held out. Not for a dataset with folds."""
    test_identity: str = ""
    """How ``test`` is known to be the published test set, e.g. "md5 of test.zip verified"; "" when
    nothing was verified, and the name is a mere claim. Stands in every measured row."""
    train_identity: str = ""
    """The same of ``train`` and the published training set."""
    warnings: tuple[str, ...] = ()
    """Said loudly before the run, such as that a file is not the published one."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labeled patch dataset.

    ``missing(folder)`` says in one line what is lacking and how to get it, or returns "" when the
    dataset can be used; it only looks whether files exist. ``load(folder)`` lists the patches.
    ``folder`` is where the user keeps data (``--data``, ``$HARNESS_DATA`` or ``data``); a dataset
    that comes with its plugin ignores it.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    load: Callable[[Path], Splits]
    missing: Callable[[Path], str] = lambda folder: ""
    downloads: tuple[RemoteFile, ...] = ()
    test_set: str = ""
    """Name of the test set, as published results call it; those results join the leaderboard."""
    trained_on: str = ""
    """Name of the training set, as published results call it."""
    demo: bool = False
    """Too small to mean much: models use their ``demo_settings`` on it."""
    on_request: bool = False
    """Left out of ``--all``; used only when named."""
    license: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file that ``harness data get`` fetches, and its md5 in hexadecimal digits.

    ``size`` (bytes) may be 0 when it is not known; then at most 64 GiB are fetched.
    """

    name: str
    url: str
    md5: str
    size: int = 0


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
    read with ``harness.checkpoints``, so that a damaged one costs time and no wrong result."""
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
    initial_weights: Callable[[Mapping[str, Setting]], InitialWeights] | None = None
    """Finds, within seconds, the weights that a fit with these settings would start from."""
    estimate: Callable[[int, Mapping[str, Setting]], float] | None = None
    """Seconds that fitting n patches with these settings takes on this device, roughly."""
    device: Callable[[Mapping[str, Setting]], str] | None = None
    """Name of the accelerator that these settings run on; "" when it is the CPU."""
    hint: str = ""
    """How to shorten a fit, e.g. "--set epochs=5"."""
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

        Raises HarnessError, as UnavailableError when they need what cannot be had here.
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


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """A change made to test patches, at some levels.

    ``apply(patch, level, rng)`` takes one uint8 RGB patch (H, W, 3), read-only, and returns one of
    the same shape and dtype. Batches are the harness's business: ``rng`` is seeded from the
    perturbation, the level and the patch's id, so the outcome cannot depend on batch size or order.

    With ``learns`` and the role "steering" a patch is made to look like those of a class. The
    levels are then the dataset's labels, and ``apply(patch, level, rng, target)`` gets, as a fourth
    argument, what is typical of the training patches of that class, float64 (E,).
    """

    name: str
    title: str
    levels: tuple[float, ...] = ()
    apply: Callable[..., NDArray[np.uint8]]
    role: Literal["acquisition", "ablation", "steering"] = "acquisition"
    """What it is for: a change of staining, scanning or storage that leaves the label as it is;
    information removed on purpose; or a patch made to look like another class. Only the first
    counts for robustness."""
    learns: Features | None = None
    typical: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None
    """From features of the patches of a class, (n, D) with n at least 1, to what is typical of
    them, (E,); their median, (D,), if None."""
    version: int = 1
    """Raise it when the outcome changes, so that stored results are not read back."""

    def levels_for(self, classes: Sequence[str]) -> tuple[float, ...]:
        """Its levels on a dataset with these classes."""
        return tuple(map(float, range(len(classes)))) if self.learns else self.levels


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a TOML file becomes contributions: ``harness run --plugin FILE.toml``.

    The file's top-level ``kind`` is the reader's ``name``. ``read(path, content)`` gets the file's
    path and what it says, and returns what it describes; it raises HarnessError naming the file and
    the key when something in it is wrong or lacking.

    With ``keys``, ``content`` is an object of the class that it returns, whose keys, types and
    limits have been checked; otherwise it is a mapping with all that the file says.
    """

    name: str
    title: str
    read: Callable[[Path, Any], Sequence[Any]]
    keys: Callable[[], type[Keys]] | None = None
    """Returns a subclass of ``harness.toml_keys.Keys``, a pydantic model."""


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """A figure somebody published, with where it stands. Accuracies are fractions of 1."""

    test_set: str
    model: str
    title: str
    trained_on: str
    selected_on: str
    tta: str
    source: str
    checked: str
    """"source" when it was read there, "secondary" when it was seen quoted elsewhere."""
    n: int
    n_train: int | None = None
    """Patches in ``trained_on``, None if not known: models fitted on fewer are not called
    reproductions."""
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    auroc: float | None = None
    """Macro average of the area under the ROC curve, one class against the rest."""
    perturbation: str = "clean"
    level: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of ``confusion``; () if not known. A dataset with other
    names, or in another order, is not compared."""
    reference: bool = False
    """Every measured model of the same test set is compared with this result."""

    @property
    def name(self) -> str:
        """Name of the model that would reproduce this row, e.g. "deepcmorph+flips"."""
        return self.model if self.tta == "none" else f"{self.model}+{self.tta}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """A form in which a leaderboard is written: ``harness leaderboard --report NAME``.

    ``write(board, folder)`` writes files into an existing folder and returns their paths. Files
    ought to be named after the dataset, ``board.dataset["name"]``. ``board.rows`` has a mapping for
    each row, with the fields of the JSON file, and ``board.to_dataframe()`` a pandas DataFrame of
    them; ``board.columns`` are the names of ``--columns``.
    """

    name: str
    title: str
    write: Callable[[Board, Path], Sequence[Path]]
    on_request: bool = False
    """Written only when it is named."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that a plugin adds: ``harness NAME``.

    ``run(session, options)`` gets a ``harness.Session`` of the store, the data and the plugins that
    the user named, and what the command line says. It returns the exit code, 0 when all is well,
    and raises HarnessError for mistakes of the user.
    """

    name: str
    title: str
    """What it does, in a line, for ``harness NAME --help``."""
    run: Callable[[Session, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], Any] = lambda parser: None
    """Adds the command's own arguments to those that all commands of plugins have: ``--store``,
    ``--data``, ``--plugin``, ``--without``, ``--time-limit``, ``--strict``, ``--trace-hooks``."""
