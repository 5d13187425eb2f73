"""Unexplained trace: what a small network still finds where the named probes find nothing."""

from __future__ import annotations

import numpy as np

from harness import Audit, Finding
from harness_bias.audit import fine
from harness_bias.audit.predictability import compared, sentence, surest
from harness_bias.audit.structure import unexplained
from harness_bias.measure.fine import OF_STRUCTURE, OF_TRACES

FEATURES = "bias-residual"
BLIND = "anything coarser than 8 pixels, and whether what it finds is tissue"


def measure(audit: Audit) -> Finding:
    """How well residuals of shuffled blocks predict the class, and what of it has no name.

    The activations of ``harness_bias.measure.residual`` predict the class by a linear layer fitted
    to them; once as they are, and once without what coarse structure and the fine traces explain,
    which the probes of compression, sharpness and noise read. The latter is the unexplained trace.
    There is no flag: real tissues differ in it, too. It says where to look.
    """
    judged = np.concatenate([fine.judgeable(part) for part in audit.parts.values()])
    whole, left = [], []
    for part in audit.parts.values():
        values = part.values[FEATURES].astype(np.float64)
        known = part.values[fine.FEATURES][:, [*range(OF_TRACES.start, OF_STRUCTURE.stop)]]
        rows = fine.judgeable(part)
        own = np.zeros_like(values)
        if rows.any():
            own[rows] = unexplained(values[rows], known[rows].astype(np.float64))
        whole.append(values)
        left.append(own)
    by_all = compared(audit, np.concatenate(whole).astype(np.float32), judged, linear=True)
    by_left = compared(audit, np.concatenate(left).astype(np.float32), judged, linear=True)
    best = surest(by_left)
    return Finding(
        summary=f"unexplained trace in fine residuals {sentence(best)}; the whole of them "
        f"{sentence(surest(by_all))}",
        estimates=(
            *(score.estimate("residuals of blocks") for score in by_all),
            *(score.estimate("unexplained trace") for score in by_left),
        ),
        reading=best.value if best else None,
        blind=BLIND,
    )
