"""The contract, and a run on the real patches that come with the harness."""

import json

import cv2
import harness_texture
import numpy as np

import harness
from harness.testing import contract

test_contract = contract("harness_texture")


def test_color_does_not_matter(patches):
    images = patches.test.read(range(4))
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    without_color = np.repeat(np.array(gray)[..., None], 3, axis=3)
    features = harness_texture.extract(images)
    np.testing.assert_array_equal(harness_texture.extract(without_color), features)
    assert np.allclose(features.reshape(4, 3, -1).sum(axis=2), 1)


def test_coarse_patches_keep_their_color_and_lose_their_texture(patches):
    (patch,) = patches.test.read([0])
    flat = harness_texture.coarse(patch, 224, None)
    assert np.ptp(flat.reshape(-1, 3), axis=0).max() == 0
    np.testing.assert_allclose(flat[0, 0], patch.mean(axis=(0, 1)), atol=1)


def test_a_row_on_the_leaderboard(run_harness, tmp_path):
    run_harness(
        *("run", "--dataset", "nct-crc-he-sample", "--model", "texture-lbp", "--no-probes"),
        *("--perturbation", "coarse"),
    )
    board = json.loads((tmp_path / "reports/nct-crc-he-sample.json").read_text(encoding="utf-8"))
    row = board["rows"][0]
    assert row["model"] == "texture-lbp"
    assert row["accuracy"] > 0.3  # nine classes: chance is 0.11
    assert "harness-texture 0.1.0" in row["source"]
    session = harness.Session(tmp_path / "runs")
    for level in (4.0, 16.0, 56.0):
        found = session.predictions(
            "nct-crc-he-sample", "texture-lbp", perturbation="coarse", level=level
        )
        assert len(found.ids) == 111
