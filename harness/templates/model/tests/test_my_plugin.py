"""Tests of the plugin: what every model promises, and what is special about this one."""

import numpy as np
from my_plugin import extract

from harness.testing import contract

test_contract = contract("my_plugin")


def test_darker_tissue_is_denser():
    dark, light = extract(np.array([60, 200], np.uint8)[:, None, None, None].repeat(3, axis=3))
    assert (dark[:3] > light[:3]).all()
