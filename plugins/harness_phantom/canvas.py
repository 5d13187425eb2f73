"""Textures and shapes on a square canvas, of which tissues are put together."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Rng = np.random.Generator

SIZE = 224
MARGIN = 8
"""Pixels rendered beyond a patch, so that it can be cut out at any phase of JPEG's 8-pixel grid."""
EXTENT = SIZE + MARGIN

# --- textures ---


def noise(rng: Rng, scale: float) -> Map:
    """Smooth random field with structures of about ``scale`` pixels, mean 0, deviation near 1."""
    if scale < 6:  # Interpolated, so fine a grid would show.
        sigma = scale / 2.5
        white = rng.standard_normal((EXTENT, EXTENT), np.float32)
        blurred = cv2.GaussianBlur(white, (0, 0), sigma)
        return np.asarray(blurred * np.float32(2 * sigma * np.pi**0.5), np.float32)
    n = int(np.ceil(EXTENT / scale)) + 4
    coarse = rng.standard_normal((n, n), np.float32)
    right, down = rng.uniform(1, 2, 2)
    to_coarse = np.array([[1 / scale, 0, right], [0, 1 / scale, down]])
    field = cv2.warpAffine(
        coarse, to_coarse, (EXTENT, EXTENT), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(field * np.float32(1.3), np.float32)


def bend(rng: Rng, scale: float, amount: float) -> tuple[Map, Map]:
    """Pixel coordinates x and y, displaced smoothly by about ``amount`` pixels."""
    y, x = np.mgrid[:EXTENT, :EXTENT].astype(np.float32)
    return x + amount * noise(rng, scale), y + amount * noise(rng, scale)


def fibers(rng: Rng, at: tuple[Map, Map], angle: float, length: float, width: float) -> Map:
    """Random field drawn out along ``angle``: strands of ``length`` by ``width`` pixels.

    ``at`` are pixel coordinates; bent ones give wavy strands.
    """
    x, y = at
    texture = rng.standard_normal((128, 128), np.float32)
    c, s = np.cos(angle), np.sin(angle)
    u = np.asarray((x * c + y * s) / length + 64, np.float32)
    v = np.asarray((y * c - x * s) / width + 64, np.float32)
    field = cv2.remap(texture, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    return np.asarray(field, np.float32) * np.float32(1.3)


def ridge(field: Map, width: float) -> Map:
    """Thin lines, 0..1, along which a random field is zero."""
    return np.asarray(np.exp(-np.square(field / np.float32(width))), np.float32)


def step(field: Map, at: float, width: float) -> Map:
    """0 where a field is well below ``at``, 1 well above, in between smooth."""
    return np.asarray(0.5 + 0.5 * np.tanh((field - np.float32(at)) / np.float32(width)), np.float32)


def blur(field: Map, sigma: float) -> Map:
    """A field smoothed by a Gaussian of this deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


# --- shapes ---


def scatter(rng: Rng, spacing: float, jitter: float = 0.25) -> NDArray[np.float64]:
    """Points (N, 2) about ``spacing`` apart, on a hexagonal grid shaken by a share of it."""
    n = int(EXTENT / spacing) + 5
    row, column = np.mgrid[:n, :n].astype(float)
    points = np.stack([column + 0.5 * (row % 2), row * 0.87], -1).reshape(-1, 2)
    points += rng.uniform(-2, -1, 2) + rng.uniform(-jitter, jitter, points.shape)
    points *= spacing
    return points[((points > -spacing) & (points < EXTENT + spacing)).all(1)]


def sample(field: Map, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a field at points (N, 2), those outside taken at the nearest edge."""
    x, y = np.clip(np.rint(points), 0, EXTENT - 1).astype(int).T
    return np.asarray(field[y, x], np.float64)


def uphill(field: Map, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions (N,), in radians, in which a field rises at points (N, 2)."""
    down, right = (sample(np.asarray(g, np.float32), points) for g in np.gradient(field))
    return np.asarray(np.arctan2(down, right))


def blobs(
    rng: Rng,
    centers: NDArray[np.float64],
    long: float | NDArray[np.float64],
    short: float | NDArray[np.float64],
    angle: float | NDArray[np.float64],
    wobble: float,
) -> NDArray[np.float64]:
    """Outlines (N, 24, 2) of ellipses with these radii that wobble by a share of their size."""
    n = len(centers)
    phi = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.ones((n, len(phi)))
    for waves in (2, 3, 5):
        phase = rng.uniform(0, 2 * np.pi, (n, 1))
        radius += wobble / waves * rng.normal(size=(n, 1)) * np.cos(waves * phi + phase)
    u = radius * np.cos(phi) * np.reshape(long, (-1, 1))
    v = radius * np.sin(phi) * np.reshape(short, (-1, 1))
    c, s = np.cos(np.reshape(angle, (-1, 1))), np.sin(np.reshape(angle, (-1, 1)))
    return np.asarray(np.stack([u * c - v * s, u * s + v * c], -1) + centers[:, None])


FINE = 4
"""Bits below a pixel to which outlines are placed."""


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points as OpenCV's fixed-point integers with ``FINE`` bits below a pixel."""
    return np.asarray(np.rint(points * 2**FINE), np.int32)


def paint(outlines: NDArray[np.float64], amounts: float | NDArray[np.float64]) -> Map:
    """Fill outlines (N, K, 2), later ones over earlier ones, each with its amount (0 to 4)."""
    canvas = np.zeros((EXTENT, EXTENT), np.uint8)
    levels = np.rint(np.broadcast_to(amounts, len(outlines)) * 63).astype(int).tolist()
    for outline, level in zip(fixed(outlines), levels, strict=True):
        cv2.fillPoly(canvas, [outline], level, cv2.LINE_AA, FINE)
    return canvas * np.float32(1 / 63)


def nuclei(
    rng: Rng,
    outlines: NDArray[np.float64],
    amount: float,
    *,
    pale: float = 0.0,
    nucleoli: bool = False,
) -> Map:
    """Hematoxylin of nuclei with these outlines (N, K, 2): chromatin, a rim and nucleoli.

    ``pale`` says how much less there is inside than at the rim, 0 to 1.
    """
    canvas = np.zeros((EXTENT, EXTENT), np.uint8)
    scale = 80
    levels = amount * scale * rng.uniform(0.75, 1.2, len(outlines))
    spots = outlines.mean(1) + rng.normal(0, 1.5, (len(outlines), 2))
    for outline, spot, level in zip(fixed(outlines), fixed(spots), levels.tolist(), strict=True):
        cv2.fillPoly(canvas, [outline], int(level * (1 - pale)), cv2.LINE_AA, FINE)
        cv2.polylines(canvas, [outline], True, int(level), 1, cv2.LINE_AA, FINE)
        if nucleoli:
            cv2.circle(canvas, spot.tolist(), 22, int(1.3 * level), -1, cv2.LINE_AA, FINE)
    chromatin = 1 + np.float32(0.25) * noise(rng, 3)
    return np.asarray(canvas * np.clip(chromatin, 0.3, 1.7) / np.float32(scale), np.float32)


def under(layer: Map, eosin: Map) -> Map:
    """Eosin where nuclei lie over it: mostly hidden, but nuclei take up some of their own."""
    return eosin * (1 - np.float32(0.5) * np.minimum(layer * 2, 1)) + np.float32(0.26) * layer
