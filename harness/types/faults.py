"""The type of faults that are planted in real patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PlantedFault:
    """A fault of acquisition that can be planted in real patches.

    ``plant(patch, level, rng)`` gets a read-only patch, uint8 RGB (H, W, 3), and returns another of
    the same shape and dtype; all that is random in it is drawn from ``rng``. ``levels(dose)`` says
    at which level it is planted in each class: their number is the number of classes that labels
    are dealt for.
    """

    name: str
    title: str
    unit: str
    """What a dose counts, in words that stand after it, such as "px of Gaussian blur"."""
    doses: tuple[float, ...]
    """Those that ``harness calibrate --real`` plants, ascending."""
    levels: Callable[[float], tuple[float, ...]]
    plant: Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]
    raises: tuple[str, ...] = ()
    """Names of the probes that ought to raise their flag, as far as they are there; none for a
    control, which is no fault."""
    of_split: bool = False
    """Whether the two levels are those of the training and of the test patches, of every class."""
    version: int = 1
    """Raise it when what is planted changes, so that stored readings are not read back."""
