"""Sharpness: whether classes differ in focus, sharpening or scale, beyond what tissue explains."""

from __future__ import annotations

from harness import Audit, Finding
from harness_bias.audit import families, resampling

BLIND = (
    "a blur of less than about 0.4 px, blur that hides in what tissues differ, what differs only "
    "where less than a fifth of a patch has tissue, periodic traces of patches of less than 128 "
    "pixels a side, and those near the multiples of 1/8 cycles per pixel, where the grid of JPEG "
    "has its own: of patches enlarged up to 1.17, 1.29 to 1.38, 1.54 to 1.67 or 1.9 times and "
    "more, unless a harmonic or an enlarged grid of JPEG shows"
)


def measure(audit: Audit) -> Finding:
    """Whether classes differ as by blur, enlargement or sharpening, in either split.

    Fine detail is compared with the next coarser detail of the same blocks; what coarse structure
    explains of that is taken off (``harness_bias.audit.structure``). The flag says that classes
    differ in it beyond chance and beyond what tissues differ, and in the way that planted blur,
    enlargement or an unsharp mask makes them differ (``harness_bias.audit.signatures``).

    Or that patches of one class, and not of another, show periodic traces of one and the same
    frequency, as resampling by one factor leaves them (``harness_bias.audit.resampling``).
    """
    traces = resampling.look(audit)
    return families.finding(audit, "sharpness", "sharpness and scale", BLIND, traces)
