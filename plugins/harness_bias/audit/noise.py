"""Noise: whether classes differ in noise, beyond what tissue explains."""

from __future__ import annotations

from harness import Audit, Finding
from harness_bias.audit import families, pattern

BLIND = (
    "noise of less than about 1 gray level, noise or patterns that were there before lossy "
    "compression took them away, and the fixed pattern of a camera where patches do not lie alike "
    "on its sensor, were mirrored or have less than 96 pixels a side, or where it is one of rows "
    "or columns, as of a line scanner"
)


def measure(audit: Audit) -> Finding:
    """Whether classes differ as by added noise, in either split.

    Noise raises the finest detail of quiet and of busy blocks, and of color more than of
    brightness; blur and compression lower one of them or both. What coarse structure explains is
    taken off (``harness_bias.audit.structure``), and the difference must look like planted noise
    (``harness_bias.audit.signatures``). Patches whose values were quantized, as gaps in their
    histograms show, are left out: rounding looks like noise.

    Or whether patches of one class share a fixed pattern that those of others lack, as those of one
    camera do (``harness_bias.audit.pattern``).
    """
    return families.finding(audit, "noise", "noise", BLIND, pattern.look(audit))
