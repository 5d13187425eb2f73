"""Planted duplicates are found, other patches are not taken for duplicates."""

import cv2
import numpy as np
import pytest

import harness_nct_crc
from harness import Measured
from harness_bias.measure import leakage
from harness_bias.measure.leakage import ORIENTATIONS, Pair, Patch, extract, find, groups


class Images:
    """A split of patches in memory that counts those it was asked for."""

    def __init__(self, images):
        self.images = images
        self.labels = np.zeros(len(images), np.int64)
        self.reads = 0

    def read(self, indices):
        self.reads += len(indices)
        return self.images[list(indices)]


def measured(images):
    return Measured(split=Images(np.asarray(images)), values={"leakage": extract(images)})


def oriented(image, through):
    mirrored, turns = divmod(ORIENTATIONS.index(through), 4)
    return np.ascontiguousarray(np.rot90(np.fliplr(image) if mirrored else image, turns))


def recompressed(image, quality):
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def shifted(image, rng):
    changed = image * rng.uniform(0.95, 1.05, 3) + rng.uniform(-6, 6, 3)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def everything(image, rng):
    return recompressed(shifted(oriented(image, rng.choice(ORIENTATIONS)), rng), 60)


@pytest.fixture(scope="module")
def train():
    return measured(_patches(harness_nct_crc.TRAIN))


@pytest.fixture(scope="module")
def test():
    return measured(_patches(harness_nct_crc.TEST))


def _patches(name):
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, name)
    return split.read(range(len(split.labels)))


def test_columns_name_the_numbers(test):
    assert test.values["leakage"].shape == (111, len(leakage.COLUMNS))
    assert test.values["leakage"].dtype == np.float32
    assert len(set(leakage.COLUMNS)) == len(leakage.COLUMNS)
    assert leakage.COLUMNS[leakage.STRUCTURE] == "structure"


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (112, 96), (300, 300)])
def test_any_size_is_described(test, shape):
    images = np.stack([cv2.resize(image, shape[::-1]) for image in test.split.images[:6]])
    values = extract(images)
    assert np.isfinite(values).all()
    assert np.allclose(np.linalg.norm(values[:, leakage.SHAPE], axis=1), 1)
    assert np.array_equal(values, np.concatenate([extract(images[i : i + 1]) for i in range(6)]))


@pytest.mark.parametrize("through", ORIENTATIONS)
def test_the_shape_is_the_same_in_every_orientation(test, through):
    turned = extract(np.stack([oriented(image, through) for image in test.split.images]))
    values = test.values["leakage"]
    structured = values[:, leakage.STRUCTURE] >= leakage.MIN_STRUCTURE
    difference = (turned - values)[structured, leakage.SHAPE]
    assert np.abs(difference).max() < 1e-4
    equal = (turned[:, leakage.DIGESTS] == values[:, leakage.DIGESTS]).all(axis=1)
    assert equal.all() if through == "none" else not equal.any()


def test_a_digest_survives_float32_and_sees_one_pixel(test):
    image = test.split.images[0]
    other = image.copy()
    other[100, 50, 1] ^= 1
    first, second = extract(np.stack([image, other]))[:, leakage.DIGESTS]
    assert (first != second).all()
    for part in first:
        assert part == int(part) < 2**24


def test_the_shipped_sample_holds_no_duplicates(train, test):
    assert find({"train": train, "test": test}) == []


def test_no_two_tiles_of_the_sample_are_taken_for_duplicates(train):
    tiles = [
        image[y : y + 112, x : x + 112]
        for image in train.split.images
        for y in (0, 112)
        for x in (0, 112)
    ]
    assert find({"train": measured(np.stack(tiles))}) == []


def test_equal_patches_are_exact(train):
    copies = measured(train.split.images[[5, 9, 200]])
    pairs = find({"train": train, "test": copies})
    assert pairs == [
        Pair(Patch("train", source), Patch("test", i), "exact", "none", 1.0)
        for i, source in enumerate((5, 9, 200))
    ]
    assert copies.split.reads == 0


@pytest.mark.parametrize("through", ORIENTATIONS[1:])
def test_the_orientation_is_named(train, through):
    copies = measured(
        np.stack([oriented(train.split.images[i], through) for i in range(9, 200, 9)])
    )
    pairs = find({"train": train, "test": copies})
    assert {(p.first.index, p.second.index) for p in pairs} == {(9 + 9 * i, i) for i in range(22)}
    assert {(p.kind, p.through) for p in pairs} == {("near", through)}
    assert min(p.similarity for p in pairs) > 0.999


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image, rng: recompressed(image, 90), id="quality-90"),
        pytest.param(lambda image, rng: recompressed(image, 60), id="quality-60"),
        pytest.param(shifted, id="color"),
        pytest.param(everything, id="everything"),
    ],
)
def test_changed_copies_are_near_duplicates(train, test, change):
    rng = np.random.default_rng(0)
    sources = rng.choice(len(test.labels), 60, replace=False)
    copies = measured(np.stack([change(test.split.images[i], rng) for i in sources]))
    pairs = find({"train": train, "test": test, "copies": copies})
    structure = test.values["leakage"][sources, leakage.STRUCTURE]
    planted = {
        (Patch("test", int(source)), Patch("copies", i))
        for i, source in enumerate(sources)
        if structure[i] >= 1.1 * leakage.MIN_STRUCTURE
    }
    found = {(p.first, p.second) for p in pairs}
    assert len(planted) >= 55
    assert planted <= found
    assert all(sources[copy.index] == source.index for source, copy in found)  # no others


def test_empty_patches_with_the_same_light_are_not_duplicates():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    light = 235 - 25 * (x * x + 0.5 * y * y) - 10 * x
    noisy = light[..., None] + rng.normal(0, 1, (40, 224, 224, 3))
    assert find({"test": measured(np.rint(noisy).astype(np.uint8))}) == []


def test_patches_in_the_same_frame_are_not_duplicates(test):
    framed = test.split.read(range(len(test.labels))).copy()
    framed[:, :4], framed[:, -4:], framed[:, :, :4], framed[:, :, -4:] = 0, 0, 0, 0
    assert find({"test": measured(framed)}) == []
    pairs = find({"test": measured(np.concatenate([framed, recompressed(framed[20], 70)[None]]))})
    assert [(pair.first.index, pair.second.index) for pair in pairs] == [(20, len(framed))]


def test_equal_patches_of_one_color_are_blank():
    images = np.full((50, 32, 32, 3), 255, np.uint8)
    images[:20] = (10, 200, 30)
    pairs = find({"test": measured(images)})
    assert len(pairs) == 19 + 29
    assert {pair.kind for pair in pairs} == {"blank"}
    assert [len(group) for group in groups(pairs)] == [30, 20]


def test_many_copies_are_one_group_and_not_a_pair_each(test):
    rng = np.random.default_rng(0)
    copies = measured(np.stack([everything(test.split.images[40], rng) for _ in range(200)]))
    pairs = find({"test": test, "copies": copies})
    assert len(pairs) == 200
    assert [len(group) for group in groups(pairs)] == [201]
    assert copies.split.reads <= 200


def test_few_patches_are_fine(test):
    assert find({"test": measured(test.split.images[:1])}) == []
    assert groups([]) == []


def test_the_search_is_cut_into_chunks_without_a_loss(monkeypatch, train, test):
    copies = measured(np.stack([np.fliplr(image) for image in test.split.images]))
    parts = {"train": train, "test": test, "copies": copies}
    whole = find(parts)
    monkeypatch.setattr(leakage, "CHUNK", 50)
    assert find(parts) == whole
    assert len(whole) >= 105
