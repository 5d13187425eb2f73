"""Cohorts: patches of another origin, to test models on that were fitted on a dataset.

``HOME-to-COHORT`` is a dataset of its own. It has the training patches of HOME and, as test
patches, those of COHORT whose class HOME has as well, at the scale of HOME. The fits are those of
HOME, which are stored once for both.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import kept
from harness.data.splits import Concat
from harness.errors import HarnessError
from harness.text.names import suggest
from harness.types.datasets import Dataset, Split, Splits
from harness.types.models import Given

if TYPE_CHECKING:
    from harness.types.datasets import Indices

TO = "-to-"
VERSION = 1
"""Raised when the same patches are brought to another scale or shape."""
SAME_SCALE = 0.05
"""Scales that differ by less are the same: to interpolate takes more off a patch than that."""
MOST = 16.0
"""By what factor patches may become larger or smaller."""
SAME_NAMES = 0.2
"""Share of the patches of a cohort that must have known names before anything is said."""
DESCRIBED = "counterparts (in a TOML file: map)"


def name(home: str, cohort: str) -> str:
    """The name of a cohort for models of a dataset."""
    return f"{home}{TO}{cohort}"


def halves(name: str, known: Callable[[str], bool]) -> tuple[str, str] | None:
    """The two known datasets that the name of a cohort is made of; None for other names."""
    parts = name.split(TO)
    for at in range(1, len(parts)):
        home, cohort = TO.join(parts[:at]), TO.join(parts[at:])
        if home and cohort and known(home) and known(cohort):
            return home, cohort
    return None


def made_of(home: Dataset, cohort: Dataset, known: Collection[Dataset]) -> Dataset:
    """A cohort for models of a dataset. ``known`` are all datasets, and so all classes."""
    if home.name == cohort.name:
        raise HarnessError(f"{home.name} is no cohort of its own; name another dataset")
    return _away(home, cohort, words(known))


def words(known: Collection[Dataset]) -> set[str]:
    """All classes of datasets: what others may be mapped to."""
    return {name for dataset in known for name in dataset.classes}


def _words(dataset: Dataset) -> list[str]:
    """What each class of a dataset is called by others; "" for one that they do not have."""
    return [dataset.counterparts.get(name, name) for name in dataset.classes]


def brought_for(given: Given, dataset: str) -> str | None:
    """The cohort that a dataset tests on, if something was brought along for it.

    "" if that is for the dataset itself, and None if there is nothing for it.
    """
    if dataset == given.dataset:
        return ""
    names = {name(given.dataset, cohort): cohort for cohort in given.cohorts}
    return names.get(dataset)


def shared(home: Dataset, cohort: Dataset) -> dict[str, str]:
    """For the classes of a cohort that a dataset has as well: what it calls them.

    Left out are classes that several of the dataset's would be the counterpart of.
    """
    words = _words(home)
    times = Counter(words)
    at_home = {
        word: name
        for word, name in zip(words, home.classes, strict=True)
        if word and times[word] == 1
    }
    return {
        name: at_home[word]
        for word, name in zip(_words(cohort), cohort.classes, strict=True)
        if word in at_home
    }


def scale(home: Dataset, cohort: Dataset) -> float:
    """By what factor patches of a cohort become larger; 1 where scales are not known, or alike."""
    if not (home.micrometers and cohort.micrometers):
        return 1.0
    factor = cohort.micrometers / home.micrometers
    return 1.0 if abs(factor - 1) < SAME_SCALE else factor


def check(home: Dataset, cohort: Dataset, known: Collection[str]) -> None:
    """Raise HarnessError unless a dataset and a cohort share a class.

    Nor if either is said to have counterparts that no dataset has: ``known`` are all ``words``.
    """
    for dataset, other in ((cohort, home), (home, cohort)):
        for own, word in dataset.counterparts.items():
            if word and word not in known:
                raise HarnessError(
                    f"dataset {dataset.name}: {own} is mapped to {word}, which is a class of no "
                    f"dataset; {suggest(word, other.classes)}; correct its {DESCRIBED}"
                )
    factor = scale(home, cohort)
    if not 1 / MOST <= factor <= MOST:
        raise HarnessError(
            f"{cohort.name} has {cohort.micrometers:g} micrometers a pixel and {home.name} "
            f"{home.micrometers:g}: patches would become {factor:.3g} times as large; correct "
            "micrometers (in a TOML file: micrometers_per_pixel)"
        )
    if not shared(home, cohort):
        raise HarnessError(
            f"{cohort.name} shares no class with {home.name}: it has {', '.join(cohort.classes)}, "
            f"and {home.name} has {', '.join(home.classes)}; say which are the same by its "
            f"{DESCRIBED}"
        )


def _away(home: Dataset, cohort: Dataset, known: Collection[str]) -> Dataset:
    def load(folder: Path) -> Splits:
        at_home, away = home.load(folder), cohort.load(folder)
        check(home, cohort, known)
        mapped = shared(home, cohort)
        to = np.array(
            [home.classes.index(mapped[c]) if c in mapped else -1 for c in cohort.classes], np.int64
        )
        labels = to[away.test.labels]
        chosen = np.flatnonzero(labels >= 0)
        if not len(chosen):
            raise HarnessError(
                f"{cohort.name} has no patch of a class that {home.name} has "
                f"({', '.join(mapped)}); get more of it"
            )
        patches = fitted_on(at_home)
        fitted = patches.train
        factor = scale(home, cohort)
        shape = None
        if home.micrometers and cohort.micrometers and fitted is not None:
            height, width = fitted.read([0]).shape[1:3]
            shape = (int(height), int(width))
        warnings = at_home.warnings + away.warnings
        if fitted is not None:
            warnings += _same_names(fitted, away.test, cohort.name, name(home.name, cohort.name))
        left = len(labels) - len(chosen)
        lost = f"{left:,} of {len(labels):,} patches have no class of {home.name}" if left else ""
        return replace(
            patches,
            test=Away(away.test, chosen, labels[chosen], cohort.name, factor, shape),
            groups=None if away.groups is None else [away.groups[i] for i in chosen.tolist()],
            shortfall=", ".join(filter(None, (lost, away.shortfall))),
            test_identity=away.test_identity,
            warnings=tuple(dict.fromkeys(warnings)),
        )

    return Dataset(
        name=name(home.name, cohort.name),
        title=f"{cohort.title}, for models of {home.name}",
        classes=home.classes,
        load=load,
        missing=lambda folder: home.missing(folder) or cohort.missing(folder),
        trained_on=home.trained_on,
        test_set=cohort.test_set,
        demo=home.demo,
        on_request=True,
        license=" and ".join(dict.fromkeys(filter(None, (home.license, cohort.license)))),
        source=" ".join(dict.fromkeys(filter(None, (home.source, cohort.source)))),
    )


def _same_names(fitted: Split, tested: Split, cohort: str, made: str) -> tuple[str, ...]:
    """A warning where many patches of a cohort are called as some that models are fitted on."""
    known = {_end(id_) for id_ in fitted.ids}
    same = sum(_end(id_) in known for id_ in tested.ids)
    if same < SAME_NAMES * len(tested.ids):
        return ()
    return (
        f"{same:,} of {len(tested.ids):,} patches of {cohort} have names of patches that models "
        "are fitted on; if they are the same, what is measured is not how models do elsewhere: "
        f"look with `harness audit --dataset {made}`",
    )


def _end(id_: str) -> str:
    """The name of a patch and of the folder that it is in."""
    return "/".join(id_.split("/")[-2:])


def fitted_on(splits: Splits) -> Splits:
    """Splits of a dataset whose training patches are all that models are fitted on.

    Where it is cross-validated, models are fitted on all its patches, as they are tested elsewhere.
    """
    if not splits.folds:
        return splits
    groups: list[str] | None = None
    if splits.groups is not None and (splits.train is None or splits.train_groups is not None):
        groups = [*(splits.train_groups or ()), *splits.groups]
    train = splits.test if splits.train is None else Concat(splits.train, splits.test)
    return replace(
        splits,
        train=train,
        folds=0,
        train_groups=groups,
        train_shortfall=", ".join(
            dict.fromkeys(filter(None, (splits.train_shortfall, splits.shortfall)))
        ),
    )


class Away:
    """Patches of a cohort whose class another dataset has, with its labels, at its scale.

    ``factor`` makes patches larger (or smaller); they are then brought to ``shape`` (H, W): cut in
    the middle, or continued by their mirror images.
    """

    def __init__(
        self,
        base: Split,
        indices: NDArray[np.int64],
        labels: NDArray[np.int64],
        cohort: str,
        factor: float = 1.0,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.base = base
        self.indices = kept(indices)
        self.labels = kept(labels)
        self.cohort = cohort
        self.factor = factor
        self.shape = shape

    @property
    def ids(self) -> list[str]:
        """Ids of the cohort, below its name: they may be those of training patches otherwise."""
        ids = self.base.ids
        return [f"{self.cohort}/{ids[i]}" for i in self.indices]

    @property
    def fingerprint(self) -> str:
        """Digest of the base's fingerprint, the patches, their labels, scale and shape."""
        digest = hashlib.sha256(
            f"{self.base.fingerprint}\n{VERSION} {self.factor!r} {self.shape}".encode()
        )
        digest.update(self.indices.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def read(self, indices: Indices) -> NDArray[Any]:
        """Read from the base, and bring to scale and shape: uint8 RGB (len(indices), H, W, 3)."""
        patches = self.base.read(self.indices[np.asarray(indices, np.int64)])
        if self.shape is None:
            return patches
        found = np.empty((len(patches), *self.shape, 3), np.uint8)
        for row, patch in zip(found, patches, strict=True):
            row[:] = brought(patch, self.factor, self.shape)
        return found


def brought(patch: NDArray[np.uint8], factor: float, shape: Sequence[int]) -> NDArray[np.uint8]:
    """A patch (H, W, 3) made larger by a factor, then cut or mirrored to a shape (H, W)."""
    import cv2

    scaled = patch
    if factor != 1:
        size = [max(1, round(side * factor)) for side in patch.shape[1::-1]]
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        scaled = np.asarray(cv2.resize(patch, size, interpolation=interpolation), np.uint8)
    places = [_middle(have, want) for have, want in zip(scaled.shape, shape, strict=False)]
    return np.asarray(scaled[np.ix_(*places)], np.uint8)


def _middle(have: int, want: int) -> NDArray[np.int64]:
    """Which of so many rows, or of their mirror images on either side, make so many."""
    places = (np.arange(want) - (want - have) // 2) % (2 * have)
    return np.asarray(np.minimum(places, 2 * have - 1 - places), np.int64)
