"""The published augmentation, batched: torch on the training device, random numbers from NumPy.

Recipe: Ignatov and Malivenko, arXiv:2409.11546. On [0, 1] floats and in this order: each flip with
p 0.5; with p 0.3 Gaussian noise (sigma uniform in 0.01..0.2) or uniform noise (half-width uniform
in 0.02..0.15); with p 0.9 a gain uniform in 0.85..1.15 and then a shift uniform in ±0.15, per
channel; with p 0.3 a Gaussian or box blur with each kernel side drawn from 1, 3, 5, 7; then clip
and round to 8 bits. Here all of it is scaled by 255, so that rounding is the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NONE, GAUSSIAN, UNIFORM = 0, 1, 2
"""Kinds of noise; of blur, UNIFORM is the box."""

GAUSSIAN_TAPS = (
    (1.0,),
    (0.25, 0.5, 0.25),
    (0.0625, 0.25, 0.375, 0.25, 0.0625),
    (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
)
"""By radius, what OpenCV's GaussianBlur uses for sides up to 7 when sigma is 0."""

Words = Callable[[torch.Size], Tensor]
"""``words(shape)`` draws int16 of that shape, uniform over all values."""

REACH = 3
"""Largest radius of a blur."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What was drawn for n patches; ``spread`` and ``shift`` on the scale of 0 to 255."""

    vflip: NDArray[np.bool_]
    hflip: NDArray[np.bool_]
    noise: NDArray[np.int64]
    """(n,) kinds."""
    spread: NDArray[np.float32]
    """(n,) standard deviation of Gaussian noise, half-width of uniform noise."""
    gain: NDArray[np.float32]
    """(n, 3), 1 where the colors stay."""
    shift: NDArray[np.float32]
    """(n, 3), 0 where the colors stay."""
    blur: NDArray[np.int64]
    """(n,) kinds."""
    radii: NDArray[np.int64]
    """(n, 2) vertical and horizontal radius of the blur, 0 to 3; 0 where there is none."""

    def part(self, part: slice) -> Draws:
        """The draws of some of the patches."""
        return Draws(**{name: value[part] for name, value in vars(self).items()})


def draw(n: int, rng: np.random.Generator) -> Draws:
    """Draw for n patches."""
    noise = np.where(rng.random(n) < 0.3, rng.integers(GAUSSIAN, UNIFORM, n, endpoint=True), NONE)
    low, high = np.array([[0, 0], [0.01, 0.2], [0.02, 0.15]])[noise].T
    jitter = (rng.random(n) < 0.9)[:, None]
    blur = np.where(rng.random(n) < 0.3, rng.integers(GAUSSIAN, UNIFORM, n, endpoint=True), NONE)
    return Draws(
        vflip=rng.random(n) < 0.5,
        hflip=rng.random(n) < 0.5,
        noise=noise,
        spread=(255 * rng.uniform(low, high)).astype(np.float32),
        gain=np.where(jitter, rng.uniform(0.85, 1.15, (n, 3)), 1).astype(np.float32),
        shift=np.where(jitter, 255 * rng.uniform(-0.15, 0.15, (n, 3)), 0).astype(np.float32),
        blur=blur,
        radii=np.where(blur[:, None] == NONE, 0, rng.integers(0, REACH, (n, 2), endpoint=True)),
    )


def augment(images: Tensor, seed: Sequence[int]) -> Tensor:
    """Augment a batch, uint8 (B, H, W, 3) on any device, to float32 of whole numbers in 0..255.

    ``seed`` (say of the fit, the epoch and the batch) settles all that is drawn, on one kind of
    device and with any number of threads. H and W must be above 3.
    """
    rng = np.random.Generator(np.random.SFC64(seed))
    draws = draw(len(images), rng)
    # A processor works on one patch while that is in its cache; a GPU wants the batch at once.
    together = 1 if images.device.type == "cpu" else len(images)
    return apply(images, draws, word_source(rng, images.device), together)


def apply(images: Tensor, draws: Draws, words: Words, together: int) -> Tensor:
    """Do to a batch what was drawn, so many patches at a time; see ``augment``."""
    n, height, width, _ = images.shape
    gain = _tensor(np.tile(draws.gain, width)[:, None], images)
    shift = _tensor(np.tile(draws.shift, width)[:, None], images)
    augmented = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    for start in range(0, n, max(1, together)):
        part = slice(start, start + together)
        some = draws.part(part)
        x = _flip(images[part], some).float()
        x = _add_noise(x, some, words)
        # Rows of W * 3 numbers: a last axis of three would keep a processor from vectorizing.
        x = torch.addcmul(shift[part], x.view(-1, height, width * 3), gain[part])
        x = _blur(x.view(-1, height, width, 3), some)
        torch.round(x.clamp_(0, 255), out=augmented[part])
    return augmented


def _where(
    chosen: NDArray[np.bool_], x: Tensor, change: Callable[[Tensor, NDArray[np.bool_]], Tensor]
) -> Tensor:
    """Replace the chosen patches by ``change(patches, chosen)`` and do not touch the others."""
    if chosen.all():
        return change(x, chosen)
    if not chosen.any():
        return x
    index = _tensor(np.flatnonzero(chosen), x)
    return x.index_copy(0, index, change(x.index_select(0, index), chosen))


def _tensor(values: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device, non_blocking=True)


def _column(values: NDArray[np.float32], like: Tensor) -> Tensor:
    """Values, one row a patch, as a tensor that broadcasts over the patches' (H, W, 3)."""
    return _tensor(values, like).view(len(values), 1, 1, -1)


def _flip(images: Tensor, draws: Draws) -> Tensor:
    images = _where(draws.vflip, images, lambda x, _: x.flip(1))
    return _where(draws.hflip, images, lambda x, _: x.flip(2))


def _add_noise(images: Tensor, draws: Draws, words: Words) -> Tensor:
    def gaussian(x: Tensor, chosen: NDArray[np.bool_]) -> Tensor:
        index = words(x.shape).int().add_(1 << 15).view(-1)
        noise = _normal_quantiles(x.device).index_select(0, index).view_as(x)
        return x.addcmul(noise, _column(draws.spread[chosen], x))

    def uniform(x: Tensor, chosen: NDArray[np.bool_]) -> Tensor:
        noise = words(x.shape).float().add_(0.5)
        return x.addcmul(noise, _column(draws.spread[chosen] / np.float32(1 << 15), x))

    images = _where(draws.noise == GAUSSIAN, images, gaussian)
    return _where(draws.noise == UNIFORM, images, uniform)


def word_source(rng: np.random.Generator, device: torch.device) -> Words:
    """Random 16-bit words, finer than the 8 bits that everything is rounded to in the end.

    Random numbers are the main cost of this augmentation. On a processor, torch.randn takes three
    times as long as a word and a look-up in a table of normal quantiles.
    """
    if device.type == "cpu":
        return lambda shape: torch.from_numpy(
            rng.bit_generator.random_raw(-(-shape.numel() // 4)).view(np.int16)[: shape.numel()]
        ).view(shape)
    generator = torch.Generator(device)
    generator.manual_seed(int(rng.integers(1 << 62)))
    return lambda shape: torch.randint(
        -(1 << 15), 1 << 15, shape, dtype=torch.int16, device=device, generator=generator
    )


@cache
def _normal_quantiles(device: torch.device) -> Tensor:
    """Standard normal quantiles at the centers of 65536 equal steps, float32, within ±4.4."""
    centers = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    quantiles: Tensor = torch.special.ndtri(centers)
    return quantiles.float().to(device)


def _blur(images: Tensor, draws: Draws) -> Tensor:
    for axis in (1, 2):
        radii = draws.radii[:, axis - 1]

        def along_axis(
            x: Tensor,
            chosen: NDArray[np.bool_],
            axis: int = axis,
            radii: NDArray[np.int64] = radii,
        ) -> Tensor:
            taps = _taps(draws.blur[chosen], radii[chosen])
            return _correlate(x, _column(taps, x), axis)

        images = _where(radii > 0, images, along_axis)
    return images


def _taps(kinds: NDArray[np.int64], radii: NDArray[np.int64]) -> NDArray[np.float32]:
    """Kernels, one row a patch, as long as the longest of them."""
    reach = int(radii.max())
    taps = np.zeros((len(radii), 2 * reach + 1), np.float32)
    for row, kind, radius in zip(taps, kinds, radii, strict=True):
        inside = slice(reach - radius, reach + radius + 1)
        row[inside] = GAUSSIAN_TAPS[radius] if kind == GAUSSIAN else 1 / (2 * radius + 1)
    return taps


def _correlate(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Correlate along an axis with taps (n, 1, 1, 2 r + 1), mirrored at the border (reflect-101).

    Sums of shifted copies: on a processor, several times faster than torch's convolutions with a
    kernel this small.
    """
    size, reach = x.shape[axis], taps.shape[-1] // 2
    before = x.narrow(axis, 1, reach).flip(axis)
    after = x.narrow(axis, size - reach - 1, reach).flip(axis)
    padded = torch.cat([before, x, after], axis)
    total = padded.narrow(axis, 0, size) * taps[..., :1]
    for tap in range(1, taps.shape[-1]):
        total.addcmul_(padded.narrow(axis, tap, size), taps[..., tap : tap + 1])
    return total
