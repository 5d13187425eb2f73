"""Patches that show partly the same tissue: overlapping crops, turned or scaled ones, mosaics.

``find`` looks for keypoints that look alike and lie alike in two patches, lays one patch over the
other as they say, and compares the pixels.

Of 329 real crops of half the side, changed in color and JPEG at quality 70, it finds 97 % displaced
by 2 to 43 % of the side, 95 % by 57 % and 84 % by 71 %; 98 % of those turned by 2 to 15 degrees or
enlarged by up to 10 %, 96 % by 15 % and 30 % by 25 %; 98 % of those with a square of a seventh to a
third of the side covered; and 68 % of the quarters that mosaics are made of. Those that it never
finds are of background and muscle. Among 9,541 real tiles that do not overlap it finds no pair.

Not looked for are patches that share less than a tenth of their area, those enlarged by more than
30 %, and neighbors that do not overlap: these share no pixel, and keypoints say nothing of them.

Of 107,180 patches, each blended of two real ones, the keypoints are searched in 88 s of one core,
in 600 MiB; a pair whose pixels are compared takes 1.6 ms more, and the time to read two patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from harness_bias.measure.keypoints import FREQUENCIES, Keypoints, count, reduced, reduction, unpack
from harness_bias.measure.leakage import Pair, Patch
from harness_bias.measure.matches import (
    APART,
    MAX_SCALE,
    MIRROR,
    Candidates,
    candidates,
    complex_of,
    unit,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness import Measured

MIN_KEYPOINTS = 8
"""Of a patch with fewer, overlaps are not found reliably."""
PARTNERS = 8
"""Pairs that a patch is compared in at most, those with the most keypoints that lie alike: as many
as a tile has neighbors in a grid of overlapping tiles."""

UNPACKED = 4_096
"""Patches whose keypoints are unpacked at once."""

ALIKE = 0.5
"""Keypoints of two patches that are candidates count as matches up to this distance."""
MATCHES = 40
"""Matches of two patches that are looked at, the nearest ones."""
SEEDS = 16
"""Matches of which each two say how the patches may lie on each other."""
ON = 2.0
"""How far, in pixels, keypoints may lie from where they should."""

LOCAL = 3.0
"""Standard deviation of the Gaussian that texture is standardized with, in pixels."""
FAINT = 2.0
"""Gray levels of texture that are as good as none."""
CLOSE = 1.5
"""Standard deviation of the Gaussian within which there must be texture, in pixels: of two empty
patches, only the outline of what covers both matches then, and not what lies around it."""
WINDOW = 17
"""Side of the square around a pixel in which texture is correlated."""
MIN_CORRELATION = 0.7
"""From this on a pixel counts as the same tissue."""

# Tuned on tiles of the real sample, where all pairs found are wrong. Of 11,000 candidates (with so
# loose a search as 700,000 patches may need) the matched area of none was above 0.08, and the
# smaller of area and half the share of the overlap was above 0.04 in 10 and above 0.06 in none. Of
# real crops displaced by 160 of 224 pixels 95 % have more than 0.18.
MIN_AREA = 0.1
"""Least matched area, as a share of a patch, that makes an overlap."""
MIN_SHARE = 0.2
"""Least share of the overlap that matches; the rest may be covered, or from elsewhere."""


@dataclass(frozen=True)
class _Placement:
    """How one patch lies on another: z in one is scale_turn * z + shift in the other."""

    scale_turn: complex
    shift: complex
    mirrored: bool
    """Whether the real part of z was negated before."""

    def matrix(self) -> NDArray[np.float64]:
        """The same, as OpenCV takes it: (2, 3)."""
        a, b = self.scale_turn, self.shift
        matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
        if self.mirrored:
            matrix[:, 0] *= -1
        return matrix


def find(
    parts: Mapping[str, Measured],
    copies: Sequence[Sequence[Patch]] = (),
    features: str = "keypoints",
    sides: NDArray[np.int64] | None = None,
    progress: Callable[..., Any] = lambda items, **_: items,
) -> list[Pair]:
    """Pairs of patches that overlap, within and between parts of a dataset, largest area first.

    ``parts`` are splits by name, each with what ``keypoints.extract`` made of it under the name
    ``features``. Of each group of ``copies`` only the first patch is looked at. ``progress`` is
    that of ``Audit``.

    ``sides`` are numbers (N,) of all patches, part by part; without them patches of a part are on
    one side. All pairs across sides are listed, up to ``PARTNERS`` a patch; of patches on the same
    side, only as many pairs as it takes to tie together those that overlap in a chain.
    """
    patches = [Patch(name, i) for name, part in parts.items() for i in range(len(part.labels))]
    if sides is None:
        sides = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts.values()])
    again = {patch for group in copies for patch in group[1:]}
    rows = np.array([i for i, patch in enumerate(patches) if patch not in again], np.int64)
    keypoints = _read(parts, features, rows)
    found = candidates(keypoints, progress)
    order = _most_telling(found, sides[rows])
    of = np.searchsorted(keypoints.patch, np.arange(len(rows) + 1))

    @lru_cache(maxsize=512)  # of 100 KiB each
    def texture(row: int) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
        patch = patches[rows[row]]
        image = parts[patch.part].split.read([patch.index])[0]
        return *_texture(reduced(image)), reduction(*image.shape[:2])

    def compared(number: int) -> Pair | None:
        i, j = int(found.first[number]), int(found.second[number])
        here, there = slice(of[i], of[i + 1]), slice(of[j], of[j + 1])
        placement = _placement(keypoints, here, there, bool(found.mirrored[number]))
        if placement is None:
            return None
        (first, seen, _), (second, also_seen, by) = texture(i), texture(j)
        area, share, similarity = _compared(first, seen, second, also_seen, placement)
        if area < MIN_AREA or share < MIN_SHARE:
            return None
        through = _through(placement, first.shape, second.shape, by)
        one, other = patches[rows[i]], patches[rows[j]]
        return Pair(one, other, "overlap", through, similarity, area)

    pairs = list(_confirmed(found, order, sides[rows], compared, progress))
    return sorted(pairs, key=lambda pair: (-pair.area, pair.first, pair.second))


def _read(parts: Mapping[str, Measured], features: str, rows: NDArray[np.int64]) -> Keypoints:
    """Keypoints of the patches at ``rows`` of all parts, numbered in their order."""
    counts = np.concatenate([count(part.values[features]) for part in parts.values()])[rows]
    total = int(counts.sum())
    keypoints = Keypoints(
        patch=np.repeat(np.arange(len(rows), dtype=np.int32), counts),
        place=np.empty((total, 2), np.float32),
        angle=np.empty(total, np.uint8),
        vector=np.empty((total, len(FREQUENCIES)), np.int8),
    )
    begin = before = 0
    for part in parts.values():
        values = part.values[features]
        own = rows[(rows >= before) & (rows < before + len(values))] - before
        before += len(values)
        for start in range(0, len(own), UNPACKED):
            piece = unpack(values[own[start : start + UNPACKED]])
            place = slice(begin, begin + len(piece.patch))
            keypoints.place[place] = piece.place
            keypoints.angle[place] = piece.angle
            keypoints.vector[place] = piece.vector
            begin = place.stop
    return keypoints


def _most_telling(found: Candidates, sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """Candidates to compare, as indices: those across sides first, those with most support first.

    Of the candidates of a patch the ``PARTNERS`` most telling ones.
    """
    same = sides[found.first] == sides[found.second]
    order = np.lexsort((-found.support, same))
    kept = np.zeros(len(order), bool)
    for patch in (found.first, found.second):
        by_patch = order[np.argsort(patch[order], kind="stable")]
        sorted_patch = patch[by_patch]
        rank = np.arange(len(by_patch)) - np.searchsorted(sorted_patch, sorted_patch)
        kept[by_patch[rank < PARTNERS]] = True
    return order[kept[order]]


def _confirmed(
    found: Candidates,
    order: NDArray[np.int64],
    sides: NDArray[np.int64],
    compared: Callable[[int], Pair | None],
    progress: Callable[..., Any],
) -> Iterator[Pair]:
    """The pairs whose pixels agree; on the same side, only those that nothing ties together yet."""
    from scipy.cluster.hierarchy import DisjointSet

    tied, listed = DisjointSet(), set()
    for number in progress(order, total=len(order), label="overlaps: compare"):
        i, j = int(found.first[number]), int(found.second[number])
        tied.add(i)
        tied.add(j)
        if (i, j) in listed or (sides[i] == sides[j] and tied.connected(i, j)):
            continue
        if pair := compared(int(number)):
            tied.merge(i, j)
            listed.add((i, j))
            yield pair


def _placement(
    keypoints: Keypoints, here: slice, there: slice, mirrored: bool
) -> _Placement | None:
    """How the first patch lies on the second: so that most of their matches lie on each other.

    Every two matches say how; the best is fitted again by least squares to all that agree.
    """
    one, other = unit(keypoints.vector[here]), unit(keypoints.vector[there])
    products = (one * MIRROR if mirrored else one) @ other.T
    i, j = np.nonzero(products > 1 - ALIKE**2 / 2)
    nearest = np.argsort(-products[i, j], kind="stable")[:MATCHES]
    a = complex_of(keypoints.place[here][i[nearest]]).astype(np.complex128)
    b = complex_of(keypoints.place[there][j[nearest]]).astype(np.complex128)
    if mirrored:
        a = -a.conj()
    p, q = np.triu_indices(min(len(a), SEEDS), 1)
    apart = np.minimum(abs(a[p] - a[q]), abs(b[p] - b[q])) > APART
    p, q = p[apart], q[apart]
    turn = (b[p] - b[q]) / (a[p] - a[q])
    small = np.maximum(abs(turn), 1 / abs(turn)) < MAX_SCALE
    p, turn = p[small], turn[small]
    if not len(p):
        return None
    on = abs(turn[:, None] * (a - a[p][:, None]) + b[p][:, None] - b) < ON
    best = on[on.sum(axis=1).argmax()]
    a, b = a[best], b[best]
    centered = a - a.mean()
    fitted = complex(np.vdot(centered, b - b.mean()) / np.vdot(centered, centered))
    return _Placement(fitted, complex(b.mean() - fitted * a.mean()), mirrored)


def _texture(gray: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fine structure in units of its own local strength, and where there is any (0 or 1).

    So the outline of something that covers tissue counts no more than the tissue around it.
    """
    fine = gray - cv2.GaussianBlur(gray, (0, 0), LOCAL)
    power = fine * fine
    texture = fine / np.sqrt(cv2.GaussianBlur(power, (0, 0), LOCAL) + np.float32(FAINT**2))
    return texture, (cv2.GaussianBlur(power, (0, 0), CLOSE) > FAINT**2).astype(np.float32)


def _compared(
    first: NDArray[np.float32],
    seen: NDArray[np.float32],
    second: NDArray[np.float32],
    also_seen: NDArray[np.float32],
    placement: _Placement,
) -> tuple[float, float, float]:
    """Of the pixels of the second patch, how many show the same; of those in the overlap; and the
    correlation of the texture of those that do."""
    size, matrix = second.shape[::-1], placement.matrix()
    moved = cv2.warpAffine(first, matrix, size, flags=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.ones_like(seen), matrix, size, flags=cv2.INTER_NEAREST)
    both = cv2.warpAffine(seen, matrix, size, flags=cv2.INTER_NEAREST) * also_seen
    second = second * inside

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        return cv2.boxFilter(values, -1, (WINDOW, WINDOW), borderType=cv2.BORDER_CONSTANT)

    # Sums over windows that reach beyond the overlap, where all is zero, over their true size.
    n = np.maximum(mean(inside), 1 / WINDOW**2)
    one, other = mean(moved) / n, mean(second) / n
    spread = (mean(moved * moved) / n - one * one) * (mean(second * second) / n - other * other)
    together = mean(moved * second) / n - one * other
    same = (together > MIN_CORRELATION * np.sqrt(np.maximum(spread, 1e-4))) & (both > 0)
    same &= n > 0.25
    total = int(same.sum())
    if not total:
        return 0.0, 0.0, 0.0
    similarity = float(np.corrcoef(moved[same], second[same])[0, 1]) if total > 1 else 0.0
    return total / same.size, total / float(inside.sum()), similarity


def _through(placement: _Placement, shape: tuple[int, ...], onto: tuple[int, ...], by: int) -> str:
    """How the first patch must be changed to lie on the second, about its middle."""
    (y, x), (v, u) = ((np.array(size[:2]) - 1) / 2 for size in (shape, onto))
    dx, dy = (placement.matrix() @ (x, y, 1) - (u, v)) * by
    found = [f"moved by {round(dx)}, {round(dy)}"]
    if placement.mirrored:
        found.append("mirrored left-right")
    # The y axis points down, and rotations are counterclockwise.
    turned = round(-float(np.degrees(np.angle(placement.scale_turn))))
    if turned:
        found.append(f"rotated {turned}")
    scale = abs(placement.scale_turn)
    if abs(scale - 1) >= 0.015:
        found.append(f"scaled {scale:.2f}")
    return ", ".join(found)
