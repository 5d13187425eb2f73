"""Fine traces: what blur, noise and compression do to them, and what probes make of that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_bias
from harness_bias.audit import compression, families
from harness_bias.audit.structure import unexplained, within
from harness_bias.measure.fine import COLUMNS, JUDGED, OF_STRUCTURE, TRACES, extract
from harness_faults import color, storage

FAMILIES = ("compression", "sharpness", "noise")
sides = st.integers(64, 160)
LOSSES = {
    "JPEG": (((storage.jpeg, 5),), ((storage.jpeg, 30),)),
    "JPEG, resized since": (
        ((storage.jpeg, 5), (storage.resized, 0.9)),
        ((storage.jpeg, 30), (storage.resized, 0.9)),
    ),
    "JPEG twice": (
        ((storage.jpeg, 5), (storage.jpeg, 15)),
        ((storage.jpeg, 40), (storage.jpeg, 15)),
    ),
    "chroma": (((storage.chroma, 0),), ((storage.chroma, 2),)),
    "WebP": ((), ((storage.webp, 25),)),
    "weak WebP": (((storage.webp, 5),), ((storage.webp, 15),)),
    "JPEG 2000": ((), ((storage.jpeg2000, 10),)),
}
ALIKE = {
    "nothing": (),
    "JPEG": ((storage.jpeg, 20),),
    "JPEG, then normalized patch by patch": ((storage.jpeg, 25), (color.macenko, 1)),
}


def raised(audit):
    """The families that classes differ in."""
    return {family for family in FAMILIES if families.look(audit, family).opinion.flag}


def test_every_patch_has_its_row_and_what_cannot_be_judged_is_zero(real):
    found = extract(real.patches[:8])
    assert found.shape == (8, len(COLUMNS))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert not extract(real.patches[:8, :63]).any()
    white, plain = (np.full((1, 96, 96, 3), level, np.uint8) for level in (250, 128))
    assert not extract(white).any()
    assert not extract(plain).any()
    assert extract(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, len(COLUMNS))


def test_glass_around_tissue_leaves_it_to_be_judged_unless_there_is_too_little(real):
    darkest = real.patches.mean(axis=(1, 2, 3)).argmin()
    patch = real.patches[[darkest]]
    patch[:, :, 112:] = 255
    assert extract(patch)[0, JUDGED] == 1
    patch[:, 32:] = 255
    assert not extract(patch).any()


@given(
    height=sides,
    width=sides,
    kind=st.sampled_from(["noise", "constant", "black", "white", "half"]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_patches_of_any_size_and_kind_have_finite_traces(height, width, kind, seed):
    rng = np.random.default_rng(seed)
    shape = (1, height, width, 3)
    patch = rng.integers(0, 256, shape, np.uint8)
    if kind in ("black", "white"):
        patch[:] = 255 * (kind == "white")
    elif kind == "constant":
        patch[:] = patch[0, 0, 0]
    elif kind == "half":
        patch[:, height // 2 :] = 0
    found = extract(patch)
    assert np.isfinite(found).all()
    assert found[0, JUDGED] in (0, 1)
    assert found[0, JUDGED] or not found.any()


def change(real, *steps):
    """Mean change of each trace in patches that can be judged, and deviation between patches."""
    before, after = (real.planted(s)["bias-fine"] for s in ((), steps))
    both = (before[:, JUDGED] > 0) & (after[:, JUDGED] > 0)
    assert both.mean() > 0.7
    means = (after - before)[both].mean(axis=0)
    return dict(zip(COLUMNS, means / before[both].std(axis=0).clip(1e-6), strict=True))


def test_blur_lowers_and_noise_raises_fine_detail_beside_coarser(real):
    blur = change(real, (storage.blurred, 0.7))
    noise = change(real, (storage.noisy, 2.0))
    for name in ("fine_to_half", "spectrum_39", "blue_fine_to_half", "red_fine_to_half"):
        assert blur[name] < -0.3, name
        assert noise[name] > 0.3, name
    assert noise["quiet_to_busy"] > 0.3  # noise is everywhere, detail is not
    assert noise["flat"] < 0


def test_a_tone_curve_of_all_patches_moves_traces_little(real):
    blur = change(real, (storage.blurred, 0.7))
    largest = max(abs(blur[name]) for name in TRACES)
    for level in (0.15, -0.15):
        moved = change(real, (color.gamma, level))
        assert max(abs(moved[name]) for name in TRACES) < 0.25 * largest


@pytest.mark.once
@pytest.mark.parametrize("name", LOSSES)
def test_lossy_compression_is_told_and_is_neither_blur_nor_noise(real, name):
    labels = real.dealt(2)
    audit = real.audit(labels, labels, *LOSSES[name])
    assert raised(audit) == {"compression"}
    seen = families.look(audit, "compression")
    doses = {row[0]: row[-1] for row in seen.tables[0].rows}
    assert doses["b"] > doses["a"], "the class that lost more has more of it"


@pytest.mark.once
@pytest.mark.parametrize(
    ("family", "fault", "level"),
    [
        ("sharpness", storage.blurred, 0.7),
        ("sharpness", storage.enlarged, 1.11),
        ("sharpness", storage.lanczos, 2.0),
        ("sharpness", storage.despeckled, 9),
        ("sharpness", storage.moved, 2),
        ("noise", storage.noisy, 2.0),
    ],
)
def test_blur_enlargement_and_noise_are_told_and_nothing_else(real, family, fault, level):
    labels = real.dealt(2)
    audit = real.audit(labels, labels, (), ((fault, level),))
    assert raised(audit) == {family}
    listed = families.look(audit, family).tables[1].rows
    assert listed
    classes = dict(zip(real.ids, np.array(["a", "b"])[labels], strict=True))
    assert all(classes[row[0]] == row[1] for row in listed)


@pytest.mark.once
@pytest.mark.parametrize("name", ALIKE)
def test_what_all_patches_went_through_is_no_difference_between_classes(real, name):
    labels = real.dealt(2)
    audit = real.audit(labels, np.zeros_like(labels), ALIKE[name])
    assert raised(audit) == set()


@pytest.mark.once
def test_tissues_of_the_sample_differ_in_none_of_the_families(real):
    audit = real.audit(real.tissue, np.zeros_like(real.tissue), ())
    assert raised(audit) == set()


@pytest.mark.once
@pytest.mark.parametrize("share", [0.3, 0.4])
@pytest.mark.parametrize(
    ("family", "fault", "level"),
    [
        ("compression", storage.jpeg, 40),
        ("sharpness", storage.blurred, 0.7),
        ("noise", storage.noisy, 2.0),
    ],
)
def test_some_changed_patches_of_one_class_are_told_and_listed(real, family, fault, level, share):
    labels = real.dealt(2)
    changed = (labels == 1) & (np.random.default_rng(0).random(len(labels)) < share)
    audit = real.audit(labels, changed.astype(int), (), ((fault, level),))
    assert raised(audit) == {family}
    seen = families.look(audit, family)
    assert "% of the test patches of b look changed by" in seen.text
    listed = {row[0] for row in seen.tables[1].rows}
    planted = {id_ for id_, one in zip(real.ids, changed, strict=True) if one}
    assert len(listed & planted) >= 0.7 * len(listed)
    assert len(listed & planted) >= 0.5 * len(planted)


@pytest.mark.once
def test_the_probe_says_it_of_jpeg_and_not_of_the_strength_of_block_edges(real):
    every = (harness_bias.FINE, harness_bias.RANGE, harness_bias.COMPRESSION)
    labels = real.dealt(2)
    audit = real.audit(labels, labels, *LOSSES["JPEG"], features=every)
    finding = compression.measure(audit)
    assert finding.flag is True
    assert "as by JPEG" in finding.summary
    assert finding.grade.startswith("strong")
    steps = ALIKE["JPEG, then normalized patch by patch"]
    audit = real.audit(labels, np.zeros_like(labels), steps, features=every)
    assert compression.measure(audit).flag is False


def made(rng, labels, of_class):
    """Traces that depend linearly on structure, and on the class as well."""
    structure = rng.normal(size=(len(labels), OF_STRUCTURE.stop - OF_STRUCTURE.start))
    structure[:, 0] += of_class[labels]
    traces = structure @ rng.normal(size=(structure.shape[1], 4))
    return traces + rng.normal(0, 0.1, traces.shape), structure


def means(values, labels):
    return np.array([values[labels == label].mean(axis=0) for label in np.unique(labels)])


def test_structure_is_taken_off_and_a_shift_of_classes_alike_in_it_is_left():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    traces, structure = made(rng, labels, np.zeros(2))
    left = unexplained(traces, structure)
    assert left.std(axis=0) == pytest.approx(np.full(4, 0.1), rel=0.15)
    left = unexplained(traces + labels[:, None], structure)
    assert np.ptp(means(left, labels), axis=0) == pytest.approx(np.ones(4), abs=0.1)


def test_slopes_within_classes_leave_a_shift_of_classes_that_differ_in_structure():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    traces, structure = made(rng, labels, np.array([-2.0, 2.0]))
    shifted = traces + labels[:, None]
    left = means(within(shifted, structure, labels), labels)
    assert left[1] - left[0] == pytest.approx(np.ones(4), abs=0.2)
    taken = means(unexplained(shifted, structure), labels)
    assert np.abs(taken[1] - taken[0]).max() < 0.5, "over all patches, structure explains most"
