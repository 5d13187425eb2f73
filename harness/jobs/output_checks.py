"""What the code of plugins returned, checked before it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError


def checked_logits(name: str, logits: Any, n: int, n_classes: int) -> NDArray[np.float32]:
    """What a model returned, as float32 (n, C). Raises HarnessError unless it is that, finite."""
    values = as_float32(logits)
    if values.shape != (n, n_classes):
        raise HarnessError(
            f"model {name!r} returned logits of shape {values.shape} where ({n}, {n_classes}) is "
            "expected; report it to the plugin's author"
        )
    if not np.isfinite(values).all():
        raise HarnessError(
            f"model {name!r} returned logits that are not finite; train it again with a smaller "
            "learning rate or report it to the plugin's author"
        )
    return values


def as_float32(values: Any) -> NDArray[np.float32]:
    """Numbers as float32, infinite where they are too large for it. Raises TypeError for others."""
    array = np.asarray(values)
    if not np.can_cast(array.dtype, np.longdouble):
        raise TypeError(f"{array.dtype} where numbers are expected")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)  # a copy: the array may be the plugin's


def checked_features(name: str, rows: Any, ids: Sequence[str]) -> NDArray[np.float32]:
    """Features of patches with these ids, (N, D). Raises HarnessError unless they are that."""
    values = as_float32(rows)
    if values.ndim != 2 or len(values) != len(ids) or not np.isfinite(values).all():
        raise malformed(name)
    return values


def malformed(name: str) -> HarnessError:
    """The error of features that are no matrix of finite numbers."""
    return HarnessError(
        f"features {name!r} are not one row of equally many finite numbers a patch; "
        "report it to the plugin's author"
    )
