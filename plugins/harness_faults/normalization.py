"""Normalization of color as others' code does it: torchstain's, to several references.

Each function takes a patch, a level and a generator as those of ``storage`` do; at any level but 0
it normalizes the patch on its own. A patch on which the method fails, as one without tissue, is
left as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from harness_faults.color import STAINS, STRONGEST, WHITE
from harness_faults.storage import Patch, Rng

# Stain vectors (2, 3), and densities that 99 % of the pixels stay below, as torchstain fits them to
# patches of Kather 2016: 06_MUCOSA/1A62_CRC-Prim-HE-05.tif_Row_1201_Col_1501 and
# 01_TUMOR/1BAF_CRC-Prim-HE-03_009.tif_Row_151_Col_151, which is stained half as strongly again.
MUCOSA = np.array([[0.578, 0.699, 0.422], [0.358, 0.826, 0.435]]), np.array([2.049, 1.528])
TUMOR = np.array([[0.520, 0.748, 0.413], [0.249, 0.864, 0.438]]), np.array([3.257, 1.986])
MUCOSA_LAB = np.array([60.63, 18.35, -14.65]), np.array([17.02, 7.57, 5.78])
"""Means and deviations of L, a and b of the same patch of mucosa."""


LEAST_TISSUE = 100
"""Pixels of tissue below which torchstain warns or fails, as it tells no stains."""


def torchstain(patch: Patch, level: float, rng: Rng) -> Patch:
    """Macenko's method (ISBI 2009) to the reference that torchstain has built in."""
    return _macenko(patch, NumpyMacenkoNormalizer()) if level else patch


def to_ruifrok(patch: Patch, level: float, rng: Rng) -> Patch:
    """The same to the stains of Ruifrok and Johnston."""
    return _macenko(patch, _reference(STAINS, STRONGEST)) if level else patch


def to_mucosa(patch: Patch, level: float, rng: Rng) -> Patch:
    """The same to a patch of mucosa."""
    return _macenko(patch, _reference(*MUCOSA)) if level else patch


def to_tumor(patch: Patch, level: float, rng: Rng) -> Patch:
    """The same to a strongly stained patch of tumor."""
    return _macenko(patch, _reference(*TUMOR)) if level else patch


def reinhard(patch: Patch, level: float, rng: Rng) -> Patch:
    """Reinhard's method (IEEE Computer Graphics and Applications 21, 2001) to a patch of mucosa."""
    if not level or np.ptp(patch) == 0:
        return patch
    method = NumpyReinhardNormalizer()
    method.target_means, method.target_stds = MUCOSA_LAB
    return np.asarray(method.normalize(patch), np.uint8)


def _reference(
    vectors: NDArray[np.float64], strongest: NDArray[np.float64]
) -> NumpyMacenkoNormalizer:
    method = NumpyMacenkoNormalizer()
    method.HERef, method.maxCRef = vectors.T, strongest
    return method


def _macenko(patch: Patch, method: NumpyMacenkoNormalizer) -> Patch:
    tissue = (-np.log((patch + 1.0) / WHITE) > 0.15).all(axis=-1)  # as torchstain tells it
    if tissue.sum() < LEAST_TISSUE:
        return patch
    try:
        with np.errstate(divide="raise", invalid="raise", over="ignore"):
            found, _, _ = method.normalize(patch, stains=False)
    except (np.linalg.LinAlgError, FloatingPointError):
        return patch
    return np.asarray(found, np.uint8)
