"""Color features of patches: means, hue, saturation, histograms, moments of optical density."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 16
SAMPLED = 4
"""Every how many rows and columns hue, saturation and optical density are read: these 3,136 pixels
of a patch of 224 settle its means to a hundredth of how much patches differ."""
DARKEST, BRIGHTEST = 5, 250
"""Optical density is read only where all channels lie in this range: elsewhere it is cut off."""

COLUMNS = (
    *("mean_r", "mean_g", "mean_b"),
    *("hue_x", "hue_y", "saturation"),
    *(f"{channel}{index:02}" for channel in "rgb" for index in range(BINS)),
    *("od_n", "od_r", "od_g", "od_b"),
    *("od_rr", "od_rg", "od_rb", "od_gg", "od_gb", "od_bb"),
)
MEANS, HUE, HISTOGRAM, DENSITY = slice(0, 3), slice(3, 6), slice(6, 54), slice(54, 64)

TOGETHER = 8
"""Patches whose sampled pixels go through OpenCV as one image; more would not fit the cache."""

# Half a level is added so that black has a finite density and white none.
_DENSITY_OF = -np.log((np.arange(256) + 0.5) / 255.5).astype(np.float32)


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Color features of uint8 RGB (B, H, W, 3): float32 (B, 64), named by ``COLUMNS``.

    - ``mean_*``: means over all pixels, 0..255;
    - ``hue_x``, ``hue_y``: mean cosine and sine of the hue angle, weighted by saturation, both 0
      if every pixel is gray; ``saturation``: mean of HSV saturation, 0..1;
    - ``r00`` to ``b15``: histograms over all pixels, 16 bins a channel, as shares of the pixels;
    - ``od_n``: share of pixels with all channels in 5..250, and over these the means of optical
      density -ln((v + 0.5) / 255.5) (``od_r`` ...) and of its products (``od_rr`` ...), from which
      a covariance follows; 0 if there are no such pixels.

    Hue, saturation and optical density are those of every ``SAMPLED`` pixel of as many rows.
    """
    features = np.empty((len(images), len(COLUMNS)), np.float32)
    counts = histograms(images) / (images.shape[1] * images.shape[2])
    features[:, MEANS] = counts @ np.arange(256)
    features[:, HISTOGRAM] = counts.reshape(len(images), 3 * BINS, -1).sum(axis=2)
    # Some patches at once: one call of OpenCV for each would keep threads waiting for each other.
    for start in range(0, len(images), TOGETHER):
        some = slice(start, start + TOGETHER)
        sparse = np.ascontiguousarray(images[some, ::SAMPLED, ::SAMPLED])
        features[some, HUE] = _hue(sparse)
        features[some, DENSITY] = _density(sparse)
    return features


def histograms(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How often each value occurs in each channel of (B, H, W, 3): float32 (B, 3, 256)."""
    counts = [
        cv2.calcHist([image], [channel], None, [256], [0, 256])
        for image in images
        for channel in range(3)
    ]
    return np.asarray(counts, np.float32).reshape(-1, 3, 256)


def _hue(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    n, _, width, _ = images.shape
    hsv = cv2.cvtColor(images.reshape(-1, width, 3).astype(np.float32), cv2.COLOR_RGB2HSV)
    hue, saturation, _ = cv2.split(hsv)
    x, y = cv2.polarToCart(saturation, hue, angleInDegrees=True)
    means = np.stack([part.reshape(n, -1).mean(axis=1) for part in (x, y, saturation)], axis=1)
    means[:, :2] /= np.maximum(means[:, 2:], np.finfo(np.float32).tiny)  # 0 where all is gray
    return means


def _density(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    n, _, width, _ = images.shape
    pixels = images.reshape(-1, width, 3)
    valid = cv2.inRange(pixels, (DARKEST,) * 3, (BRIGHTEST,) * 3)
    density = cv2.copyTo(cv2.LUT(pixels, _DENSITY_OF), valid)
    channels = [channel.reshape(n, -1) for channel in cv2.split(density)]
    sums = [channel.sum(axis=1) for channel in channels]
    for i, j in zip(*np.triu_indices(3), strict=True):
        sums.append(np.einsum("bp,bp->b", channels[i], channels[j]))
    count = np.count_nonzero(valid.reshape(n, -1), axis=1)
    means = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    return np.column_stack([count / channels[0].shape[1], means]).astype(np.float32)
