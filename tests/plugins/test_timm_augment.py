"""The batched augmentation against the same recipe in NumPy and OpenCV, and its statistics."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from harness_timm import augment as module  # noqa: E402
from harness_timm.augment import (  # noqa: E402
    GAUSSIAN,
    NONE,
    UNIFORM,
    Draws,
    apply,
    augment,
    draw,
    word_source,
)


def patches(n, height=37, width=41, seed=0):
    rng = np.random.default_rng(seed)
    # Smooth blobs with some grain: neither flat nor pure noise, and all gray levels.
    coarse = rng.integers(0, 256, (n, 5, 5, 3)).astype(np.float32)
    blobs = np.stack(
        [cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse]
    )
    return np.clip(blobs + rng.normal(0, 12, blobs.shape), 0, 255).astype(np.uint8)


def nothing(n):
    return Draws(
        vflip=np.zeros(n, bool),
        hflip=np.zeros(n, bool),
        noise=np.full(n, NONE),
        spread=np.zeros(n, np.float32),
        gain=np.ones((n, 3), np.float32),
        shift=np.zeros((n, 3), np.float32),
        blur=np.full(n, NONE),
        radii=np.zeros((n, 2), np.int64),
    )


def applied(images, together=1, seed=0, **drawn):
    draws = dataclasses.replace(nothing(len(images)), **drawn)
    words = word_source(np.random.Generator(np.random.SFC64(seed)), torch.device("cpu"))
    result = apply(torch.from_numpy(images), draws, words, together)
    assert result.dtype == torch.float32
    assert torch.equal(result, result.round().clamp(0, 255))
    return result.numpy()


def reference(image, draws, i):
    """The recipe for one patch without noise, in NumPy and OpenCV.

    On doubles from 0 to 255: many a Gaussian blur of whole numbers ends in exactly one half, which
    a division by 255 would turn into either side of it.
    """
    x = image.astype(np.float64)
    if draws.vflip[i]:
        x = x[::-1]
    if draws.hflip[i]:
        x = x[:, ::-1]
    x = np.ascontiguousarray(x * draws.gain[i] + draws.shift[i])
    if draws.blur[i] != NONE:
        vertical, horizontal = 2 * draws.radii[i] + 1
        side = (int(horizontal), int(vertical))
        if draws.blur[i] == GAUSSIAN:
            x = cv2.GaussianBlur(x, side, 0, borderType=cv2.BORDER_REFLECT_101)
        else:
            x = cv2.blur(x, side, borderType=cv2.BORDER_REFLECT_101)
    return np.round(np.clip(x, 0, 255))


def assert_same_levels(ours, theirs):
    """Equal but for ties that float rounding decides the other way."""
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 1e-3


@pytest.mark.parametrize("together", [1, 32])
@pytest.mark.parametrize("kind", [GAUSSIAN, UNIFORM])
def test_blur_is_opencvs_for_every_kernel_and_at_the_border(kind, together):
    radii = np.array([(v, h) for v in range(4) for h in range(4)] * 2)
    n = len(radii)
    images = patches(n)
    blur = np.full(n, kind)
    draws = dataclasses.replace(nothing(n), blur=blur, radii=radii)
    ours = applied(images, together, blur=blur, radii=radii)
    for i in range(n):
        assert_same_levels(ours[i], reference(images[i], draws, i))


def test_a_box_blur_mirrors_the_border_without_repeating_it():
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, :, 0] = 30
    image[0, :, 1] = 120
    blurred = applied(image, blur=np.array([UNIFORM]), radii=np.array([[0, 1]]))
    assert blurred[0, 3, :3, 0].tolist() == [(120 + 30 + 120) / 3, (30 + 120) / 3, 40]


@pytest.mark.parametrize("together", [1, 7, 64])
def test_everything_but_noise_equals_the_reference(together):
    n = 64
    images = patches(n)
    rng = np.random.default_rng(1)
    draws = dataclasses.replace(draw(n, rng), noise=np.full(n, NONE))
    ours = applied(images, together, **vars(draws))
    for i in range(n):
        assert_same_levels(ours[i], reference(images[i], draws, i))


def test_levels_are_rounded_and_clipped():
    images = np.array([0, 10, 200, 255], np.uint8).reshape(1, 1, 4, 1).repeat(4, 1).repeat(3, 3)
    shifted = applied(
        images,
        gain=np.array([[1, 1.1, 0.85]], np.float32),
        shift=np.array([[10.4, 0, -20]], np.float32),
    )
    assert shifted[0, 0, :, 0].tolist() == [10, 20, 210, 255]
    assert shifted[0, 0, :, 1].tolist() == [0, 11, 220, 255]
    assert shifted[0, 0, :, 2].tolist() == [0, 0, 150, 197]


def test_drawn_nothing_changes_nothing():
    images = patches(5)
    np.testing.assert_array_equal(applied(images), images)


@pytest.mark.parametrize("together", [1, 16])
@pytest.mark.parametrize(
    ("kind", "spread", "distribution"),
    [
        (GAUSSIAN, 25.5, stats.norm(0, 25.5)),
        (GAUSSIAN, 2.55, stats.norm(0, 2.55)),
        (UNIFORM, 38.25, stats.uniform(-38.25, 2 * 38.25)),
        (UNIFORM, 5.1, stats.uniform(-5.1, 2 * 5.1)),
    ],
)
def test_noise_has_the_right_distribution(kind, spread, distribution, together):
    n = 16
    gray = np.full((n, 64, 64, 3), 128, np.uint8)
    noisy = applied(gray, together, noise=np.full(n, kind), spread=np.full(n, spread, np.float32))
    levels = np.arange(1, 255)
    expected = distribution.cdf(levels + 0.5 - 128) - distribution.cdf(levels - 0.5 - 128)
    seen = np.bincount(noisy.astype(int).ravel(), minlength=256)[1:255] / noisy.size
    # Five standard errors of a count, and what ties of float rounding may add.
    tolerance = 5 * np.sqrt(expected / noisy.size) + 2e-5
    assert (np.abs(seen - expected) <= tolerance).all()
    rows = noisy.reshape(n, -1) - 128
    assert np.abs(np.corrcoef(rows) - np.eye(n)).max() < 0.05  # no patch has another's noise
    neighbors = np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]
    assert abs(neighbors) < 0.02


def test_draws_have_the_published_frequencies_and_ranges():
    n = 40000
    draws = draw(n, np.random.default_rng(0))

    def assert_share(mask, share):
        assert abs(np.mean(mask) - share) < 4 * np.sqrt(share * (1 - share) / len(mask))

    assert_share(draws.vflip, 0.5)
    assert_share(draws.hflip, 0.5)
    assert_share(draws.vflip & draws.hflip, 0.25)
    for kinds in (draws.noise, draws.blur):
        assert_share(kinds == GAUSSIAN, 0.15)
        assert_share(kinds == UNIFORM, 0.15)
    jittered = (draws.gain != 1).any(1)
    assert_share(jittered, 0.9)
    np.testing.assert_array_equal(jittered, (draws.shift != 0).any(1))

    def assert_uniform(values, low, high):
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4

    assert_uniform(draws.spread[draws.noise == GAUSSIAN] / 255, 0.01, 0.2)
    assert_uniform(draws.spread[draws.noise == UNIFORM] / 255, 0.02, 0.15)
    assert not draws.spread[draws.noise == NONE].any()
    for channel in range(3):
        assert_uniform(draws.gain[jittered, channel], 0.85, 1.15)
        assert_uniform(draws.shift[jittered, channel] / 255, -0.15, 0.15)
    assert abs(np.corrcoef(draws.gain[jittered].T)[0, 1]) < 0.03
    blurred = draws.blur != NONE
    assert not draws.radii[~blurred].any()
    for axis in (0, 1):
        for radius in range(4):
            assert_share(draws.radii[blurred, axis] == radius, 0.25)
    assert abs(np.corrcoef(draws.radii[blurred].T)[0, 1]) < 0.03


def slow_augment(image, rng):
    """The recipe for one patch, written independently of the plugin."""
    x = image.astype(np.float32) / 255
    x = x[::-1] if rng.random() < 0.5 else x
    x = x[:, ::-1] if rng.random() < 0.5 else x
    if rng.random() < 0.3:
        if rng.random() < 0.5:
            x = x + rng.normal(0, rng.uniform(0.01, 0.2), x.shape)
        else:
            half = rng.uniform(0.02, 0.15)
            x = x + rng.uniform(-half, half, x.shape)
    if rng.random() < 0.9:
        x = x * rng.uniform(0.85, 1.15, 3) + rng.uniform(-0.15, 0.15, 3)
    if rng.random() < 0.3:
        side = tuple(int(s) for s in rng.choice([1, 3, 5, 7], 2))
        x = np.ascontiguousarray(x, np.float32)
        x = cv2.GaussianBlur(x, side, 0) if rng.random() < 0.5 else cv2.blur(x, side)
    return np.round(np.clip(x, 0, 1) * 255)


def test_augmented_patches_are_distributed_like_the_references():
    n = 1500
    image = patches(1, 24, 24)
    ours = augment(torch.from_numpy(image.repeat(n, 0)), (0, 0, 0)).numpy()
    rng = np.random.default_rng(5)
    theirs = np.stack([slow_augment(image[0], rng) for _ in range(n)])
    measures = {
        "mean of a channel": lambda x: x[..., 0].mean((1, 2)),
        "contrast": lambda x: x.std((1, 2, 3)),
        "roughness": lambda x: np.abs(np.diff(x, axis=2)).mean((1, 2, 3)),
        "a corner": lambda x: x[:, 0, 0, 1],
        "clipped": lambda x: ((x == 0) | (x == 255)).mean((1, 2, 3)),
    }
    for name, measure in measures.items():
        assert stats.ks_2samp(measure(ours), measure(theirs)).pvalue > 1e-3, name


def test_the_seed_settles_everything_whatever_the_number_of_threads():
    images = torch.from_numpy(patches(24, 120, 120))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = augment(images, (3, 1, 4))
        torch.set_num_threads(2)
        two = augment(images, (3, 1, 4))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)
    for other in ((4, 1, 4), (3, 2, 4), (3, 1, 5)):
        assert not torch.equal(one, augment(images, other))


def test_the_input_stays_as_it_was_and_an_empty_batch_stays_empty():
    images = torch.from_numpy(patches(20))
    before = images.clone()
    augment(images, (0,))
    assert torch.equal(images, before)
    assert augment(images[:0], (0,)).shape == (0, 37, 41, 3)


def test_gaussian_taps_sum_to_one():
    for radius, taps in enumerate(module.GAUSSIAN_TAPS):
        assert len(taps) == 2 * radius + 1
        assert sum(taps) == 1
        assert taps == taps[::-1]
