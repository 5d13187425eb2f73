"""My plugin: a linear model of how densely the tissue of a patch is stained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness import Features, Model, estimator_model, hookimpl


def extract(images: np.ndarray) -> np.ndarray:
    """Uint8 RGB patches (B, H, W, 3) in, their features, float32 (B, 6), out.

    Mean and standard deviation of the optical density of red, green and blue.
    """
    density = -np.log10((images.astype(np.float32) + 1) / 256)
    return np.concatenate([density.mean(axis=(1, 2)), density.std(axis=(1, 2))], axis=1)


def estimator(settings: Mapping[str, Any], seed: int) -> Any:
    """What to fit on those features: anything that follows scikit-learn's rules."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=settings["C"], max_iter=1000))


@hookimpl
def harness_models() -> list[Model]:
    """The models of this plugin."""
    return [
        estimator_model(
            name="my-plugin",
            title="My plugin",
            estimator=estimator,
            features=Features(name="my-plugin", extract=extract),
            settings={"C": 1.0},
        )
    ]
