"""Color features against a plain computation, pixel by pixel."""

import colorsys

import numpy as np
import pytest

import harness_nct_crc
from harness_bias.measure.color import (
    BINS,
    COLUMNS,
    DENSITY,
    HISTOGRAM,
    HUE,
    MEANS,
    SAMPLED,
    extract,
)


@pytest.fixture(scope="module")
def patches():
    test = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    return test.read(range(0, 111, 14))


def value(row, name):
    return row[COLUMNS.index(name)]


def test_one_column_a_name(patches):
    features = extract(patches)
    assert features.shape == (len(patches), len(COLUMNS))
    assert features.dtype == np.float32
    assert len(set(COLUMNS)) == len(COLUMNS) == 64


def test_groups_of_columns_are_where_their_names_are():
    assert COLUMNS[MEANS] == ("mean_r", "mean_g", "mean_b")
    assert COLUMNS[HUE] == ("hue_x", "hue_y", "saturation")
    assert COLUMNS[HISTOGRAM][0] == "r00"
    assert COLUMNS[HISTOGRAM][-1] == "b15"
    assert COLUMNS[DENSITY][0] == "od_n"
    assert COLUMNS[DENSITY][-1] == "od_bb"


def test_means_and_histograms_are_those_of_all_pixels(patches):
    for row, patch in zip(extract(patches), patches, strict=True):
        pixels = patch.reshape(-1, 3)
        assert row[MEANS] == pytest.approx(pixels.mean(axis=0), abs=1e-4)
        counts = [np.bincount(channel // (256 // BINS), minlength=BINS) for channel in pixels.T]
        assert row[HISTOGRAM] == pytest.approx(np.ravel(counts) / len(pixels), abs=1e-6)


def test_hue_is_a_mean_direction_weighted_by_saturation(patches):
    for row, patch in zip(extract(patches), patches, strict=True):
        pixels = patch[::SAMPLED, ::SAMPLED].reshape(-1, 3) / 255
        hue, saturation = np.array([colorsys.rgb_to_hsv(*p) for p in pixels])[:, :2].T
        expected = [
            np.average(np.cos(2 * np.pi * hue), weights=saturation),
            np.average(np.sin(2 * np.pi * hue), weights=saturation),
            saturation.mean(),
        ]
        assert row[HUE] == pytest.approx(expected, abs=1e-4)


def test_density_is_read_from_pixels_that_are_not_cut_off(patches):
    patches[0, :112] = 255, 200, 128
    patches[1, :, :50] = 4, 200, 128
    for row, patch in zip(extract(patches), patches, strict=True):
        pixels = patch[::SAMPLED, ::SAMPLED].reshape(-1, 3).astype(float)
        valid = (pixels.min(axis=1) >= 5) & (pixels.max(axis=1) <= 250)
        density = -np.log((pixels[valid] + 0.5) / 255.5)
        products = density.T @ density / valid.sum()
        expected = [valid.mean(), *density.mean(axis=0), *products[np.triu_indices(3)]]
        assert row[DENSITY] == pytest.approx(expected, rel=1e-4)
    assert value(extract(patches[:1])[0], "od_n") <= 0.5


@pytest.mark.parametrize(
    ("color", "x", "y"), [((200, 0, 0), 1, 0), ((0, 200, 0), -0.5, 0.866), ((90, 90, 90), 0, 0)]
)
def test_hue_of_pure_colors(color, x, y):
    row = extract(np.full((1, 16, 16, 3), color, np.uint8))[0]
    assert row[HUE] == pytest.approx([x, y, float(color[0] != color[2] or color[1] > 90)], abs=1e-3)


@pytest.mark.parametrize("level", [0, 255])
def test_without_a_pixel_to_read_density_is_zero(level):
    row = extract(np.full((1, 20, 20, 3), level, np.uint8))[0]
    assert (row[DENSITY] == 0).all()
    assert np.isfinite(row).all()


def test_a_patch_does_not_depend_on_its_batch_or_layout(patches):
    together = extract(patches[:, :101, 3:92])
    alone = [extract(patch[None, :101, 3:92].copy())[0] for patch in patches]
    assert (together == np.array(alone)).all()
    assert np.isfinite(together).all()
