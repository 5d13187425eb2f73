"""Kather 2016 on 31 of its patches."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness import HarnessError
from harness.data.splits import fold_pairs
from harness.hooks.loader import load_plugins
from harness.testing import contract
from harness_kather2016 import CLASSES, FILE, FOLDERS, NAME, UNKNOWN, load, slide

DATA = Path(__file__).parents[1] / "fixtures" / "kather-2016"

test_contract = contract("kather-2016", data=DATA)


@pytest.fixture(scope="module")
def splits():
    return load(DATA)


def test_the_patches_and_their_license():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 2_000_000
    text = (DATA / "LICENSE.txt").read_text()
    assert "53169" in text
    assert "CC BY 4.0" in text


def test_patches_labels_and_slides(splits):
    test = splits.test
    assert splits.train is None
    assert np.bincount(test.labels).tolist() == [4, 4, 3, 4, 4, 4, 4, 4]
    assert test.read([0, 30]).shape == (2, 150, 150, 3)
    assert splits.shortfall == "31 of 5,000 patches"
    assert len(splits.groups) == 31
    assert splits.groups[0] == "CRC-Prim-HE-07"
    assert splits.groups.count(UNKNOWN) == 7
    assert len(set(splits.groups)) == 11
    assert test.ids[0] == f"{NAME}/01_TUMOR/1A11_CRC-Prim-HE-07_022.tif_Row_601_Col_151"
    lightness = [test.read([i]).mean() for i in np.flatnonzero(test.labels == 7)]
    assert min(lightness) > 200  # EMPTY is background


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1A11_CRC-Prim-HE-07_022.tif_Row_601_Col_151.tif", "CRC-Prim-HE-07"),
        ("1BB8_CRC-Prim-HE-02.tif_Row_901_Col_301.tif", "CRC-Prim-HE-02"),
        ("1A3D_CRC-Prim-HE-02_copy.tif_Row_151_Col_301.tif", "CRC-Prim-HE-02"),
        ("10A_CRC-Prim-HE-10_005.tif_Row_1_Col_1.tif", "CRC-Prim-HE-10"),
        ("shaik_crc5000_tum.tif", UNKNOWN),
    ],
)
def test_the_slide_of_a_patch(name, expected):
    assert slide(name) == expected


def test_no_slide_is_on_both_sides_of_a_fold(splits):
    assert splits.folds == 3  # of the 31; a class has three patches
    groups = np.array(splits.groups)
    pairs = fold_pairs(splits, CLASSES)
    assert sorted(np.concatenate([fold for _, fold in pairs])) == list(range(31))
    for train, fold in pairs:
        assert len(fold)
        assert not set(groups[fold]) & set(groups[train.indices])


def test_a_folder_as_zenodo_unpacks_it_is_the_same(splits, tmp_path):
    with zipfile.ZipFile(DATA / f"{NAME}.zip") as archive:
        archive.extractall(tmp_path)
    folder = load(tmp_path)
    assert folder.test.fingerprint == splits.test.fingerprint
    assert folder.groups == splits.groups
    deeper = tmp_path / "deeper" / NAME
    deeper.mkdir(parents=True)
    shutil.move(tmp_path / NAME, deeper)
    assert load(tmp_path / "deeper").test.fingerprint == splits.test.fingerprint


def whole(folder, rng):
    """5,000 patches, tiny in bytes, that carry the names of ten slides."""
    for number, name in enumerate(FOLDERS):
        (folder / NAME / name).mkdir(parents=True)
        data = cv2.imencode(".png", np.full((150, 150, 3), 20 * number, np.uint8))[1].tobytes()
        # As in the original, EMPTY comes from few slides, so that a fold lacks the class.
        slides = [6] if name == "08_EMPTY" else range(1, 11)
        for i in range(625):
            slide = f"CRC-Prim-HE-{rng.choice(slides):02}"
            path = folder / NAME / name / f"{i:X}_{slide}_001.tif_Row_1_Col_{i}.png"
            path.write_bytes(data)


def test_a_class_that_one_slide_has_alone(tmp_path):
    whole(tmp_path, np.random.default_rng(0))
    splits = load(tmp_path)
    assert (splits.shortfall, splits.folds, len(splits.test.labels)) == ("", 5, 5000)
    assert len(set(splits.groups)) == 10
    pairs = fold_pairs(splits, CLASSES)
    lacking = [7 not in train.labels for train, _ in pairs]
    assert sum(lacking) == 1


def test_what_is_missing_and_the_file_of_zenodo(tmp_path):
    dataset = load_plugins().datasets["kather-2016"]
    assert dataset.downloads == (FILE,)
    assert FILE.url == f"https://zenodo.org/records/53169/files/{FILE.name}"
    assert dataset.missing(tmp_path) == (
        f"no {NAME} (folder or .zip) in {tmp_path}; harness data get kather-2016, or point --data "
        "at the folder that holds it"
    )
    assert dataset.missing(DATA) == ""


def test_another_folder_among_the_classes(tmp_path):
    (tmp_path / NAME / "09_OTHER").mkdir(parents=True)
    (tmp_path / NAME / "09_OTHER" / "x.png").touch()
    with pytest.raises(HarnessError, match="unknown class folder '09_OTHER'"):
        load(tmp_path)


# Of EMPTY there are slide 06 and a patch of an unknown slide. Without that patch, a model that has
# not seen the class predicts it.
@pytest.mark.once
@pytest.mark.parametrize("lacking", [False, True])
def test_models_run_with_a_class_that_a_fold_has_not_seen(command, tmp_path, lacking):
    data = DATA
    if lacking:
        data = tmp_path / "data"
        data.mkdir()
        with zipfile.ZipFile(DATA / f"{NAME}.zip") as archive:
            archive.extractall(data)
        (data / NAME / "08_EMPTY" / "shaik_crc5000_back.png").unlink()
        pairs = fold_pairs(load(data), CLASSES)
        assert sum(7 not in train.labels for train, _ in pairs) == 1
    output = command(
        *("run", "--dataset", "kather-2016", "--data", data, "--no-probes"),
        *("--model", "rgb-means", "--model", "color-histogram", "--set", "trees=5"),
    )
    assert f"{30 if lacking else 31} of 5,000 patches" in output
    board = json.loads((command.folder / "reports/kather-2016.json").read_text())
    assert len(board["rows"]) == 2
    assert board["groups"] == 11
    assert all(0 < row["accuracy"] < 1 for row in board["rows"])
    assert board["dataset"]["classes"] == list(CLASSES)
