"""Perturbations on request: each against an independent statement of what it does."""

import cv2
import numpy as np
import pytest
from skimage.color import rgb2hsv, rgb2lab

import harness_nct_crc
from harness import HarnessError
from harness_perturbations import (
    artifacts,
    codecs,
    focus,
    geometry,
    harness_perturbations,
    medmnistc,
    randstainna,
    requested,
)

PERTURBATIONS = {p.name: p for p in harness_perturbations() if p.on_request}
BACK, TUM = 1, 8


@pytest.fixture(scope="module")
def patches():
    """A patch of each class, in the order of the classes."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    return split.read([np.flatnonzero(split.labels == label)[4] for label in range(9)])


def seeded(seed=7):
    return np.random.default_rng(seed)


NOTHING = [
    (focus.defocus_blur, 0.5),
    (focus.motion_blur, 0),
    (focus.motion_blur, 1),
    (focus.pixelation, 1),
    (artifacts.air_bubbles, 0),
    (artifacts.dust, 0),
    (artifacts.stain_deposits, 0),
    (artifacts.tissue_folds, 0),
    (artifacts.pen_marks, 0),
    (geometry.rotation, 0),
    (geometry.zoom, 1),
    (geometry.elastic, 0),
    (medmnistc.saturate, 0),
]


@pytest.mark.parametrize(("function", "level"), NOTHING)
def test_a_level_that_means_nothing_changes_nothing(patches, function, level):
    for seed, patch in enumerate(patches):
        assert (function(patch, level, seeded(seed)) == patch).all()


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_defocus_averages_over_a_disk(radius):
    disk = focus._disk(float(radius))
    assert disk.sum() == pytest.approx(1, abs=1e-6)
    assert (disk == disk.T).all()
    # A pixel at the middle has a whole share, and the disk has its area.
    assert 1 / disk.max() == pytest.approx(np.pi * radius**2, rel=0.03)
    x = np.arange(len(disk)) - len(disk) // 2
    assert (disk @ x**2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.07)


def test_blurs_keep_the_mean(patches):
    for patch in patches:
        for changed in (
            focus.defocus_blur(patch, 3),
            focus.motion_blur(patch, 7, seeded()),
        ):
            # Rounding and mirrored borders move it a little.
            assert changed.mean(axis=(0, 1)) == pytest.approx(patch.mean(axis=(0, 1)), abs=1)


@pytest.mark.parametrize("length", [4, 7, 14])
def test_motion_blurs_along_its_direction_only(length):
    for angle in (0, 0.3, np.pi / 4, 1.2, np.pi / 2, 2.5):
        path = focus._path(length, angle)
        assert path.sum() == pytest.approx(1, abs=1e-6)
        offsets = np.arange(len(path)) - len(path) // 2
        x, y = np.meshgrid(offsets, offsets)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        assert np.sqrt((path * along**2).sum()) == pytest.approx(length / np.sqrt(12), rel=0.1)
        assert np.sqrt((path * across**2).sum()) < 0.5


def test_motion_has_a_direction_of_its_own_for_each_patch(patches):
    one, two = (focus.motion_blur(patches[TUM], 10, seeded(seed)) for seed in (1, 2))
    assert (one != two).any()


def test_pixelation_makes_squares_of_the_mean_of_what_they_cover(patches):
    for patch in patches:
        for side in (2, 4, 7, 8):
            changed = focus.pixelation(patch, 1 / side + 1e-9).astype(float)
            blocks = (224 // side, side, 224 // side, side, 3)
            assert np.ptp(changed.reshape(blocks), axis=(1, 3)).max() == 0
            mean = patch.reshape(blocks).mean(axis=(1, 3))
            assert np.abs(changed[::side, ::side] - mean).max() < 0.51
        for share in (0.8, 0.6, 0.3):  # squares of two sizes
            side = int(224 * share)
            changed = focus.pixelation(patch, share)
            assert len(np.unique(changed.reshape(-1, 3), axis=0)) <= side**2
            assert changed.mean(axis=(0, 1)) == pytest.approx(patch.mean(axis=(0, 1)), abs=1)


@pytest.mark.parametrize("radius", [8, 32, 88])
def test_a_bubble_changes_a_disk(patches, radius):
    for seed, patch in enumerate(patches):
        changed = artifacts.air_bubbles(patch, radius, seeded(seed))
        column, row = seeded(seed).uniform(0, 224, 2)
        rows, columns = np.mgrid[:224, :224]
        outside = np.hypot(rows - row, columns - column) > radius
        assert (changed == patch)[outside].all()
        assert (changed != patch)[~outside].any(axis=1).mean() > 0.5


@pytest.mark.parametrize("function", [artifacts.dust, artifacts.stain_deposits])
def test_specks_darken_where_they_are_and_more_of_them_more(patches, function):
    for seed, patch in enumerate(patches):
        before = patch
        for count in (1, 5, 25):
            changed = function(patch, count, seeded(seed))
            assert (changed <= before).all()  # the same generator strews those before, and more
            before = changed
        share = (changed != patch).any(axis=2).mean()
        assert 0.002 < share < 0.25


def test_deposits_are_bluish_and_dust_is_gray():
    white = np.full((224, 224, 3), 255, np.uint8)
    red, green, blue = artifacts.stain_deposits(white, 12, seeded()).min(axis=(0, 1)).astype(int)
    assert blue > max(red, green) + 20
    specks = artifacts.dust(white, 25, seeded())
    assert (specks == specks[..., :1]).all()
    assert specks.min() == pytest.approx(255 * artifacts.DUST, abs=1)


def test_folds_darken_only_and_by_the_density_of_tissue(patches):
    for seed, patch in enumerate(patches):
        one, two = (artifacts.tissue_folds(patch, level, seeded(seed)) for level in (1, 2))
        assert (two <= one).all()
        assert (one <= patch).all()
        same = (one == patch).all(axis=2).mean()
        assert same > 0.5
    # In the middle one more layer of a uniform tissue has its density again.
    tissue = np.full((224, 224, 3), (127, 63, 127), np.uint8)
    folded = artifacts.tissue_folds(tissue, 1, seeded())
    assert folded.min(axis=(0, 1)).tolist() == [64, 16, 64]  # 127 / 2, 63 / 4
    white = np.full((64, 64, 3), 255, np.uint8)
    assert (artifacts.tissue_folds(white, 2.5, seeded()) == 255).all()


def test_pen_marks_are_transparent_strokes_of_one_ink(patches):
    white = np.full((224, 224, 3), 255, np.uint8)
    inks = set()
    for seed, patch in enumerate(patches):
        mark = artifacts.pen_marks(white, 1.5, seeded(seed))
        inks.add(tuple(mark.min(axis=(0, 1))))
        covered = (mark != 255).any(axis=2)
        assert 0.05 < covered.mean() < 0.75
        changed = artifacts.pen_marks(patch, 1.5, seeded(seed))
        assert (changed == patch)[~covered].all()
        assert np.abs(changed - patch / 255 * mark).max() < 1.1
    assert len(inks) > 2
    assert min(map(min, inks)) == round(255 * np.exp(-1.5))


def test_a_rotation_turns_about_the_center(patches):
    for patch in patches:
        assert (geometry.rotation(patch, 90) == np.rot90(patch)).all()
        back = geometry.rotation(geometry.rotation(patch, 12), -12)
        middle = slice(60, 164)
        assert np.abs(back.astype(int) - patch)[middle, middle].mean() < 8


def test_a_zoom_scales_about_the_center():
    rows, columns = np.mgrid[:225, :225]
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    for factor in (0.8, 1.25, 1.5):
        changed = geometry.zoom(ramp, factor)[50:175, 50:175, :2].astype(float)
        places = np.stack([rows, columns], axis=-1)[50:175, 50:175]
        assert np.abs(changed - (112 + (places - 112) / factor)).max() < 0.6


def test_a_zoom_out_mirrors_at_the_border(patches):
    small = geometry.zoom(patches[TUM], 0.5)
    assert (small[:50, 56:168] == small[62:112, 56:168][::-1]).mean() > 0.9


def test_elastic_moves_pixels_by_as_much_as_it_says():
    rows, columns = np.mgrid[:224, :224]
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    for level in (1, 3, 6):
        moved = [geometry.elastic(ramp, level, seeded(s)).astype(int) - ramp for s in range(40)]
        inner = np.array(moved)[:, 30:-30, 30:-30, :2]
        # Splines between the nodes are a little flatter than the nodes.
        assert 0.65 * level < inner.std() < 1.1 * level
        assert abs(inner.mean()) < 0.2 * level
        # Neighbors move together.
        assert np.abs(np.diff(inner, axis=1)).max() <= 1 + level / 4


def test_webp_is_opencv_s(patches):
    for patch in patches:
        data = cv2.imencode(".webp", patch[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 25])[1]
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert (codecs.webp(patch, 25) == expected).all()


@pytest.mark.parametrize("ratio", [10, 35, 80])
def test_jpeg2000_makes_files_smaller_by_its_level(patches, ratio, monkeypatch):
    sizes = []

    def spy(*arguments):
        found, data = encode(*arguments)
        sizes.append(len(data))
        return found, data

    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", spy)
    for patch in np.delete(patches, BACK, axis=0):  # a uniform patch needs less than is allowed
        assert (codecs.jpeg2000(patch, ratio) != patch).any()
    assert patches[0].nbytes / np.array(sizes) == pytest.approx(ratio, rel=0.1)


@pytest.mark.parametrize(
    ("function", "name"), [(codecs.webp, "WebP"), (codecs.jpeg2000, "JPEG 2000")]
)
def test_a_codec_that_opencv_lacks_is_named_with_what_to_do(patches, function, name, monkeypatch):
    monkeypatch.setattr(cv2, "haveImageWriter", lambda path: not path.endswith((".webp", ".jp2")))
    message = f"was built without {name}; install the wheel opencv-python-headless 4.9 or later"
    with pytest.raises(HarnessError, match=message):
        function(patches[TUM], 20)


def test_randstainna_draws_means_within_the_published_spread(patches):
    published = np.array([[158.033, 48.792], [151.187, 10.958], [116.812, 6.643]])
    scale, zero = np.array([100 / 255, 1, 1]), np.array([0, 128, 128])
    for level in (0, 0.1, 0.5):
        means = np.array(
            [
                rgb2lab(randstainna.randstainna(patches[TUM], level, seeded(s))).mean(axis=(0, 1))
                for s in range(12)
            ]
        )
        off = np.abs(means - scale * (published[:, 0] - zero))
        # Colors beyond sRGB are clipped, which moves means by a little.
        assert (off <= 2 * level * scale * published[:, 1] + 2.5).all()
        if level:
            assert (means.std(axis=0) > 0.3 * level * scale * published[:, 1]).all()
        else:
            assert np.ptp(means, axis=0).max() == 0


def test_medmnistc_saturates_by_addition(patches):
    for patch in patches:
        before, after = (rgb2hsv(one) for one in (patch, medmnistc.saturate(patch, 0.15)))
        bright = patch.min(axis=2) > 60
        expected = np.clip(before[..., 1] + 0.15, 0, 1)
        assert np.abs(after[..., 1] - expected)[bright].max() < 0.01
        assert np.abs(after[..., 2] - before[..., 2]).max() < 0.003


@pytest.mark.parametrize("severity", [1, 5])
def test_medmnistc_trails_fade_as_half_a_gaussian(severity):
    radius, deviation = medmnistc.PATHS[severity - 1]
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 50] = 255
    lit = medmnistc.motion_blur(image, severity, seeded())[..., 0].astype(float)
    rows, columns = np.nonzero(lit)
    assert abs(lit.sum() - 255) < radius
    steps = np.hypot(rows - 50, columns - 50)
    expected = np.exp(-(steps**2) / (2 * deviation**2))
    assert np.abs(lit[rows, columns] / lit.max() - expected).max() < 0.1
    assert len({*np.sign(columns[columns != 50] - 50)}) == 1  # to one side


def test_medmnistc_bubbles_whiten_by_two_shares(patches):
    black = np.zeros((224, 224, 3), np.uint8)
    for seed in range(9):
        white = medmnistc.bubble(black, 5, seeded(seed))[..., 0]
        assert {*np.unique(white)} == {0, 100, 130}
        changed = medmnistc.bubble(patches[TUM], 5, seeded(seed))
        assert (changed == patches[TUM])[white == 0].all()
        assert (changed >= patches[TUM]).all()


def test_levels_of_medmnistc_are_those_for_pathmnist():
    assert PERTURBATIONS["pixelation"].levels == (0.8, 0.6, 0.4, 0.3, 0.25)
    assert PERTURBATIONS["medmnistc-jpeg"].levels == (50, 30, 15, 10, 7)
    assert PERTURBATIONS["medmnistc-defocus-blur"].levels == (3, 4, 5, 6, 7)
    assert PERTURBATIONS["medmnistc-saturate"].levels == (0.05, 0.1, 0.15, 0.2, 0.25)
    assert medmnistc.PATHS == ((5, 5), (10, 5), (15, 5), (15, 8), (15, 12))
    assert medmnistc.BUBBLES == ((7, 15), (10, 15), (12, 15), (15, 20), (17, 25))
    assert requested.SEVERITY.le == len(medmnistc.PATHS) == len(medmnistc.BUBBLES)
