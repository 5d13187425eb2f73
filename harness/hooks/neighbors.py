"""Nearest neighbors on features as a Model that holds the training features once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.hooks.estimators import SMALL, SMALLEST
from harness.types.datasets import Split
from harness.types.models import Classifier, Features, FitContext, Model, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBORS = (1, 3, 5, 10, 20)
CLOSEST = 1e-6
"""Distances below this count as this, so that a copy does not outvote all others infinitely."""
ROWS = 8192
"""Rows that are brought to unit length at once."""


def neighbors_model(
    *,
    name: str,
    title: str,
    features: Features | Callable[[Mapping[str, Setting]], Features],
    neighbors: Sequence[int] = NEIGHBORS,
    centered: bool = False,
    weighted: bool = True,
    **more: Any,
) -> Model:
    """A Model that asks the nearest training patches, by the cosine of their features.

    With ``centered``, the mean of the training features is subtracted first. Each of the nearest
    votes for its class, ``weighted`` with the inverse of its distance, the Euclidean one between
    features of unit length, which orders patches as the cosine does. Logits are the logarithms of
    the shares of votes, at least log(1e-6). Of several ``neighbors`` the number is taken under
    which held-out patches are likeliest; a single one is not chosen, and nothing is held out for
    it. Where there are fewer training patches, all of them are asked.

    The search is scikit-learn's, by comparing with all training patches. Of 90,000 patches with
    1,280 features it takes 0.5 GB. ``more`` are further fields of Model, such as ``settings``.
    """
    return Model(
        name=name,
        title=title,
        fit=partial(_fit, tuple(sorted(neighbors)), centered, weighted),
        load=_load,
        features=features,
        selects=len(neighbors) > 1,
        **more,
    )


def _fit(
    neighbors: tuple[int, ...],
    centered: bool,
    weighted: bool,
    train: Split,
    validation: Split | None,
    context: FitContext,
) -> Classifier:
    import numpy as np
    from threadpoolctl import threadpool_limits

    rows = train.read(np.arange(len(train.labels)))
    mean = np.zeros(rows.shape[1], np.float32)
    if centered:
        mean += rows.mean(axis=0, dtype=np.float64)
    _to_unit_length(rows, mean)
    able = sorted({min(number, len(rows)) for number in neighbors})
    fitted = Nearest(rows, np.array(train.labels), mean, len(context.classes), able[-1], weighted)
    if len(able) == 1:
        return fitted
    if validation is None:
        raise HarnessError("neighbors need a validation split; report it to the plugin's author")
    with threadpool_limits(1 if rows.size <= SMALL else None):
        order = np.arange(len(validation.labels))
        distances, found = fitted.nearest(validation.read(order))
    losses = []
    for number in able:
        logits = fitted.votes(distances[:, :number], found[:, :number])
        losses.append(-float(logits[order, validation.labels].mean()))
    fitted.neighbors = able[int(np.argmin(losses))]
    context.say(f"chosen on held-out patches: {fitted.neighbors} neighbors")
    return fitted


def _load(folder: Path, settings: Mapping[str, Setting]) -> Classifier:
    return Nearest.load(folder)


def _to_unit_length(rows: NDArray[np.float32], mean: NDArray[np.float32]) -> None:
    """Subtract a mean from rows and scale them, in place; those of zeros stay."""
    import numpy as np

    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        part -= mean
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        part /= np.where(lengths > 0, lengths, 1)


class Nearest:
    """Training features (N, D) of unit length with their labels; a ``harness.Classifier``.

    ``mean`` (D,) was subtracted from them before.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        labels: NDArray[np.int64],
        mean: NDArray[np.float32],
        n_classes: int,
        neighbors: int,
        weighted: bool,
    ) -> None:
        self.rows = rows
        self.labels = labels
        self.mean = mean
        self.n_classes = n_classes
        self.neighbors = neighbors
        self.weighted = weighted

    @cached_property
    def _search(self) -> Any:
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors(algorithm="brute").fit(self.rows)

    def nearest(
        self, inputs: NDArray[np.float32]
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Distances (B, K) to the nearest training patches, and their rows (B, K)."""
        import numpy as np

        asked = np.array(inputs, np.float32)
        _to_unit_length(asked, self.mean)
        distances, found = self._search.kneighbors(asked, self.neighbors)
        return distances, found

    def votes(
        self, distances: NDArray[np.floating[Any]], found: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logarithms of the shares of votes, float32 (B, C)."""
        import numpy as np

        weights = np.ones(distances.shape)
        if self.weighted:
            weights /= np.maximum(distances.astype(np.float64), CLOSEST)
        labels = self.labels[found]
        by_class = [(weights * (labels == c)).sum(axis=1) for c in range(self.n_classes)]
        shares = np.stack(by_class, axis=1) / weights.sum(axis=1, keepdims=True)
        return np.asarray(np.log(np.clip(shares, SMALLEST, 1)), np.float32)

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of features (B, D)."""
        return self.votes(*self.nearest(inputs))

    def save(self, folder: Path) -> None:
        """Write ``rows.npy``, ``labels.npy``, ``mean.npy`` and ``nearest.json``."""
        import numpy as np

        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "labels.npy", self.labels)
        np.save(folder / "mean.npy", self.mean)
        names = ("n_classes", "neighbors", "weighted")
        about = {name: getattr(self, name) for name in names}
        (folder / "nearest.json").write_text(json.dumps(about) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Nearest:
        """Read what ``save`` wrote; the features are memory-mapped."""
        import numpy as np

        about = json.loads((folder / "nearest.json").read_text(encoding="utf-8"))
        rows = np.load(folder / "rows.npy", mmap_mode="r")
        return cls(rows, np.load(folder / "labels.npy"), np.load(folder / "mean.npy"), **about)
