"""Periodic traces of resampling: where they are, and whether classes differ in them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_bias
import harness_phantom
from harness.jobs.calibration import audit
from harness_bias.audit import resampling, sharpness
from harness_bias.audit.resampling import JUDGED, explaining, factors
from harness_bias.measure.resampling import FREQUENCIES, SMALLEST, extract
from harness_faults import combined, storage

FEATURES = (harness_bias.FINE, harness_bias.RANGE, harness_bias.RESAMPLING)
ALIKE = {
    "nothing": ((), ()),
    "all enlarged": (((storage.enlarged, 1.2),), ((storage.enlarged, 1.2),)),
    "JPEG": ((), ((storage.jpeg, 30),)),
    "JPEG on the same grid": ((), ((storage.aligned_jpeg, 30),)),
    "WebP": ((), ((storage.webp, 50),)),
    "blur": ((), ((storage.blurred, 0.7),)),
    "JPEG, then all shrunk and enlarged": (
        ((combined.jpeg_resized, 5),),
        ((combined.jpeg_resized, 45),),
    ),
}


def looked(real, labels, *faults):
    which = labels % len(faults)
    return resampling.look(real.audit(labels, which, *faults, features=(harness_bias.RESAMPLING,)))


def flags(additional):
    return [one.flag for one in additional.opinions]


def interpolated(size, way):
    """Patches of white noise, resampled by a factor."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(16):
        field = rng.normal(128, 25, (480, 480)).astype(np.float32)
        side = round(480 * size)
        field = cv2.resize(field, (side, side), interpolation=way)[:224, :224]
        found.append(np.repeat(storage.rounded(field)[..., None], 3, axis=-1))
    return np.stack(found)


@pytest.mark.parametrize("way", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
@pytest.mark.parametrize("size", [1.12, 1.2, 1.3, 1.5, 1.7, 0.9, 0.7])
def test_a_peak_is_where_the_factor_says(size, way):
    seen = FREQUENCIES >= 0.1
    found = extract(interpolated(size, way)).mean(axis=0)[seen]
    frequency = FREQUENCIES[seen][found.argmax()]
    # Of linear interpolation, the second harmonic may be higher; and either is seen folded.
    expected = [abs(k / size - round(k / size)) for k in (1, 2)]
    assert min(abs(frequency - one) for one in expected) < 0.008
    assert found.max() > 0.6
    plain = extract(interpolated(1, way)).mean(axis=0)[seen]
    assert plain.max() < 0.6


@pytest.mark.parametrize(("seed", "dose"), [(2, 0.5), (2, 1.0), (3, 2.0)])
def test_a_grid_of_jpeg_that_comes_and_goes_with_tissue_is_no_trace_of_resampling(seed, dose):
    splits = harness_phantom.make(seed)({"alike": dose})
    probe = next(probe for probe in harness_bias.harness_probes() if probe.name == "sharpness")
    ((_, finding),) = audit(splits, harness_phantom.CLASSES, [probe])
    assert "no periodic traces in which classes differ" in finding.summary
    assert finding.flag is not True
    assert np.abs(FREQUENCIES[JUDGED] * 8 % 1 - 0.5).max() < 0.5 - 8 * resampling.APART


def test_factors_are_those_that_leave_a_frequency():
    for frequency in (0.1, 0.23, 0.4):
        for one in factors(frequency):
            assert abs(1 / one - round(1 / one)) == pytest.approx(frequency)
        little, much, less, least = factors(frequency)
        assert 1 < little <= 2 <= much
        assert 0.5 <= least <= 2 / 3 <= less < 1


@pytest.mark.parametrize("size", [1.1, 1.2, 1.4, 1.7])
def test_one_factor_explains_the_peaks_of_a_grid_and_none_a_single_one(size):
    heights = np.zeros(len(FREQUENCIES))
    for k in range(1, 9):
        peak = abs(k / 8 / size - round(k / 8 / size))
        heights[np.abs(FREQUENCIES - peak) <= 0.003] = 2
    assert explaining(heights)[0] == pytest.approx(size, abs=0.02)
    single = np.zeros(len(FREQUENCIES))
    single[20] = 3
    assert explaining(single) == ()
    assert explaining(np.random.default_rng(0).normal(0, 0.3, len(FREQUENCIES))) == ()


@pytest.mark.once
@pytest.mark.parametrize(
    ("fault", "size"), [(storage.lanczos, 1.2), (storage.lanczos, 1.4), (storage.enlarged, 1.3)]
)
def test_the_probe_of_sharpness_says_by_what_a_class_was_enlarged(real, fault, size):
    labels = real.dealt(2)
    audit = real.audit(labels, labels, (), ((fault, size),), features=FEATURES)
    finding = sharpness.measure(audit)
    assert finding.flag is True
    assert "the test patches of b show periodic traces" in finding.summary
    assert f"as resampling by about {size:.2f}" in finding.summary
    rows = {row[0]: row for row in finding.table("resampling").rows}
    assert rows["b"][4] > 2 * rows["a"][4]
    assert rows["b"][5] > 0.5
    assert rows["a"][6] is None
    listed = finding.table("resampled").rows
    assert listed
    assert np.mean([row[1] == "b" for row in listed]) > 0.9


@pytest.mark.parametrize("name", ALIKE)
def test_what_was_not_resampled_by_another_factor_is_not_called_so(real, name):
    additional = looked(real, real.dealt(2), *ALIKE[name])
    assert flags(additional) == [False]
    assert additional.text == "no periodic traces in which classes differ"
    assert additional.tables[1].rows == ()


def test_tissues_of_the_sample_differ_in_no_trace(real):
    assert flags(looked(real, real.tissue, ())) == [False]


def test_two_factors_differ(real):
    both = (((storage.enlarged, 1.2),), ((storage.enlarged, 1.3),))
    assert flags(looked(real, real.dealt(2), *both)) == [True]


@given(height=st.integers(8, 240), width=st.integers(8, 240), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_patches_of_any_size_are_measured_or_left_alone(height, width, seed):
    patch = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    found = extract(patch)
    assert found.shape == (2, len(FREQUENCIES))
    assert np.isfinite(found).all()
    assert found.any() == (min(height, width) >= SMALLEST)
    assert not extract(np.full_like(patch, 240)).any()


def test_larger_patches_are_measured_in_their_middle():
    large = interpolated(1.2, cv2.INTER_CUBIC)
    wide = np.pad(large, ((0, 0), (60, 60), (100, 100), (0, 0)), mode="wrap")
    found = extract(wide).mean(axis=0)
    assert FREQUENCIES[found.argmax()] == pytest.approx(1 / 6, abs=0.006)


def test_copies_of_one_patch_are_no_trace_of_a_class(real):
    own = extract(real.patches[:60])
    own = own[own.any(axis=1)][:40]
    for seed in range(20):
        one = np.random.default_rng(seed).integers(20, 40)
        values = np.concatenate([own[:20], np.repeat(own[[one]], 20, axis=0)])
        labels = np.repeat([0, 1], 20)
        found = real.audit(labels, labels, (), (), features=())
        object.__setattr__(found.test, "values", {"bias-resampling": values})
        assert resampling.look(found).opinions == ()
