"""Real patches with faults planted by class, for tests of the probes of datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

import harness_bias
import harness_nct_crc
from harness import Audit, Measured
from harness_bias.audit.signatures import tuned_on

Fault = Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]
Steps = tuple[tuple[Fault, float], ...]
CAMERA = (harness_bias.FINE, harness_bias.RANGE)


class Labels:
    """A split without patches."""

    def __init__(self, labels: Sequence[int], ids: Sequence[str]) -> None:
        self.labels = np.asarray(labels, np.int64)
        self.ids = ids
        self.fingerprint = "labels"

    def read(self, indices):
        raise AssertionError("nothing to read")


@dataclass
class RealPatches:
    """Those of the sample that no limit was set on, and their features with faults, kept."""

    patches: NDArray[np.uint8]
    tissue: NDArray[np.int64]
    ids: list[str]
    known: dict = field(default_factory=dict)

    def planted(self, steps: Steps = (), features=CAMERA) -> dict[str, NDArray[np.float32]]:
        """Features by name of all patches with faults, one after the other."""
        lacking = [one for one in features if (one.name, steps) not in self.known]
        if lacking:
            patches = self.patches.copy()
            for index, patch in enumerate(patches):
                rng = np.random.default_rng(index)
                for fault, level in steps:
                    patch = fault(patch, level, rng)
                patches[index] = patch
            self.known |= {(one.name, steps): one.extract(patches) for one in lacking}
        return {one.name: self.known[one.name, steps] for one in features}

    def dealt(self, n_classes: int, seed: int = 0) -> NDArray[np.int64]:
        """Classes at random, with the same number of patches of each tissue, (N,)."""
        labels = np.empty(len(self.tissue), np.int64)
        order = np.random.default_rng(seed).permutation(len(labels))
        order = order[np.argsort(self.tissue[order], kind="stable")]
        labels[order] = np.arange(len(labels)) % n_classes
        return labels

    def audit(self, labels, which, *faults: Steps, features=CAMERA, groups=None) -> Audit:
        """Test patches alone, each with one of the faults, as ``which`` (N,) says."""
        planted = [self.planted(steps, features) for steps in faults]
        each = np.arange(len(labels))
        values = {
            one.name: np.stack([own[one.name] for own in planted])[which, each] for one in features
        }
        test = Measured(split=Labels(labels, self.ids), values=values, groups=groups)
        classes = tuple("abcdefghi"[: int(labels.max()) + 1])
        return Audit(classes=classes, train=None, test=test, folds=())


@pytest.fixture(scope="session")
def real() -> RealPatches:
    names = (harness_nct_crc.TRAIN, harness_nct_crc.TEST)
    splits = [harness_nct_crc.open_split(harness_nct_crc.SAMPLE, name) for name in names]
    ids = [id_ for split in splits for id_ in split.ids]
    own = ~tuned_on(ids)
    patches = np.concatenate([split.read(range(len(split.labels))) for split in splits])
    tissue = np.concatenate([split.labels for split in splits])
    return RealPatches(patches[own], tissue[own], [i for i, k in zip(ids, own, strict=True) if k])
