"""Faults one after the other, faults of a part of a class, and faults by another scale."""

from __future__ import annotations

from collections.abc import Callable

from harness_faults import color, normalization, storage
from harness_faults.storage import Patch, Rng

Plant = Callable[[Patch, float, Rng], Patch]


def _after_jpeg(then: Plant, level: float) -> Plant:
    """``storage.jpeg`` at the level that is asked for, then another fault at a fixed one."""

    def plant(patch: Patch, loss: float, rng: Rng) -> Patch:
        return then(storage.jpeg(patch, loss, rng), level, rng)

    return plant


jpeg_stained = _after_jpeg(color.stain_jitter, 0.1)
jpeg_resized = _after_jpeg(storage.resized, 0.9)
jpeg_twice = _after_jpeg(storage.jpeg, 15)
jpeg_normalized = _after_jpeg(color.macenko, 1)
jpeg_torchstain = _after_jpeg(normalization.torchstain, 1)
jpeg_to_ruifrok = _after_jpeg(normalization.to_ruifrok, 1)
jpeg_to_mucosa = _after_jpeg(normalization.to_mucosa, 1)
jpeg_to_tumor = _after_jpeg(normalization.to_tumor, 1)
jpeg_reinhard = _after_jpeg(normalization.reinhard, 1)


def lit_jpeg(patch: Patch, white: float, rng: Rng) -> Patch:
    """``color.lit``, then JPEG of quality 70."""
    return storage.jpeg(color.lit(patch, white, rng), 30, rng)


def jpeg_in_part(patch: Patch, share: float, rng: Rng) -> Patch:
    """JPEG of quality 85 in a share of the patches."""
    return storage.jpeg(patch, 15, rng) if rng.random() < share else patch


def enlarged(patch: Patch, more: float, rng: Rng) -> Patch:
    """``storage.enlarged`` by a factor that is so much above 1."""
    return storage.enlarged(patch, 1 + more, rng)


def lanczos(patch: Patch, more: float, rng: Rng) -> Patch:
    """``storage.lanczos`` by a factor that is so much above 1."""
    return storage.lanczos(patch, 1 + more, rng)


def resized(patch: Patch, lost: float, rng: Rng) -> Patch:
    """``storage.resized`` to what is left of the size."""
    return storage.resized(patch, 1 - lost, rng)
