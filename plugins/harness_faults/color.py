"""Faults of color, tone and frame, and normalization of stains, planted with NumPy alone."""

from __future__ import annotations

import numpy as np
from PIL import Image

from harness_faults.storage import Patch, Rng, rounded

# Optical densities of hematoxylin and eosin: Ruifrok and Johnston, Analytical and Quantitative
# Cytology and Histology 23, 2001.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
STAINS /= np.linalg.norm(STAINS, axis=1, keepdims=True)
WHITE = 240.0
"""Intensity of the empty slide in the normalization of Macenko and others."""
# What other tools normalize to: stain vectors (2, 3) and densities that 99 % of the pixels stay
# below. The first are those of Macenko's own code, which torchstain and staintools took over.
REFERENCE = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
STRONGEST = np.array([1.9705, 1.0308])
GRAY = np.array([0.299, 0.587, 0.114])


def cast(patch: Patch, levels: float, rng: Rng) -> Patch:
    """Red raised and blue lowered by so many gray levels."""
    return rounded(patch + np.array([levels, 0.0, -levels]))


def white_balance(patch: Patch, share: float, rng: Rng) -> Patch:
    """Red brighter and blue darker by a share of each value."""
    return rounded(patch * np.array([1 + share, 1, 1 - share]))


def saturated(patch: Patch, change: float, rng: Rng) -> Patch:
    """Distance of colors from gray larger by a share."""
    gray = (patch @ GRAY)[..., None]
    return rounded(gray + (1 + change) * (patch - gray))


def brightened(patch: Patch, levels: float, rng: Rng) -> Patch:
    """All values raised by so many gray levels."""
    return rounded(patch + np.float64(levels))


def gamma(patch: Patch, log2: float, rng: Rng) -> Patch:
    """A tone curve whose exponent is 2 to the power of the level."""
    return rounded(255 * (patch / 255.0) ** 2.0**log2)


def lit(patch: Patch, white: float, rng: Rng) -> Patch:
    """Brighter or darker by a factor that carries a white of ``WHITE`` to this; 0: as it is."""
    return rounded(patch * (white / WHITE)) if white else patch


def contrast(patch: Patch, change: float, rng: Rng) -> Patch:
    """Distance from the middle gray larger by a share."""
    return rounded(128 + (1 + change) * (patch - 128.0))


def capped(patch: Patch, levels: float, rng: Rng) -> Patch:
    """No value brighter than so many gray levels below 255."""
    return np.minimum(patch, np.uint8(round(255 - levels)))


def quantized(patch: Patch, bits: float, rng: Rng) -> Patch:
    """So many of the 8 bits of each value lost."""
    step = 2 ** round(bits)
    return rounded(patch // step * step + (step - 1) / 2) if step > 1 else patch


def palette(patch: Patch, level: float, rng: Rng) -> Patch:
    """No more than 256 colors in the patch; 0: as it is."""
    if not level:
        return patch
    return np.asarray(Image.fromarray(patch).quantize(256).convert("RGB"))


def inverted(patch: Patch, share: float, rng: Rng) -> Patch:
    """A share of the patches as their own negative."""
    return 255 - patch if rng.random() < share else patch


def restained(patch: Patch, change: float, rng: Rng) -> Patch:
    """Both stains stronger by a share, within the plane of the two; what is off it stays."""
    density = -np.log((patch + 1.0) / 256)
    amounts = density @ np.linalg.pinv(STAINS)
    return rounded(256 * np.exp(-(density + change * amounts @ STAINS)) - 1)


def stain_jitter(patch: Patch, size: float, rng: Rng) -> Patch:
    """Each stain changed at random, patch by patch, by up to a share and as much density."""
    density = -np.log((patch + 1.0) / 256)
    amounts = density @ np.linalg.pinv(STAINS)
    gain, offset = rng.uniform(-size, size, 2), rng.uniform(-size, size, 2) / 4
    return rounded(256 * np.exp(-(density + (amounts * gain + offset) @ STAINS)) - 1)


def random_gamma(patch: Patch, size: float, rng: Rng) -> Patch:
    """A tone curve drawn at random, patch by patch, its exponent within 2 to the plus or minus."""
    return gamma(patch, float(rng.uniform(-size, size)), rng)


def macenko(patch: Patch, level: float, rng: Rng) -> Patch:
    """Normalized on its own as Macenko and others (ISBI 2009) do; 0: as it is.

    The level is how strong stains become, 1 as in their reference. Patches with next to no tissue
    are left as they are.
    """
    if not level:
        return patch
    density = -np.log((patch.reshape(-1, 3) + 1.0) / WHITE)
    tissue = density[(density > 0.15).all(axis=1)]
    if len(tissue) < 100:
        return patch
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, [2, 1]]
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)
    angles = np.arctan2(*(tissue @ plane).T[::-1])
    ends = [plane @ np.array([np.cos(a), np.sin(a)]) for a in np.percentile(angles, (1, 99))]
    stains = np.array(sorted(ends, key=lambda stain: -stain[0]))  # hematoxylin absorbs more red
    amounts = density @ np.linalg.pinv(stains)
    strongest = np.percentile(amounts, 99, axis=0)
    amounts *= level * STRONGEST / np.maximum(strongest, 0.05)
    return rounded(WHITE * np.exp(-amounts @ REFERENCE)).reshape(patch.shape)


def border(patch: Patch, pixels: float, rng: Rng) -> Patch:
    """So many pixels at each side black."""
    width = round(pixels)
    if not width:
        return patch
    framed = np.zeros_like(patch)
    inside = slice(width, -width)
    framed[inside, inside] = patch[inside, inside]
    return framed


def mark(patch: Patch, side: float, rng: Rng) -> Patch:
    """A square of dark ink with so many pixels a side in one corner."""
    marked = patch.copy()
    marked[: round(side), : round(side)] = (20, 30, 90)
    return marked


def vignette(patch: Patch, loss: float, rng: Rng) -> Patch:
    """Light that falls off toward the corners, where a share of it is lost."""
    y, x = (np.linspace(-1, 1, side) for side in patch.shape[:2])
    fall = 1 - loss * (y[:, None] ** 2 + x**2) / 2
    return rounded(patch * fall[..., None]) if loss else patch


def watermark(patch: Patch, levels: float, rng: Rng) -> Patch:
    """A stripe across the middle brighter by so many gray levels."""
    marked = patch.astype(np.float64)
    rows = len(patch)
    marked[int(0.48 * rows) : int(0.52 * rows), rows // 4 : -rows // 4] += levels
    return rounded(marked)
