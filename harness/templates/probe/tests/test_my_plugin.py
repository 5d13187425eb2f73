"""Tests of the plugin: what every probe promises, and what is special about this one."""

import cv2
import numpy as np
from my_plugin import extract

from harness.testing import contract

test_contract = contract("my_plugin")


def test_a_blurred_patch_is_less_sharp():
    patch = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sharp, blurred = extract(np.stack([patch, cv2.GaussianBlur(patch, (0, 0), 2)]))
    assert sharp > blurred
