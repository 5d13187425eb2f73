"""Tone curves and color casts by class, in real patches; and stains, which are no fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import harness_bias
import harness_phantom
from harness_bias.audit import color as color_probe
from harness_bias.audit import dynamic_range
from harness_bias.audit.curves import curves
from harness_bias.measure.color import histograms
from harness_bias.measure.dynamic_range import textured
from harness_bias.measure.levels import extract, octaves
from harness_faults import color

TONE = (harness_bias.RANGE, harness_bias.LEVELS, harness_bias.COLOR)
COLOR = (harness_bias.COLOR, harness_bias.RANGE, harness_bias.FRAME)


def gamma(exponent):
    return ((color.gamma, float(np.log2(exponent))),)


def tone(real, labels, *faults):
    which = labels if len(faults) > 1 else np.zeros_like(labels)
    audit = real.audit(labels, which, *faults, features=TONE)
    return dynamic_range.measure(audit), curves(audit)["test"]


ALIKE = {
    "nothing": ((), False),
    "gamma 0.885": (gamma(0.885), False),
    "gamma 0.83": (gamma(0.83), True),
    "a random gamma each": (((color.random_gamma, 0.3),), False),
}


@pytest.mark.parametrize("name", ALIKE)
def test_one_curve_for_all_or_for_each_patch_is_no_fault_of_a_class(real, name):
    steps, is_common = ALIKE[name]
    finding, found = tone(real, real.dealt(2), steps)
    assert finding.flag is False
    assert finding.grade == "none seen"
    assert found.is_common is is_common
    of_tissues = tone(real, real.tissue, steps)[1]
    assert of_tissues.p > dynamic_range.LUCK or of_tissues.reading < dynamic_range.DIFFERENT


BY_CLASS = {"gamma": gamma(1.23), "values capped at 235": ((color.capped, 20),)}


@pytest.mark.parametrize("name", BY_CLASS)
def test_a_curve_of_one_class_is_told(real, name):
    labels = real.dealt(2)
    finding, found = tone(real, labels, (), BY_CLASS[name])
    assert finding.flag is True
    assert found.p <= dynamic_range.LUCK
    assert "went through different tone curves" in finding.summary
    assert finding.reading == pytest.approx(found.reading)
    sound = tone(real, labels, (), ())[1]
    assert sound.p > dynamic_range.LUCK
    assert found.reading > max(sound.reading, dynamic_range.DIFFERENT)


def test_plain_tissue_that_jpeg_made_flat_went_through_no_curve():
    """At a quality of 40, a block of plain glass has one value, and few blocks have the next."""
    phantom = harness_phantom.make(0)({"alike": 2.0}).train
    patch = phantom.read(np.flatnonzero(phantom.labels == 1)[:1])
    counts = histograms(patch)[0]
    is_flat = (patch[:, 1:, 1:] == patch[:, :-1, 1:]) | (patch[:, 1:, 1:] == patch[:, 1:, :-1])
    assert is_flat.mean() > 0.8
    left = np.exp2(octaves(extract(patch))[0]) - 1
    assert left[:, 200:].max() < counts[:, 200:].max() / 5


def test_a_mark_or_a_green_filter_before_glass_is_neither_lost_nor_inverted(real):
    labels = real.dealt(2)
    assert tone(real, labels, (), ((color.mark, 12),))[0].flag is False
    glass = np.full_like(real.patches, 225) - np.uint8([25, 0, 25])
    audit = real.audit(labels, labels, (), (), features=TONE)
    features = {one.name: one.extract(glass) for one in TONE}
    object.__setattr__(audit.test, "values", features)
    assert not dynamic_range.faults(audit)[0].any()
    object.__setattr__(
        audit.test, "values", {one.name: one.extract(255 - real.patches) for one in TONE}
    )
    assert dynamic_range.faults(audit)[0].mean() > 0.9


@given(
    patch=arrays(np.uint8, st.tuples(st.just(1), *[st.integers(16, 80)] * 2, st.just(3))),
    level=st.integers(0, 255),
)
def test_packed_histograms_come_back_within_two_percent(patch, level):
    patch[0, : patch.shape[1] // 2] = level
    packed = extract(patch)
    assert packed.shape == (1, 256)
    assert packed.dtype == np.float32
    counts = histograms(textured(patch))
    found = np.exp2(octaves(packed)) - 1
    assert found.shape == (1, 3, 256)
    # A step is 4.5 %, so that one count more than there are is at most 2.2 % off.
    assert np.abs(np.log((1 + found) / (1 + counts))).max() <= 0.0225
    assert not found[counts == 0].any()


def test_histograms_of_large_patches_are_scaled_down():
    patch = np.random.default_rng(0).integers(0, 256, (1, 500, 600, 3), np.uint8)
    lively = textured(patch)
    found, counts = np.exp2(octaves(extract(patch))) - 1, histograms(lively) * (224 * 224 / 300_000)
    assert np.abs(np.log((1 + found) / (1 + counts))).max() <= 0.0225


def cast(real, levels, fault):
    labels = real.dealt(4)
    return color_probe.measure(
        real.audit(labels, labels, *(((fault, x),) for x in levels), features=COLOR)
    )


def test_stains_of_another_strength_by_class_are_no_cast(real):
    finding = cast(real, (-0.2, -0.07, 0.07, 0.2), color.restained)
    assert finding.flag is False
    assert "in dense tissue only" in finding.summary


def test_a_cast_by_class_is_told_as_it_is_there_without_stain_too(real):
    finding = cast(real, (-6, -2, 2, 6), color.cast)
    assert finding.flag is True
    assert finding.reading > color_probe.SPREAD
    assert cast(real, (0, 0, 0, 0), color.cast).flag is False


def test_light_that_falls_off_by_class_is_no_cast_and_hides_none(real):
    finding = cast(real, (0, 0, 0.4, 0.4), color.vignette)
    assert finding.flag is None
    assert "light falls off differently in classes" in finding.summary
    labels = real.dealt(4)
    both = [((color.vignette, 0.05 * k), (color.cast, 6 * k - 9)) for k in range(4)]
    hidden = color_probe.measure(real.audit(labels, labels, *both, features=COLOR))
    assert hidden.flag is True
