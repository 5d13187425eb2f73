"""Color alone: random forests on three means or on a 48-bin histogram, as in arXiv:2409.11546."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import Features, Model, Option, Setting, estimator_model, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEANS, HISTOGRAM = slice(0, 3), slice(3, 51)


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Color features of uint8 RGB (B, H, W, 3): float32 (B, 51).

    Columns 0 to 2 are the means of red, green and blue in 0..255; columns 3 to 50 the histograms
    of the three channels, 16 bins each, as shares of the pixels.
    """
    import cv2
    import numpy as np

    features = np.empty((len(images), 51), np.float32)
    for row, image in zip(features, images, strict=True):
        row[MEANS] = cv2.mean(image)[:3]
        for channel in range(3):
            counts = cv2.calcHist([image], [channel], None, [16], [0, 256])
            row[3 + 16 * channel : 19 + 16 * channel] = counts.ravel()
        row[HISTOGRAM] /= image.shape[0] * image.shape[1]
    return features


def forest(settings: Mapping[str, Setting], seed: int) -> Any:
    """A random forest to fit."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(int(settings["trees"]), random_state=seed, n_jobs=-1)


@hookimpl
def harness_models() -> list[Model]:
    """The two color models. They share their features, so patches are read once for both."""
    features = Features(name="color", extract=extract)

    def model(name: str, title: str, columns: slice) -> Model:
        return estimator_model(
            name=name,
            title=title,
            estimator=forest,
            features=features,
            columns=columns,
            version=2,
            # The paper names no size; this is scikit-learn's default.
            settings={"trees": Option(100, ge=1, help="trees of the forest")},
            estimate=lambda n, settings: n * int(settings["trees"]) * 4e-6,
            baseline=True,
        )

    return [
        model("rgb-means", "Mean red, green, blue; random forest (3 features)", MEANS),
        model("color-histogram", "Color histogram; random forest (48 features)", HISTOGRAM),
    ]
