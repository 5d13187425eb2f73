"""Nine kinds of H&E-stained tissue that differ in structure, and only in structure."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from harness_phantom.canvas import (
    EXTENT,
    Map,
    Rng,
    bend,
    blobs,
    blur,
    fibers,
    noise,
    nuclei,
    paint,
    ridge,
    sample,
    scatter,
    step,
    under,
    uphill,
)

# Each returns the amounts of hematoxylin and eosin, float32 (EXTENT, EXTENT). Their many numbers
# are sizes in pixels of half a micrometer and amounts of stain, set by eye beside real patches.


def adipose(rng: Rng) -> tuple[Map, Map]:
    """Fat: large empty cells between thin walls, a few flat nuclei in the walls."""
    x, y = bend(rng, 60, 6)
    seeds = scatter(rng, rng.uniform(95, 150), 0.38)
    # Distances are smooth: a quarter of the pixels will do.
    distances = np.stack([np.hypot(x[::2, ::2] - a, y[::2, ::2] - b) for a, b in seeds])
    nearest = np.sort(np.partition(distances, 2, 0)[:3], 0)
    to_wall, to_corner = (
        np.asarray(cv2.resize(farther - nearest[0], (EXTENT, EXTENT)), np.float32)
        for farther in nearest[1:]
    )
    thick = np.exp(0.4 * noise(rng, 40)) * np.float32(rng.uniform(2.2, 3.8))
    thick *= 1 + 1.8 * np.exp(-to_corner / 12)
    wall = np.exp(-np.square(to_wall / thick))
    folds = fibers(rng, (x, y), rng.uniform(0, np.pi), 40, 3)
    # Torn membranes of cells above or below the plane of the cut.
    sheet = step(noise(rng, 60) + 0.04 * folds, rng.uniform(0.8, 1.7), 0.05)
    sheet *= 0.13 + 0.025 * folds + 0.12 * ridge(noise(rng, 30), 0.06)
    places = scatter(rng, 13, 0.4)
    places = places[(sample(wall, places) > 0.6) & (rng.random(len(places)) < 0.2)]
    along = uphill(to_wall, places) + np.pi / 2
    h = nuclei(rng, blobs(rng, places, rng.uniform(4, 8, len(places)), 2.8, along, 0.2), 1.3)
    strands = wall * (0.75 + 0.25 * folds)
    return h + 0.3 * strands + 0.2 * sheet, under(h, 0.7 * strands + sheet)


def background(rng: Rng) -> tuple[Map, Map]:
    """Empty slide: a trace of stain, dust, and rings of dust out of focus."""
    film = 0.012 * (1 + 0.4 * noise(rng, 40))
    dots = rng.uniform(0, EXTENT, (rng.integers(4, 16), 2))
    size = rng.gamma(2.0, 0.8, len(dots)) + 0.5
    dust = paint(blobs(rng, dots, size, 0.6 * size, rng.uniform(0, 3, len(dots)), 0.5), 1.0)
    dust = blur(dust, rng.uniform(0.5, 1.2))
    dots = rng.uniform(0, EXTENT, (rng.integers(1, 6), 2))
    disks = paint(blobs(rng, dots, rng.uniform(2, 5, len(dots)), 3.0, 0.0, 0.1), 1.0)
    rings = np.abs(blur(disks, 1.0) - blur(disks, 2.2))
    smudge = 0.06 * step(noise(rng, 30), 2.2, 0.3) * (1 + 0.4 * noise(rng, 4))
    return film + 0.7 * dust + 0.9 * rings + smudge, film + 0.35 * dust + 0.2 * rings + smudge


def debris(rng: Rng) -> tuple[Map, Map]:
    """Dead tissue: a smeared, granular mass with cracks and the dust of broken nuclei."""
    angle = rng.uniform(0, np.pi)
    at = bend(rng, 50, 9)
    mass = 0.58 + 0.06 * fibers(rng, at, angle, 30, 8) + 0.07 * noise(rng, 14)
    mass += 0.07 * noise(rng, 5) + 0.11 * noise(rng, 2.4)
    torn = fibers(rng, at, angle, 40, 13) + 0.45 * noise(rng, 10) + 0.12 * noise(rng, 4)
    crack = step(torn + 0.4 * noise(rng, 60), rng.uniform(1.7, 2.8), 0.12)
    mass *= 1 - 0.95 * crack
    places = scatter(rng, 8, 0.45)
    dusty = sample(noise(rng, 40), places) + rng.normal(0, 1.0, len(places))
    places = places[dusty > rng.uniform(1.0, 2.2)]
    size = rng.gamma(2.0, 0.7, len(places)) + 0.5
    turn = angle + rng.normal(0, 0.5, len(places))
    broken = nuclei(rng, blobs(rng, places, 1.5 * size, 0.8 * size, turn, 0.6), 1.3)
    broken = blur(broken, rng.uniform(0.6, 1.4))
    h = np.asarray(broken + rng.uniform(0.25, 0.6) * mass, np.float32)
    return h, under(broken, mass)


def lymphocytes(rng: Rng) -> tuple[Map, Map]:
    """Densely packed, small, round, dark nuclei in thin rims of cytoplasm."""
    places = scatter(rng, rng.uniform(12.5, 16.5), 0.3)
    crowd = sample(noise(rng, 50), places) + rng.normal(0, 0.5, len(places))
    places = places[crowd < rng.uniform(1.0, 2.6)]
    size = rng.normal(5.9, 0.6, len(places)).clip(4.3, 7.5)
    turn = rng.uniform(0, np.pi, len(places))
    rims = paint(blobs(rng, places, size + 2.4, size + 1.6, turn, 0.15), rng.uniform(0.25, 0.5))
    h = nuclei(rng, blobs(rng, places, size, 0.88 * size, turn, 0.15), 1.5, pale=0.15)
    weave = fibers(rng, bend(rng, 30, 6), rng.uniform(0, np.pi), 16, 3)
    ground = rng.uniform(0.02, 0.35) * (1 + 0.6 * weave)
    eosin = np.maximum(ground, rims) * (1 + 0.2 * noise(rng, 3))
    return h + 0.25 * rims + 0.1 * ground, under(h, eosin)


def mucus(rng: Rng) -> tuple[Map, Map]:
    """Mucus: a pale bluish ground with dark filaments and pink shreds along its flow."""
    angle = rng.uniform(0, np.pi)
    at = bend(rng, 50, 8)
    ground = 0.30 + 0.05 * noise(rng, 40) + 0.06 * noise(rng, 5) + 0.06 * noise(rng, 2.2)
    ground *= 1 - 0.4 * step(noise(rng, 26), 1.0, 0.15)
    threads = np.zeros_like(ground)
    for length, width, line in ((55, 11, 0.16), (40, 7, 0.16), (26, 5, 0.2)):
        path = fibers(rng, at, angle + rng.normal(0, 0.15), length, width)
        path += 0.2 * noise(rng, 8)
        threads = np.maximum(threads, ridge(path, line) * step(noise(rng, 24), 0.3, 0.4))
    shreds = step(fibers(rng, at, angle, 26, 4) + 0.3 * noise(rng, 5), 1.4, 0.2)
    shreds *= step(noise(rng, 40), rng.uniform(-0.2, 0.6), 0.3)
    places = scatter(rng, 36, 0.4)
    places = places[rng.random(len(places)) < 0.08]
    h = nuclei(rng, blobs(rng, places, 5, 3.5, rng.uniform(0, 3, len(places)), 0.2), 1.2)
    eosin = 0.10 + 0.28 * threads + 0.7 * shreds
    return h + ground + 0.65 * threads + 0.2 * shreds, under(h, eosin)


def muscle(rng: Rng) -> tuple[Map, Map]:
    """Smooth muscle: dense, parallel, pink fibers with long blunt nuclei along them."""
    angle = rng.uniform(0, np.pi)
    at = bend(rng, 90, 6)
    bundle = fibers(rng, at, angle, 120, 9)
    fine = fibers(rng, at, angle, 45, 2.4)
    cleft = step(fibers(rng, at, angle, 45, 8) + 0.25 * noise(rng, 6), rng.uniform(1.6, 2.4), 0.12)
    eosin = (0.70 + 0.08 * bundle + 0.12 * fine + 0.07 * noise(rng, 2.4)) * (1 - 0.9 * cleft)
    places = scatter(rng, rng.uniform(28, 38), 0.45)
    places = places[rng.random(len(places)) < 0.75]
    turn = angle + rng.normal(0, 0.09, len(places))
    long = rng.uniform(7, 16, len(places))
    short = rng.uniform(2.0, 3.4, len(places))
    h = nuclei(rng, blobs(rng, places, long, short, turn, 0.15), 0.95, pale=0.1)
    return h + (0.14 + 0.07 * fine) * eosin, under(h, eosin)


def stroma(rng: Rng) -> tuple[Map, Map]:
    """Stroma: loose, wavy collagen with gaps, and sparse spindle-shaped nuclei."""
    angle = rng.uniform(0, np.pi)
    x, y = at = bend(rng, 45, 6.5)
    wavy = fibers(rng, at, angle, 50, 6)
    fine = fibers(rng, at, angle, 28, 2.2)
    gaps = step(fibers(rng, at, angle, 40, 9) + 0.35 * noise(rng, 12), rng.uniform(0.5, 1.2), 0.2)
    eosin = (0.50 + 0.12 * wavy + 0.17 * fine) * (1 - 0.8 * gaps) + 0.04
    places = scatter(rng, rng.uniform(22, 32), 0.45)
    places = places[rng.random(len(places)) < 0.7]
    # Along the fibers: the direction in which the coordinate across them does not change.
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    turn = uphill(across, places) + np.pi / 2
    long = rng.uniform(4.5, 12, len(places))
    short = rng.uniform(1.7, 3.2, len(places))
    h = nuclei(rng, blobs(rng, places, long, short, turn, 0.25), 1.2)
    return h + 0.12 + 0.2 * eosin + 0.03 * fine, under(h, eosin)


def lamina(rng: Rng) -> tuple[Map, Map]:
    """Lamina propria, the loose tissue between glands: thin fibers, gaps, many small cells."""
    eosin = 0.38 * (1 + 0.4 * fibers(rng, bend(rng, 30, 5), rng.uniform(0, np.pi), 25, 3.5))
    eosin *= 1 - 0.85 * step(noise(rng, 16), 0.9, 0.15)
    places = scatter(rng, 13.5, 0.4)
    places = places[rng.random(len(places)) < 0.65]
    size = rng.uniform(3.6, 6.2, len(places))
    turn = rng.uniform(0, np.pi, len(places))
    h = nuclei(rng, blobs(rng, places, size, 0.7 * size, turn, 0.2), 1.3)
    return h + 0.1, under(h, eosin + 0.1 * step(blur(h, 3), 0.4, 0.3))


def mucosa(rng: Rng) -> tuple[Map, Map]:
    """Normal mucosa: regular glands with a lumen, goblet cells and a ring of basal nuclei."""
    spacing = rng.uniform(130, 180)
    centers = scatter(rng, spacing, 0.1)
    long = spacing * rng.uniform(0.42, 0.52, len(centers))
    short = spacing * rng.uniform(0.34, 0.42, len(centers))
    turn = rng.normal(rng.uniform(0, np.pi), 0.3, len(centers))
    rims = blobs(rng, centers, long, short, turn, 0.09)

    def shrunk(share: float) -> Map:
        """The glands at a share of their size: 0 outside, 1 inside."""
        middle = centers[:, None]
        return blur(paint(middle + (rims - middle) * share, 1.0), 1.2)

    inside, lumen = shrunk(1.0), shrunk(rng.uniform(0.14, 0.26))
    goblets, turn = radial(rng, centers, rims, 0.58, 25.0)
    filled = rng.random(len(goblets)) < rng.uniform(0.7, 0.95)
    size = rng.uniform(6.0, 8.5, filled.sum())
    drops = blobs(rng, goblets[filled], 1.8 * size, 0.9 * size, turn[filled], 0.12)
    drop = blur(paint(drops, 1.0), 0.9) * (1 - lumen)
    basal, turn = radial(rng, centers, rims, 0.88, 9.0)
    turn += rng.normal(0, 0.25, len(basal))
    size = rng.uniform(4.5, 7, len(basal))
    ring = nuclei(rng, blobs(rng, basal, size, 0.58 * size, turn, 0.15), 1.3)
    cytoplasm = inside * (1 - np.maximum(0.88 * drop, lumen)) * (1 + 0.15 * noise(rng, 4))
    # The walls between cells, where goblets touch.
    cytoplasm += 0.5 * np.abs(drop - blur(drop, 1.5))
    # A gap has opened around some of the glands.
    outside = (1 - inside) * (1 - shrunk(1.05) * np.clip(0.8 + 0.3 * noise(rng, 30), 0, 1))
    h, eosin = (amount * outside for amount in lamina(rng))
    return h + ring + 0.3 * cytoplasm + 0.12 * drop, under(ring, eosin + 0.55 * cytoplasm)


def radial(
    rng: Rng,
    centers: NDArray[np.float64],
    rims: NDArray[np.float64],
    share: float,
    spacing: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (M, 2) in rings around centers (N, 2), and the direction (M,) outward from them.

    They lie some way out to the rims (N, K, 2), about ``spacing`` apart as measured there.
    """
    rings = []
    for center, rim in zip(centers, rims, strict=True):
        length = np.hypot(*(np.roll(rim, -1, 0) - rim).T).sum()
        n = int(length / spacing)
        where = (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / n * len(rim)
        corners = np.arange(len(rim))
        spokes = [np.interp(where, corners, v, period=len(rim)) for v in (rim - center).T]
        rings.append(
            np.column_stack(
                [
                    *(center + np.stack(spokes, -1) * rng.normal(share, 0.025, (n, 1))).T,
                    np.arctan2(spokes[1], spokes[0]),
                ]
            )
        )
    places = np.concatenate(rings)
    return places[:, :2], places[:, 2]


def tumor(rng: Rng) -> tuple[Map, Map]:
    """Tumor: crowded, large, irregular nuclei, around the lumen of distorted glands."""
    field = noise(rng, 65) + 0.2 * noise(rng, 20)
    brink = rng.uniform(1.2, 2.4)
    lumen = step(field, brink, 0.05)
    strand = ridge(noise(rng, 70) + 0.15 * noise(rng, 18), rng.uniform(0.04, 0.16))
    strand *= step(field, brink - 0.6, -0.2)
    spacing = rng.uniform(15.5, 19)
    places = scatter(rng, spacing, 0.3)
    inside = (sample(field, places) < brink - 0.3) & (sample(strand, places) < 0.5)
    places = places[inside & (rng.random(len(places)) < 0.95)]
    # Nuclei point to the lumen of their gland.
    turn = uphill(field, places) + rng.normal(0, 0.5, len(places))
    long = rng.normal(0.5 * spacing, 1.0, len(places)).clip(5.5, 11)
    short = long * rng.uniform(0.55, 0.8, len(places))
    shapes = blobs(rng, places, long, short, turn, 0.25)
    h = nuclei(rng, shapes, 1.25, pale=0.4, nucleoli=True)
    cytoplasm = (0.55 + 0.14 * noise(rng, 9) + 0.10 * noise(rng, 3)) * (1 - strand)
    cytoplasm *= 1 - 0.8 * step(noise(rng, 9), 1.9, 0.2)
    collagen = 0.5 * strand * (1 + 0.4 * fibers(rng, bend(rng, 30, 6), rng.uniform(0, 3), 25, 3))
    rest = 1 - lumen
    return h + 0.4 * cytoplasm * rest, under(h, (cytoplasm + collagen) * rest)


TISSUES: tuple[Callable[[Rng], tuple[Map, Map]], ...] = (
    adipose,
    background,
    debris,
    lymphocytes,
    mucus,
    muscle,
    mucosa,
    stroma,
    tumor,
)
"""In the order of the classes: ADI BACK DEB LYM MUC MUS NORM STR TUM."""
