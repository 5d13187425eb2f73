"""Noise: whether classes differ in noise, beyond what tissue explains."""

from __future__ import annotations

from harness import Audit, Finding
from harness_bias.audit import families

BLIND = (
    "noise of less than about 1 gray level, noise that was there before lossy compression took it "
    "away, and the fixed pattern of a camera"
)


def measure(audit: Audit) -> Finding:
    """Whether classes differ as by added noise, in either split.

    Noise raises the finest detail of quiet and of busy blocks, and of color more than of
    brightness; blur and compression lower one of them or both. What coarse structure explains is
    taken off (``harness_bias.audit.structure``), and the difference must look like planted noise
    (``harness_bias.audit.signatures``). Patches whose values were quantized, as gaps in their
    histograms show, are left out: rounding looks like noise.
    """
    return families.finding(audit, "noise", "noise", BLIND)
