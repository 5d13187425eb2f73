"""Faults that are planted in real patches: patches stay patches, and level 0 changes nothing."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from harness_faults import color, combined, harness_faults, normalization, storage

FAULTS = {
    name: function
    for module in (color, normalization, storage)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
    and next(iter(inspect.signature(function).parameters)) == "patch"
    and list(inspect.signature(function).parameters)[2:] == ["rng"]
}
LEVELS = {
    **dict.fromkeys(("jpeg", "aligned_jpeg", "webp", "avif"), 20.0),
    **dict.fromkeys(("jpeg2000", "jpeg2000_53", "brightened", "watermark"), 10.0),
    **dict.fromkeys(("saturated", "contrast", "restained", "stain_jitter", "vignette"), 0.2),
    **dict.fromkeys(("chroma", "blurred", "noisy", "gray_noise", "border", "quantized"), 2.0),
    **{"gamma": 0.3, "random_gamma": 0.3, "sharpened": 1.0, "inverted": 1.0, "macenko": 1.0},
    **{"enlarged": 1.2, "resized": 0.7, "palette": 1.0, "cast": 6.0, "white_balance": 0.05},
    **{"lit": 250.0, "torchstain": 1.0, "reinhard": 1.0},
    **dict.fromkeys(("to_ruifrok", "to_mucosa", "to_tumor"), 1.0),
    **{"lanczos": 1.2, "camera": 1.0},
    **{"despeckled": 3.0, "moved": 5.0, "mark": 6.0, "capped": 90.0},
}
NEUTRAL = {"resized": 1.0}
ALWAYS = {"chroma"}
"""Change something at any level: JPEG of full chroma is JPEG."""
AT_RANDOM = {
    *("jpeg", "webp", "avif", "jpeg2000", "jpeg2000_53", "chroma"),
    *("noisy", "gray_noise", "stain_jitter", "random_gamma", "inverted"),
}


@pytest.fixture(scope="module")
def patch(real):
    return real.patches[np.flatnonzero(real.tissue == 5)[0]]


def test_every_fault_has_a_level_here():
    assert set(FAULTS) == set(LEVELS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_returns_another_patch_of_the_same_kind_and_leaves_its_own(patch, name):
    before = patch.copy()
    found = FAULTS[name](patch, LEVELS[name], np.random.default_rng(0))
    assert found.shape == patch.shape
    assert found.dtype == np.uint8
    assert (patch == before).all()
    assert (found != patch).any()
    narrow = FAULTS[name](patch[:100, :150], LEVELS[name], np.random.default_rng(0))
    assert narrow.shape == (100, 150, 3)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - ALWAYS))
def test_the_neutral_level_changes_nothing(patch, name):
    found = FAULTS[name](patch, NEUTRAL.get(name, 0.0), np.random.default_rng(0))
    off = np.abs(found.astype(int) - patch)
    assert off.max() == 0


@pytest.mark.parametrize("name", FAULTS)
def test_the_same_generator_gives_the_same_patch(patch, name):
    first, again, other = (
        FAULTS[name](patch, LEVELS[name], np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert (first == again).all()
    if name not in AT_RANDOM:
        assert (first == other).all()
    elif name != "inverted":
        assert (first != other).any()


def test_what_a_level_means():
    gray = np.full((64, 64, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    assert (color.brightened(gray, 7, rng) == 107).all()
    assert (color.cast(gray, 6, rng) == [106, 100, 94]).all()
    assert (color.white_balance(gray, 0.03, rng) == [103, 100, 97]).all()
    assert (color.lit(gray, 252, rng) == 105).all()
    assert (color.gamma(gray, 1.0, rng) == round(255 * (100 / 255) ** 2)).all()
    assert (color.capped(gray, 165, rng) == 90).all()
    assert (color.saturated(gray, 0.5, rng) == gray).all()
    assert storage.noisy(gray, 3.0, rng).std() == pytest.approx(3, rel=0.05)
    first, again, other = (storage.camera(gray, level, rng) for level in (2.0, 2.0, -2.0))
    assert (first == again).all()
    assert first.std() == pytest.approx(2, rel=0.05)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.05
    odd = gray + np.arange(64, dtype=np.uint8)[:, None] % 2  # every second column one brighter
    assert (storage.moved(odd, 2, rng)[:, 1:] == 101).all(), "halves are rounded up"
    alike = storage.gray_noise(gray, 3.0, rng)
    assert (alike == alike[..., :1]).all()
    assert not color.border(gray, 2, rng)[:2].any()
    assert (color.border(gray, 2, rng)[2:-2, 2:-2] == 100).all()
    assert len(np.unique(color.quantized(np.arange(256, dtype=np.uint8)[None], 2, rng))) == 64
    turned = sum(color.inverted(gray, 0.3, rng)[0, 0, 0] == 155 for _ in range(1000))
    assert 250 <= turned <= 350


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["noise", "black", "white"]))
@settings(max_examples=20)
@pytest.mark.parametrize(
    "name",
    [
        *("macenko", "torchstain", "to_ruifrok", "to_mucosa", "to_tumor", "reinhard"),
        *("restained", "stain_jitter", "gamma", "saturated"),
    ],
)
def test_faults_of_color_take_any_pixels(name, seed, kind):
    rng = np.random.default_rng(seed)
    patch = rng.integers(0, 256, (32, 40, 3), np.uint8)
    if kind != "noise":
        patch[:] = 255 * (kind == "white")
    with np.errstate(all="raise", under="ignore"):
        found = FAULTS[name](patch, LEVELS[name], rng)
    assert found.shape == patch.shape
    assert found.dtype == np.uint8


@pytest.mark.parametrize("name", ["torchstain", "to_ruifrok", "to_mucosa", "to_tumor"])
def test_a_normalized_patch_has_the_stains_of_the_reference(patch, name):
    vectors, strongest = {
        "torchstain": (color.REFERENCE, color.STRONGEST),
        "to_ruifrok": (color.STAINS, color.STRONGEST),
        "to_mucosa": normalization.MUCOSA,
        "to_tumor": normalization.TUMOR,
    }[name]
    found = FAULTS[name](patch, 1.0, np.random.default_rng(0))
    method = NumpyMacenkoNormalizer()
    method.fit(found)
    # What is clipped and rounded moves the ends a little.
    assert np.abs(method.HERef.T - vectors).max() < 0.12
    assert method.maxCRef == pytest.approx(strongest, rel=0.25)


def test_reinhard_gives_the_means_and_deviations_of_the_reference(patch):
    found = normalization.reinhard(patch, 1.0, np.random.default_rng(0))
    method = NumpyReinhardNormalizer()
    method.fit(found)
    means, deviations = normalization.MUCOSA_LAB
    assert method.target_means == pytest.approx(means, abs=2.5)
    assert method.target_stds == pytest.approx(deviations, rel=0.15)


def test_controls_of_normalization_compress_first_and_then_normalize(patch):
    rng = np.random.default_rng
    compressed = storage.jpeg(patch, 20.0, rng(0))
    for name in ("torchstain", "to_ruifrok", "to_mucosa", "to_tumor", "reinhard"):
        found = getattr(combined, f"jpeg_{name}")(patch, 20.0, rng(0))
        assert (found == FAULTS[name](compressed, 1.0, rng(0))).all()
        only = getattr(combined, f"jpeg_{name}")(patch, 0.0, rng(0))
        assert (only == FAULTS[name](patch, 1.0, rng(0))).all()


def test_a_patch_without_tissue_is_not_normalized_by_its_stains():
    glass = np.random.default_rng(0).integers(235, 241, (64, 64, 3), np.uint8)
    for name in ("torchstain", "to_ruifrok", "to_mucosa", "to_tumor"):
        assert (FAULTS[name](glass, 1.0, np.random.default_rng(0)) == glass).all()


def test_controls_plant_the_same_in_every_class():
    controls = [fault for fault in harness_faults() if not fault.raises]
    assert {"alike-jpeg-torchstain", "alike-jpeg-reinhard", "alike-white"} <= {
        fault.name for fault in controls
    }
    for fault in controls:
        assert list(fault.doses) == sorted(fault.doses)
        assert all(len(set(fault.levels(dose))) == 1 for dose in fault.doses)
