"""Texture without color: local binary patterns, and patches without texture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import Features, Model, Perturbation, estimator_model, hookimpl

if TYPE_CHECKING:
    from numpy.typing import NDArray

RADII = (1, 2, 3)
POINTS = 8
"""On the circle around a pixel."""


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shares of the uniform local binary patterns of gray patches, at each radius.

    Takes uint8 RGB (B, H, W, 3), returns float32 (B, 30).
    """
    import cv2
    from skimage.feature import local_binary_pattern

    bins = POINTS + 2
    features = np.empty((len(images), len(RADII) * bins), np.float32)
    for row, image in zip(features, images, strict=True):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for number, radius in enumerate(RADII):
            codes = local_binary_pattern(gray, POINTS, radius, method="uniform")
            counts = np.bincount(codes.astype(np.int64).ravel(), minlength=bins)
            row[number * bins : (number + 1) * bins] = counts / codes.size
    return features


def classifier(settings: Mapping[str, Any], seed: int) -> Any:
    """Logistic regression on standardized features, to fit."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=settings["C"], max_iter=5000))


def coarse(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A patch, uint8 RGB (H, W, 3), averaged over squares of ``level`` pixels."""
    import cv2

    height, width = patch.shape[:2]
    small = (max(1, round(width / level)), max(1, round(height / level)))
    averaged = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
    return np.asarray(
        cv2.resize(averaged, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8
    )


@hookimpl
def harness_models() -> list[Model]:
    """The model."""
    return [
        estimator_model(
            name="texture-lbp",
            title="Local binary patterns of gray patches; logistic regression (30 features)",
            estimator=classifier,
            features=Features(name="texture-lbp", extract=extract),
            choices={"C": (0.01, 0.1, 1.0, 10.0, 100.0)},
        )
    ]


@hookimpl
def harness_perturbations() -> list[Perturbation]:
    """The perturbation; it takes information away, so it does not count for robustness."""
    return [
        Perturbation(
            name="coarse",
            title="Averaged over squares (side in pixels)",
            levels=(4, 16, 56),
            apply=coarse,
            role="ablation",
        )
    ]
