"""Random stain normalization: a patch given color statistics drawn from those of a dataset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness_perturbations.transfer import color_transfer

# Of the authors' colorectal patches, in OpenCV's 8-bit CIELAB: mean and standard deviation, over
# patches, of the mean of each channel within a patch, and of its standard deviation. Published in
# github.com/yiqings/RandStainNA, classification/norm_jitter/CRC.
MEANS = np.array([[158.033, 48.792], [151.187, 10.958], [116.812, 6.643]])
DEVIATIONS = np.array([[36.899, 14.383], [8.134, 2.822], [6.129, 2.013]])
# 8-bit values to L in 0..100 and a, b about 0.
UNIT = np.array([100 / 255, 1, 1])
ZERO = np.array([0, 128, 128])
# Draws are cut at so many standard deviations, so that no channel is turned over.
CUT = 2.0


def randstainna(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Give the patch a mean and a standard deviation in CIELAB that are drawn from ``rng``.

    Shen et al., MICCAI 2022 (arXiv:2206.12694), with their statistics of colorectal patches. The
    six numbers are normally distributed about the means over the dataset, with a standard deviation
    of ``level`` times that over the dataset, and cut at twice that. Even at level 0 a patch is
    normalized, to the means, so that the weakest level is plain to see. The patch is changed as by
    ``transfer.color_transfer``.
    """
    drawn = np.clip(rng.standard_normal((2, 3)), -CUT, CUT) * level
    mean = UNIT * (MEANS[:, 0] + MEANS[:, 1] * drawn[0] - ZERO)
    deviation = UNIT * (DEVIATIONS[:, 0] + DEVIATIONS[:, 1] * drawn[1])
    return color_transfer(patch, 0, None, np.concatenate([mean, deviation]))
