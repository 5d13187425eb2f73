"""Every registered perturbation: same shape and dtype, and the patch alone decides."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import HarnessError, Perturbation
from harness.data.perturb import perturb
from harness.hooks.loader import load_plugins

sys.path.append(str(Path(__file__).parents[1] / "toy"))
PERTURBATIONS = list(load_plugins().perturbations.values())
sys.path.pop()
CLASSES = ("a", "b", "c")


@st.composite
def batches(draw):
    """One to five patches of any content or of one value, with sides that 8 need not divide."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(16, 41)), draw(st.integers(16, 41)), 3)
    if draw(st.booleans()):
        return draw(hnp.arrays(np.uint8, shape))
    return np.full(shape, draw(st.sampled_from([0, 255])), np.uint8)


def targets(perturbation, images):
    """What the perturbation would learn of each class if its training patches were these."""
    if perturbation.learns is None:
        return None
    learned = perturbation.learns.extract(images)
    typical = perturbation.typical or (lambda values: np.median(values, axis=0))
    return np.array([typical(learned[[c % len(images)]]) for c in range(len(CLASSES))])


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
@given(images=batches(), data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_only_the_patch_decides(perturbation, images, data):
    level = data.draw(st.sampled_from(perturbation.levels_for(CLASSES)))
    learned = targets(perturbation, images)
    ids = [f"patch {i}" for i in range(len(images))]
    seed = data.draw(st.integers(0, 3))
    before = images.copy()
    whole = perturb(images, ids, perturbation, level, learned, seed)
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    assert (images == before).all()
    order = np.array(data.draw(st.permutations(range(len(images)))))
    turned = perturb(images[order], [ids[i] for i in order], perturbation, level, learned, seed)
    assert (turned == whole[order]).all()
    alone = perturb(images[:1], ids[:1], perturbation, level, learned, seed)
    assert (alone[0] == whole[0]).all()


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
@pytest.mark.parametrize("value", [0, 255])
def test_no_level_fails_on_a_uniform_patch(perturbation, value):
    images = np.full((1, 19, 37, 3), value, np.uint8)
    colors = np.random.default_rng(0).integers(0, 256, (3, 19, 37, 3), np.uint8)
    for level in perturbation.levels_for(CLASSES):
        for learned in (targets(perturbation, images), targets(perturbation, colors)):
            changed = perturb(images, ["x"], perturbation, level, learned)
            again = perturb(images, ["x"], perturbation, level, learned)
            assert (changed == again).all()


def test_random_perturbations_differ_between_patches_levels_and_seeds():
    (noise,) = [p for p in PERTURBATIONS if p.name == "toy-noise"]
    images = np.full((2, 8, 8, 3), 128, np.uint8)
    weak = perturb(images, ["a", "b"], noise, 5)
    assert (weak[0] != weak[1]).any()
    assert (perturb(images, ["a", "b"], noise, 5, seed=1) != weak).any()
    assert (
        np.abs(perturb(images, ["a", "b"], noise, 50) - 128.0).mean()
        > 3 * np.abs(weak - 128.0).mean()
    )


def test_a_perturbation_that_changes_the_shape_is_refused():
    bad = Perturbation(name="bad", title="Bad", levels=(1,), apply=lambda p, level, rng: p[:-1])
    with pytest.raises(HarnessError, match="'bad' returned uint8"):
        perturb(np.zeros((1, 4, 4, 3), np.uint8), ["x"], bad, 1)
