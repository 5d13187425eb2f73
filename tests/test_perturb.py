"""Every registered perturbation: same shape and dtype, and the patch alone decides."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import HarnessError, Perturbation
from harness.perturb import perturb
from harness.plugins import load_plugins

sys.path.append(str(Path(__file__).parent / "toy"))
PERTURBATIONS = list(load_plugins().perturbations.values())
sys.path.pop()
IMAGES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(16), st.just(24), st.just(3)))


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
@given(images=IMAGES, data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_only_the_patch_decides(perturbation, images, data):
    level = data.draw(st.sampled_from(perturbation.levels))
    ids = [f"patch {i}" for i in range(len(images))]
    before = images.copy()
    whole = perturb(images, ids, perturbation, level)
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    assert (images == before).all()
    order = np.array(data.draw(st.permutations(range(len(images)))))
    turned = perturb(images[order], [ids[i] for i in order], perturbation, level)
    assert (turned == whole[order]).all()
    alone = perturb(images[:1], ids[:1], perturbation, level)
    assert (alone[0] == whole[0]).all()


def test_random_perturbations_differ_between_patches_and_levels():
    (noise,) = [p for p in PERTURBATIONS if p.name == "toy-noise"]
    images = np.full((2, 8, 8, 3), 128, np.uint8)
    weak = perturb(images, ["a", "b"], noise, 5)
    assert (weak[0] != weak[1]).any()
    assert (
        np.abs(perturb(images, ["a", "b"], noise, 50) - 128.0).mean()
        > 3 * np.abs(weak - 128.0).mean()
    )


def test_a_perturbation_that_changes_the_shape_is_refused():
    bad = Perturbation(name="bad", title="Bad", levels=(1,), apply=lambda p, level, rng: p[:-1])
    with pytest.raises(HarnessError, match="'bad' returned uint8"):
        perturb(np.zeros((1, 4, 4, 3), np.uint8), ["x"], bad, 1)
