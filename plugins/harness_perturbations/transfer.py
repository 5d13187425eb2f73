"""Color transfer: a patch given the color statistics of others, its structure kept."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_perturbations.pixels import quantize

# The least standard deviation of a channel that is taken at its word. Rounding a uniform color to 8
# bits leaves up to 0.4; of 329 real patches one, empty and white, has less than this, others 0.68.
FLOOR = 0.5


def to_lab(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIELAB (D65) of uint8 sRGB (H, W, 3): float32, L in 0..100, a and b about -128..128.

    Within 0.5 of the exact values, because OpenCV interpolates in a table.
    """
    return np.asarray(cv2.cvtColor(patch / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)


def statistics(lab: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of the three channels of (H, W, 3), then their standard deviations: float64 (6,)."""
    mean, deviation = cv2.meanStdDev(lab)
    return np.concatenate([mean, deviation]).ravel()


def color_transfer(
    patch: NDArray[np.uint8],
    level: float,
    rng: np.random.Generator | None,
    target: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Shift and scale the channels of CIELAB to a mean and a standard deviation.

    Reinhard et al., IEEE CG&A 2001 (doi:10.1109/38.946629), in CIELAB in place of their l-alpha-
    beta. ``target``, float64 (6,), holds the means of L, a, b and then their standard deviations;
    ``level`` and ``rng`` mean nothing. What leaves sRGB is clipped to 0..255, so that the patch
    reaches its target only about. A channel with a standard deviation below ``FLOOR`` is scaled as
    if it had that, so that a uniform patch gets a uniform color. In nearly empty background, noise
    and JPEG blocks become visible: they are all the structure there is.
    """
    lab = to_lab(patch)
    own = statistics(lab)
    gain = target[3:] / np.maximum(own[3:], FLOOR)
    matrix = np.column_stack([np.diag(gain), target[:3] - gain * own[:3]])
    rgb = cv2.cvtColor(cv2.transform(lab, matrix), cv2.COLOR_LAB2RGB)
    return quantize(255 * rgb)
