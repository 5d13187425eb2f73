"""Duplicates within and between splits: descriptors that stream, a search and a look at the pixels.

A near duplicate is one photograph of tissue that was mirrored, turned by a multiple of 90 degrees,
recompressed, shifted a little in color, or several of these. Two patches that merely look alike are
none. Patches that overlap are not looked for here but in ``overlap``: of real patches displaced by
1 pixel all count as near duplicates, by 4 pixels or more none.

``extract`` describes each patch; ``find`` compares the descriptors of all patches, and the pixels
of those few whose descriptors are close.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from harness.system.threads import on_all_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness import Measured

THUMBNAIL = 32
"""Side of the thumbnail that is described: 7 pixels of a patch of 224 average JPEG's errors out."""
FREQUENCIES = 8
"""Cosine frequencies kept per axis. 12 or 16 set different patches farther apart (0.54 and 0.58 at
least, not 0.45), but 8 leave hardly a false candidate and are searched faster."""
UPPER = np.triu_indices(FREQUENCIES)
STRICTLY_UPPER = np.triu_indices(FREQUENCIES, 1)
# Tissue has amplitudes of about 1/f. Weighted by f, the picture's coarsest gradient does not decide
# alone which patches are close.
WEIGHTS = np.hypot(*np.mgrid[:FREQUENCIES, :FREQUENCIES]).astype(np.float32)

DIGESTS = slice(0, 3)
STRUCTURE = 3
SHAPE = slice(4, None)
COLUMNS = (
    "digest_0",
    "digest_1",
    "digest_2",
    "structure",
    *(f"dct_{u}_{v}_larger" for u, v in zip(*UPPER, strict=True) if u or v),
    *(f"dct_{u}_{v}_smaller" for u, v in zip(*STRICTLY_UPPER, strict=True)),
)

# The next three were tuned on the 329 patches of the real sample. After a shift of each channel
# (gain within 5 %, offset within 6) and JPEG at quality 60, 99 % of them lay within 0.10 of their
# originals and all within 0.15, and the texture of all correlated by more than 0.96. With their
# contrast lowered to a structure of 6 it was 0.23, and 0.84, in 99 %. Of different patches the
# closest two lay 0.43 apart, and the texture of none of the 53,956 pairs correlated by more than
# 0.20 in any orientation.
MIN_STRUCTURE = 6.0
"""Patches with less (gray levels) are as good as empty, and compared for equality only."""
RADIUS = 0.25
"""Patches whose shapes are farther apart are not compared."""
MIN_SIMILARITY = 0.8
"""Least correlation of the texture of two patches that makes them near duplicates."""

NEIGHBORS = 8
"""Later patches compared with each patch at most, so that many alike cost no quadratic time."""
CHUNK = 64
"""Patches searched for at once, by each thread: 27 MB among those of NCT-CRC-HE."""
TEXTURE = 64
"""Side of the thumbnails whose texture is correlated."""
RIM = 16
"""One part in so many of a side is left out all around: two patches in one frame are no copies."""

ORIENTATIONS = (
    "none",
    "rotated 90",
    "rotated 180",
    "rotated 270",
    "mirrored left-right",
    "transposed",
    "mirrored top-bottom",
    "transposed about the antidiagonal",
)
"""The symmetries of the square, in the order of ``_oriented``. Rotations are counterclockwise."""


@dataclass(frozen=True, order=True)
class Patch:
    """A patch, by the name of its part and its index there."""

    part: str
    index: int


@dataclass(frozen=True)
class Pair:
    """Two patches that are one."""

    first: Patch
    second: Patch
    kind: Literal["exact", "blank", "near", "overlap"]
    """Equal in every pixel; equal, but of one color, so that this may be chance; changed; or equal
    in a part (of these, see ``overlap``)."""
    through: str
    """What turns ``first`` to ``second``, of ``ORIENTATIONS``; of overlaps, in words."""
    similarity: float
    """Correlation of their texture, ``MIN_SIMILARITY`` to 1; 1 when they are equal; of overlaps, in
    the matched area."""
    area: float = 1.0
    """Share of ``second`` that matches."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors of uint8 RGB (B, H, W, 3): float32 (B, 67), named in ``COLUMNS``.

    Three 24-bit parts of a digest of the pixels; how much structure the patch has, in gray levels
    weighted by frequency; and its shape, a unit vector (all zeros when it is of one color).

    The shape is made of the lowest cosine frequencies of a gray thumbnail. Mirroring changes only
    the signs of such coefficients and transposing swaps (u, v) with (v, u), so the larger and the
    smaller of the magnitudes at (u, v) and (v, u) are the same in all eight orientations. Taking
    magnitudes and sorting never moves two descriptors apart: a copy stays as close as it was.
    """
    features = np.empty((len(images), len(COLUMNS)), np.float32)
    for row, image in zip(features, images, strict=True):
        row[DIGESTS] = _digest(image)
        magnitudes = WEIGHTS * np.abs(_frequencies(image))
        row[SHAPE] = np.concatenate(
            [
                np.maximum(magnitudes, magnitudes.T)[UPPER][1:],  # without the mean
                np.minimum(magnitudes, magnitudes.T)[STRICTLY_UPPER],
            ]
        )
        structure = float(np.linalg.norm(row[SHAPE]))
        # A patch of one color leaves only rounding errors.
        row[STRUCTURE] = structure if structure > 1e-3 else 0
        row[SHAPE] *= 1 / structure if structure > 1e-3 else 0
    return features


def find(
    parts: Mapping[str, Measured],
    features: str = "leakage",
    progress: Callable[..., Any] = lambda items, **_: items,
) -> list[Pair]:
    """Duplicates within and between parts of a dataset, most similar first.

    ``parts`` are splits by name, each with what ``extract`` made of it under the name ``features``.
    ``progress`` is that of ``Audit``.

    ``first`` of a pair is the one that comes first, in the order of the parts. Nothing says which
    is the original. There are never more pairs than patches: of patches that are all alike each is
    paired with one other, and ``groups`` puts them together, so count leaks by groups. A patch is
    compared with the ``NEIGHBORS`` closest ones at most, so a group of many more near duplicates
    may come in several pieces.
    """
    patches = [Patch(name, i) for name, part in parts.items() for i in range(len(part.labels))]
    values = np.concatenate([part.values[features] for part in parts.values()])
    first = _first_equal(values[:, DIGESTS])
    pairs = [
        Pair(
            patches[first[i]],
            patches[i],
            "exact" if values[i, STRUCTURE] else "blank",
            ORIENTATIONS[0],
            1.0,
        )
        for i in np.flatnonzero(first != np.arange(len(first)))
    ]
    compared = np.flatnonzero(
        (first == np.arange(len(first))) & (values[:, STRUCTURE] >= MIN_STRUCTURE)
    )
    close = compared[_close(values[compared, SHAPE], progress)]
    pairs += _confirmed(((patches[i], patches[j]) for i, j in close), len(close), parts, progress)
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def groups(pairs: Iterable[Pair]) -> list[list[Patch]]:
    """Patches that are all one, largest group first; a patch is in one group at most."""
    from scipy.cluster.hierarchy import DisjointSet

    same = DisjointSet()
    for pair in pairs:
        same.add(pair.first)
        same.add(pair.second)
        same.merge(pair.first, pair.second)
    return sorted(map(sorted, same.subsets()), key=lambda group: (-len(group), group))


def _digest(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """72 bits of SHA-256 as three whole numbers that float32 holds exactly."""
    digest = hashlib.sha256(np.ascontiguousarray(image).data).digest()
    low, middle, high = np.frombuffer(digest, np.uint8, 9).astype(np.uint32).reshape(3, 3)
    return np.asarray(low + (middle << 8) + (high << 16), np.uint32)


def _thumbnail(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """A gray thumbnail (side, side), float32 in gray levels, without its best quadratic surface.

    Empty patches share the light's fall-off, which without that would make them near duplicates.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA).ravel()
    surfaces = _surfaces(side)
    return np.asarray(small - surfaces @ (surfaces.T @ small), np.float32).reshape(side, side)


@cache
def _surfaces(side: int) -> NDArray[np.float64]:
    """Orthonormal quadratic surfaces on a square, shape (side * side, 6).

    In float64, so that next to nothing remains of a patch of one color.
    """
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].reshape(2, -1)
    powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    return np.asarray(np.linalg.qr(powers)[0])


def _frequencies(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The lowest cosine frequencies of a patch, in gray levels."""
    dct = cv2.dct(_thumbnail(image, THUMBNAIL)) / THUMBNAIL
    return np.asarray(dct[:FREQUENCIES, :FREQUENCIES], np.float32)


def _first_equal(digests: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each patch the index of the first one with the same digest."""
    _, index, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    return np.asarray(index[inverse.ravel()], np.int64)


def _close(shapes: NDArray[np.float32], progress: Callable[..., Any]) -> NDArray[np.int64]:
    """Pairs (K, 2) of indices within ``RADIUS`` of each other, closest first."""

    # Shapes are unit vectors, so the product of two tells how far apart they are. In 63 dimensions
    # no tree is faster than multiplying all with all, piece by piece.
    def among_later(start: int) -> NDArray[np.float64]:
        products = shapes[start : start + CHUNK] @ shapes[start:].T
        n = len(products)
        products[:, :n] = np.triu(products[:, :n], 1)  # neither with itself nor twice
        near = np.flatnonzero(products > 1 - RADIUS**2 / 2)
        first, second = np.divmod(near, products.shape[1])
        product = products.ravel()[near]
        order = np.lexsort((-product, first))
        first, second, product = first[order], second[order], product[order]
        rank = np.arange(len(first)) - np.searchsorted(first, first)
        pairs = np.column_stack([first + start, second + start, product])
        return np.asarray(pairs[rank < NEIGHBORS])

    starts = range(0, len(shapes), CHUNK)
    found = [
        np.empty((0, 3)),
        *progress(on_all_cores(among_later, starts), total=len(starts), label="duplicates: search"),
    ]
    close = np.concatenate(found)
    return close[np.argsort(-close[:, 2], kind="stable"), :2].astype(np.int64)


def _confirmed(
    close: Iterable[tuple[Patch, Patch]],
    total: int,
    parts: Mapping[str, Measured],
    progress: Callable[..., Any],
) -> list[Pair]:
    """Those pairs whose pixels agree too, but none whose patches earlier ones tie together."""
    from scipy.cluster.hierarchy import DisjointSet

    @lru_cache(maxsize=2048)  # of 16 KiB each
    def texture(patch: Patch) -> NDArray[np.float32]:
        return _texture(parts[patch.part].split.read([patch.index])[0])

    same = DisjointSet()
    pairs = []
    for first, second in progress(close, total=total, label="duplicates: compare"):
        same.add(first)
        same.add(second)
        if same.connected(first, second):
            continue
        similarities = [float(np.vdot(o, texture(second))) for o in _oriented(texture(first))]
        best = int(np.argmax(similarities))
        if similarities[best] >= MIN_SIMILARITY:
            same.merge(first, second)
            similarity = min(similarities[best], 1.0)
            pairs.append(Pair(first, second, "near", ORIENTATIONS[best], similarity))
    return pairs


def _texture(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A gray thumbnail (64, 64) without coarse structure, standardized to mean 0 and norm 1.

    Coarse structure (a fold, a vein, uneven light) is what makes different patches look alike; so
    does a frame, which is left out.
    """
    rows, columns = (side // RIM for side in image.shape[:2])
    inner = image[rows : len(image) - rows, columns : image.shape[1] - columns]
    gray = _thumbnail(inner, TEXTURE)
    fine = gray - cv2.GaussianBlur(gray, (0, 0), TEXTURE / 16)
    fine -= fine.mean()
    return np.asarray(fine / max(float(np.linalg.norm(fine)), 1e-6), np.float32)


def _oriented(square: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """An array (S, S) in the eight orientations that ``ORIENTATIONS`` names."""
    return [np.rot90(side, turns) for side in (square, np.fliplr(square)) for turns in range(4)]
