"""Tests of the plugin: what every perturbation promises, and what is special about this one."""

import numpy as np
from my_plugin import apply

from harness.testing import contract

test_contract = contract("my_plugin")


def test_one_side_keeps_its_light_and_none_gains():
    patch = np.full((32, 48, 3), 200, np.uint8)
    changed = apply(patch, 0.4, np.random.default_rng(0))
    assert changed.max() > 180
    assert changed.min() < 150
    assert (changed <= patch).all()
