"""Frames and marks: what lies at a fixed place, and whether it tells the class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_bias
from harness_bias.audit import frame
from harness_bias.measure.frame import COLUMNS, EDGES, FALL, KINDS, extract
from harness_faults import color

PLANTED = {
    "border of 1 px": (color.border, 1, ("line at the", "stripe 1 of", "stripe 56 of")),
    "mark of 6 px": (color.mark, 6, ("corner at the top left",)),
    "vignette": (color.vignette, 0.15, ("falling off from the middle",)),
    "watermark": (color.watermark, 12, ("rows of stripe 28 of", "rows of stripe 29 of")),
}


def measured(real, labels, *faults):
    which = labels if len(faults) > 1 else np.zeros_like(labels)
    return frame.measure(real.audit(labels, which, *faults, features=(harness_bias.FRAME,)))


@pytest.mark.parametrize("name", PLANTED)
def test_a_fixed_place_that_tells_the_class_is_named(real, name):
    fault, level, places = PLANTED[name]
    finding = measured(real, real.dealt(2), (), ((fault, level),))
    assert finding.flag is True
    first = finding.table("places").rows[0]
    assert any(place in first[0] for place in places), first
    assert first[0] in finding.summary
    assert first[3] <= frame.LUCK
    assert finding.grade


@pytest.mark.parametrize("seed", range(3))
def test_without_marks_no_place_tells_the_class(real, seed):
    finding = measured(real, real.dealt(2, seed), ())
    assert finding.flag is False
    assert "none tells the class" in finding.summary


def test_what_all_patches_have_is_no_difference_between_classes(real):
    assert measured(real, real.dealt(2), ((color.mark, 6),)).flag is False
    assert measured(real, real.tissue, ()).flag is not True


def test_columns_have_names_and_one_kind_each():
    known = np.concatenate([np.arange(len(COLUMNS))[kind] for kind in KINDS])
    assert known.tolist() == list(range(len(COLUMNS)))
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_each_place_is_measured_where_it_lies():
    patch = np.full((1, 224, 224, 3), 150, np.uint8)
    assert np.abs(extract(patch)).max() < 1e-3
    patch[0, -1, :, 2] = 250  # the outermost line at the bottom, in blue alone
    (found,) = extract(patch)
    own = dict(zip(COLUMNS[EDGES], found[EDGES], strict=True))
    assert own.pop("outermost line at the bottom, blue") == pytest.approx(100)
    assert abs(own.pop("outermost line at the left, blue")) < 1
    assert own["outermost line at the bottom, red"] == 0
    vignette = color.vignette(np.full((224, 224, 3), 200, np.uint8), 0.1, None)
    assert extract(vignette[None])[0, FALL] == pytest.approx(20, abs=2)


@given(height=st.integers(8, 96), width=st.integers(8, 96), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_patches_of_any_size_are_measured_or_left_alone(height, width, seed):
    patch = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    found = extract(patch)
    assert found.shape == (2, len(COLUMNS))
    assert np.isfinite(found).all()
    assert found.any() == (min(height, width) >= 32)


def test_patches_too_small_are_not_judged(real):
    labels = real.dealt(2)
    audit = real.audit(labels, labels, (), features=())
    small = {harness_bias.FRAME.name: extract(real.patches[:, :28, :28])}
    object.__setattr__(audit.test, "values", small)
    finding = frame.measure(audit)
    assert finding.flag is None
    assert "not judged" in finding.summary
