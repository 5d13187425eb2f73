"""Faults of storage and of focus, planted with Pillow and SciPy, which no probe uses.

Each function takes one patch, uint8 RGB (H, W, 3), a level and a generator of random numbers, and
returns a new patch of the same shape. Level 0 changes nothing unless a docstring says otherwise.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Patch = NDArray[np.uint8]
Rng = np.random.Generator
MARGIN = 8
"""Pixels mirrored around a patch, so that a grid of blocks may begin anywhere in it."""


def coded(patch: Patch, form: str, **options: Any) -> Patch:
    """A patch encoded in a format of Pillow and decoded again."""
    file = io.BytesIO()
    Image.fromarray(patch).save(file, form, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def shifted(patch: Patch, form: str, rng: Rng, **options: Any) -> Patch:
    """``coded`` on a grid of blocks that begins anywhere."""
    height, width = patch.shape[:2]
    y, x = rng.integers(0, MARGIN, 2)
    padded = np.pad(patch, ((y, MARGIN - y), (x, MARGIN - x), (0, 0)), mode="reflect")
    return coded(padded, form, **options)[y : y + height, x : x + width]


def jpeg(patch: Patch, loss: float, rng: Rng) -> Patch:
    """JPEG of a quality that is ``loss`` below 100, chroma subsampled both ways, grid anywhere."""
    if not loss:
        return patch
    return shifted(patch, "JPEG", rng, quality=round(100 - loss), subsampling="4:2:0")


def aligned_jpeg(patch: Patch, loss: float, rng: Rng) -> Patch:
    """JPEG whose grid begins at the corner of the patch."""
    if not loss:
        return patch
    return coded(patch, "JPEG", quality=round(100 - loss), subsampling="4:2:0")


def chroma(patch: Patch, level: float, rng: Rng) -> Patch:
    """JPEG of quality 90 with chroma at full resolution (0), halved across (1) or both ways (2)."""
    kind = ("4:4:4", "4:2:2", "4:2:0")[round(level)]
    return shifted(patch, "JPEG", rng, quality=90, subsampling=kind)


def webp(patch: Patch, loss: float, rng: Rng) -> Patch:
    """WebP of a quality that is ``loss`` below 100."""
    if not loss:
        return patch
    return shifted(patch, "WEBP", rng, quality=round(100 - loss), method=2)


def avif(patch: Patch, loss: float, rng: Rng) -> Patch:
    """AVIF of a quality that is ``loss`` below 100."""
    if not loss:
        return patch
    return shifted(patch, "AVIF", rng, quality=round(100 - loss), speed=9, max_threads=1)


def jpeg2000(patch: Patch, ratio: float, rng: Rng) -> Patch:
    """JPEG 2000 with the 9/7 wavelet, this many times smaller than the pixels; 0 or 1: lossless."""
    if ratio <= 1:
        return patch
    options = {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": True}
    return shifted(patch, "JPEG2000", rng, **options)


def jpeg2000_53(patch: Patch, ratio: float, rng: Rng) -> Patch:
    """JPEG 2000 with the 5/3 wavelet, this many times smaller than the pixels; 0 or 1: lossless."""
    if ratio <= 1:
        return patch
    options = {"quality_mode": "rates", "quality_layers": [ratio], "irreversible": False}
    return shifted(patch, "JPEG2000", rng, **options)


def resized(patch: Patch, share: float, rng: Rng) -> Patch:
    """Shrunk to this share of its size and enlarged again, bicubically; 1: as it is."""
    if share >= 1:
        return patch
    height, width = patch.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    image = Image.fromarray(patch)
    way = Image.Resampling.BICUBIC
    return np.asarray(image.resize(small, way).resize((width, height), way))


def enlarged(patch: Patch, factor: float, rng: Rng) -> Patch:
    """The middle enlarged by a factor, as from a scan of another resolution; 0 or 1: not."""
    if factor <= 1:
        return patch
    return _enlarged(patch, factor, Image.Resampling.BILINEAR)


def _enlarged(patch: Patch, factor: float, way: Image.Resampling) -> Patch:
    height, width = patch.shape[:2]
    y, x = (side * (1 - 1 / factor) / 2 for side in (height, width))
    box = (x, y, width - x, height - y)
    return np.asarray(Image.fromarray(patch).resize((width, height), way, box=box))


def lanczos(patch: Patch, factor: float, rng: Rng) -> Patch:
    """``enlarged`` by Lanczos' filter, which blurs little; 0 or 1: not."""
    if factor <= 1:
        return patch
    return _enlarged(patch, factor, Image.Resampling.LANCZOS)


def blurred(patch: Patch, sigma: float, rng: Rng) -> Patch:
    """Gaussian blur with a standard deviation in pixels."""
    return rounded(ndimage.gaussian_filter(patch.astype(np.float64), (sigma, sigma, 0)))


def sharpened(patch: Patch, amount: float, rng: Rng) -> Patch:
    """Unsharp mask: what a Gaussian blur of 1 pixel takes away is added, times an amount."""
    values = patch.astype(np.float64)
    return rounded(values + amount * (values - ndimage.gaussian_filter(values, (1, 1, 0))))


def noisy(patch: Patch, sigma: float, rng: Rng) -> Patch:
    """Gaussian noise of a standard deviation in gray levels, in each channel on its own."""
    return rounded(patch + rng.normal(0, sigma, patch.shape)) if sigma else patch


def gray_noise(patch: Patch, sigma: float, rng: Rng) -> Patch:
    """The same, but alike in the three channels."""
    return rounded(patch + rng.normal(0, sigma, (*patch.shape[:2], 1))) if sigma else patch


def camera(patch: Patch, percent: float, rng: Rng) -> Patch:
    """Values multiplied by the fixed pattern of a sensor, each channel by its own.

    ``percent`` is its standard deviation; a level below 0 is that of another camera.
    """
    if not percent:
        return patch
    return rounded(patch * (1 + abs(percent) / 100 * _sensor(patch.shape, percent < 0)))


@cache
def _sensor(shape: tuple[int, ...], number: int) -> NDArray[np.float64]:
    return np.random.default_rng(number).standard_normal(shape)


def despeckled(patch: Patch, side: float, rng: Rng) -> Patch:
    """The median of each square of so many pixels a side, channel by channel."""
    side = round(side)
    if side <= 1:
        return patch
    filtered: Patch = ndimage.median_filter(patch, (side, side, 1))
    return filtered


def moved(patch: Patch, pixels: float, rng: Rng) -> Patch:
    """Blur of a slide that moved along the rows by so many pixels."""
    if pixels <= 1:
        return patch
    # Halves are rounded up: means of an even number of values would be even ones above all if they
    # were rounded to even, which is a tone curve.
    moved = ndimage.uniform_filter1d(patch.astype(np.float64), round(pixels), axis=1)
    return rounded(np.floor(moved + 0.5))


def rounded(values: NDArray[Any]) -> Patch:
    """Gray levels of any kind as a patch."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
