"""How a patch was compressed, as far as its pixels show: block grid, JPEG quality, chroma."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_bias.measure import block_edges, jpeg_comb
from harness_bias.measure.jpeg_comb import AC, LOW_AC, Bools, Floats, Grid

COLUMNS = (
    *("detected", "blockiness", "grid_x", "grid_y", "quality", "chroma_subsampled"),
    "edge_quality",
)
NOTHING = (0.0, 1.0, -1.0, -1.0, 0.0, -1.0)

MIN_DECODED = 0.9
"""Share of colors that a decoder produces. Of 329 real patches as they are, all but one flat one
have less than 0.5; recompressed they have more than 0.98."""
MANY_UNCLIPPED = 0.75
"""Share of pixels above which enough blocks are free of clipped ones, as a rule."""
MIN_SCORE = 50.0
"""Log likelihood ratio of a quality. At 2,200 wrong grids of patches recompressed at 20 and above
only one, of a flat patch, had more than 10; at 10, flat patches reached 150."""
MIN_CHROMA_SCORE = 3.0
"""Log likelihood ratio of chroma resolution: 20 to 1."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Traces of compression in uint8 RGB (B, H, W, 3), H and W at least 16: float32 (B, 7).

    - ``detected``: 1 if a block grid or the comb of a JPEG quality was found. If it is 0, all
      columns but the last have fixed values, whatever the texture.
    - ``blockiness``: by what factor jumps in luma are larger at the edges of blocks than inside,
      geometric mean; 1 if nothing was detected. Compression of one strength makes smooth patches
      blockier than textured ones.
    - ``grid_x``, ``grid_y``: where the first whole block starts, 0 to 7; -1 if not found.
    - ``quality``: libjpeg quality, 1 to 100, of the last compression; 0 if it cannot be told, as
      in patches changed after decoding, say by color normalization.
    - ``chroma_subsampled``: 1 or 0; -1 if it cannot be told.
    - ``edge_quality``: the quality that would leave edges as strong as those found, 20 to 90, also
      after color normalization; 90 if they are weaker or there are none. 0 if it cannot be told,
      because the patch is small or smooth or its texture would hide even the edges of 90.
    """
    gray = np.empty(images.shape[:3], np.uint8)
    for patch, image in zip(gray, images, strict=True):
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY, dst=patch)
    across, down = (block_edges.positions(gray, axis) for axis in (1, 0))
    rows = [_traces(*patch) for patch in zip(images, gray, *across, *down, strict=True)]
    return np.array(rows, np.float32).reshape(-1, len(COLUMNS))


def _traces(
    image: NDArray[np.uint8],
    gray: NDArray[np.uint8],
    contrast_x: NDArray[np.float64],
    seen_x: NDArray[np.bool_],
    jumps_x: float,
    contrast_y: NDArray[np.float64],
    seen_y: NDArray[np.bool_],
    jumps_y: float,
) -> tuple[float, ...]:
    """The columns of a patch, from it and from the edges at its eight positions each way."""
    x, y = int(contrast_x.argmax()), int(contrast_y.argmax())
    seen = bool(seen_x[x] and seen_y[y])
    contrast = float(contrast_x[x] + contrast_y[y]) / 2
    grid, quality, chroma = (x, y), 0, -1
    if _is_decoded(image):
        grid, quality, chroma = _last_compression(image, (x, y), seen)
    edge_quality = 0.0
    large = min(gray.shape) >= block_edges.SMALLEST
    if large and min(jumps_x, jumps_y) >= block_edges.MIN_JUMPS:
        edge_quality = block_edges.quality_of_edges(gray, (x, y), contrast, seen, quality)
    if not (seen or quality):
        return (*NOTHING, edge_quality)
    blockiness = float(np.exp((contrast_x[grid[0]] + contrast_y[grid[1]]) / 2))
    return 1, blockiness, *grid, quality, chroma, edge_quality


def _is_decoded(image: NDArray[np.uint8]) -> bool:
    """Whether nothing happened to the patch since it was decoded, judged by about 16 rows."""
    some = np.ascontiguousarray(image[:: 1 + len(image) // 16])
    return jpeg_comb.decoded_share(some, jpeg_comb.planes(some), _unclipped(some)) >= MIN_DECODED


def _unclipped(image: NDArray[np.uint8]) -> Bools:
    """Which pixels are neither 0 nor 255 in any channel: bool (H, W)."""
    return np.asarray(cv2.inRange(image, (1, 1, 1), (254, 254, 254)) > 0)


def _last_compression(
    image: NDArray[np.uint8], edge_grid: Grid, seen: bool
) -> tuple[Grid, int, int]:
    """Grid, quality and chroma subsampling of a decoded patch; the last two 0 and -1 if unknown.

    The strongest edges may be those of an earlier compression, so the grid is confirmed by a
    quality that fits it.
    """
    ycc, unclipped = jpeg_comb.planes(image), _unclipped(image)
    luma = ycc[0]
    if unclipped.mean() < MANY_UNCLIPPED:
        luma = jpeg_comb.unsaturated_luma(image, ycc, unclipped)
    for grid in _candidates(luma, unclipped, edge_grid, seen):
        blocks, clean = jpeg_comb.cleanest_blocks(unclipped, grid)
        scores = jpeg_comb.quality_scores(jpeg_comb.coefficients(luma, grid, blocks, AC))
        if scores.max() >= MIN_SCORE:
            quality = int(scores.argmax()) + 1
            return grid, quality, _chroma_subsampled(ycc, grid, blocks[:clean], quality)
    return edge_grid, 0, -1


def _chroma_subsampled(
    ycc: tuple[Floats, ...], grid: Grid, blocks: NDArray[np.int64], quality: int
) -> int:
    low = (jpeg_comb.coefficients(plane, grid, blocks, LOW_AC) for plane in ycc[1:])
    score = sum(jpeg_comb.chroma_score(chroma, quality) for chroma in low)
    return int(score < 0) if abs(score) >= MIN_CHROMA_SCORE else -1


def _candidates(luma: Floats, unclipped: Bools, edge_grid: Grid, seen: bool) -> Iterator[Grid]:
    """Grids to try, the likeliest first, as each costs time."""
    if seen:
        yield edge_grid
    yield jpeg_comb.whole_number_grid(luma, unclipped)
    if not seen:
        yield edge_grid
