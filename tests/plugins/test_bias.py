"""Hue and JPEG as published, bit for bit."""

import cv2
import numpy as np
import pytest

import harness_nct_crc
from harness_bias import harness_perturbations, hue_clipped, jpeg


@pytest.fixture(scope="module")
def patches():
    test = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    return test.read(range(0, 111, 12))


def test_levels_are_the_published_ones():
    levels = {p.name: p.levels for p in harness_perturbations()}
    assert levels == {"hue": (-20, -10, 10, 20), "jpeg": (80, 60, 40, 20)}


@pytest.mark.parametrize("level", [-20, -10, 10, 20])
def test_hue_is_shifted_in_int32_clipped_and_cast(patches, level):
    for patch in patches:
        hue, saturation, value = cv2.split(cv2.cvtColor(patch[..., ::-1].copy(), cv2.COLOR_BGR2HSV))
        shifted = np.minimum(np.maximum(hue.astype("int32") + level, 0), 255).astype("uint8")
        bgr = cv2.cvtColor(cv2.merge([shifted, saturation, value]), cv2.COLOR_HSV2BGR)
        assert (hue_clipped(patch, level, None) == bgr[..., ::-1]).all()


def test_hue_does_not_wrap():
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)  # hue 0
    assert (hue_clipped(red, -20, None) == red).all()
    assert (hue_clipped(red, 20, None) != red).any()


@pytest.mark.parametrize("quality", [80, 60, 40, 20])
def test_jpeg_goes_through_opencv_s_encoder_as_bgr(patches, quality):
    errors = []
    for patch in patches:
        data = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        result = jpeg(patch, quality, None)
        assert (result == expected).all()
        errors.append(np.abs(result.astype(int) - patch).mean())
    assert 0 < np.mean(errors) < 20
