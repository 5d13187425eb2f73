"""From numbers to pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantize(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Round to the nearest integer and clip to 0..255: uint8 of the same shape."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
