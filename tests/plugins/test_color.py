"""Color features and forests."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import harness_color
from harness_color import HISTOGRAM, MEANS, extract
from harness_color.forest import Forest

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


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 4
    labels[labels == 2] = 3  # class 2 is never seen
    features = rng.random((300, 51)).astype(np.float32)
    features[:, 1] += labels
    return features, labels, Forest.fit(features, labels, MEANS, 4, trees=20, seed=1)


def test_logits_are_log_probabilities_and_finite(fitted):
    features, labels, forest = fitted
    logits = forest.logits(features)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) == labels).mean() > 0.95
    assert logits[:, 2] == pytest.approx(np.log(1e-6))
    probabilities = forest.forest.predict_proba(features[:, MEANS])
    assert np.exp(logits[:, [0, 1, 3]]) == pytest.approx(probabilities, abs=1e-5)


def test_only_its_own_columns_count(fitted):
    features, _, forest = fitted
    other = features.copy()
    other[:, HISTOGRAM] = 0
    assert (forest.logits(other) == forest.logits(features)).all()


def test_a_seed_decides_the_forest(fitted):
    features, labels, forest = fitted
    again = Forest.fit(features, labels, MEANS, 4, trees=20, seed=1)
    other = Forest.fit(features, labels, MEANS, 4, trees=20, seed=2)
    assert (again.logits(features) == forest.logits(features)).all()
    assert (other.logits(features) != forest.logits(features)).any()


def test_saved_and_loaded_it_is_the_same_and_holds_no_pickle(fitted, tmp_path):
    features, _, forest = fitted
    forest.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"forest.skops", "forest.json"}
    loaded = harness_color.load(tmp_path, {})
    assert (loaded.logits(features) == forest.logits(features)).all()
    import zipfile

    with zipfile.ZipFile(tmp_path / "forest.skops") as file:
        assert all(name.endswith((".json", ".npy")) for name in file.namelist())


def test_both_models_share_one_pass_over_the_patches(command):
    output = command(
        "run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means", *FEW, "--no-probes"
    )
    assert output.count("color features of") == 2  # train and test
    more = command(
        "run", "--dataset", "nct-crc-he-sample", "--model", "color-histogram", *FEW, "--no-probes"
    )
    assert "color features of" not in more
