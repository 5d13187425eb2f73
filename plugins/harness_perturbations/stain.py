"""Perturbations of staining: stains jittered, and Macenko normalization."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import hed_from_rgb, rgb_from_hed
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

from harness_perturbations.pixels import quantize

# Gray levels plus 1, so that black has an optical density; torchstain does the same.
LOG = np.log(np.arange(1.0, 257.0)).astype(np.float32)
# Light where there is no tissue, and the optical density that tissue has at least in all three
# channels: the defaults of the method.
LIGHT = 240
TISSUE_DENSITY = 0.15
# The greatest gray level with that density.
BRIGHTEST = int(LIGHT * np.exp(-TISSUE_DENSITY) - 1)
# Of 329 real patches ten have less: one of fat and one of mucus hardly stained, one of empty
# background, and seven corrupted ones, whose estimated stains were worthless. Other fat has 0.07.
MIN_TISSUE = 0.06
# Stains less than about a degree apart are one stain. Real patches reach 21 (background).
MAX_CONDITION = 100
# Weaker stains would be amplified more than tenfold, and with them the noise.
MIN_AMOUNT = 0.1


def jitter(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vary hematoxylin, eosin and the residual (DAB) stain at random, for the patch as a whole.

    After Tellez et al. (IEEE TMI 2018, arXiv:1808.05896); levels of 0.05 and 0.2 are the ranges of
    their HED-light and HED-strong (MedIA 2019, arXiv:1902.06543). Optical density, in natural
    logarithms, is separated with the matrix of Ruifrok and Johnston as scikit-image has it; each
    stain is multiplied by a factor uniform in 1 - level .. 1 + level, a shift uniform in
    -level .. level is added, and the stains are put together again. The six numbers are drawn from
    ``rng``. Unlike ``skimage.color.rgb2hed`` this keeps negative amounts of stain, so that without
    jitter the patch would stay as it is, and it takes gray levels plus 1, so that black has a
    density. Clips.
    """
    factors = rng.uniform(1 - level, 1 + level, 3)
    shifts = rng.uniform(-level, level, 3)
    matrix = (hed_from_rgb @ np.diag(factors) @ rgb_from_hed).T
    return quantize(_change_density(patch, 256, matrix, shifts @ rgb_from_hed) - 1)


def macenko(
    patch: NDArray[np.uint8], level: float = 1, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Normalize the stains to torchstain's built-in reference; ``level`` means nothing.

    Macenko et al., ISBI 2009 (doi:10.1109/ISBI.2009.5193250). torchstain estimates the stains of
    the patch; the result is within one gray level of torchstain's, which truncates. A patch stays
    as it is where its stains are not defined: when less than ``MIN_TISSUE`` of it is tissue, or
    when there are not two stains to distinguish. Background that is not bright counts as tissue and
    takes on color, as it does in any other use of the method.
    """
    stains = _stains(patch)
    if stains is None:
        return patch.copy()
    vectors, amounts = stains
    reference = NumpyMacenkoNormalizer()
    scale = np.diag(reference.maxCRef / amounts)
    matrix = reference.HERef @ scale @ np.linalg.pinv(vectors)
    return quantize(_change_density(patch, LIGHT, matrix))


def _stains(
    patch: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Stain vectors (3, 2) and their 99th percentiles (2,), or None where they are not defined."""
    tissue = cv2.inRange(patch, (0, 0, 0), (BRIGHTEST, BRIGHTEST, BRIGHTEST)) > 0
    if tissue.mean() < MIN_TISSUE:
        return None
    normalizer = NumpyMacenkoNormalizer()
    try:
        with np.errstate(divide="raise", invalid="raise"):
            normalizer.fit(patch, Io=LIGHT, beta=TISSUE_DENSITY)
    except (np.linalg.LinAlgError, FloatingPointError):
        return None
    vectors, amounts = normalizer.HERef, normalizer.maxCRef
    if np.linalg.cond(vectors) > MAX_CONDITION or amounts.min() < MIN_AMOUNT:
        return None
    return vectors, amounts


def _change_density(
    patch: NDArray[np.uint8],
    light: float,
    matrix: NDArray[np.float64],
    shift: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float32]:
    """Light left after a matrix (3, 3) and a shift (3,) are applied to the optical density.

    Density is log(light) - log(value + 1), so what is affine in it is affine in the logarithm.
    """
    offset = np.log(light) * (1 - matrix.sum(axis=1)) - shift
    logs = cv2.transform(cv2.LUT(patch, LOG), np.column_stack([matrix, offset]))
    return np.asarray(cv2.exp(logs), np.float32)
