"""Each perturbation against an independent statement of what it does, on real patches."""

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.color import hed2rgb, hed_from_rgb, rgb2hed, rgb2lab
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

import harness_nct_crc
from harness.data.perturb import perturb
from harness_perturbations import (
    LAB_COLUMNS,
    color,
    harness_perturbations,
    lab_statistics,
    published,
    spatial,
    stain,
    tone,
    transfer,
)
from harness_perturbations.requested import REQUESTED

PERTURBATIONS = {p.name: p for p in harness_perturbations()}
BY_LEVEL = [
    (p.name, level)
    for p in PERTURBATIONS.values()
    if not p.learns and len(p.levels) > 1
    for level in p.levels
]
ADI, BACK, TUM = 0, 1, 8
ANY_PATCH = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


@pytest.fixture(scope="module")
def split():
    return harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)


@pytest.fixture(scope="module")
def patches(split):
    """A patch of each class, in the order of the classes."""
    return split.read([np.flatnonzero(split.labels == label)[4] for label in range(9)])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def change(patch, changed):
    """Mean absolute difference in gray levels."""
    return np.abs(changed.astype(float) - patch).mean()


# What is registered


def test_names_roles_and_levels():
    roles = {role: set() for role in ("acquisition", "ablation", "steering")}
    for p in PERTURBATIONS.values():
        roles[p.role].add(p.name)
    assert roles["ablation"] == {"grayscale", "pixels-permuted", "blocks-permuted"}
    assert roles["steering"] == {"color-transfer"}
    asked = {name for name, p in PERTURBATIONS.items() if p.on_request}
    assert asked == {name for row in REQUESTED for name in row[:1]} < roles["acquisition"]
    assert len(roles["acquisition"] - asked) == 14
    assert {len(PERTURBATIONS[name].levels) for name in asked} == {5}
    assert PERTURBATIONS["hue"].levels == (-20, -10, 10, 20)
    assert PERTURBATIONS["jpeg"].levels == (80, 60, 40, 20)
    assert set(PERTURBATIONS["hue"].levels) < set(PERTURBATIONS["hue-wrapped"].levels)
    assert PERTURBATIONS["blocks-permuted"].levels == (8, 16, 32, 56)
    assert PERTURBATIONS["color-transfer"].levels_for("abc") == (0, 1, 2)


@pytest.mark.parametrize(("name", "level"), BY_LEVEL)
def test_every_level_changes_every_tissue_and_repeats_itself(patches, name, level):
    ids = list("ABCDEFGHI")
    changed = perturb(patches, ids, PERTURBATIONS[name], level)
    assert (perturb(patches, ids, PERTURBATIONS[name], level) == changed).all()
    for label in {*range(9)} - {BACK}:
        assert (changed[label] != patches[label]).any()


# Where a level changes nothing other than at 1.
NONE = {
    **dict.fromkeys(("hue", "hue-wrapped", "gaussian-noise", "gaussian-blur", "stain-jitter"), 0),
    **dict.fromkeys(("jpeg", "webp", "medmnistc-jpeg"), 100),
    **dict.fromkeys(("motion-blur", "defocus-blur", "medmnistc-defocus-blur", "elastic"), 0),
    **dict.fromkeys(("air-bubbles", "dust", "tissue-folds", "pen-marks", "stain-deposits"), 0),
    **dict.fromkeys(("rotation", "medmnistc-motion-blur", "medmnistc-saturate"), 0),
    "medmnistc-bubble": 0,
}
# Blocks are never in place, and whatever its level, this one gives a patch other colors first.
UNORDERED = {"blocks-permuted", "randstainna"}


@pytest.mark.parametrize("name", sorted({name for name, _ in BY_LEVEL} - UNORDERED))
def test_levels_further_from_none_change_more(patches, name):
    start = NONE.get(name, 1)
    levels = PERTURBATIONS[name].levels
    for side in (
        sorted(level for level in levels if level > start),
        sorted((level for level in levels if level < start), reverse=True),
    ):
        changes = [
            np.mean(
                [
                    change(
                        patch, PERTURBATIONS[name].apply(patch, level, np.random.default_rng(seed))
                    )
                    for seed, patch in enumerate(patches)
                ]
            )
            for level in side
        ]
        assert changes == sorted(changes)
        assert not changes or changes[-1] > 1


@given(patch=ANY_PATCH, name=st.sampled_from([row[0] for row in REQUESTED]), seed=st.integers(0, 9))
@settings(deadline=None)
def test_those_on_request_take_patches_of_every_size(patch, name, seed):
    kept = patch.copy()
    for level in PERTURBATIONS[name].levels:
        changed = PERTURBATIONS[name].apply(patch, level, np.random.default_rng(seed))
        assert changed.shape == patch.shape
        assert changed.dtype == np.uint8
        assert changed.flags.c_contiguous
        again = PERTURBATIONS[name].apply(patch, level, np.random.default_rng(seed))
        assert (changed == again).all()
    assert (patch == kept).all()


# Hue and JPEG as published, bit for bit


@pytest.mark.parametrize("level", [-20, -10, 10, 20])
def test_hue_is_shifted_in_int32_clipped_and_cast(patches, level):
    for patch in patches:
        hue, saturation, value = cv2.split(cv2.cvtColor(patch[..., ::-1].copy(), cv2.COLOR_BGR2HSV))
        shifted = np.minimum(np.maximum(hue.astype("int32") + level, 0), 255).astype("uint8")
        bgr = cv2.cvtColor(cv2.merge([shifted, saturation, value]), cv2.COLOR_HSV2BGR)
        assert (published.hue_clipped(patch, level) == bgr[..., ::-1]).all()


def test_hue_does_not_wrap_and_its_correct_version_does():
    red = np.full((16, 16, 3), (255, 0, 0), np.uint8)  # hue 0
    assert (published.hue_clipped(red, -20) == red).all()
    assert (published.hue_clipped(red, 20) != red).any()
    assert color.hue_wrapped(red, -20)[0, 0].tolist() == [255, 0, 170]  # hue 320 degrees
    assert color.hue_wrapped(red, 20)[0, 0].tolist() == [255, 170, 0]  # hue 40 degrees


@pytest.mark.parametrize("quality", [80, 60, 40, 20])
def test_jpeg_goes_through_opencv_s_encoder_as_bgr(patches, quality):
    for patch in patches:
        data = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert (published.jpeg(patch, quality) == expected).all()


# Color


def test_hue_is_exact_on_the_angle():
    colors = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    for level in (-90, -20, 5, 20, 200):
        turned = color.hue_wrapped(colors, level)
        for before, after in zip(colors.reshape(-1, 3), turned.reshape(-1, 3), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
            expected = 255 * np.array(
                colorsys.hsv_to_rgb((hue + level / 180) % 1, saturation, value)
            )
            assert after == pytest.approx(expected, abs=0.501)


def test_no_shift_and_a_whole_turn_leave_every_color_as_it_is():
    steps = np.arange(0, 256, 3, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(86, -1, 3)
    assert (color.hue_wrapped(colors, 0) == colors).all()
    assert (color.hue_wrapped(colors, 180) == colors).all()
    assert (color.hue_wrapped(colors, -360) == colors).all()


@given(patch=ANY_PATCH, level=st.floats(-180, 180))
@settings(deadline=None)
def test_hue_is_turned_as_by_the_remainder_of_360(patch, level):
    hsv = cv2.cvtColor(patch.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 2 * level) % 360
    expected = np.clip(np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)), 0, 255)
    assert (color.hue_wrapped(patch, level) == expected).all()


def test_hue_keeps_value_and_gray(patches):
    for patch in patches:
        assert (color.hue_wrapped(patch, 20).max(axis=2) == patch.max(axis=2)).all()
    gray = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    assert (color.hue_wrapped(gray, 20) == gray).all()


def test_saturation_moves_pixels_from_their_gray(patches):
    for patch in patches:
        assert (color.saturation(patch, 1) == patch).all()
        assert change(color.grayscale(patch), color.saturation(patch, 0)) < 0.01
        luma = (patch @ [0.299, 0.587, 0.114])[..., None]
        for level in (0.5, 1.6):
            expected = np.clip(luma + level * (patch - luma), 0, 255)
            assert np.abs(color.saturation(patch, level) - expected).max() < 0.51


def test_grayscale_leaves_no_color(patches):
    for patch in patches:
        gray = color.grayscale(patch)
        assert (gray == gray[..., :1]).all()
        assert np.abs(gray[..., 0] - patch @ [0.299, 0.587, 0.114]).max() < 0.51


# Tone


@pytest.mark.parametrize(
    "function", [tone.brightness, tone.contrast, tone.gamma, tone.range_stretch]
)
def test_a_level_of_one_changes_nothing(patches, function):
    for patch in patches:
        assert (function(patch, 1) == patch).all()


def test_brightness_contrast_and_gamma(patches):
    for patch in patches:
        mean = (patch @ [0.299, 0.587, 0.114]).mean()
        for changed, expected in (
            (tone.brightness(patch, 0.7), 0.7 * patch),
            (tone.brightness(patch, 1.3), 1.3 * patch),
            (tone.contrast(patch, 1.7), mean + 1.7 * (patch - mean)),
            (tone.gamma(patch, 2.2), 255 * (patch / 255) ** 2.2),
        ):
            assert np.abs(changed - np.clip(expected, 0, 255)).max() < 0.52


def test_stretch_clips_where_overflow_wraps(patches):
    values = np.array([0, 10, 100, 155, 245, 255], np.uint8)
    patch = np.tile(values[:, None, None], (3, 16, 3))
    # 1.4 about 127.5: -51, -37, 89, 166, 292, 306
    assert tone.range_stretch(patch, 1.4)[:6, 0, 0].tolist() == [0, 0, 89, 166, 255, 255]
    assert tone.range_overflow(patch, 1.4)[:6, 0, 0].tolist() == [205, 219, 89, 166, 36, 50]
    for patch in patches:
        stretched, wrapped = tone.range_stretch(patch, 1.2), tone.range_overflow(patch, 1.2)
        # The last that land, rounded, within 0..255: 21 on -0.3 and 234 on 255.3.
        inside = (patch >= 21) & (patch <= 234)
        assert (stretched == wrapped)[inside].all()
        assert (stretched != wrapped)[~inside].all()


# Detail and place


def test_blur_has_the_standard_deviation_it_says():
    edge = np.zeros((65, 65, 3), np.uint8)
    edge[:, 32:] = 255
    for sigma in (1, 2, 3):
        slope = np.diff(spatial.gaussian_blur(edge, sigma)[30, :, 0].astype(float))
        offsets = np.arange(64) - 31
        assert np.sqrt((slope @ offsets**2) / slope.sum()) == pytest.approx(sigma, rel=0.05)


def test_noise_has_the_standard_deviation_it_says(rng):
    gray = np.full((224, 224, 3), 128, np.uint8)
    for sigma in (4, 32):
        noise = spatial.gaussian_noise(gray, sigma, rng).astype(float) - 128
        assert noise.std() == pytest.approx(sigma, rel=0.02)
        assert abs(noise.mean()) < 0.05 * sigma
        assert abs(np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() < 0.02


def test_downsampling_removes_what_a_smaller_patch_cannot_hold(patches):
    stripes = np.zeros((64, 48, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (spatial.downsampling(stripes, 2) == 100).all()
    for patch in patches:
        assert (spatial.downsampling(patch, 1) == patch).all()
        # 224 pixels are a multiple of 4 and 2; area averages keep the mean.
        changed = spatial.downsampling(patch, 4)
        assert changed.mean(axis=(0, 1)) == pytest.approx(patch.mean(axis=(0, 1)), abs=0.6)
        assert cv2.Laplacian(changed, cv2.CV_64F).var() < cv2.Laplacian(patch, cv2.CV_64F).var()


def test_permuted_pixels_keep_the_joint_histogram_and_nothing_else(patches, rng):
    for patch in patches:
        permuted = spatial.pixels_permuted(patch, 1, rng)
        assert (sorted_pixels(permuted) == sorted_pixels(patch)).all()
    tumor = spatial.pixels_permuted(patches[TUM], 1, rng)[..., 1].astype(float)
    assert abs(np.corrcoef(tumor[:, 1:].ravel(), tumor[:, :-1].ravel())[0, 1]) < 0.02


@given(patch=ANY_PATCH, seed=st.integers(0, 99))
@settings(deadline=None)
def test_permuted_pixels_are_in_the_order_of_numpy_s_permutation(patch, seed):
    pixels = patch.reshape(-1, 3)
    expected = pixels[np.random.default_rng(seed).permutation(len(pixels))]
    transposed = np.asfortranarray(patch)
    permuted = spatial.pixels_permuted(transposed, 1, np.random.default_rng(seed))
    assert (permuted == expected.reshape(patch.shape)).all()
    permuted = spatial.pixels_permuted(patch, 1, np.random.default_rng(seed))
    assert (permuted == expected.reshape(patch.shape)).all()
    assert permuted.flags.c_contiguous
    assert permuted.flags.writeable


def sorted_pixels(patch):
    return np.sort(patch.reshape(-1, 3).astype(np.int64) @ [1 << 16, 1 << 8, 1])


@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    size=st.sampled_from([8, 16, 32, 56]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_blocks_move_whole_and_the_rest_stays(height, width, size, seed):
    # Each pixel holds its own place, so that a block can be told by its first pixel.
    rows, columns = np.mgrid[:height, :width]
    patch = np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)
    permuted = spatial.blocks_permuted(patch, size, np.random.default_rng(seed))
    assert (sorted_pixels(permuted) == sorted_pixels(patch)).all()
    down, across = height // size * size, width // size * size
    assert (permuted[down:] == patch[down:]).all()
    assert (permuted[:, across:] == patch[:, across:]).all()
    for top in range(0, down, size):
        for left in range(0, across, size):
            row, column = permuted[top, left, :2].astype(int)
            assert row % size == column % size == 0
            block = patch[row : row + size, column : column + size]
            assert (permuted[top : top + size, left : left + size] == block).all()


def test_blocks_as_large_as_the_patch_stay(patches, rng):
    assert (spatial.blocks_permuted(patches[0], 224, rng) == patches[0]).all()
    assert (spatial.blocks_permuted(patches[0], 300, rng) == patches[0]).all()
    assert (spatial.blocks_permuted(patches[0], 56, rng) != patches[0]).any()


# Stains


def test_no_jitter_changes_nothing(patches, rng):
    for patch in patches:
        assert (stain.jitter(patch, 0, rng) == patch).all()


def test_jitter_is_that_of_scikit_image_where_no_stain_is_negative(patches):
    compared = 0
    for seed, patch in enumerate(patches):
        jittered = stain.jitter(patch, 0.2, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        factors, shifts = rng.uniform(0.8, 1.2, 3), rng.uniform(-0.2, 0.2, 3)
        light = (patch + 1.0) / 256
        unit = -np.log(1e-6)  # scikit-image's unit of density
        hed = rgb2hed(light) * factors + shifts / unit
        expected = np.clip(256 * hed2rgb(hed) - 1, 0, 255)
        same = (-np.log(light) @ hed_from_rgb >= 0).all(axis=2) & (expected < 254).all(axis=2)
        compared += same.sum()
        assert np.abs(jittered - expected)[same].max(initial=0) < 0.51
    assert compared > 10_000


def test_jitter_differs_between_patches_and_not_within_one(patches):
    gray = np.full((16, 16, 3), 150, np.uint8)
    one, two = (stain.jitter(gray, 0.2, np.random.default_rng(seed)) for seed in (1, 2))
    assert (one == one[0, 0]).all()
    assert (one != two).any()


def test_macenko_is_torchstain_s(split):
    indices = np.flatnonzero(split.labels != BACK)[::4]
    unchanged = 0
    for patch in split.read(indices):
        normalized = stain.macenko(patch)
        if (normalized == patch).all():
            unchanged += 1
            continue
        expected = NumpyMacenkoNormalizer().normalize(patch, stains=False)[0]
        assert np.abs(normalized.astype(int) - expected).max() <= 1
    assert unchanged <= 3


def test_tissue_is_as_dense_as_torchstain_has_it():
    density = -np.log((np.arange(256) + 1) / stain.LIGHT)
    assert ((density >= stain.TISSUE_DENSITY) == (np.arange(256) <= stain.BRIGHTEST)).all()


def test_macenko_brings_two_stainings_of_a_tissue_together(patches):
    tumor = patches[TUM]
    restained = stain.jitter(tumor, 0.15, np.random.default_rng(3))
    apart = change(tumor, restained)
    together = change(stain.macenko(tumor), stain.macenko(restained))
    assert together < 0.5 * apart


def test_macenko_leaves_alone_what_has_no_two_stains(patches, rng):
    white = np.full((224, 224, 3), 243, np.uint8)
    faint = np.clip(white + rng.normal(0, 3, white.shape), 0, 255).astype(np.uint8)
    speck = white.copy()
    speck[:20, :20] = patches[TUM][:20, :20]
    for patch in (white, faint, speck, np.zeros_like(white), np.full_like(white, (90, 40, 120))):
        assert (stain.macenko(patch) == patch).all()


# Color transfer


def test_lab_statistics_are_those_of_scikit_image(patches):
    measured = lab_statistics(patches)
    assert measured.shape == (9, len(LAB_COLUMNS))
    assert measured.dtype == np.float32
    for row, patch in zip(measured, patches, strict=True):
        lab = rgb2lab(patch).reshape(-1, 3)
        expected = np.concatenate([lab.mean(axis=0), lab.std(axis=0)])
        assert row == pytest.approx(expected, abs=0.2)
    assert lab_statistics(patches[:0]).shape == (0, 6)


def test_a_transfer_to_its_own_statistics_changes_nothing(patches):
    for patch, own in zip(patches, lab_statistics(patches).astype(np.float64), strict=True):
        changed = transfer.color_transfer(patch, 0, None, own)
        assert np.abs(changed.astype(int) - patch).max() <= 1


def test_a_transfer_reaches_its_target_where_nothing_is_clipped(patches):
    learned = lab_statistics(patches).astype(np.float64)
    for source in {*range(9)} - {BACK}:
        changed = transfer.color_transfer(patches[source], BACK, None, learned[BACK])
        assert lab_statistics(changed[None])[0] == pytest.approx(learned[BACK], abs=0.5)


def test_a_transfer_keeps_structure(patches):
    learned = lab_statistics(patches).astype(np.float64)
    before = rgb2lab(patches[TUM])[..., 0].ravel()
    for label in range(9):
        changed = transfer.color_transfer(patches[TUM], label, None, learned[label])
        assert np.corrcoef(before, rgb2lab(changed)[..., 0].ravel())[0, 1] > 0.95


def test_a_uniform_patch_gets_the_mean_color(patches):
    target = lab_statistics(patches[TUM : TUM + 1])[0].astype(np.float64)
    white = np.full((16, 16, 3), 255, np.uint8)
    changed = transfer.color_transfer(white, 0, None, target)
    assert (changed == changed[0, 0]).all()
    assert rgb2lab(changed)[0, 0] == pytest.approx(target[:3], abs=0.7)


def test_a_neutral_level_lies_between_the_levels_and_changes_nothing():
    named = [one for one in PERTURBATIONS.values() if one.neutral is not None]
    assert {one.name for one in named} >= {"hue", "brightness", "gamma"}
    patch = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    for one in named:
        assert min(one.levels) < one.neutral < max(one.levels)
        assert one.neutral not in one.levels
        changed = one.apply(patch, one.neutral, np.random.default_rng(0))
        # Turning the hue by nothing still goes through HSV, in whole numbers.
        assert np.abs(changed.astype(int) - patch).max() <= (8 if "hue" in one.name else 0)
