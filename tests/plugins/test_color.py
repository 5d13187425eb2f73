"""Color features and forests."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness_color import HISTOGRAM, MEANS, extract

FEW = ("--set", "trees=3")


@given(
    images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(7), st.just(5), st.just(3)))
)
@settings(deadline=None)
def test_features_are_means_and_histograms(images):
    features = extract(images)
    assert features.shape == (len(images), 51)
    assert features.dtype == np.float32
    assert features[:, MEANS] == pytest.approx(images.mean(axis=(1, 2)), abs=1e-3)
    for row, image in zip(features, images, strict=True):
        expected = [
            np.histogram(image[..., channel], bins=16, range=(0, 256))[0] / 35
            for channel in range(3)
        ]
        assert row[HISTOGRAM] == pytest.approx(np.concatenate(expected), abs=1e-6)


def test_red_comes_first():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[..., 0] = 200
    assert extract(image)[0, :3].tolist() == [200, 0, 0]
    assert cv2.cvtColor(image[0], cv2.COLOR_RGB2BGR)[0, 0].tolist() == [0, 0, 200]


@pytest.mark.once
def test_both_models_share_one_pass_over_the_patches(command):
    output = command(
        "run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means", *FEW, "--no-probes"
    )
    assert output.count("color features of") == 2  # train and test
    more = command(
        "run", "--dataset", "nct-crc-he-sample", "--model", "color-histogram", *FEW, "--no-probes"
    )
    assert "color features of" not in more
