"""Dynamic range: sound patches raise no alarm, planted and known faults are found and named."""

import itertools

import cv2
import numpy as np
import pytest

import harness_nct_crc
from harness_bias.measure.dynamic_range import (
    CLIPPED_HIGH,
    CLIPPED_LOW,
    COLUMNS,
    COMB,
    CORRUPT,
    GAPS,
    HIGH,
    LOW,
    ROUGH,
    WHITE,
    WIDE,
    WRAPAROUND,
    extract,
    reasons,
)

HISTOGRAM = slice(GAPS.start, COMB.stop)
BACK, DEB = harness_nct_crc.CLASSES.index("BACK"), harness_nct_crc.CLASSES.index("DEB")
GARISH = ("AANNAWLE", "ACQQYLLS", "ADCHTGEE", "AFQQTGKI", "AGKPYMDE", "AHDNMNIT", "AIIGEWYP")
"""Debris of the test set that is violet all over: its blue is cut off."""


@pytest.fixture(scope="module")
def test_split():
    return harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)


@pytest.fixture(scope="module")
def tissue(test_split):
    """Patches that look sound; their red is clipped a little."""
    indices = np.flatnonzero(~np.isin(test_split.labels, (BACK, DEB)))[::2]
    return test_split.read(indices)


@pytest.fixture(scope="module")
def clean(tissue):
    """Patches like ``tissue`` before they were digitized: float32, within 12..247."""
    rng = np.random.default_rng(0)
    half = [cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in tissue]
    light = np.stack([cv2.resize(p, (224, 224)) for p in half]) * np.float32(0.88) + 12
    return np.clip(light + rng.normal(0, 1.2, light.shape).astype(np.float32), 12, 247)


def digitized(light):
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def stretched(patches, gain):
    return (patches.astype(np.float32) - 127.5) * np.float32(gain) + 127.5


def jpeg(patch, quality):
    return cv2.imdecode(cv2.imencode(".jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def rate(features, columns):
    """Share of patches in which any of some columns is not 0."""
    return (features[:, columns] != 0).any(axis=1).mean()


def test_groups_of_columns_are_where_their_names_are(tissue):
    features = extract(tissue[:2])
    assert features.shape == (2, len(COLUMNS))
    assert features.dtype == np.float32
    for name, group in (
        ("low", LOW),
        ("high", HIGH),
        ("clipped_low", CLIPPED_LOW),
        ("clipped_high", CLIPPED_HIGH),
        ("gaps", GAPS),
        ("rough", ROUGH),
        ("comb", COMB),
        ("wraparound", WRAPAROUND),
    ):
        assert COLUMNS[group] == tuple(f"{name}_{channel}" for channel in "rgb")
    names = (COLUMNS[WHITE], COLUMNS[WIDE], COLUMNS[CORRUPT])
    assert names == ("white", "wide", "corrupt")


def test_shares_are_those_of_all_pixels(tissue):
    tissue = tissue.copy()
    tissue[0, :10], tissue[0, 10:30, :, 0] = 255, 0
    for row, patch in zip(extract(tissue), tissue, strict=True):
        assert row[LOW] == pytest.approx((patch == 0).mean(axis=(0, 1)))
        assert row[HIGH] == pytest.approx((patch == 255).mean(axis=(0, 1)))
        assert row[WHITE] == pytest.approx((patch == 255).all(axis=2).mean())
        assert (row[CLIPPED_LOW] <= row[LOW]).all()
        assert (row[CLIPPED_HIGH] <= row[HIGH]).all()


def alarms(features, start=CLIPPED_LOW.start):
    """Columns that are 0 in sound patches."""
    return np.delete(features, WIDE, axis=1)[:, start:]


def test_sound_patches_raise_no_alarm(tissue, clean):
    assert not alarms(extract(tissue), GAPS.start).any()
    assert not alarms(extract(digitized(clean))).any()
    assert extract(tissue)[:, WIDE].mean() > 0.9


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_compression_is_not_taken_for_a_stretch(clean, quality):
    features = extract(np.stack([jpeg(patch, quality) for patch in digitized(clean)]))
    assert not alarms(features, HISTOGRAM.start).any()


def test_garish_patches_of_the_test_set_are_found_and_no_other_debris(test_split):
    indices = np.flatnonzero(test_split.labels == DEB)
    for index, row in zip(indices, extract(test_split.read(indices)), strict=True):
        garish = test_split.ids[index].endswith(GARISH)
        assert row[CORRUPT] == garish
        assert reasons(row).endswith("of the blue values clipped at 255" if garish else "")
        assert bool(reasons(row)) == garish


def test_glass_stretched_to_violet_is_found(test_split):
    features = extract(test_split.read(np.flatnonzero(test_split.labels == BACK)))
    assert features[:, CORRUPT].mean() >= 0.8


@pytest.mark.parametrize(("gain", "corrupt"), [(1.5, 0.5), (2, 0.9), (3, 0.9)])
def test_clipping_is_found_without_other_traces(clean, gain, corrupt):
    features = extract(digitized(stretched(clean, gain)))
    assert rate(features, slice(CLIPPED_LOW.start, CLIPPED_HIGH.stop)) >= 0.95
    assert features[:, CORRUPT].mean() >= corrupt
    assert rate(features, HISTOGRAM) <= 0.02


@pytest.mark.parametrize("gain", [0.6, 0.75, 0.9, 1.05, 1.1, 1.25, 1.5, 2])
def test_a_stretch_or_compression_of_8_bit_values_is_found(tissue, gain):
    features = extract(digitized(stretched(tissue, gain)))
    assert features[:, CORRUPT].mean() >= 0.9
    assert (features[:, GAPS] > 0).any() == (gain > 1)


def test_gaps_are_the_share_of_values_that_a_stretch_skips(tissue):
    features = extract(digitized(stretched(tissue, 1.5)))
    assert np.median(features[:, GAPS]) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("offset", [20, 40, 80])
def test_overflow_is_found_in_the_channel_that_it_struck(tissue, offset):
    for channel in range(3):
        overflown = tissue.copy()
        overflown[..., channel] += np.uint8(offset)
        found = extract(overflown)[:, WRAPAROUND] > 0
        wraps = (tissue[..., channel] > 255 - offset).mean(axis=(1, 2)) > 0.01
        assert found[wraps, channel].mean() >= 0.95
        assert not np.delete(found, channel, axis=1).any()


@pytest.mark.parametrize("gain", [1.2, 1.5, 2])
def test_overflow_by_gain_is_found(tissue, gain):
    overflown = (np.rint(tissue * np.float32(gain)).astype(np.int32) % 256).astype(np.uint8)
    features = extract(overflown)
    assert rate(features, WRAPAROUND) >= (0.95 if gain < 2 else 0.8)
    assert features[:, CORRUPT].all()
    assert all("gaps in the histogram" in reasons(row) for row in features)


def test_sharp_edges_are_no_wraparound():
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (8, 28, 28, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    assert (np.abs(np.diff(squares.astype(int), axis=1)) > 170).any()
    assert not extract(squares)[:, WRAPAROUND].any()


@pytest.mark.parametrize("side", [3, 4, 5, 6, 12, 60])
def test_a_mark_with_straight_edges_is_no_wraparound(tissue, side):
    marked = tissue.copy()
    for patch, (top, left) in zip(marked, itertools.cycle(((0, 0), (0, 100), (50, 60)))):
        patch[top : top + side, left : left + side] = (20, 30, 90)
    assert (np.abs(np.diff(marked.astype(int), axis=2)) > 170).any()
    assert not extract(marked)[:, WRAPAROUND].any()


def test_bright_is_not_clipped():
    rng = np.random.default_rng(0)
    bright = digitized(255 - np.abs(rng.gamma(3, 4, (4, 224, 224, 3))))
    assert (bright == 255).any()
    assert not extract(bright)[:, CLIPPED_HIGH].any()


def test_blank_white_is_clipped_but_not_corrupt(clean):
    patches = digitized(clean)
    patches[:, 112:] = 255
    features = extract(patches)
    assert features[:, CLIPPED_HIGH] == pytest.approx(0.5, abs=0.01)
    assert not features[:, CORRUPT].any()


@pytest.mark.parametrize("noise", [0, 0.5, 3])
def test_few_values_are_not_judged(noise):
    rng = np.random.default_rng(0)
    ramp = np.linspace(200, 210, 224)[None, :, None] * np.ones((224, 1, 3))
    patches = digitized(ramp + rng.normal(0, noise, (4, 224, 224, 3)))
    assert not extract(patches)[:, CLIPPED_LOW.start :].any()  # nor are they wide


@pytest.mark.parametrize("size", [16, 17, 40])
def test_small_patches_raise_no_alarm(clean, size):
    features = extract(digitized(clean)[:, :size, -size:])
    assert not alarms(features).any()
    assert np.isfinite(extract(np.zeros((1, size, size, 3), np.uint8))).all()


def test_a_patch_does_not_depend_on_its_batch(tissue):
    patches = digitized(stretched(tissue, 1.2))[:12]
    alone = [extract(patch[None].copy())[0] for patch in patches]
    assert (extract(patches) == np.array(alone)).all()


def test_reasons_name_share_channel_and_fault():
    row = np.zeros(len(COLUMNS), np.float32)
    assert reasons(row) == ""
    row[COLUMNS.index("clipped_high_r")] = 0.123
    row[COLUMNS.index("gaps_r")] = row[COLUMNS.index("gaps_g")] = 0.2
    row[COLUMNS.index("wraparound_b")] = 0.01
    assert reasons(row) == (
        "12.3 % of the red values clipped at 255; gaps in the histogram of red, green; "
        "values wrap round in blue"
    )
    row[WHITE] = 0.1  # most of what is clipped is glass
    assert "clipped" not in reasons(row)
