"""Few-shot episodes: a few labeled patches of each class are drawn, and others predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ROWS = 2048
"""Test patches that are compared with the means of a few episodes at once."""


def draw(
    labels: NDArray[np.int64], classes: Sequence[int], most: int, episodes: int, seed: Sequence[int]
) -> NDArray[np.int64]:
    """Places of patches to learn from, int64 (episodes, classes, most), none twice in an episode.

    The first k of each class, for any k up to ``most``, are as if k had been drawn: what is drawn
    does not depend on ``most``. Each class must have so many of the ``labels`` (N,).
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in classes]
    return np.array(
        [[rng.permutation(places)[:most] for places in members] for _ in range(episodes)], np.int64
    )


def nearest_means(support: NDArray[np.floating], tested: NDArray[np.floating]) -> NDArray[np.int64]:
    """What SimpleShot (Wang et al., arXiv:1911.04623) predicts in B episodes: int64 (B, N).

    ``support`` are the features drawn, (B, classes, k, D), ``tested`` those of the patches to
    predict, (N, D). In each episode features are centered by the mean of those drawn and scaled to
    unit length; the class with the nearest mean is predicted, by its place.

    It is ``harness.hooks.heads.NearestMean`` for all episodes at once: with c the center and m the
    mean of a class, the inner product of m and (x - c) / |x - c| takes no more than the products of
    x with m and c, which are one of matrices.
    """
    drawn = np.asarray(support, np.float64)
    n_episodes, n_classes, _, width = drawn.shape
    center = drawn.mean(axis=(1, 2))
    drawn = drawn - center[:, None, None]
    lengths = np.linalg.norm(drawn, axis=3, keepdims=True)
    means = (drawn / np.where(lengths > 0, lengths, 1)).mean(axis=2)
    with_center = np.concatenate([means, center[:, None]], axis=1).reshape(-1, width)
    offsets = np.einsum("bcd,bd->bc", means, center)
    halves = (means**2).sum(axis=2) / 2
    predicted = np.empty((n_episodes, len(tested)), np.int64)
    for start in range(0, len(tested), ROWS):
        rows = np.asarray(tested[start : start + ROWS], np.float64)
        products = (rows @ with_center.T).reshape(len(rows), n_episodes, n_classes + 1)
        square = (rows**2).sum(axis=1)[:, None] + (center**2).sum(axis=1) - 2 * products[:, :, -1]
        length = np.sqrt(np.maximum(square, 0))
        along = (products[:, :, :-1] - offsets) / np.where(length > 0, length, 1)[:, :, None]
        predicted[:, start : start + ROWS] = (along - halves).argmax(axis=2).T
    return predicted
