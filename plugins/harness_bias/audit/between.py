"""How much of the variance of numbers lies between classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def between(
    values: NDArray[np.float32], labels: Labels, weight: Floats
) -> tuple[Floats, NDArray[np.float32]]:
    """Variance between classes to that within, (D,), and means of the classes, (C, D).

    Of numbers (N, D), labels (N,) from 0 without gaps, and what each patch counts, (N,).
    """
    member = (np.eye(int(labels.max()) + 1)[:, labels] * weight).astype(np.float32)
    size = member.sum(axis=1, keepdims=True)
    means = member @ values / size
    center = (means * size).sum(axis=0) / size.sum()
    ours = (size * np.square(means - center)).sum(axis=0)
    whole = member.sum(axis=0) @ np.square(values) - size.sum() * np.square(center)
    return ours / np.maximum(whole - ours, 1e-6), means
