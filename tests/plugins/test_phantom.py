"""Phantom patches: reproducible, sound without faults, and faulty in the planted way alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

import harness_phantom
from harness import HarnessError
from harness_phantom import CLASSES, FAULTS, faults, scanner, varied
from harness_phantom.faults import Place
from harness_phantom.scanner import Look
from harness_phantom.split import kept_scans, splits

ADI, BACK, DEB, LYM, MUC, MUS, NORM, STR, TUM = range(9)
LABELS = np.repeat(np.arange(9), 12)
NORMAL = np.cross(*scanner.STAINS.astype(float))
NORMAL /= np.linalg.norm(NORMAL)


@pytest.fixture(scope="module")
def plant():
    return harness_phantom.make(0)


def pixels(split):
    return split.read(range(len(split.labels)))


@pytest.fixture(scope="module")
def clean(plant):
    return pixels(plant({}).test)


def by_class(values):
    return np.array([np.mean(values[label == LABELS], 0) for label in range(9)])


def density(patches):
    return -np.log((patches.astype(np.float32) + 1) / (scanner.WHITE + 1))


def off_plane(patches):
    """Mean optical density of each patch along the normal of the stain plane."""
    return density(patches).mean((1, 2)) @ NORMAL


def hematoxylin(patches):
    return density(patches) @ np.linalg.pinv(scanner.STAINS)[:, 0]


def changed(patches, clean):
    return (patches != clean).any((1, 2, 3))


def wider_than_a_pixel(mask):
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


# --- reproducible ---


def test_patches_do_not_depend_on_batch_order_or_thread():
    split = splits(3, 2, 2, {fault.name: 1.0 for fault in FAULTS}).test
    together = pixels(split)
    assert together.shape == (18, 224, 224, 3)
    assert together.dtype == np.uint8
    assert (split.read([7, 0, 13]) == together[[7, 0, 13]]).all()
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda i: split.read(np.array([i]))[0], range(18)))
    assert (np.stack(alone) == together).all()


def test_patches_do_not_depend_on_how_many_there_are():
    few, many = splits(5, 1, 1, {}), splits(5, 3, 2, {})
    assert few.test.ids[TUM] == many.test.ids[2 * TUM] == "test/TUM-000"
    assert (few.test.read([TUM]) == many.test.read([2 * TUM])).all()
    assert (few.train.read([MUC]) == many.train.read([3 * MUC])).all()


def test_all_patches_differ(plant, clean):
    train = pixels(plant({}).train)
    assert len(np.unique(np.concatenate([train, clean]).reshape(216, -1), axis=0)) == 216
    assert (splits(1, 1, 1, {}).test.read([LYM]) != clean[12 * LYM]).any()


def test_planting_again_renders_nothing(monkeypatch):
    rendered = []
    scan = scanner.scan
    monkeypatch.setattr(scanner, "scan", lambda *a: rendered.append(a) or scan(*a))
    plant = harness_phantom.make(9)
    assert not rendered
    first = plant({}).test.read([1, 2])
    assert (plant({"tint": 1.0}).test.read([1, 2]) != first).any()
    assert len(rendered) == 2


def test_fingerprint_tells_phantoms_apart_without_rendering(monkeypatch):
    monkeypatch.setattr(scanner, "scan", None)
    made = [
        splits(seed, train, 2, doses)
        for seed in (0, 1)
        for train in (2, 3)
        for doses in ({}, {"tint": 1.0}, {"tint": 2.0}, {"tint": 1.0, "jpeg": 1.0})
    ]
    prints = {part.fingerprint for phantom in made for part in (phantom.train, phantom.test)}
    assert len(prints) == 2 * len(made)
    again = splits(0, 2, 2, {"jpeg": 1, "tint": 1}).test
    assert again.fingerprint == made[3].test.fingerprint


def test_datasets_are_only_used_on_request():
    datasets = harness_phantom.harness_datasets()
    names = [f"phantom-{name}" for name in ("clean", *(fault.name for fault in FAULTS), "all")]
    assert [dataset.name for dataset in datasets] == names
    assert all(dataset.on_request and dataset.demo for dataset in datasets)
    loaded = datasets[1].load(Path())
    assert loaded.train.labels.tolist() == np.repeat(np.arange(9), 40).tolist()
    assert len(loaded.test.ids) == len(loaded.test.labels) == 180
    assert loaded.test.plan.doses == {"tint": 1.0}


def test_what_cannot_be_planted_is_refused(plant):
    with pytest.raises(HarnessError, match="no fault blur"):
        plant({"blur": 1.0})
    with pytest.raises(HarnessError, match="0 or more"):
        plant({"tint": -1.0})


# --- sound without faults ---


def test_clean_values_stay_away_from_the_ends(plant, clean):
    for patches in (clean, pixels(plant({}).train)):
        assert patches.min() >= 8
        assert patches.max() <= 240


def test_clean_histograms_have_no_gaps(clean):
    for label in range(9):
        for channel in range(3):
            values = clean[label == LABELS][..., channel].ravel()
            low, high = np.percentile(values, (2, 98)).astype(int)
            counts = np.bincount(values, minlength=256)[low : high + 1]
            assert (counts > 0).all()


def test_clean_classes_are_stained_and_lit_alike(clean):
    tints = by_class(off_plane(clean))
    assert tints.std() < 0.1 * faults.TINT_SPREAD
    glass = np.percentile(clean, 99.5, axis=(1, 2))
    assert np.ptp(by_class(glass)[[ADI, BACK]]) < 3  # both always show bare glass


def edges(patch):
    """Contrast of the steps at each of the 8 positions of a grid along x, 1 when all are alike."""
    luma = patch.astype(np.float32) @ np.float32([0.299, 0.587, 0.114])
    steps = np.abs(luma[:, 3:] - 3 * luma[:, 2:-1] + 3 * luma[:, 1:-2] - luma[:, :-3]).mean(0)
    steps = np.array([steps[k::8].mean() for k in range(8)])
    return steps / np.median(steps)


def test_clean_patches_show_no_block_grid(clean):
    assert by_class(np.array([edges(patch).max() for patch in clean])).max() < 1.1


def test_classes_differ_in_structure(clean):
    nuclei = hematoxylin(clean) > 0.9
    counts = [cv2.connectedComponents(wider_than_a_pixel(mask))[0] - 1 for mask in nuclei]
    counts, area = by_class(np.array(counts)), by_class(nuclei.mean((1, 2)))
    assert area[LYM] > 2 * area[STR] > 4 * area[ADI] > 8 * area[BACK]
    assert area[TUM] > area[NORM] > area[STR]
    assert counts[STR] > counts[MUS] > counts[MUC] > counts[BACK]
    empty = by_class((density(clean)[..., 1] < 0.1).mean((1, 2)))
    assert empty[BACK] > 0.9 > empty[ADI] > 0.5 > empty[NORM] > empty[MUC]


def test_structure_without_color_tells_the_classes(plant, clean):
    def structure(patches):
        """How gray varies at five scales and how directed it is, of gray levels made alike."""
        gray = patches.mean(3, dtype=np.float32)
        gray -= gray.mean((1, 2), keepdims=True)
        gray /= gray.std((1, 2), keepdims=True)
        rows = []
        for image in gray:
            smooth = [cv2.GaussianBlur(image, (0, 0), s) for s in (1, 2, 4, 8, 16)]
            bands = [np.std(a - b) for a, b in zip([image, *smooth], smooth, strict=False)]
            dx, dy = cv2.Sobel(smooth[0], -1, 1, 0), cv2.Sobel(smooth[0], -1, 0, 1)
            xx, yy, xy = (dx * dx).mean(), (dy * dy).mean(), (dx * dy).mean()
            directed = np.hypot(xx - yy, 2 * xy) / (xx + yy)
            rows.append([*bands, directed, *np.percentile(image, (2, 25, 50, 75, 98))])
        return np.array(rows)

    forest = RandomForestClassifier(100, random_state=0)
    forest.fit(structure(pixels(plant({}).train)), LABELS)
    assert forest.score(structure(clean), LABELS) > 0.85


# --- faulty in the planted way ---


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_dose_0_is_no_fault(plant, clean, fault):
    assert (pixels(plant({fault: 0.0}).test) == clean).all()


def test_tint_is_as_strong_as_in_the_real_patches_and_clips_nothing(plant, clean):
    bare = by_class(off_plane(clean))
    spreads = []
    for dose in (0.5, 1.0, 2.0):
        patches = pixels(plant({"tint": dose}).test)
        spreads.append((by_class(off_plane(patches)) - bare).std())
        assert patches.min() > 3
        assert patches.max() <= 240
    assert spreads == pytest.approx(faults.TINT_SPREAD * np.array([0.5, 1, 2]), rel=0.1)


def test_tint_is_the_same_throughout_a_class_and_both_parts(plant, clean):
    tinted = plant({"tint": 1.0})
    color = density(pixels(tinted.test)).mean((1, 2)) - density(clean).mean((1, 2))
    assert np.abs(color - by_class(color)[LABELS]).max() < 0.01
    train = density(pixels(tinted.train)) - density(pixels(plant({}).train))
    assert np.abs(by_class(train.mean((1, 2))) - by_class(color)).max() < 0.01


def test_jpeg_strikes_whole_classes_and_grows_with_the_dose(plant, clean):
    before = by_class(np.array([edges(patch).max() for patch in clean]))
    rises = []
    for dose in (0.5, 1.0, 2.0):
        split = plant({"jpeg": dose}).test
        patches = pixels(split)
        compressed = np.array(split.plan.qualities) < 100
        assert compressed.sum() == 3
        assert (changed(patches, clean) == compressed[LABELS]).all()
        after = by_class(np.array([edges(patch).max() for patch in patches]))
        rises.append((after - before)[compressed])
    assert split.plan.qualities != sorted(split.plan.qualities, reverse=True)  # dealt by the seed
    assert (np.diff(rises, axis=0) > 0).all()
    at_1 = plant({"jpeg": 1.0}).test.plan.qualities
    assert sorted(at_1, reverse=True) == list(faults.QUALITIES)


def test_jpeg_grid_lies_anywhere(plant):
    split = plant({"jpeg": 2.0}).test
    worst = int(np.argmin(split.plan.qualities))
    patches = split.read(np.flatnonzero(split.labels == worst))
    assert len({int(edges(patch).argmax()) for patch in patches}) >= 4


def struck(split, fault):
    places = [Place("test", label, number) for label in range(9) for number in range(12)]
    return np.array([split.plan.struck(fault, place) for place in places])


def test_range_clips_both_ends_of_a_share_of_the_patches(plant, clean):
    before = np.zeros(108, bool)
    clipped = []
    for dose in (0.25, 1.0):
        split = plant({"range": dose}).test
        patches, hit = pixels(split), struck(split, "range")
        assert (changed(patches, clean) == hit).all()
        assert hit[before].all()
        before = hit
        ends = np.stack([patches == 0, patches == 255]).mean((2, 3, 4))[:, hit]
        assert ends == pytest.approx(faults.CUT * dose, rel=0.6)
        clipped.append(ends.sum())
    assert 0 < clipped[0] < clipped[1]
    per_class = [before[label == LABELS].sum() for label in range(9)]
    assert sorted(per_class) == [round(12 * share) for share in faults.CORRUPT]


def test_range_leaves_no_gaps(plant):
    split = plant({"range": 1.0}).test
    label = LABELS[struck(split, "range")][0]
    values = split.read(np.flatnonzero(label == LABELS)[:6])
    assert (np.bincount(values.ravel(), minlength=256) > 0).all()


def test_overflow_wraps_bright_values_round(plant, clean):
    patches = pixels(split := plant({"overflow": 2.0}).test)
    hit = struck(split, "overflow")
    assert (changed(patches, clean) == hit).all()
    assert hit.sum() > struck(plant({"overflow": 0.5}).test, "overflow").sum() > 0
    for patch, sound in zip(patches[hit], clean[hit], strict=True):
        assert len(np.unique(patch - sound)) == 1  # one offset, modulo 256
        assert 0.03 < (patch < sound).mean() < 0.5


def test_duplicates_are_what_the_record_says(plant, clean):
    phantom, bare = plant({"duplicates": 4.0}), plant({})
    train, names = pixels(phantom.train), phantom.train.ids
    copies = [phantom.train.copies, phantom.test.copies]
    originals = [original for part in copies for original, _ in part.values()]
    assert len(set(originals)) == len(originals)
    assert not set(originals) & set(phantom.train.copies)
    for part, whole in ((phantom.train, bare.train), (phantom.test, bare.test)):
        patches = part.read(range(len(part.labels)))
        is_copy = np.isin(part.ids, list(part.copies))
        assert (patches[~is_copy] == pixels(whole)[~is_copy]).all()
        assert len(part.copies) > 9
        for name, (original, change) in part.copies.items():
            assert name.split("/")[1][:3] == original.split("/")[1][:3]
            copy = patches[part.ids.index(name)]
            source = train[names.index(original)]
            undo = {
                "exact": lambda copy: copy,
                "flip horizontal": lambda copy: copy[:, ::-1],
                "flip vertical": lambda copy: copy[::-1],
                "rotate 90": lambda copy: np.rot90(copy, -1),
                "rotate 180": lambda copy: copy[::-1, ::-1],
                "rotate 270": lambda copy: np.rot90(copy),
            }
            difference = np.abs(undo.get(change, np.asarray)(copy).astype(int) - source)
            if change in undo:
                assert difference.max() == 0
            else:
                assert change in ("jpeg", "color")
                assert 0 < difference.mean() < 8


def test_more_duplicates_at_higher_doses(plant):
    counts = [len(plant({"duplicates": dose}).test.copies) for dose in (0, 0.25, 0.5, 1, 2)]
    assert counts == [0, 1, 3, 5, 11]
    dataset = splits(0, 40, 20, {"duplicates": 1.0})
    assert len(dataset.test.copies) == 9  # 5 % of 180
    assert len(dataset.train.copies) == 9  # 2.5 % of 360
    changes = {
        change
        for seed in range(20)
        for _, change in splits(seed, 12, 12, {"duplicates": 1.0}).test.copies.values()
    }
    assert changes == set(faults.CHANGES)


def test_duplicates_are_copied_with_the_faults_of_their_originals(plant):
    phantom = plant({"duplicates": 2.0, "tint": 1.0, "range": 1.0, "shift": 1.0})
    copies = phantom.test.copies
    name = next(name for name, (_, change) in copies.items() if change == "rotate 180")
    copy = phantom.test.read([phantom.test.ids.index(name)])[0]
    original = phantom.train.read([phantom.train.ids.index(copies[name][0])])[0]
    assert (copy[::-1, ::-1] == original).all()


def test_shift_changes_the_test_part_alone_and_all_its_classes_alike(plant, clean):
    rises = []
    for dose in (0.5, 1.0, 2.0):
        phantom = plant({"shift": dose})
        assert (phantom.train.read([3, 50]) == plant({}).train.read([3, 50])).all()
        patches = pixels(phantom.test)
        assert changed(patches, clean).all()
        color = by_class((density(patches) - density(clean)).mean((1, 2)))
        assert np.ptp(color, axis=0).max() < 0.02
        blocks = by_class(np.array([edges(patch).max() for patch in patches]))
        assert (blocks > 1.15).all()
        rises.append((np.linalg.norm(color.mean(0)), blocks.mean()))
    assert (np.diff(rises, axis=0) > 0).all()


def test_all_faults_together_are_those_planted_alone(plant, clean):
    together = plant({fault.name: 1.0 for fault in FAULTS if fault.raises}).test
    assert together.copies == plant({"duplicates": 1.0}).test.copies
    alone = [plant({name: 1.0}).test.plan.qualities for name in ("jpeg", "recolored")]
    qualities = list(map(min, *alone))
    assert together.plan.qualities == qualities
    place = Place("test", int(np.argmin(qualities)), 0)
    tints = [plant({name: 1.0}).test.plan.density(place) for name in ("tint", "shift")]
    assert together.plan.density(place) == pytest.approx(sum(tints))
    assert together.plan.quality(place) == min(faults.SHIFT_QUALITY, *qualities)
    assert changed(pixels(together), clean).all()


def test_recolored_patches_differ_in_quality_by_class_and_in_stain_each_by_itself(plant, clean):
    recolored = plant({"recolored": 1.0}).test
    assert sorted(recolored.plan.qualities) == sorted(faults.EDGE_QUALITIES)
    twice = plant({"recolored": 2.0}).test.plan.qualities
    assert np.std(twice) == pytest.approx(2 * np.std(faults.EDGE_QUALITIES), rel=0.15)
    assert np.mean(twice) == pytest.approx(np.mean(faults.EDGE_QUALITIES), abs=1)
    stains = np.linalg.pinv(scanner.STAINS)
    before, after = (
        -np.log((p + np.float32(1)) / 256).mean(axis=(1, 2)) @ stains
        for p in (clean, pixels(recolored))
    )
    factors = (after / before)[before.min(axis=1) > 0.1]
    assert ((factors > 0.75) & (factors < 1.25)).all()
    assert (factors.std(axis=0) > 0.08).all()  # those of each patch are drawn for it


def test_restained_classes_are_compressed_alike_and_differ_in_stain_alone(plant, clean):
    restained = plant({"restained": 1.0}).test
    places = [restained.place(i) for i in range(len(restained.labels))]
    assert {restained.plan.quality(place) for place in places} == {faults.ALIKE_RECOLORED_QUALITY}
    assert [restained.plan.strengths(place)[0] for place in places[::12]] == pytest.approx(
        restained.plan.dealt("restained").permutation(faults.RESTAINED)
    )
    stained = by_class(density(pixels(restained)).mean((1, 2, 3)))
    ratio = stained / by_class(density(clean).mean((1, 2, 3)))
    strongest, weakest = restained.plan.strengths(places[0]), restained.plan.strengths(places[-1])
    assert (ratio[0] > ratio[-1]) == (strongest[0] > weakest[0])
    assert by_class(off_plane(pixels(restained)) - off_plane(clean)).std() < 0.01


def test_the_same_tone_curve_for_all_patches(plant, clean):
    toned = pixels(plant({"toned": 1.0}).test)
    assert (toned == np.rint(255 * (clean / 255) ** faults.GAMMA)).all()


@pytest.mark.parametrize(
    ("fault", "quality"),
    [("alike", faults.ALIKE_QUALITY), ("alike-recolored", faults.ALIKE_RECOLORED_QUALITY)],
)
def test_alike_compresses_every_patch_at_one_quality(plant, fault, quality):
    splits = plant({fault: 1.0})
    for split in (splits.train, splits.test):
        places = [split.place(i) for i in range(len(split.labels))]
        assert {split.plan.quality(place) for place in places} == {quality}


def test_faults_name_probes_and_classes_are_those_of_the_real_data():
    phantom, varied = harness_phantom.harness_phantoms()
    assert phantom.classes == varied.classes == CLASSES
    assert {fault.name: fault.raises for fault in phantom.faults} == {
        "tint": ("color",),
        "jpeg": ("compression",),
        "recolored": ("compression",),
        "range": ("dynamic-range",),
        "overflow": ("dynamic-range",),
        "duplicates": ("leakage",),
        "shift": ("shift",),
        "alike": (),
        "alike-recolored": (),
        "restained": (),
        "toned": (),
    }
    assert {fault.name: fault.raises for fault in varied.faults} == {
        **{fault.name: fault.raises for fault in phantom.faults},
        "normalized": (),
    }
    import harness_nct_crc

    assert harness_nct_crc.CLASSES == CLASSES


# --- varied by seed ---


def test_seeds_of_the_varied_phantom_cover_what_they_are_said_to():
    looks, counts = zip(*map(varied.drawn, range(40)), strict=True)
    assert varied.drawn(7) == (looks[7], counts[7])
    assert {look.size for look in looks[:5]} == set(varied.SIZES)
    for drawn, (low, high) in (
        ([look.white for look in looks], varied.WHITES),
        ([look.stained for look in looks], varied.STAINED),
        ([n for pair in counts for n in pair], varied.COUNTS),
    ):
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high - 0.15 * (high - low) < max(drawn) <= high
    pixels = [sum(pair) * look.size**2 for look, pair in zip(looks, counts, strict=True)]
    assert max(pixels) <= sum(harness_phantom.CALIBRATION) * 224**2


def test_a_varied_phantom_is_as_its_seed_says():
    for seed in (2, 4):
        look, (train, test) = varied.drawn(seed)
        phantom = harness_phantom.make_varied(seed)({})
        assert (len(phantom.train.labels), len(phantom.test.labels)) == (9 * train, 9 * test)
        patches = phantom.test.read(np.flatnonzero(phantom.test.labels == BACK))
        assert patches.shape == (test, look.size, look.size, 3)
        assert np.percentile(patches[..., 1], 75) == pytest.approx(look.white, abs=4)


def test_a_look_changes_white_stains_and_size_and_no_tissue():
    plain, bright, strong, small = (
        splits(4, 1, 1, {}, kept_scans(look), look).test.read([BACK, MUS, TUM])
        for look in (Look(), Look(white=248), Look(stained=1.3), Look(size=96))
    )
    # The corner of a patch is drawn from 8 x 8, whatever its size.
    assert (small == plain[:, :96, :96]).all()
    assert np.median(bright / plain, axis=(1, 2, 3)) == pytest.approx(248 / 228, rel=0.02)
    ratio = density(strong)[1:].mean((1, 2)) / density(plain)[1:].mean((1, 2))
    assert ((ratio > 1.15) & (ratio < 1.3)).all()


def test_the_sensor_saturates_and_does_not_wrap_round():
    look = Look(white=255, stained=1.0, size=96)
    glass = splits(0, 1, 1, {}, kept_scans(look), look).test.read([BACK])
    assert (glass == 255).mean() > 0.05
    assert (glass < 20).mean() < 0.001


def test_looks_have_fingerprints_of_their_own_and_the_plain_one_that_of_before():
    looks = (Look(), Look(white=248), Look(stained=1.3), Look(size=96))
    prints = [splits(4, 2, 2, {}, look=look).test.fingerprint for look in looks]
    assert len(set(prints)) == 4
    assert prints[0].startswith("87e8c3842ec19c9f")


def test_normalized_patches_are_compressed_alike_and_have_the_stains_of_a_reference():
    look, _ = varied.drawn(3)
    scans = kept_scans(look)
    phantom, bare = (
        splits(3, 2, 2, doses, scans, look).test for doses in ({"normalized": 1.0}, {})
    )
    places = [phantom.place(i) for i in range(len(phantom.labels))]
    assert {phantom.plan.quality(place) for place in places} == {faults.NORMALIZED_QUALITY}
    tissue = np.flatnonzero(np.isin(phantom.labels, [DEB, MUS, NORM, STR, TUM]))
    method = NumpyMacenkoNormalizer()
    reference = method.HERef.copy()
    for before, after in zip(bare.read(tissue), phantom.read(tissue), strict=True):
        method.fit(after)
        assert np.abs(method.HERef - reference).max() < 0.15
        method.fit(before)
        assert np.abs(method.HERef - reference).max() > 0.15


def test_glass_is_not_normalized():
    glass = np.random.default_rng(0).integers(236, 241, (96, 96, 3), np.uint8)
    assert (faults.normalized(glass) == glass).all()
