"""What the Python interface returns: arrays with names, as tables and as a notebook shows them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self.images[index]
        return image

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.images, dtype) if copy or dtype else self.images

    def _repr_html_(self) -> str:
        """A gallery, for a notebook."""
        shown = [
            f'<figure style="display:inline-block;margin:4px;max-width:160px">'
            f'<img src="{_png(image)}" width="150" alt="{escape(id_)}">'
            f'<figcaption style="font-size:small;overflow-wrap:anywhere">{escape(label)}<br>'
            f"{escape(id_)}</figcaption></figure>"
            for image, id_, label in zip(self.images, self.ids, self.labels, strict=True)
        ]
        return f"<div>{''.join(shown)}</div>"


def _png(image: NDArray[np.uint8]) -> str:
    import cv2

    done, encoded = cv2.imencode(".png", image[:, :, ::-1])
    assert done
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def dataframe(columns: dict[str, Any]) -> Any:
    """A pandas DataFrame. Raises HarnessError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise HarnessError(
            "pandas is not installed: pip install 'histo-harness[pandas]'"
        ) from error
    return pandas.DataFrame(columns)
