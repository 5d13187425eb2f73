"""Overlapping patches are found by their keypoints, and others are not taken for overlaps."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import harness_nct_crc
from harness import Measured
from harness.data.jpeg import recompress
from harness_bias.measure import keypoints, matches, overlap
from harness_bias.measure.leakage import Patch
from harness_bias.measure.overlap import find

SIDE = 112


class Images:
    """A split of patches in memory."""

    def __init__(self, images):
        self.images = images
        self.labels = np.zeros(len(images), np.int64)

    def read(self, indices):
        return self.images[list(indices)]


def measured(images):
    images = np.ascontiguousarray(images)
    return Measured(split=Images(images), values={"keypoints": keypoints.extract(images)})


def crops(images, x=0, y=0):
    return images[:, y : y + SIDE, x : x + SIDE]


@pytest.fixture(scope="module")
def whole():
    """Real patches with tissue in them, of all classes."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    images = split.read(range(0, len(split.labels), 2))
    return images[[image.std() > 20 for image in images]]


@pytest.fixture(scope="module")
def originals(whole):
    return measured(crops(whole))


def own_pairs(pairs):
    """Indices of the patches that were found to overlap their own original, and all else."""
    own = {p.second.index for p in pairs if p.first == Patch("original", p.second.index)}
    return own, [p for p in pairs if p.first != Patch("original", p.second.index)]


def usual(image, rng):
    changed = image * rng.uniform(0.95, 1.05, 3) + rng.uniform(-6, 6, 3)
    return recompress(np.clip(np.rint(changed), 0, 255).astype(np.uint8), 70)


def placed(image, x=0, turned=0.0, scale=1.0):
    middle = (x + (SIDE - 1) / 2, (SIDE - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, turned, scale)
    matrix[0, 2] -= x
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)


def covered(image, rng):
    size = int(rng.integers(16, 36))
    x, y = rng.integers(0, SIDE - size, 2)
    image = image.copy()
    image[y : y + size, x : x + size] = rng.integers(0, 256, 3)
    return image


CHANGES = {
    "displaced by 1 pixel": (lambda image, rng: placed(image, 1), 0.95),
    "displaced by 8 of 112": (lambda image, rng: placed(image, 8), 0.95),
    "displaced by 48 of 112": (lambda image, rng: placed(image, 48), 0.95),
    "displaced by 80 of 112": (lambda image, rng: placed(image, 80), 0.7),
    "turned by 2 degrees": (lambda image, rng: placed(image, 0, 2), 0.95),
    "turned by 15 degrees": (lambda image, rng: placed(image, 16, 15), 0.95),
    "enlarged by 10 %": (lambda image, rng: placed(image, 0, 0, 1.1), 0.95),
    "reduced by 10 %": (lambda image, rng: placed(image, 0, 0, 1 / 1.1), 0.95),
    "mirrored and displaced": (lambda image, rng: placed(image, 32)[:, ::-1].copy(), 0.95),
    "covered in part": (lambda image, rng: covered(placed(image), rng), 0.95),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_crops_are_found_and_no_others(whole, originals, name):
    change, least = CHANGES[name]
    rng = np.random.default_rng(0)
    others = measured(np.stack([usual(change(image, rng), rng) for image in whole]))
    own, rest = own_pairs(find({"original": originals, "crop": others}))
    assert len(own) >= least * len(whole)
    assert not rest


def test_how_and_where_patches_overlap_is_said(whole, originals):
    displaced = find({"original": originals, "crop": measured(crops(whole, 56))})
    assert {pair.kind for pair in displaced} == {"overlap"}
    assert {pair.through for pair in displaced} == {"moved by -56, 0"}
    assert all(0.1 <= pair.area <= 0.51 for pair in displaced)
    assert np.median([pair.area for pair in displaced]) > 0.45
    assert min(pair.similarity for pair in displaced) > 0.95
    assert displaced == sorted(displaced, key=lambda pair: -pair.area)
    turned = np.stack([placed(image, 0, 10, 1.05) for image in whole])
    words = [p.through for p in find({"original": originals, "crop": measured(turned)})]
    told = sum("rotated 10" in each and "scaled 1.0" in each for each in words)
    assert told >= 0.9 * len(words)
    mirrored = measured(crops(whole, 20)[:, :, ::-1])
    words = {p.through for p in find({"original": originals, "crop": mirrored})}
    assert words == {"moved by 20, 0, mirrored left-right"}


def test_displacements_are_in_pixels_of_the_patch_and_not_of_the_reduced_one(whole):
    first, second = (measured(whole[:12, :160, x : x + 160]) for x in (0, 40))
    assert keypoints.reduction(160, 160) == 2
    pairs = find({"original": first, "crop": second})
    assert len(pairs) >= 11
    assert {pair.through for pair in pairs} == {"moved by -40, 0"}


def test_mosaics_overlap_what_they_are_made_of(whole, originals):
    tiles = crops(whole)
    half = SIDE // 2
    sources = [[(i + 7 * k) % len(tiles) for k in range(4)] for i in range(len(tiles))]
    mosaics = np.empty_like(tiles)
    for mosaic, four in zip(mosaics, sources, strict=True):
        for k, source in enumerate(four):
            y, x = half * (k // 2), half * (k % 2)
            mosaic[y : y + half, x : x + half] = tiles[source, 28:84, 28:84]
    pairs = [
        pair
        for pair in find({"original": originals, "mosaic": measured(mosaics)})
        if pair.first.part != pair.second.part
    ]
    assert all(pair.first.index in sources[pair.second.index] for pair in pairs)
    assert len({pair.second.index for pair in pairs}) >= 0.95 * len(tiles)
    assert len(pairs) >= 0.5 * 4 * len(tiles)


def test_tiles_that_do_not_overlap_are_not_taken_for_overlaps(whole):
    tiles = np.concatenate([crops(whole, x, y) for x in (0, 112) for y in (0, 112)])
    assert find({"tiles": measured(tiles)}) == []


def test_patches_without_keypoints_are_fine():
    blank = np.full((5, 64, 64, 3), 230, np.uint8)
    noise = np.random.default_rng(0).integers(229, 232, (5, 64, 64, 3)).astype(np.uint8)
    tiny = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3)).astype(np.uint8)
    for images in (blank, noise, tiny, blank[:1]):
        part = measured(images)
        assert not keypoints.count(part.values["keypoints"]).any()
        assert find({"test": part}) == []


def test_of_copies_only_the_first_is_looked_at(whole):
    images = np.concatenate([crops(whole[:10]), crops(whole[:10]), crops(whole[:10], 30)])
    group = [[Patch("test", i), Patch("test", i + 10)] for i in range(10)]
    pairs = find({"test": measured(images)}, group)
    found = {(p.first.index, p.second.index) for p in pairs}
    assert found <= {(i, i + 20) for i in range(10)}
    assert len(found) >= 9  # one is plain


def test_a_chain_is_tied_together_on_one_side_and_listed_pair_by_pair_across_sides(whole):
    chain = measured(np.concatenate([crops(whole[2:3], x) for x in (0, 20, 40, 60)]))
    assert len(find({"test": chain})) == 3
    everything = find({"test": chain}, sides=np.arange(4))
    assert {(p.first.index, p.second.index) for p in everything} == {
        (i, j) for i in range(4) for j in range(i + 1, 4)
    }


def test_very_many_crops_of_one_place_are_still_found(whole):
    places = [(x, y) for x in range(0, 65, 8) for y in range(0, 65, 8)]
    assert len(places) > 2 * matches.COMMON
    tiles = np.concatenate([crops(whole[2:3], x, y) for x, y in places])
    parts = {"train": measured(tiles[::2]), "test": measured(tiles[1::2])}
    found = {p.second for p in find(parts) if p.first.part != p.second.part}
    assert len(found) == len(parts["test"].labels)


@given(
    arrays(np.float32, (7, 2), elements=st.floats(9, 240, width=32)),
    arrays(np.float32, 7, elements=st.floats(-3.125, 3.125, width=32)),
    arrays(np.float32, (7, 23), elements=st.floats(-1, 1, width=32)),
)
def test_what_is_packed_is_unpacked(place, angle, vectors):
    features = np.zeros((3, keypoints.KEYPOINTS, keypoints.FLOATS), np.float32)
    features[1, :7] = keypoints.pack(place, angle, vectors)
    assert (features == np.floor(features)).all()
    assert features.max() < 2**24
    features = features.reshape(3, -1)
    found = keypoints.unpack(features)
    assert found.patch.tolist() == [1] * 7
    assert keypoints.count(features).tolist() == [0, 7, 0]
    assert np.abs(found.place - place).max() <= 1 / 32 + 1e-6
    off = found.angle * (2 * np.pi / 64) - angle
    assert np.abs((off + np.pi) % (2 * np.pi) - np.pi).max() <= np.pi / 64 + 1e-5
    assert np.abs(found.vector / keypoints.SCALE - np.clip(vectors, -0.62, 0.62)).max() <= 0.01001


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (64, 64), (112, 96), (300, 520)])
def test_any_size_is_described(whole, shape):
    images = np.stack([cv2.resize(image, shape[::-1]) for image in whole[:4]])
    values = keypoints.extract(images)
    assert values.shape == (4, len(keypoints.COLUMNS))
    assert values.dtype == np.float32
    assert len(set(keypoints.COLUMNS)) == len(keypoints.COLUMNS)
    assert np.array_equal(
        values, np.concatenate([keypoints.extract(images[i : i + 1]) for i in range(4)])
    )
    by = keypoints.reduction(*shape)
    assert (keypoints.unpack(values).place < np.array(shape[::-1]) / by - 8).all()


def test_in_a_mirror_keypoints_have_other_signs(whole):
    images = crops(whole[:6])
    here = keypoints.unpack(keypoints.extract(np.ascontiguousarray(images)))
    there = keypoints.unpack(keypoints.extract(np.ascontiguousarray(images[:, :, ::-1])))
    found = 0
    for row in range(6):
        one, other = here.patch == row, there.patch == row
        mirrored = here.place[one] * (-1, 1) + (SIDE - 1, 0)
        apart = np.linalg.norm(mirrored[:, None] - there.place[other], axis=2)
        same = apart.min(axis=1) < 0.1
        first = matches.unit(here.vector[one][same]) * matches.MIRROR
        second = matches.unit(there.vector[other][apart.argmin(axis=1)[same]])
        assert (first * second).sum(axis=1).min() > 0.99
        found += same.sum()
    assert found >= 0.95 * len(here.patch)


def test_more_cells_than_one_lose_few(monkeypatch, whole, originals):
    displaced = measured(crops(whole, 40))
    everything = find({"original": originals, "crop": displaced})
    monkeypatch.setattr(matches, "CELL", 50)
    monkeypatch.setattr(matches, "CHUNK", 30)
    assert len(find({"original": originals, "crop": displaced})) >= 0.95 * len(everything)
    assert min(pair.area for pair in everything) >= overlap.MIN_AREA
