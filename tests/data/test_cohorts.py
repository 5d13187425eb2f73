"""Patches of other origin: which classes are shared, and at what scale they are read."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Dataset, HarnessError, Splits
from harness.data import cohorts
from harness.hooks.loader import load_plugins


class Part:
    """Patches of one gray level each, their number."""

    def __init__(self, labels, side=8, fingerprint="part"):
        self.labels = np.array(labels, np.int64)
        self.ids = [f"patch-{i}" for i in range(len(labels))]
        self.fingerprint = fingerprint
        self.side = side

    def read(self, indices):
        patches = np.zeros((len(indices), self.side, self.side, 3), np.uint8)
        patches += np.asarray(indices, np.uint8)[:, None, None, None]
        return patches


def dataset(name, classes, splits=None, **more):
    return Dataset(name=name, title=name, classes=classes, load=lambda folder: splits, **more)


def loaded(home, cohort, *others):
    return cohorts.made_of(home, cohort, [home, cohort, *others]).load(Path())


def test_classes_are_shared_by_name_or_by_the_map():
    home = dataset("home", ("ADI", "NORM", "TUM", "BACK"))
    cohort = dataset(
        "away", ("NOR", "ADI", "BACK", "BLD"), counterparts={"NOR": "NORM", "BACK": ""}
    )
    assert cohorts.shared(home, cohort) == {"NOR": "NORM", "ADI": "ADI"}
    assert cohorts.shared(cohort, home) == {"NORM": "NOR", "ADI": "ADI"}


def test_two_classes_of_a_cohort_may_be_one_at_home_but_not_the_other_way_round():
    home = dataset("home", ("TUM", "STR"))
    graded = dataset("graded", ("low", "high", "STR"), counterparts={"low": "TUM", "high": "TUM"})
    assert cohorts.shared(home, graded) == {"low": "TUM", "high": "TUM", "STR": "STR"}
    assert cohorts.shared(graded, home) == {"STR": "STR"}


names = st.lists(st.sampled_from("ABCDEF"), min_size=2, max_size=6, unique=True).map(tuple)
maps = st.dictionaries(st.sampled_from("ABCDEF"), st.sampled_from(["", *"ABCDEF"]), max_size=6)


@given(names, names, maps, maps)
def test_shared_classes_are_called_the_same_and_are_there(here, there, of_home, of_away):
    home = dataset("home", here, counterparts={k: v for k, v in of_home.items() if k in here})
    away = dataset("away", there, counterparts={k: v for k, v in of_away.items() if k in there})
    for own, at_home in cohorts.shared(home, away).items():
        assert own in there
        assert at_home in here
        word = home.counterparts.get(at_home, at_home)
        assert word
        assert word == away.counterparts.get(own, own)
        assert [home.counterparts.get(c, c) for c in here].count(word) == 1


def test_a_cohort_has_the_fits_of_home_and_its_own_patches_with_labels_of_home():
    train, test = Part([0, 1, 2]), Part([2, 1])
    home = dataset("home", ("A", "B", "C"), Splits(train=train, test=test, groups=["p", "q"]))
    patches = Part([1, 0, 2, 1], fingerprint="away")
    away = dataset(
        *("away", ("X", "C", "Y"), Splits(train=None, test=patches, folds=2, groups=[*"stuv"])),
        counterparts={"X": "B"},
    )
    splits = loaded(home, away)
    assert splits.train is train
    assert (splits.folds, splits.groups) == (0, ["s", "t", "v"])
    assert splits.test.labels.tolist() == [2, 1, 2]  # C, X as B, and C; Y has no counterpart
    assert list(splits.test.ids) == ["away/patch-0", "away/patch-1", "away/patch-3"]
    assert splits.test.read([2, 0])[:, 0, 0, 0].tolist() == [3, 0]
    assert splits.shortfall == "1 of 4 patches have no class of home"


def test_of_a_cross_validated_home_all_patches_are_fitted_on():
    train, test = Part([0, 1]), Part([1, 0, 1], fingerprint="test")
    away = dataset("away", ("A", "B"), Splits(train=None, test=Part([0, 1]), folds=2))
    alone = dataset("alone", ("A", "B"), Splits(train=None, test=test, folds=3, groups=[*"pqr"]))
    splits = loaded(alone, away)
    assert splits.train is test
    assert (splits.folds, splits.train_groups) == (0, ["p", "q", "r"])
    both = Splits(train=train, test=test, folds=3, groups=[*"pqr"], shortfall="short")
    splits = loaded(dataset("both", ("A", "B"), both), away)
    assert splits.train.labels.tolist() == [0, 1, 1, 0, 1]
    assert splits.train_groups is None, "the groups of the training patches are not known"
    assert splits.train_shortfall == "short"


def test_patches_are_brought_to_the_scale_and_shape_of_home():
    home = dataset("home", ("A", "B"), Splits(train=Part([0, 1], 8), test=Part([0])), micrometers=1)
    fine = Splits(train=None, test=Part([0, 1], 8, "fine"), folds=2)
    at_half = loaded(home, dataset("fine", ("A", "B"), fine, micrometers=0.5))
    assert at_half.test.read([1]).shape == (1, 8, 8, 3)
    assert (at_half.test.read([1]) == 1).all()
    unknown = loaded(home, dataset("unknown", ("A", "B"), fine))
    assert unknown.test.factor == 1
    nearly = loaded(home, dataset("nearly", ("A", "B"), fine, micrometers=0.97))
    assert nearly.test.factor == 1
    small = Splits(train=None, test=Part([0, 1], 5, "small"), folds=2)
    as_large = loaded(home, dataset("small", ("A", "B"), small, micrometers=0.97))
    assert as_large.test.read([1]).shape == (1, 8, 8, 3), "continued, and not enlarged by a network"
    assert loaded(home, dataset("small", ("A", "B"), small)).test.read([1]).shape == (1, 5, 5, 3)
    for width, said in ((0.03, "0.03 times"), (40, "40 times")):
        with pytest.raises(HarnessError, match=f"would become {said} as large; correct micro"):
            loaded(home, dataset("slip", ("A", "B"), fine, micrometers=width))
    assert at_half.test.fingerprint != unknown.test.fingerprint


@given(
    *(st.integers(2, 20), st.integers(2, 20), st.integers(1, 45), st.integers(1, 45)),
    st.integers(0, 2**32 - 1),
)
def test_a_patch_is_cut_in_the_middle_or_continued_by_its_mirror_images(h, w, height, width, seed):
    patch = np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)
    found = cohorts.brought(patch, 1.0, (height, width))
    sides = ((h, height), (w, width))
    lacking = [max(0, want - have) for have, want in sides]
    around = [(lack // 2, lack - lack // 2) for lack in lacking]
    padded = np.pad(patch, (*around, (0, 0)), mode="symmetric")
    y, x = (-((want - have) // 2) if want < have else 0 for have, want in sides)
    assert np.array_equal(found, padded[y : y + height, x : x + width])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_patch_is_as_much_larger_as_its_pixels_are(factor):
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((64, 64, 3)), (0, 0), 6)
    patch = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    side = int(64 * factor)
    found = cohorts.brought(patch, factor, (side, side))
    back = cv2.resize(found, (64, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(back[4:-4, 4:-4].astype(int) - patch[4:-4, 4:-4]).max() < 8


def test_what_a_patch_becomes_is_in_the_fingerprint():
    base, indices = Part([0, 1, 0]), np.arange(3)

    def fingerprint(labels=(0, 1, 0), chosen=indices, factor=1.0, shape=None):
        away = cohorts.Away(
            base, chosen, np.array(labels, np.int64)[: len(chosen)], "c", factor, shape
        )
        return away.fingerprint

    others = [
        fingerprint((1, 1, 0)),
        fingerprint(chosen=indices[:2]),
        fingerprint(factor=0.5, shape=(8, 8)),
        fingerprint(factor=0.5, shape=(9, 8)),
    ]
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), *others}) == 1 + len(others)


def test_patches_that_models_are_fitted_on_are_not_elsewhere():
    train = Part([0, 1], fingerprint="train")
    home = dataset("home", ("A", "B"), Splits(train=train, test=Part([0])))
    same = dataset("same", ("A", "B"), Splits(train=None, test=Part([1, 0, 1]), folds=2))
    (warning,) = loaded(home, same).warnings
    assert "2 of 3 patches of same have names of patches that models are fitted on" in warning
    assert "harness audit --dataset home-to-same" in warning
    train.ids = ["other-0", "other-1"]
    assert loaded(home, same).warnings == ()


def test_names_of_cohorts_are_found_whatever_is_in_them():
    known = ("a", "b-to-c", "a-to-b", "c").__contains__
    assert cohorts.halves("a-to-c", known) == ("a", "c")
    assert cohorts.halves("a-to-b-to-c", known) == ("a", "b-to-c")
    for other in ("a", "a-to-", "-to-a", "a-to-d", "b-to-a", "a-to-b"):
        assert cohorts.halves(other, known) is None


def test_what_is_wrong_is_said_in_one_line():
    home = dataset("home", ("NORM", "TUM"), Splits(train=Part([0, 1]), test=Part([0])))
    splits = Splits(train=None, test=Part([0, 0], fingerprint="away"), folds=2)
    with pytest.raises(HarnessError, match=r"shares no class with home.*GLAND.*say which"):
        loaded(home, dataset("away", ("GLAND", "FAT"), splits))
    with pytest.raises(HarnessError, match=r"GLAND is mapped to NROM.*did you mean NORM"):
        loaded(home, dataset("away", ("GLAND", "TUM"), splits, counterparts={"GLAND": "NROM"}))
    with pytest.raises(HarnessError, match="has no patch of a class that home has"):
        loaded(home, dataset("away", ("GLAND", "TUM"), splits))
    with pytest.raises(HarnessError, match="no cohort of its own"):
        loaded(home, home)
    # A word that a third dataset has is no error: this one just has no such class.
    other = dataset("other", ("FAT", "TUM"))
    fat = dataset(
        "away", ("A", "TUM"), Splits(train=None, test=Part([1])), counterparts={"A": "FAT"}
    )
    assert loaded(home, fat, other).test.labels.tolist() == [1]


def test_what_the_built_in_cohorts_share_with_nct_crc_he():
    found = load_plugins().datasets
    home = found.find("nct-crc-he")
    shared = {
        name: cohorts.shared(home, found.find(name))
        for name in (
            *("starc-9", "starc-9-tcga", "hmu-gc-he-30k", "crc-tp", "spider-colorectal"),
            *("kather-2016", "pathmnist-28", "nct-crc-he-nonorm"),
        )
    }
    assert len(shared["starc-9"]) == len(shared["starc-9-tcga"]) == 6
    assert shared["starc-9"]["NOR"] == "NORM"
    assert len(shared["hmu-gc-he-30k"]) == 8
    assert len(shared["crc-tp"]) == 6
    assert "Complex Stroma" not in shared["crc-tp"]
    assert len(set(shared["spider-colorectal"].values())) == 7
    assert len(shared["kather-2016"]) == 7
    assert "COMPLEX" not in shared["kather-2016"]
    for name in ("pathmnist-28", "nct-crc-he-nonorm"):
        assert shared[name] == {name: name for name in home.classes}
    assert cohorts.scale(home, found.find("starc-9")) == 0.5
    assert cohorts.scale(home, found.find("pathmnist-28")) == 8
    assert cohorts.scale(home, found.find("kather-2016")) == 1
    assert cohorts.scale(home, found.find("crc-tp")) == 1, "its scale is not known"


MINE = """
from harness import Dataset, hookimpl


@hookimpl
def harness_datasets():
    return [Dataset(name="mine", title="Mine", classes=("ADI", "TUM"), load=None)]
"""


def test_what_is_made_of_two_runs_the_code_of_both(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    registry = load_plugins([], [tmp_path / "mine.py"])
    found = registry.datasets
    (mine,) = registry.guests_of(found.plugin["mine"])
    for name in (
        *("mine-to-nct-crc-he", "nct-crc-he-to-mine", "nct-crc-he-common-with-mine"),
        *("mine-matched-to-nct-crc-he", "mine-planted-with-jpeg-at-50"),
    ):
        found.find(name)
        assert registry.guests_of(found.plugin[name], found.second[name]) == (mine,), name
