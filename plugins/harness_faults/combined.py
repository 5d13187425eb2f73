"""Faults one after the other, faults of a part of a class, and faults by another scale."""

from __future__ import annotations

from harness_faults import color, storage
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
