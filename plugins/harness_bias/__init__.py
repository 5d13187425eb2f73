"""Perturbations of color and compression, as arXiv:2409.11546 applied them to test patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Perturbation, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def hue_clipped(
    patch: NDArray[np.uint8], level: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Shift OpenCV's 8-bit hue (units of 2 degrees) and clip it to 0..255, as published.

    Hue is an angle and ought to wrap; this one does not, and OpenCV reads a clipped or too large
    hue as it may. It is kept as it was, bit for bit, so that published figures can be reproduced.
    """
    import cv2
    import numpy as np

    hsv = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(np.int32) + int(level)
    hsv[..., 0] = np.clip(hue, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def jpeg(patch: NDArray[np.uint8], level: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Compress with OpenCV's JPEG encoder at a quality of ``level`` and decode again."""
    import cv2
    import numpy as np

    bgr = cv2.cvtColor(patch, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(level)])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


@hookimpl
def harness_perturbations() -> list[Perturbation]:
    """Hue and JPEG at the published levels."""
    return [
        Perturbation(
            name="hue",
            title="Hue shifted and clipped, OpenCV units of 2 degrees (as published)",
            levels=(-20, -10, 10, 20),
            apply=hue_clipped,
        ),
        Perturbation(
            name="jpeg",
            title="JPEG recompression at a quality (as published)",
            levels=(80, 60, 40, 20),
            apply=jpeg,
        ),
    ]
