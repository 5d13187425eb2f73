"""Which patches of many have keypoints that look alike and lie alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.system.threads import on_all_cores
from harness_bias.measure.keypoints import ANGLES, FREQUENCIES, Keypoints

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIRROR = np.array([-1 if u % 2 else 1 for u, _ in FREQUENCIES], np.float32)
"""Signs that the coefficients of a keypoint change by in a mirror: seen along its gradient, left
and right are swapped."""

NEAR = 0.30
"""Keypoints that look alike are no farther apart. Of 48 keypoints of real crops that lie half a
pixel of the reduced patch apart, are shifted in color and JPEG at quality 70, 30 are that near, and
of two keypoints of different patches 2 in a million."""
COMMON = 32
"""With more matches in a cell a keypoint tells little: fibers and the rims of fat look alike all
over. Only its very near matches count then."""
VERY_NEAR = 0.15
"""As far are 44 % of those keypoints apart, and one in 10 million of different patches."""
NEIGHBORS = 4
"""Of a cell, matches of each keypoint at most, so that many alike cost no quadratic time."""
CELL = 1_250
"""Keypoints of a cell on average. Half of the time goes into finding the cells of each then."""
CELLS = 4_096
"""At most."""
CHUNK = 1_024
"""Keypoints compared at once: 16 MiB with the centers of all cells."""

MATCHES = 16
"""Matches of two patches of which each is compared with each of the others, about."""
APART = 5.0
"""Two keypoints that are nearer to each other, in pixels, tell no direction."""
MAX_SCALE = 1.3
"""Patches enlarged by more are not looked for: too few of their keypoints look alike."""
MAX_TURN = 3
"""By how much directions may differ, in 64ths of a full turn."""


@dataclass(frozen=True)
class Candidates:
    """Pairs of patches, the first before the second."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    """Whether one looks like the other in a mirror."""
    support: NDArray[np.int64]
    """Pairs of keypoints that lie alike in both."""


def unit(vectors: NDArray[np.int8]) -> NDArray[np.float32]:
    """Vectors of keypoints (M, 23) as unit vectors."""
    floats = vectors.astype(np.float32)
    return np.asarray(floats / np.linalg.norm(floats, axis=1, keepdims=True), np.float32)


def candidates(keypoints: Keypoints, progress: Callable[..., Any]) -> Candidates:
    """Pairs of patches in which at least two pairs of keypoints look alike and lie alike."""
    if not len(keypoints.patch):
        nothing = np.empty(0, np.int64)
        return Candidates(nothing, nothing, nothing.astype(bool), nothing)
    return _alike(keypoints, _matches(keypoints, progress))


def _matches(keypoints: Keypoints, progress: Callable[..., Any]) -> NDArray[np.int64]:
    """Pairs of keypoints that look alike, each as (first * M + second) * 2 + mirrored.

    The space is cut into cells, those next to randomly chosen keypoints (and to their mirror
    images), and a keypoint is compared with those of its own cell and of the second nearest.
    """
    m, vectors = len(keypoints.patch), keypoints.vector
    centers = _centers(vectors)
    own, visitors = _cells(vectors, centers, progress)

    def compared(rows: NDArray[np.int32], mirrored: bool, cell: int) -> NDArray[np.int64]:
        seen = unit(vectors[rows]) * MIRROR if mirrored else unit(vectors[rows])
        products = seen @ unit(vectors[own[cell]]).T
        near = np.flatnonzero(products > 1 - NEAR**2 / 2)
        row, column = np.divmod(near, len(own[cell]))
        one, other = rows[row], own[cell][column]
        apart = keypoints.patch[one] != keypoints.patch[other]
        many = np.bincount(row[apart], minlength=len(rows))[row] > COMMON
        apart &= ~many | (products.ravel()[near] > 1 - VERY_NEAR**2 / 2)
        row, one, other, near = row[apart], one[apart], other[apart], near[apart]
        order = np.lexsort((-products.ravel()[near], row))
        rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
        best = order[rank < NEIGHBORS]
        first, second = np.minimum(one, other)[best], np.maximum(one, other)[best]
        return np.asarray((first.astype(np.int64) * m + second) * 2 + mirrored, np.int64)

    def search(cell: int) -> NDArray[np.int64]:
        found = [np.empty(0, np.int64)]
        across = (cell + len(centers) // 2) % len(centers)
        for members, mirrored in ((cell, False), (across, True)):
            rows = np.concatenate([own[members], visitors[members]])
            for start in range(0, len(rows), CHUNK):
                found.append(compared(rows[start : start + CHUNK], mirrored, cell))
        return np.unique(np.concatenate(found))

    n = len(centers)
    found = progress(on_all_cores(search, range(n)), total=n, label="overlaps: search")
    return np.unique(np.concatenate(list(found)))


def _centers(vectors: NDArray[np.int8]) -> NDArray[np.float32]:
    """Unit vectors (C, 23); those of the second half mirror the first, so that in a mirror the
    keypoints of cell c are those of cell c + C / 2."""
    half = min(CELLS, max(2, len(vectors) // CELL)) // 2
    rng = np.random.default_rng(0)
    chosen = unit(vectors[np.sort(rng.choice(len(vectors), min(half, len(vectors)), False))])
    return np.concatenate([chosen, chosen * MIRROR])


def _cells(
    vectors: NDArray[np.int8], centers: NDArray[np.float32], progress: Callable[..., Any]
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
    """For each cell the keypoints that are nearest to its center, and those that are so next."""

    def nearest(start: int) -> NDArray[np.int16]:
        products = unit(vectors[start : start + CHUNK]) @ centers.T
        first = products.argmax(axis=1)
        products[np.arange(len(first)), first] = -2
        return np.stack([first, products.argmax(axis=1)]).astype(np.int16)

    def members(cells: NDArray[np.int16]) -> list[NDArray[np.int32]]:
        order = np.argsort(cells, kind="stable").astype(np.int32)
        return np.split(order, np.searchsorted(cells[order], np.arange(1, len(centers))))

    starts = range(0, len(vectors), CHUNK)
    found = progress(on_all_cores(nearest, starts), total=len(starts), label="overlaps: cells")
    first, second = np.concatenate(list(found), axis=1)
    return members(first), members(second)


def _alike(keypoints: Keypoints, found: NDArray[np.int64]) -> Candidates:
    """Pairs of patches with matches that lie alike, of those that look alike."""
    n = int(keypoints.patch[-1]) + 1
    mirrored = found & 1
    first, second = np.divmod(found >> 1, len(keypoints.patch))
    pair = (keypoints.patch[first].astype(np.int64) * n + keypoints.patch[second]) * 2 + mirrored
    order = np.argsort(pair, kind="stable")
    pair, first, second = pair[order], first[order], second[order]
    starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]][: len(pair)])
    sizes = np.diff(np.r_[starts, len(pair)])
    support = np.zeros(len(starts), np.int64)
    for lag in range(1, MATCHES):
        # Each match of a pair of patches with the one that is so much later among them.
        counts = np.clip(sizes - lag, 0, MATCHES)
        group = np.repeat(np.arange(len(starts)), counts)
        one = np.arange(len(group)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        alike = _lie_alike(
            keypoints, (first[one], first[one + lag]), (second[one], second[one + lag]), pair[one]
        )
        support += np.bincount(group[alike], minlength=len(starts))
    kept = support > 0
    pair = pair[starts[kept]]
    return Candidates(*np.divmod(pair >> 1, n), (pair & 1).astype(bool), support[kept])


def _lie_alike(
    keypoints: Keypoints,
    first: tuple[NDArray[np.int64], NDArray[np.int64]],
    second: tuple[NDArray[np.int64], NDArray[np.int64]],
    pair: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether two keypoints of one patch lie to each other as two of another patch do.

    That is, whether both keypoints and the line from one to the other were turned by the same.
    """
    mirrored = (pair & 1).astype(bool)
    lines = [complex_of(keypoints.place[b] - keypoints.place[a]) for a, b in (first, second)]
    lines[0] = np.where(mirrored, -lines[0].conj(), lines[0])
    long = np.minimum(*np.abs(lines)) > APART
    ratio = lines[1] / np.where(long, lines[0], 1)
    scale = np.abs(ratio)
    alike = long & (scale < MAX_SCALE) & (scale > 1 / MAX_SCALE)
    turn = np.angle(ratio) * (ANGLES / (2 * np.pi))
    for one, other in zip(first, second, strict=True):
        angle = keypoints.angle[one].astype(np.int64)
        turned = keypoints.angle[other] - np.where(mirrored, ANGLES // 2 - angle, angle)
        off = (turned - turn + ANGLES / 2) % ANGLES - ANGLES / 2
        alike &= np.abs(off) < MAX_TURN
    return np.asarray(alike, np.bool_)


def complex_of(place: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Places (..., 2) as complex numbers: a turn and a scale are one product."""
    return np.asarray(place[..., 0] + 1j * place[..., 1], np.complex64)
