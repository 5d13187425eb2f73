"""The fixed pattern of a camera: what is folded of a patch, and whether classes differ in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_bias
from harness_bias.audit import noise, pattern
from harness_bias.audit.drawn import comparable
from harness_bias.measure.pattern import COLUMNS, RESPONSE, SKETCH, SMALLEST, extract
from harness_faults import color, storage

FEATURES = (harness_bias.FINE, harness_bias.RANGE, harness_bias.PATTERN)
ONE, OTHER = ((storage.camera, 0.5),), ((storage.camera, -0.5),)
NO_PATTERN = {
    "JPEG on the same grid": ((), ((storage.aligned_jpeg, 30),)),
    "stripe": ((), ((color.watermark, 16),)),
    "mark": ((), ((color.mark, 12),)),
    "border": ((), ((color.border, 4),)),
    "vignette": ((), ((color.vignette, 0.4),)),
    "enlarged": ((), ((storage.enlarged, 1.25),)),
    "one camera": (ONE, ONE),
}


def looked(real, labels, *faults, groups=None):
    which = labels % len(faults)
    audit = real.audit(labels, which, *faults, features=(harness_bias.PATTERN,), groups=groups)
    return pattern.look(audit)


def flags(additional):
    return [one.flag for one in additional.opinions]


@pytest.mark.once
def test_the_probe_of_noise_says_that_classes_are_of_two_cameras(real):
    labels = real.dealt(2)
    finding = noise.measure(real.audit(labels, labels, ONE, OTHER, features=FEATURES))
    assert finding.flag is True
    assert "a fixed pattern, as of a camera" in finding.summary
    assert "no difference between classes that looks like it" in finding.summary
    (first, second) = finding.table("patterns").rows
    assert min(first[3], second[3]) > 0.5 > 0 > max(first[4], second[4])
    # Of both, in brightness, to which channels add up on their own: 0.5 * 2 ** 0.5 * 0.67.
    assert first[5] == pytest.approx(0.47, rel=0.25)
    assert finding.grade


@pytest.mark.parametrize("name", NO_PATTERN)
def test_what_is_no_pattern_of_a_camera_is_not_called_one(real, name):
    additional = looked(real, real.dealt(2), *NO_PATTERN[name])
    assert flags(additional) == [False]
    assert additional.text == "no fixed pattern in which classes differ"
    assert additional.scores == ()


def test_tissues_of_the_sample_share_no_pattern(real):
    assert flags(looked(real, real.tissue, ())) == [False]


def test_a_pattern_is_seen_in_the_class_that_has_it(real):
    labels = real.dealt(4)
    audit = real.audit(labels, labels // 3, (), ((storage.camera, 1.0),), features=FEATURES[2:])
    additional = pattern.look(audit)
    assert flags(additional) == [True]
    assert "most d" in additional.text
    halves = {row[0]: row[3] for row in additional.tables[0].rows}
    assert halves["d"] > 0.5 > 0.3 > max(halves[name] for name in "abc")


def test_cameras_of_patients_are_no_fault_of_classes(real):
    patients = real.dealt(16)
    labels = patients % 2
    own = np.stack([real.planted(steps, FEATURES[2:])["bias-pattern"] for steps in (ONE, OTHER)])
    # Patients of either class have one camera or the other.
    values = own[patients // 2 % 2, np.arange(len(patients))]
    audit = real.audit(labels, labels, (), (), features=FEATURES[2:], groups=patients)
    object.__setattr__(audit.test, "values", {"bias-pattern": values})
    assert flags(pattern.look(audit)) == [False]
    values = own[labels, np.arange(len(patients))]
    object.__setattr__(audit.test, "values", {"bias-pattern": values})
    assert flags(pattern.look(audit)) == [True]


def test_copies_of_patches_in_a_class_are_no_pattern(real):
    values = real.planted((), FEATURES[2:])["bias-pattern"]
    judged = values[:, RESPONSE] > 0
    n = judged.sum()
    values, labels = np.tile(values[judged], (2, 1)), np.tile(real.dealt(8)[judged], 2)
    found = pattern.patterns(values, labels, np.arange(2 * n), None, 8)
    assert found.differs, "as copies lie at the same place"
    rows = comparable(values[:, SKETCH], np.arange(2 * n), labels, 1_000)
    assert rows.tolist() == list(range(n))


def test_patches_of_one_camera_agree_and_those_of_others_do_not():
    rng = np.random.default_rng(0)
    smooth = [np.full((224, 224, 3), level, np.uint8) for level in (120, 160, 200)]
    one, other = (
        extract(np.stack([storage.camera(storage.noisy(p, 2.0, rng), level, rng) for p in smooth]))
        for level in (2.0, -2.0)
    )
    assert (one[:, SKETCH] @ one[:, SKETCH].T).min() > 0.4
    assert np.abs(one[:, SKETCH] @ other[:, SKETCH].T).max() < 0.3
    assert (np.diff(one[:, RESPONSE]) > 0).all(), "light that is more shows more of the pattern"


@given(height=st.integers(8, 240), width=st.integers(8, 240), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_patches_of_any_size_are_folded_or_left_alone(height, width, seed):
    patch = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    found = extract(patch)
    assert found.shape == (2, len(COLUMNS))
    assert np.isfinite(found).all()
    assert found.any() == (min(height, width) >= SMALLEST)
    assert not extract(np.full_like(patch, 240)).any()


def test_patches_too_small_say_nothing(real):
    labels = real.dealt(2)
    audit = real.audit(labels, labels, (), (), features=())
    small = {"bias-pattern": extract(real.patches[:, :64, :64])}
    object.__setattr__(audit.test, "values", small)
    additional = pattern.look(audit)
    assert additional.opinions == ()
    assert additional.text == ""
