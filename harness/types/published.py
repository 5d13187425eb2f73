"""The type of published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = Sequence[int] | NDArray[np.int64]


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
