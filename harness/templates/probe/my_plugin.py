"""My plugin: how far the classes of a dataset differ in sharpness, which is no tissue's."""

from __future__ import annotations

import numpy as np

from harness import Audit, DatasetProbe, Features, Figure, Finding, Table, hookimpl


def extract(images: np.ndarray) -> np.ndarray:
    """Uint8 RGB patches (B, H, W, 3) in, their sharpness, float32 (B, 1), out.

    The logarithm of the variance of the Laplacian of the gray image.
    """
    import cv2

    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    variances = [cv2.Laplacian(gray, cv2.CV_32F).var() for gray in grays]
    return np.log10(np.array(variances, np.float32).reshape(-1, 1) + 1)


def measure(audit: Audit) -> Finding:
    """The share of the variance of sharpness that lies between classes (eta squared, 0..1)."""
    sharpness = audit.stacked("my-plugin", slice(0, 1))[:, 0].astype(np.float64)
    labels = audit.labels
    present = [label for label in range(len(audit.classes)) if (labels == label).any()]
    means = np.array([sharpness[labels == label].mean() for label in present])
    counts = np.array([(labels == label).sum() for label in present])
    between = float(counts @ (means - sharpness.mean()) ** 2)
    total = float(((sharpness - sharpness.mean()) ** 2).sum())
    share = between / total if total else 0.0
    rows = tuple(
        (audit.classes[label], float(mean), int(count))
        for label, mean, count in zip(present, means, counts, strict=True)
    )
    return Finding(
        summary=f"the class explains {100 * share:.0f} % of the variance of sharpness",
        figures=(Figure(name="explained", value=share),),
        tables=(
            Table(
                name="classes",
                title="Mean sharpness by class",
                headings=("class", "log10 variance of the Laplacian", "patches"),
                rows=rows,
            ),
        ),
    )


@hookimpl
def harness_probes() -> list[DatasetProbe]:
    """The probes of this plugin."""
    return [
        DatasetProbe(
            name="my-plugin",
            title="My plugin",
            features=(Features(name="my-plugin", extract=extract),),
            measure=measure,
        )
    ]
