"""Types of datasets: patches with labels, and what a dataset holds here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = Sequence[int] | NDArray[np.int64]


class Split(Protocol):
    """An ordered set of labeled patches that are decoded only when asked for.

    A split of image files may also have ``file(index)``, which returns the name and the content of
    a patch's file: ``tuple[str, bytes]``. Probes ask it for what a file says beside its pixels.
    """

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels, shape (N,), int64, indices into the dataset's ``classes``."""

    @property
    def ids(self) -> Sequence[str]:
        """N names, unique in the dataset, the same on every machine."""

    @property
    def fingerprint(self) -> str:
        """A digest that changes when the patches, their order or their labels change.

        As far as that can be told in seconds: see ``harness.data.patches.FileSplit``.
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
    train_groups: Sequence[str] | None = None
    """The same of each training patch, with the same names, if known. Probes of datasets do not
    take a patient that they recognize for a fault."""
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
    shows_patches: bool = True
    """Whether pages may have pictures of its patches; False where the license forbids to hand them
    on. ``--no-images`` leaves them out of any dataset."""
    source: str = ""
    counterparts: Mapping[str, str] = field(default_factory=dict)
    """What other datasets call some of its classes, such as NOR: NORM, and "" for a class that has
    no counterpart although another dataset has one of its name. Models that are fitted on another
    dataset are tested on these, and on classes of the same name (``harness transfer``)."""
    counterparts_source: str = ""
    """Who maps the classes so, and what is uncertain about it."""
    micrometers: float = 0.0
    """Width of a pixel in micrometers; 0 if not known. Patches are brought to the scale of those
    that a model was fitted on."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file that ``harness data get`` fetches, and its md5 in hexadecimal digits.

    ``size`` (bytes) may be 0 when it is not known; then at most 64 GiB are fetched.
    """

    name: str
    url: str
    md5: str
    size: int = 0
