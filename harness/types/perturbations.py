"""The type of perturbations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.types.models import Features
from harness.types.options import Option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = Sequence[int] | NDArray[np.int64]


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
    level: Option | None = None
    """What a level may be, and, as its ``help``, what it means: ``Option(8.0, gt=0, help="standard
    deviation in gray levels")``. A plugin with a level out of these limits is refused. The
    default only says whether levels are whole numbers."""
    neutral: float | None = None
    """The level that changes nothing, such as a factor of 1, if its levels lie on both sides of it:
    pictures mark it between them."""
    role: Literal["acquisition", "ablation", "steering"] = "acquisition"
    """What it is for: a change of preparation, staining, scanning or storage that leaves the label
    as it is; information removed on purpose; or a patch made to look like another class. Only the
    first counts for robustness."""
    on_request: bool = False
    """Computed only when named (``--perturbation``): probes neither ask for it nor count it in
    their means."""
    learns: Features | None = None
    typical: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None
    """From features of the patches of a class, (n, D) with n at least 1, to what is typical of
    them, (E,); their median, (D,), if None."""
    version: int = 1
    """Raise it when the outcome changes, so that stored results are not read back."""

    def levels_for(self, classes: Sequence[str]) -> tuple[float, ...]:
        """Its levels on a dataset with these classes."""
        return tuple(map(float, range(len(classes)))) if self.learns else self.levels
