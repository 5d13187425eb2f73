"""A random forest as a Classifier, stored without pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

SMALLEST = 1e-6
"""Probabilities below this count as this, so that logits stay finite."""


class Forest:
    """A fitted forest; logits are the logarithms of its probabilities."""

    def __init__(self, forest: Any, columns: slice, n_classes: int) -> None:
        self.forest = forest
        self.columns = columns
        self.n_classes = n_classes

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        columns: slice,
        n_classes: int,
        *,
        trees: int,
        seed: int,
    ) -> Forest:
        """Fit on features (N, D), of which only ``columns`` are used, and labels (N,)."""
        forest = RandomForestClassifier(trees, random_state=seed, n_jobs=-1)
        forest.fit(features[:, columns], labels)
        return cls(forest, columns, n_classes)

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (B, C) of features (B, D); a class that was never seen gets the smallest."""
        # Threads would add up the trees in varying order, and so vary the last digit.
        self.forest.n_jobs = 1
        logits = np.full((len(inputs), self.n_classes), np.log(SMALLEST), np.float32)
        probabilities = self.forest.predict_proba(inputs[:, self.columns])
        logits[:, self.forest.classes_] = np.log(np.clip(probabilities, SMALLEST, 1))
        return logits

    def save(self, folder: Path) -> None:
        """Write ``forest.skops`` and ``forest.json``."""
        import skops.io

        skops.io.dump(
            self.forest, folder / "forest.skops", compression=zipfile.ZIP_DEFLATED, compresslevel=3
        )
        columns = [self.columns.start, self.columns.stop]
        content = {"columns": columns, "n_classes": self.n_classes}
        (folder / "forest.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> Forest:
        """Read what ``save`` wrote."""
        import skops.io

        content = json.loads((folder / "forest.json").read_text())
        forest = skops.io.load(folder / "forest.skops", trusted=["sklearn.tree._tree.Tree"])
        return cls(forest, slice(*content["columns"]), content["n_classes"])
