"""Faults one after the other, faults of a part of a class, and faults by another scale."""

from __future__ import annotations

from harness_faults import color, normalization, storage
from harness_faults.storage import Patch, Rng


def jpeg_stained(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then each stain changed at random by up to a tenth."""
    return color.stain_jitter(storage.jpeg(patch, loss, rng), 0.1, rng)


def jpeg_resized(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then shrunk to 0.9 and enlarged again."""
    return storage.resized(storage.jpeg(patch, loss, rng), 0.9, rng)


def jpeg_twice(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then JPEG of quality 85 on another grid."""
    return storage.jpeg(storage.jpeg(patch, loss, rng), 15, rng)


def jpeg_normalized(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``color.macenko``."""
    return color.macenko(storage.jpeg(patch, loss, rng), 1, rng)


def jpeg_torchstain(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``normalization.torchstain``."""
    return normalization.torchstain(storage.jpeg(patch, loss, rng), 1, rng)


def jpeg_to_ruifrok(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``normalization.to_ruifrok``."""
    return normalization.to_ruifrok(storage.jpeg(patch, loss, rng), 1, rng)


def jpeg_to_mucosa(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``normalization.to_mucosa``."""
    return normalization.to_mucosa(storage.jpeg(patch, loss, rng), 1, rng)


def jpeg_to_tumor(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``normalization.to_tumor``."""
    return normalization.to_tumor(storage.jpeg(patch, loss, rng), 1, rng)


def jpeg_reinhard(patch: Patch, loss: float, rng: Rng) -> Patch:
    """``storage.jpeg``, then ``normalization.reinhard``."""
    return normalization.reinhard(storage.jpeg(patch, loss, rng), 1, rng)


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
