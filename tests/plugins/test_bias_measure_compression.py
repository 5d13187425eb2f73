"""Compression as read from pixels: quality, grid and chroma found, and silence without JPEG."""

import cv2
import numpy as np
import pytest

import harness_nct_crc
import harness_phantom
from harness.data.jpeg import recompress
from harness_bias.measure.compression import COLUMNS, NOTHING, extract

QUALITIES = (30, 40, 50, 60, 70, 80, 90)
CHROMA = ("4:4:4", "4:2:0")


@pytest.fixture(scope="module")
def patches():
    """Three patches a class, uint8 (27, 224, 224, 3)."""
    test = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    places = [np.flatnonzero(test.labels == label)[:9:4] for label in range(9)]
    return test.read(np.concatenate(places))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def column(features, name):
    return features[:, COLUMNS.index(name)]


def shifted(patch, quality, chroma, x, y):
    """Recompress a patch in a larger image, so that its grid starts at (x, y)."""
    before = (8 - y) % 8, (8 - x) % 8
    large = cv2.copyMakeBorder(patch, before[0], 7, before[1], 7, cv2.BORDER_REFLECT_101)
    height, width = patch.shape[:2]
    decoded = recompress(large, quality, chroma=chroma)
    return decoded[before[0] :, before[1] :][:height, :width]


@pytest.mark.parametrize("chroma", CHROMA)
@pytest.mark.parametrize("aligned", [True, False])
def test_quality_grid_and_chroma_of_recompressed_patches(patches, rng, aligned, chroma):
    qualities = np.resize(QUALITIES, len(patches) * 2)
    grids = np.zeros((len(qualities), 2), int) if aligned else rng.integers(0, 8, (54, 2))
    images = [
        shifted(patch, int(quality), chroma, *grid)
        for patch, quality, grid in zip([*patches, *patches], qualities, grids, strict=True)
    ]
    features = extract(np.stack(images))
    known = column(features, "quality") > 0
    assert (column(features, "detected") == 1).mean() >= 0.96
    # What is not known is not guessed.
    assert (np.abs(column(features, "quality") - qualities) <= 5)[known].all()
    assert known.mean() >= 0.9
    found = features[:, [COLUMNS.index("grid_x"), COLUMNS.index("grid_y")]]
    assert (found == grids).all(1)[known].all()
    assert (found == grids).all(1)[qualities <= 80].mean() >= 0.96
    subsampled = column(features, "chroma_subsampled")
    assert set(subsampled[known]) <= {-1, float(chroma == "4:2:0")}
    assert (subsampled >= 0).mean() >= 0.85


@pytest.mark.parametrize("quality", [95, 98, 100])
def test_weak_compression_leaves_no_edges_and_is_found_all_the_same(patches, quality):
    features = extract(np.stack([shifted(patch, quality, "4:2:0", 3, 5) for patch in patches]))
    assert (column(features, "quality") == quality).mean() >= 0.85
    assert set(column(features, "quality")) <= {0, quality}


def turned(patch, rng):
    rotation = cv2.getRotationMatrix2D((112, 112), rng.uniform(10, 80), 1)
    return cv2.warpAffine(
        patch, rotation, (224, 224), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def shrunk(patch, rng):
    large = cv2.copyMakeBorder(patch, 100, 97, 100, 97, cv2.BORDER_REFLECT_101)
    small = cv2.resize(large, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    return noisy(small, rng, 0.7)


def blurred(patch, rng):
    return noisy(cv2.GaussianBlur(patch, (0, 0), 1.5), rng, 1)


def gray(patch, rng):
    return cv2.cvtColor(cv2.cvtColor(turned(patch, rng), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def noisy(patch, rng, sigma):
    return np.clip(np.rint(patch + rng.normal(0, sigma, patch.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [turned, shrunk, blurred, gray])
def test_silent_on_patches_without_compression(patches, rng, change):
    features = extract(np.stack([change(patch, rng) for patch in patches]))
    assert (features[:, :-1] == NOTHING).all()
    assert set(column(features, "edge_quality")) <= {0, 90}


@pytest.fixture(scope="module")
def synthetic():
    """Two patches a class that were never compressed, uint8 (18, 224, 224, 3)."""
    test = harness_phantom.make(0)({}).test
    return test.read(np.concatenate([np.flatnonzero(test.labels == c)[:2] for c in range(9)]))


@pytest.mark.parametrize("size", [256, 299, 448])
@pytest.mark.parametrize("how", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_stripes_of_enlarged_patches_are_no_grid(synthetic, size, how):
    large = [cv2.resize(patch, (size, size), interpolation=how) for patch in synthetic]
    assert (extract(np.stack(large))[:, :-1] == NOTHING).all()


def recolored(patch, rng):
    """A patch after each channel got a tone curve of its own, as color normalization gives it."""
    values = np.linspace(0, 1, 256)
    curves = [values ** rng.uniform(0.85, 1.2) for _ in range(3)]
    return cv2.LUT(patch, np.rint(255 * np.stack(curves, axis=1)).astype(np.uint8)[None])


@pytest.mark.parametrize("quality", [40, 50, 60, 70])
def test_edges_tell_the_quality_after_recoloring(patches, rng, quality):
    features = extract(np.stack([recolored(recompress(p, quality), rng) for p in patches]))
    told = column(features, "edge_quality")
    assert not column(features, "quality").any()
    assert (told > 0).mean() >= 0.8
    assert np.median(told[told > 0]) == pytest.approx(quality, abs=5)
    assert (np.abs(told[told > 0] - quality) <= 10).mean() >= 0.8


@pytest.mark.parametrize("quality", [70, 80, 85])
def test_edges_tell_better_qualities_where_nothing_was_compressed_before(synthetic, rng, quality):
    told = column(
        extract(np.stack([recolored(recompress(p, quality), rng) for p in synthetic])),
        "edge_quality",
    )
    assert np.median(told[told > 0]) == pytest.approx(quality, abs=5)


def test_edges_of_untouched_patches_tell_the_best_quality_or_nothing(synthetic):
    told = column(extract(synthetic), "edge_quality")
    assert set(told) <= {0, 90}
    small = np.ascontiguousarray(synthetic[:, :79, :79])
    assert not column(extract(small), "edge_quality").any()


def test_quality_is_not_claimed_after_a_later_change(patches, rng):
    assert not column(extract(patches), "quality").any()  # their color was normalized
    changed = [noisy(recompress(patch, 60), rng, 1) for patch in patches]
    features = extract(np.stack(changed))
    assert (column(features, "detected") == 1).mean() >= 0.9
    assert not column(features, "quality").any()
    assert set(column(features, "chroma_subsampled")) == {-1}


def test_stronger_compression_is_blockier(patches):
    medians = [
        np.median(column(extract(np.stack([recompress(p, q) for p in patches])), "blockiness"))
        for q in (20, 40, 60, 80)
    ]
    assert medians == sorted(medians, reverse=True)
    assert medians[-1] > 1


def test_saturated_patches_are_read_where_chroma_is_subsampled(patches):
    saturated = patches[9:18].copy()
    saturated[..., 2] = np.clip(saturated[..., 2].astype(int) + 60, 0, 255)
    images = np.stack([recompress(patch, 60) for patch in saturated])
    assert (images == 255).any(3).mean() > 0.2
    assert (column(extract(images), "quality") == 60).mean() >= 0.7


def test_a_row_does_not_depend_on_the_batch(patches):
    images = np.stack([recompress(patch, 75) for patch in patches])
    together = extract(images)
    assert together.dtype == np.float32
    assert together.shape == (len(images), len(COLUMNS))
    assert (together == np.concatenate([extract(image[None]) for image in images])).all()
    assert (together[::-1] == extract(images[::-1])).all()
    assert extract(images[:0]).shape == (0, len(COLUMNS))


@pytest.mark.parametrize("shape", [(213, 187), (97, 224), (64, 65), (17, 90), (16, 16)])
def test_any_size(patches, shape):
    height, width = shape
    images = np.stack([recompress(patch, 50)[3 : 3 + height, 6 : 6 + width] for patch in patches])
    features = extract(images)
    assert features.shape == (27, len(COLUMNS))
    assert np.isfinite(features).all()
    found = column(features, "quality") > 0
    assert (np.abs(column(features, "quality")[found] - 50) <= 5).all()
    assert (features[found][:, [2, 3]] == (2, 5)).all()
    if min(shape) >= 64:
        assert found.mean() >= (0.9 if min(shape) > 90 else 0.7)


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_constant_images_tell_nothing(level):
    images = np.full((1, 64, 48, 3), level, np.uint8)
    assert (extract(images) == (*NOTHING, 0)).all()
    assert (extract(recompress(images[0], 50)[None])[:, 4] == 0).all()
