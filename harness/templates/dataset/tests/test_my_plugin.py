"""Tests of the plugin: what every dataset promises, and what is special about this one."""

import cv2
import numpy as np
import pytest
from my_plugin import CLASSES, load, missing

from harness.testing import contract

test_contract = contract("my_plugin")


@pytest.fixture
def data(tmp_path):
    """A data folder with three patches of noise a class and part."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in CLASSES:
            folder = tmp_path / "my-plugin" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                patch = rng.integers(0, 256, (16, 16, 3), np.uint8)
                cv2.imwrite(str(folder / f"{number}.png"), patch)
    return tmp_path


def test_what_is_lacking_is_said(tmp_path):
    assert "no train and no test" in missing(tmp_path)


def test_patches_are_listed_by_class(data):
    assert missing(data) == ""
    splits = load(data)
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.test.ids[0] == "my-plugin/test/normal/0"
    assert splits.train.read([5, 0]).shape == (2, 16, 16, 3)
