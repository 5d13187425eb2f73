"""Terms of statistics and imaging, explained where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

TERMS = {
    r"balanced accuracy": "Balanced accuracy: the mean over classes of the share of a class that "
    "is recognized; a guess reaches one divided by the number of classes (chance).",
    r"\bSD\b": "SD: standard deviation, how much patches vary around their mean.",
    r"\bp \d|, p\b|^p$": "p: how often chance alone would give a difference as large.",
    r"optical density|\bOD\b": "Optical density (OD): how much light a stain absorbs, the negative "
    "logarithm of the share that comes through.",
    r"cross-validated": "Cross-validated: each patch is predicted by a model that has not seen it.",
    r"blockiness": "Blockiness: how much stronger steps are at the borders of the 8 by 8 pixel "
    "blocks of JPEG than elsewhere; 1 is none.",
    r"quartile": "Quartiles: a quarter of the patches lies below the lower one, a quarter above "
    "the upper one.",
    r"cycles per pixel": "Cycles per pixel: how fine a pattern is; 0.5 is the finest that pixels "
    "can show.",
    r"\bcomb\b": "Comb: gray levels that no pixel has, between levels that many have, as contrast "
    "stretching leaves them.",
    r"wrap-?a?round": "Wraparound: values beyond 255 that begin again at 0.",
    r"design effect": "Design effect: by what factor patches of one patient make variances larger "
    "than independent patches would.",
    r"\bmCE\b": "mCE: mean corruption error, the mean over kinds of change of the error divided by "
    "that of a reference model (Hendrycks and Dietterich 2019).",
    r"error consistency": "Error consistency: how much more often two models are right and wrong "
    "on the same patches than chance would have it (Cohen's kappa; Geirhos and others 2020).",
}
"""By a pattern of the words that need it."""


def explained(texts: Iterable[str]) -> list[str]:
    """A sentence for each term that any of the texts uses, in the order of ``TERMS``."""
    kept = list(texts)
    return [
        sentence
        for pattern, sentence in TERMS.items()
        if any(re.search(pattern, text, re.IGNORECASE) for text in kept)
    ]
