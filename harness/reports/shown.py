"""What the Python interface returns: arrays with names, as tables and as a notebook shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.dataframes import dataframe
from harness.errors import HarnessError
from harness.statistics.metrics import confusion_matrix, probabilities


@dataclass(frozen=True)
class PatchPredictions:
    """What a model predicted for each of N test patches."""

    model: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    """Indices of the true classes, int64 (N,)."""
    logits: NDArray[np.float32]
    """Float32 (N, C); of a sum, the mean over its terms. Scores where a model has no logits."""
    no_probabilities: str = ""
    """Why the softmax of the logits is no probability; "" if it is."""

    def __repr__(self) -> str:
        n, accuracy = len(self.ids), self.accuracy
        return f"<predictions of {self.model}: {n} patches, accuracy {accuracy:.4f}>"

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Indices of the predicted classes, int64 (N,)."""
        predicted: NDArray[np.int64] = self.logits.argmax(axis=1)
        return predicted

    @property
    def accuracy(self) -> float:
        """Share of patches whose predicted class is the true one."""
        return float((self.predicted == self.labels).mean())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts, int64 (C, C): true classes in rows, predicted ones in columns."""
        return confusion_matrix(self.labels, self.predicted, len(self.classes))

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits, float64 (N, C). Raises HarnessError where that means nothing."""
        if self.no_probabilities:
            raise HarnessError(f"{self.model}: {self.no_probabilities}")
        return probabilities(self.logits)

    def wrong(self) -> list[str]:
        """Ids of the misclassified patches, the most confident mistakes first."""
        margin = self.logits.max(axis=1) - self.logits[np.arange(len(self.labels)), self.labels]
        order = np.argsort(-margin, kind="stable")
        return [self.ids[i] for i in order if self.predicted[i] != self.labels[i]]

    def to_dataframe(self) -> Any:
        """A pandas DataFrame: id, label, predicted, and the logit of each class."""
        names = np.array(self.classes, dtype=object)
        columns = {"id": self.ids, "label": names[self.labels], "predicted": names[self.predicted]}
        return dataframe(columns | {n: self.logits[:, c] for c, n in enumerate(self.classes)})


@dataclass(frozen=True)
class Patches:
    """Patches to look at."""

    images: NDArray[np.uint8]
    """RGB, uint8 (N, H, W, 3)."""
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    """Names of the true classes."""
    predicted: tuple[str, ...] = ()
    """Names of the predicted classes, where predictions were given."""

    def __repr__(self) -> str:
        n, *size = self.images.shape
        return f"<{n} patches, {size[1]} x {size[0]} pixels>" if n else "<no patches>"

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self.images[index]
        return image

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.images, dtype) if copy or dtype else self.images

    def _repr_html_(self) -> str:
        """A gallery, for a notebook."""
        from harness.reports import display

        titles = [
            label if guess in (label, "") else f"{label}, predicted {guess}"
            for label, guess in zip_longest(self.labels, self.predicted, fillvalue="")
        ]
        return display.html_of_patches(self.images, list(zip(titles, self.ids, strict=True)))
