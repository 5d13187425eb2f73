"""Stored features in the place of patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.splits import Concat, Subset
from harness.store import Key, Store
from harness.stored import load_array
from harness.types import Split

if TYPE_CHECKING:
    from harness.types import Indices


class FeatureSplit:
    """A Split whose ``read`` returns stored features, float32 (B, D), instead of patches."""

    def __init__(self, split: Split, values: NDArray[np.float32]) -> None:
        self.labels = split.labels
        self.ids = split.ids
        self.fingerprint = split.fingerprint
        self.values = values

    def read(self, indices: Indices) -> NDArray[np.float32]:
        """Rows of the feature matrix."""
        return self.values[np.asarray(indices, np.int64)]


def with_features(split: Split, stored: Mapping[str, FeatureSplit]) -> Any:
    """The same split, its parts replaced by their stored features (found by fingerprint)."""
    if split.fingerprint in stored:  # also of a dataset's part that is itself made of splits
        return stored[split.fingerprint]
    if isinstance(split, Subset):
        return Subset(with_features(split.base, stored), split.indices)
    assert isinstance(split, Concat)
    return Concat(*(with_features(part, stored) for part in split.parts))


def load_features(store: Store, split: Split, key: Key) -> FeatureSplit:
    """Stored features, memory-mapped. Raises DamagedError."""
    return FeatureSplit(split, load_array(store.folder(key), "values.npy", mmap_mode="r"))
