"""How often each of the 256 values occurs, from which changes of tone after the camera are told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness_bias.measure.color import histograms
from harness_bias.measure.dynamic_range import textured

STEPS = 15.9
"""Steps an octave of counts: 255 of them reach past the pixels of a patch of 256 by 256."""
COLUMNS = tuple(f"level_{value}" for value in range(256))


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of uint8 RGB (B, H, W, 3), packed: float32 (B, 256).

    Each number holds, for one value, how often it occurs in red, in green and in blue: three times
    8 bits, as a whole number below 2^24, which float32 holds exactly. ``octaves`` reads them.
    Flat areas are left out, as JPEG makes blocks of one value of them; 0 counts what is left out.
    """
    counts = histograms(textured(images))
    size = images.shape[1] * images.shape[2]
    # As of a patch of 224 by 224, where there are more pixels, so that 8 bits suffice. Of a smaller
    # one they stay what they are: scaled up, a handful of pixels would look like a full histogram.
    octaves = np.log2(1 + counts * min(1, 224 * 224 / size))
    steps = np.rint(octaves * STEPS).clip(0, 255).astype(np.uint32)
    return np.asarray(steps[:, 0] + (steps[:, 1] << 8) + (steps[:, 2] << 16), np.float32)


def octaves(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logs to base 2 of 1 and the counts that ``extract`` packed: float32 (B, 3, 256).

    Within 0.032; of larger patches, of counts scaled down to a patch of 224 by 224.
    """
    whole = values.astype(np.uint32)
    steps = np.stack([whole & 255, (whole >> 8) & 255, whole >> 16], axis=1)
    return np.asarray(steps / np.float32(STEPS), np.float32)
