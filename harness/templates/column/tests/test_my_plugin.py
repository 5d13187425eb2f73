"""Tests of the plugin: what every probe promises, and what is special about this one."""

import numpy as np
from my_plugin import measure

from harness import Predictions
from harness.testing import contract

test_contract = contract("my_plugin")


def test_the_worst_class_is_found():
    labels = np.array([0, 0, 1, 1, 1, 1])
    logits = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 2, 0]]
    finding = measure(
        Predictions(
            model="m",
            classes=("a", "b", "c"),
            labels=labels,
            ids=[str(i) for i in range(6)],
            clean=logits,
            perturbations={},
            under=lambda name, level: None,
            of=lambda model: None,
        )
    )
    assert finding.figure("worst recall").value == 0.25
    assert "b" in finding.summary
