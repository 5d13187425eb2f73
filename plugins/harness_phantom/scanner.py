"""Scans of stained tissue: light through two stains, a lens and a sensor, the same for all."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_phantom.canvas import EXTENT, MARGIN, SIZE, Map, Rng, noise
from harness_phantom.tissue import TISSUES

UNIT = 1 / 256
"""A scan is stored as 16-bit fixed point: its values times this are intensities on 0..255."""

# Optical density per unit of stain in red, green and blue: hematoxylin and eosin of Ruifrok and
# Johnston, "Quantification of histochemical staining by color deconvolution", Analytical and
# Quantitative Cytology and Histology 23 (2001), as scikit-image rounds them.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], np.float32)
WHITE = 228.0
"""Intensity of the empty slide. Low enough that JPEG, which overshoots at edges beside it, hardly
reaches 255 even at a quality of 66; at 240 compressed patches also looked clipped."""
MOST = (2.3, 1.25)
"""Hematoxylin and eosin saturate here, so that the darkest channel stays above 8."""


@dataclass(frozen=True)
class Look:
    """How a laboratory stains and scans, and how large its patches are; the same for all."""

    white: float = WHITE
    """Intensity of the empty slide, 0 to 255."""
    stained: float = 1.0
    """How strong its stains are, of those of the tissues as they are described."""
    size: int = SIZE
    """Side of a patch in pixels, ``SIZE`` at most."""


def scan(label: int, rng: Rng, look: Look) -> NDArray[np.uint16]:
    """Render one scan of tissue ``label`` (an index into TISSUES), ``MARGIN`` wider than a patch.

    Returns uint16 RGB, (side, side, 3); times ``UNIT`` they are intensities within about 8..240, or
    up to 255 where the slide is brighter, at which the sensor saturates. Light is absorbed by Beer
    and Lambert's law in two stains. How strongly a patch is stained, its illumination, blur and
    noise are drawn alike for every tissue.
    """
    strength = look.stained * rng.uniform(0.9, 1.1, 2)
    grain = 1 + np.float32(0.15) * noise(rng, 1.6)
    stains = np.empty((EXTENT, EXTENT, 2), np.float32)
    for k, amount in enumerate(TISSUES[label](rng)):
        stained = np.maximum(amount, 0) * grain * np.float32(strength[k])
        stains[..., k] = MOST[k] * np.tanh(stained / np.float32(MOST[k]))
    lamp = (look.white * illumination(rng))[..., None]
    light = cv2.exp(cv2.transform(stains, -STAINS.T)) * lamp
    light = cv2.GaussianBlur(light, (0, 0), 0.6)
    # Shot noise grows with the root of the light.
    light += rng.standard_normal(light.shape, np.float32) * np.sqrt(light * 0.004 + 0.3)
    side = look.size + MARGIN
    return np.asarray(np.rint(np.minimum(light[:side, :side], 255) / UNIT), np.uint16)


def illumination(rng: Rng) -> Map:
    """Relative brightness of the lamp: one level and a slope across the field, both under 1 %."""
    ramp = np.linspace(-0.5, 0.5, EXTENT)
    down, right = rng.uniform(-0.006, 0.006, 2)
    level = 1 + rng.uniform(-0.004, 0.004)
    return np.asarray(level + down * ramp[:, None] + right * ramp, np.float32)
