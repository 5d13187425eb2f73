"""What it costs to look at an image's header before OpenCV decodes it."""

import cv2
import numpy as np
import pytest

from harness.data.images import _CHECKS, decode
from harness.data.patches import list_folder

KINDS = {"tiff": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 32773]), "png": (".png", [])}
KINDS |= {"jpeg": (".jpg", []), "webp": (".webp", []), "bmp": (".bmp", [])}


@pytest.fixture(scope="module", params=KINDS)
def patches(request, tiffs):
    """The sample's patches as bytes of one format, and the format's name."""
    suffix, options = KINDS[request.param]
    found = list_folder(tiffs)
    images = [decode(found.read(name), name, None)[..., ::-1] for name in sorted(found.sizes)[:64]]
    return request.param, [cv2.imencode(suffix, image, options)[1].tobytes() for image in images]


@pytest.mark.parametrize("what", ["check", "decode", "OpenCV"])
def test_decoding(benchmark, patches, what):
    kind, data = patches
    name = next(name for name in _CHECKS if kind in name.lower())

    def check():
        for content in data:
            _CHECKS[name](content)

    def whole():
        for content in data:
            decode(content, "x", (224, 224))

    def opencv():
        for content in data:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    benchmark({"check": check, "decode": whole, "OpenCV": opencv}[what])
    benchmark.extra_info["microseconds per patch"] = round(
        benchmark.stats.stats.median / len(data) * 1e6, 1
    )
