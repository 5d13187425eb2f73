"""Traces of wrong dynamic range in patches: clipping, gaps and combs in histograms, wraparound."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from harness_bias.measure.color import histograms

Pixels = NDArray[np.uint8]
Counts = NDArray[np.float32]

CHANNELS = ("red", "green", "blue")
COLUMNS = (
    *(f"low_{channel}" for channel in "rgb"),
    *(f"high_{channel}" for channel in "rgb"),
    "white",
    *(f"clipped_low_{channel}" for channel in "rgb"),
    *(f"clipped_high_{channel}" for channel in "rgb"),
    *(f"gaps_{channel}" for channel in "rgb"),
    *(f"rough_{channel}" for channel in "rgb"),
    *(f"comb_{channel}" for channel in "rgb"),
    *(f"wraparound_{channel}" for channel in "rgb"),
    "wide",
    "corrupt",
)
LOW, HIGH, WHITE = slice(0, 3), slice(3, 6), 6
CLIPPED_LOW, CLIPPED_HIGH = slice(7, 10), slice(10, 13)
GAPS, ROUGH, COMB, WRAPAROUND = slice(13, 16), slice(16, 19), slice(19, 22), slice(22, 25)
WIDE, CORRUPT = 25, 26

# The limits were set on patches of the NCT-CRC-HE sample and of the phantom: as they are, halved,
# enlarged, blurred and compressed as JPEG on the one side, stretched and overflown on the other.
# Sound, below, are tissue of the sample that looks so, and all of the phantom.

MUCH_LOW, MUCH_HIGH = 0.01, 0.12
"""Shares of a channel clipped at 0, and at 255 in pixels that are not white, that make a patch
corrupt. Tissue is never black: of the sample, only dirty glass is clipped at 0. At 255, patches
that look sound have up to 0.08 (0.15 after JPEG of quality 30), those that do not 0.85 and more."""
ROUGH_FROM = 4.0
"""Sound patches stay below 3.6; 99 % below 2.6, even as JPEG of quality 20."""
COMB_FROM = 11.0
"""Sound patches stay below 9.7; 99 % below 8, even as JPEG of quality 20."""
WIDE_FROM = 48
"""Judged bins from which a comb can be told from chance."""
FILLED = 20
"""Mean count of the four bins on either side from which a bin is judged. By chance alone, it would
be empty once in e^20."""
HALF, MOST = 128, 170
"""Jumps of more than half and of most of the range. A MOST of 160 to 180 does as well; 200 misses
overflow at steep edges."""
STRAIGHT, FEWEST = 4, 13
"""Jumps side by side that are an edge of something laid over the patch, and how many others there
are at least where values wrap round: a mark of 3 pixels a side has 12."""
BEFORE = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0]) / 4
"""Weights of a bin's neighbors for the mean of those before it."""
FROM_CUBIC = np.array([1, -4, 6, -4, 1]) / 6
"""Weights for the difference between a bin and the cubic through two bins on either side."""
WAVES = np.arange(26, 257)
"""Waves per 512 bins that may be a comb; fewer make up the peaks of tissue."""
LEFT = np.maximum(np.abs(np.fft.rfft(FROM_CUBIC, 512)[WAVES]) ** 2, 0.1)
"""Power of a wave that is left of it in the difference from the cubic."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Dynamic-range features of uint8 RGB (B, H, W, 3): float32 (B, 27), named by ``COLUMNS``.

    - ``low_*``, ``high_*``: share of pixels with the value 0 and 255; ``white``: share of pixels
      that are 255 in all channels, as overexposed glass is;
    - ``clipped_low_*``, ``clipped_high_*``: share of pixels piled up in the last bin of the
      histogram, beyond what its neighbors lead one to expect; 0 without a pile;
    - ``gaps_*``: share of bins that are empty amid well filled ones, as a stretch of 8-bit values
      leaves them; 0 if there are fewer than three;
    - ``rough_*``: scatter of the histogram about a smooth curve, in units of the scatter of random
      counts; 0 below ``ROUGH_FROM``. A strong stretch of few values is rough without being empty;
    - ``comb_*``: power of the strongest regular pattern in the histogram, in units of its noise;
      0 below ``COMB_FROM``. It betrays values compressed to a smaller range, too;
    - ``wraparound_*``: share of pairs of neighboring pixels that are more than ``MOST`` apart, if
      such jumps are as many as only wraparound of 8-bit values makes them; else 0;
    - ``wide``: 1 if the histograms of all channels are wide and well filled enough to be judged,
      else 0;
    - ``corrupt``: 1 if a person should look at the patch, else 0; ``reasons`` says why.

    Histograms too small or too narrow to be judged count as sound. That a histogram shows what was
    done to values after they were digitized: Stamm and Liu, "Forensic detection of image
    manipulation using statistical intrinsic fingerprints", IEEE Transactions on Information
    Forensics and Security 5 (2010); the tests made of it here are our own.
    """
    features = np.zeros((len(images), len(COLUMNS)), np.float32)
    lively = np.empty_like(images[:, 1:, 1:])
    for row, image, chosen in zip(features, images, lively, strict=True):
        across, down = _differences(image)
        _textured(image, across, down, chosen)
        row[WRAPAROUND] = _wraparound(image, across, down)
        row[WHITE] = _white(image)
    pixels = images.shape[1] * images.shape[2]
    counts = histograms(images)
    features[:, LOW], features[:, HIGH] = counts[..., 0] / pixels, counts[..., -1] / pixels
    features[:, CLIPPED_LOW] = _pile(counts) / pixels
    features[:, CLIPPED_HIGH] = _pile(counts[..., ::-1]) / pixels
    features[:, GAPS], features[:, ROUGH], features[:, COMB], wide = _smoothness(
        counts, histograms(lively)
    )
    features[:, WIDE] = wide.all(axis=1)
    features[:, CORRUPT] = [bool(_faults(row)) for row in features]
    return features


def reasons(row: NDArray[np.float32]) -> str:
    """Why a patch is corrupt, in words, from its row of ``extract``; "" if it is not."""
    return "; ".join(_faults(row))


def _faults(row: NDArray[np.float32]) -> list[str]:
    found = []
    much_high = MUCH_HIGH + row[WHITE]
    for values, much, level in ((CLIPPED_LOW, MUCH_LOW, 0), (CLIPPED_HIGH, much_high, 255)):
        for channel in np.flatnonzero(row[values] >= much):
            share = 100 * row[values][channel]
            found.append(f"{share:.1f} % of the {CHANNELS[channel]} values clipped at {level}")
    for values, fault in (
        (GAPS, "gaps in the histogram of {}"),
        (ROUGH, "spikes in the histogram of {}"),
        (COMB, "a comb in the histogram of {}"),
        (WRAPAROUND, "values wrap round in {}"),
    ):
        if row[values].any():
            found.append(fault.format(", ".join(CHANNELS[c] for c in np.flatnonzero(row[values]))))
    return found


def _white(image: Pixels) -> float:
    """Share of pixels that are 255 in all channels."""
    white = cv2.inRange(image, (255,) * 3, (255,) * 3)
    return cv2.countNonZero(white) / white.size


def textured(images: Pixels) -> Pixels:
    """The values of patches (B, H, W, 3) that differ from those to the left and above, 0 instead of
    all others: uint8 (B, H - 1, W - 1, 3)."""
    lively = np.empty_like(images[:, 1:, 1:])
    for image, out in zip(images, lively, strict=True):
        _textured(image, *_differences(image), out)
    return lively


def _differences(image: Pixels) -> tuple[Pixels, Pixels]:
    """Between neighbors across and down: uint8 (H, W - 1, 3) and (H - 1, W, 3)."""
    across = cv2.absdiff(image[:, 1:], image[:, :-1])
    return np.asarray(across, np.uint8), np.asarray(cv2.absdiff(image[1:], image[:-1]), np.uint8)


def _textured(image: Pixels, across: Pixels, down: Pixels, out: Pixels) -> None:
    """Write the values that differ from those to the left and above, 0 instead of all others."""
    changes = cv2.min(across[1:], down[:, 1:])
    mask = cv2.threshold(changes, 0, 255, cv2.THRESH_BINARY, dst=changes)[1]
    cv2.bitwise_and(image[1:, 1:], mask, dst=out)


def _pile(counts: Counts) -> Counts:
    """How many values are piled up in the first bin of histograms (B, 3, 256): float32 (B, 3)."""
    # Two means: the near one follows a steep slope, the far one is not misled by a gap.
    expected = np.maximum(counts[..., 1:3].mean(axis=-1), counts[..., 1:9].mean(axis=-1))
    excess = counts[..., 0] - expected
    # Neighboring pixels are alike, so counts scatter more than independent ones: 6, not 3 or 4.
    piled = (excess >= 8) & (excess > 0.5 * expected) & (excess > 6 * np.sqrt(expected))
    return np.where(piled, excess, 0)


def _smoothness(
    whole: Counts, textured: Counts
) -> tuple[Counts, Counts, Counts, NDArray[np.bool_]]:
    """Gaps, roughness, comb, and whether they could be judged: (B, 3) each.

    From histograms (B, 3, 256) of all and of some pixels.

    JPEG fills flat areas with blocks of one value, and so makes spikes of its own. They are left
    out, which a stretch survives, as it tells on all values alike. Only where spikes cover a wider
    range than a flat area can, they count, too.
    """
    # The last bins hold what is clipped or left out.
    of_some, of_all = textured[..., 1:-1], whole[..., 1:-1]
    judged = _judged(of_some)
    residual = _residual(of_some, judged)
    judged_whole = _judged(of_all)
    rough = np.maximum(
        _roughness(residual, judged, fewest=24),
        _roughness(_residual(of_all, judged_whole), judged_whole, fewest=60),
    )
    wide = np.count_nonzero(judged, axis=-1) >= WIDE_FROM
    return _gaps(of_some, judged), rough, _comb(residual, judged), wide


def _judged(counts: Counts) -> NDArray[np.bool_]:
    """Which bins have well filled ones on either side: bool, shaped as the histograms (..., N)."""
    before = correlate1d(counts, BEFORE, mode="constant")
    after = correlate1d(counts, BEFORE[::-1], mode="constant")
    return np.asarray(np.minimum(before, after) >= FILLED)


def _residual(counts: Counts, judged: NDArray[np.bool_]) -> Counts:
    """What a smooth curve leaves of histograms (..., N); 0 where bins are not judged."""
    # Square roots of counts scatter alike everywhere, by 1 if doubled.
    residual = correlate1d(2 * np.sqrt(counts + 0.375), FROM_CUBIC, mode="nearest")
    return np.where(judged, residual, 0)


def _gaps(counts: Counts, judged: NDArray[np.bool_]) -> Counts:
    """Share of judged bins of histograms (..., N) that are empty: float32 (...)."""
    empty = np.count_nonzero(judged & (counts == 0), axis=-1)
    n = np.count_nonzero(judged, axis=-1)
    return np.where(empty >= 3, empty / np.maximum(n, 1), 0).astype(np.float32)


def _roughness(residual: Counts, judged: NDArray[np.bool_], fewest: int) -> Counts:
    """Scatter of residuals (..., N), robustly; 0 for those with fewer judged bins: (...)."""
    n = np.count_nonzero(judged, axis=-1)
    ordered = np.sort(np.where(judged, np.abs(residual), np.inf), axis=-1)
    median = np.take_along_axis(ordered, n[..., None] // 2, axis=-1)[..., 0]
    rough = median / (0.6745 * np.linalg.norm(FROM_CUBIC))
    return np.where((n >= fewest) & (rough >= ROUGH_FROM), rough, 0).astype(np.float32)


def _comb(residual: Counts, judged: NDArray[np.bool_]) -> Counts:
    """Power of the strongest wave in residuals (..., N), in units of the noise: float32 (...)."""
    # A sharp peak of the histogram is made of all waves, but in one place. A comb has the same
    # wave in its lower and its upper half.
    n = np.count_nonzero(judged, axis=-1)
    lower = np.cumsum(judged, axis=-1) <= n[..., None] / 2
    halves = np.stack([np.where(lower, residual, 0), np.where(lower, 0, residual)])
    power = (np.abs(np.fft.rfft(halves, 512)[..., WAVES]) ** 2).min(axis=0) / LEFT
    # Independent counts have a mean power of n / 2 in each half; the lesser of two such powers has
    # a median of half the mean times log 2.
    ordered = np.sort(power, axis=-1)
    noise = np.maximum(2 * ordered[..., len(WAVES) // 2] / np.log(2), n / 2)
    strength = ordered[..., -1] / np.maximum(noise, 1)
    return np.where((n >= WIDE_FROM) & (strength >= COMB_FROM), strength, 0).astype(np.float32)


def _wraparound(image: Pixels, across: Pixels, down: Pixels) -> NDArray[np.float64] | float:
    """Share of neighbors between which values wrap round, from all differences: float64 (3,)."""
    if max(across.max(), down.max()) <= MOST:  # as in most patches, and quickly seen
        return 0.0
    wraps, pairs = _jumps(across, down)
    if wraps.any():
        # An area that was blanked has a sharp edge, too, and so has a mark: a straight one.
        blank = ((image == 0) | (image == 255)).all(axis=2)
        across = np.where(blank[:, 1:, None] | blank[:, :-1, None], np.uint8(0), across)
        down = np.where(blank[1:, :, None] | blank[:-1, :, None], np.uint8(0), down)
        across, down = _without_lines(across, (1, STRAIGHT)), _without_lines(down, (STRAIGHT, 1))
        wraps, _ = _jumps(across, down)
    return wraps / pairs


def _without_lines(differences: Pixels, size: tuple[int, int]) -> Pixels:
    """Differences (H, W, 3), 0 where those beyond ``HALF`` lie in a line: (width, height)."""
    far = cv2.threshold(differences, HALF, 1, cv2.THRESH_BINARY)[1]
    straight = np.ones(size[::-1], np.uint8)
    lines = cv2.morphologyEx(
        far, cv2.MORPH_OPEN, straight, borderType=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0, 0)
    )
    return np.where(lines > 0, np.uint8(0), differences)


def _jumps(across: Pixels, down: Pixels) -> tuple[NDArray[np.float64], int]:
    """In how many pairs of neighbors values wrap round (3,), and how many pairs there are."""
    far = _beyond(across, HALF) + _beyond(down, HALF)
    farthest = _beyond(across, MOST) + _beyond(down, MOST)
    # Edges of tissue are blurred: the larger a jump, the rarer. Where values that change little
    # wrap round, most of the jumps that are shorter the other way round are by most of the range.
    wraps = (farthest >= FEWEST) & (farthest >= 2 * (far - farthest))
    return np.where(wraps, farthest, 0), across[..., 0].size + down[..., 0].size


def _beyond(differences: Pixels, limit: int) -> NDArray[np.float64]:
    """How many differences (H, W, 3) of each channel exceed a limit: float64 (3,)."""
    beyond = cv2.threshold(differences, limit, 1, cv2.THRESH_BINARY)[1]
    return np.rint(np.multiply(cv2.mean(beyond)[:3], differences[..., 0].size))
