"""NCT-CRC-HE: the sample that comes along, and copies of the full data in every state."""

import csv
import hashlib
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import harness_nct_crc
from harness import HarnessError
from harness.jpeg import recompress
from harness.plugins import load_plugins
from harness_nct_crc import CLASSES, SAMPLE, TEST, TEST_COUNTS, TRAIN, TRAIN_RAW, load, shortfall

FEW = ("--set", "trees=3", "--no-probes")


@pytest.fixture(scope="module")
def sample():
    return load(TRAIN, SAMPLE, folds=5)


@pytest.fixture
def copy(tmp_path, sample):
    """A partial download, unpacked as Zenodo's zips unpack: 3 training, 2 test patches a class."""
    for split, name, number in ((sample.train, TRAIN, 2), (sample.test, TEST, 2)):
        for label in range(9):
            for index in np.flatnonzero(split.labels == label)[:number]:
                path = tmp_path / f"{split.ids[index]}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                bgr = split.read([index])[0][..., ::-1]
                cv2.imwrite(str(path), bgr, [cv2.IMWRITE_TIFF_COMPRESSION, 32773])
        assert (tmp_path / name).is_dir()
    return tmp_path


def zipped(folder):
    for part in (TRAIN, TEST):
        with zipfile.ZipFile(folder / "zips" / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted((folder / part).rglob("*.tif")):
                file.write(path, path.relative_to(folder))
    return folder / "zips"


def test_the_sample_is_pixel_for_pixel_what_zenodo_published(sample):
    """The manifest holds SHA-256 sums of the original TIFF files' pixels."""
    with (SAMPLE / "manifest.csv").open() as file:
        expected = {row["id"]: row["sha256_of_rgb_pixels"] for row in csv.DictReader(file)}
    found = {}
    for split in (sample.train, sample.test):
        for index, id_ in enumerate(split.ids):
            found[id_] = hashlib.sha256(split.read([index]).tobytes()).hexdigest()
    assert found == expected
    assert len(found) == 329


def test_the_sample_has_all_classes_its_license_and_its_folds(sample):
    assert len(sample.test.labels) == 111
    assert np.bincount(sample.test.labels).min() == 12
    assert sample.folds == 5
    assert sample.shortfall == "111 of 7,180 test patches"
    assert sample.train_shortfall == "218 of 100,000 training patches"
    text = (SAMPLE / "LICENSE.txt").read_text()
    assert "1214456" in text
    assert "CC BY 4.0" in text
    size = sum(path.stat().st_size for path in SAMPLE.iterdir())
    assert size < 40_000_000


def test_a_folder_and_its_zips_are_the_same_dataset(copy):
    (copy / "zips").mkdir()
    folder, zips = load(TRAIN, copy), load(TRAIN, zipped(copy))
    for mine, theirs in ((folder.train, zips.train), (folder.test, zips.test)):
        assert mine.ids == theirs.ids
        assert mine.fingerprint == theirs.fingerprint
        assert (mine.read([3, 0]) == theirs.read([3, 0])).all()
    assert folder.folds == 0
    assert folder.shortfall == "18 of 7,180 test patches"
    assert folder.test.labels.tolist() == [label for label in range(9) for _ in range(2)]


def test_what_is_missing_is_named_with_the_command_that_gets_it(tmp_path):
    dataset = load_plugins().datasets["nct-crc-he"]
    assert dataset.missing(tmp_path) == (
        f"no {TRAIN} and no {TEST} (folder or .zip) in {tmp_path}; "
        "harness data get nct-crc-he, or point --data at the folder that holds them"
    )
    (tmp_path / TRAIN).mkdir()
    (tmp_path / f"{TEST}.zip").touch()
    assert dataset.missing(tmp_path) == ""


def test_nonorm_shares_the_test_split():
    datasets = load_plugins().datasets
    norm, raw = datasets["nct-crc-he"], datasets["nct-crc-he-nonorm"]
    assert [file.name for file in norm.downloads] == [f"{TRAIN}.zip", f"{TEST}.zip"]
    assert [file.name for file in raw.downloads] == [f"{TRAIN_RAW}.zip", f"{TEST}.zip"]
    assert (norm.trained_on, raw.trained_on) == (TRAIN, TRAIN_RAW)
    assert norm.test_set == raw.test_set == TEST


class Renamed:
    """A split that claims other labels and pixels than those of the sample."""

    def __init__(self, split, labels, change=lambda patches: patches):
        self.labels, self.ids = labels, split.ids
        self.read = lambda indices: change(split.read(indices))


def test_only_the_whole_test_set_has_no_shortfall(sample):
    assert sum(TEST_COUNTS) == 7180
    labels = np.repeat(np.arange(9), TEST_COUNTS)
    whole = Renamed(sample.test, labels)
    assert shortfall(whole) == ""
    assert shortfall(Renamed(sample.test, labels[1:])) == "7,179 of 7,180 test patches"
    moved = Renamed(sample.test, np.where(np.arange(7180) == 0, 1, labels))
    assert shortfall(moved) == "other counts a class than published"


def test_a_copy_with_other_pixels_is_not_the_published_test_set(sample):
    labels = np.repeat(np.arange(9), TEST_COUNTS)

    def compress(patches):
        return np.stack([recompress(patch, 95) for patch in patches])

    assert shortfall(Renamed(sample.test, labels, compress)) == f"other pixels than in {TEST}"
    unknown = Renamed(sample.test, labels)
    unknown.ids = [f"{TEST}/ADI/{index}" for index in range(7180)]
    assert shortfall(unknown) == f"other pixels than in {TEST}"


def test_a_folder_unpacked_one_level_deeper_is_found(copy, tmp_path):
    deeper = tmp_path / "deeper"
    (deeper / TRAIN).mkdir(parents=True)
    (copy / TRAIN).rename(deeper / TRAIN / TRAIN)
    (copy / TEST).rename(deeper / TEST)
    assert len(load(TRAIN, deeper).train.labels) == 18


def test_test_counts_are_those_of_every_published_confusion_matrix():
    published = [r for r, _ in load_plugins().published if r.confusion is not None]
    assert len(published) > 30
    for result in published:
        assert tuple(sum(row) for row in result.confusion) == TEST_COUNTS, result.source


def test_classes_are_alphabetical():
    assert list(CLASSES) == sorted(CLASSES)
    assert CLASSES.index("TUM") == 8


def test_a_partial_copy_of_another_class_is_refused(copy):
    (copy / TEST / "TUM").rename(copy / TEST / "TUMOR")
    with pytest.raises(HarnessError, match=r"CRC-VAL-HE-7K: unknown class folder 'TUMOR'"):
        load(TRAIN, copy)


@pytest.mark.parametrize("form", ["folder", "zips"])
def test_color_models_run_on_a_partial_copy(command, copy, form):
    data = copy
    if form == "zips":
        (copy / "zips").mkdir()
        data = zipped(copy)
    output = command(
        "run", "--dataset", "nct-crc-he", "--model", "color-histogram", "--data", data, *FEW
    )
    assert "(18 of 7,180 test patches)" in output
    content = json.loads((command.folder / "leaderboards/nct-crc-he.json").read_text())
    (row,) = [row for row in content["rows"] if row["result"] == "measured"]
    assert (row["n_train"], row["n_test"]) == (18, 18)
    assert row["notes"] == "18 of 100,000 training patches; trees 3 (default 100)"
    assert row["published_accuracy"] == 0.822
    assert row["difference_to_published"] is None
    assert row["difference_to_reference"] is None
    # Where the data lies has no part in the result: moved, it is read back.
    moved = data.rename(data.with_name("moved")) if form == "zips" else data
    arguments = ("run", "--dataset", "nct-crc-he", "--model", "color-histogram", *FEW)
    again = command(*arguments, HARNESS_DATA=str(moved))
    assert "Everything is in the store" in again


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda c: (c / TEST / "EMPTY").mkdir(), r"EMPTY: this class folder is empty"),
        (lambda c: (c / TEST / "ADI" / "x.tif").write_text("x"), "x.tif: cannot be read as an"),
        (lambda c: (c / TEST / "OTHER").mkdir() or (c / TEST / "OTHER" / "x.tif").touch(), "OTHER"),
        (
            lambda c: cv2.imwrite(str(c / TRAIN / "ADI" / "x.tif"), np.zeros((9, 9, 3), np.uint8)),
            "x.tif: is 9x9 pixels where 224x224 are expected",
        ),
        (lambda c: (c / TRAIN).rename(c / "gone"), f"no {TRAIN} (folder or .zip)"),
    ],
    ids=["empty class", "no image", "unknown class", "other size", "no folder"],
)
def test_bad_data_is_one_line_and_finished_results_stay(command, copy, damage, says):
    arguments = ("run", "--dataset", "nct-crc-he", "--model", "rgb-means", "--data", copy, *FEW)
    command("run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means", *FEW)
    damage(copy)
    listed = says.startswith("x.tif")
    output = command(*arguments, code=1 if listed else 2)
    assert says in output
    stored = command("run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means", *FEW)
    assert "Everything is in the store" in stored


def test_data_get_refuses_what_is_not_the_file_of_zenodo(command):
    import http.server
    import threading

    served = command.folder / "served"
    served.mkdir()
    (served / f"{TRAIN}.zip").write_bytes(b"not it")
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=str(served))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        output = command("data", "get", "nct-crc-he", "--mirror", mirror, code=2)
        server.shutdown()
    assert "the server has 6 bytes where 11,690,284,003 are expected" in output
    assert not list((command.folder / "data").glob("*.zip"))


def test_files_of_zenodo_are_named_as_the_zenodo_record_names_them():
    for file in harness_nct_crc.FILES.values():
        assert file.url == f"https://zenodo.org/records/1214456/files/{file.name}"
        assert len(file.md5) == 32
    assert Path(harness_nct_crc.FILES[TEST].name).stem == TEST
