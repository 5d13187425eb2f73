"""NCT-CRC-HE: the sample that comes along, and copies of the full data in every state."""

import csv
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import harness_nct_crc
from harness import HarnessError, PublishedResult, RemoteFile
from harness.analysis.leaderboard import build
from harness.data import verified
from harness.data.download import fetch
from harness.data.jpeg import recompress
from harness.execution.worker import compute
from harness.hooks.loader import load_plugins
from harness.jobs.session import OpenSession
from harness.planning import planner
from harness.planning.plan import Request
from harness.reports import formats
from harness.store.store import Store
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


# A published set that is as small as the sample, so that whole copies of it can be made.


@pytest.fixture
def whole(tmp_path, sample, monkeypatch):
    """A data folder with the zips of this set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(harness_nct_crc, "TEST_COUNTS", np.bincount(sample.test.labels).tolist())
    monkeypatch.setattr(harness_nct_crc, "TRAIN_PATCHES", len(sample.train.labels))
    data, files = tmp_path / "data", {}
    data.mkdir()
    for name in (TRAIN, TEST):
        content = (SAMPLE / f"{name}.zip").read_bytes()
        (data / f"{name}.zip").write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        files[name] = RemoteFile(name=f"{name}.zip", url="", md5=md5, size=len(content))
    monkeypatch.setattr(harness_nct_crc, "FILES", {**harness_nct_crc.FILES, **files})
    return data


def unpacked(data, suffix, encode):
    """The test patches in a folder instead of the zip, in another format."""
    split = harness_nct_crc.open_split(data, TEST)
    for index, id_ in enumerate(split.ids):
        path = data / f"{id_}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(suffix, split.read([index])[0][..., ::-1], encode)[1])
    (data / f"{TEST}.zip").unlink()


def test_whole_zips_are_known_by_their_md5(whole):
    found = load(TRAIN, whole)
    assert (found.shortfall, found.train_shortfall, found.warnings) == ("", "", ())
    assert found.test_identity == f"md5 of {TEST}.zip verified"
    assert found.train_identity == f"md5 of {TRAIN}.zip verified"


def test_a_zip_of_the_right_size_and_another_md5_is_not_comparable(whole):
    path = whole / f"{TEST}.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = min(archive.infolist(), key=lambda info: info.header_offset)
    content[first.header_offset + 10] ^= 1  # the minute at which the first member was changed
    path.write_bytes(content)
    found = load(TRAIN, whole)
    assert found.shortfall == f"{TEST}.zip has another md5 than the published file"
    assert found.test_identity == ""
    (warning,) = found.warnings
    assert warning.startswith(f"{TEST}.zip has another md5 than the published file, so what is")


@pytest.mark.parametrize(
    ("suffix", "encode", "says"),
    [
        (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 32773], ""),
        (".png", [], ", stored as .png and not as .tif"),
        (".bmp", [], ", stored as .bmp and not as .tif"),
    ],
)
def test_an_unpacked_folder_is_known_by_names_counts_and_pixels(whole, suffix, encode, says):
    unpacked(whole, suffix, encode)
    found = load(TRAIN, whole)
    assert found.shortfall == ""
    assert found.test_identity == (
        f"names, counts a class and the pixels of the sample's 111 patches{says}"
    )


@pytest.mark.parametrize(
    ("suffix", "encode"),
    [(".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 90])],
)
def test_a_folder_of_recompressed_patches_is_not_comparable(whole, suffix, encode):
    unpacked(whole, suffix, encode)
    found = load(TRAIN, whole)
    assert found.shortfall == f"other pixels than in {TEST}"
    assert found.test_identity == ""


def test_the_large_training_zip_is_read_by_its_download_alone(whole, monkeypatch):
    size = (whole / f"{TRAIN}.zip").stat().st_size
    monkeypatch.setattr(verified, "AT_ONCE", size - 1)
    known = load(TRAIN, whole).train_identity
    assert known == (
        f"the name {TRAIN} and the number of patches; whether they are color-normalized was not "
        "verified"
    )
    fetch(harness_nct_crc.FILES[TRAIN], whole, say=lambda _: None)
    assert load(TRAIN, whole).train_identity == f"md5 of {TRAIN}.zip verified"


def test_the_normalized_zip_under_the_name_of_the_raw_one_is_told_by_its_size(whole):
    (whole / f"{TRAIN}.zip").rename(whole / f"{TRAIN_RAW}.zip")
    assert load(TRAIN_RAW, whole).train_shortfall == (
        f"{TRAIN_RAW}.zip has the size of {TRAIN}.zip"
    )


@pytest.mark.once
def test_how_the_data_are_known_is_in_the_row_and_on_the_page(whole, monkeypatch, tmp_path):
    """With a published result on as many patches, from the zips and from recompressed copies."""
    registry = load_plugins()
    counts = harness_nct_crc.TEST_COUNTS
    paper = PublishedResult(
        test_set=TEST,
        model="rgb-means",
        title="Paper",
        trained_on=TRAIN,
        selected_on="none",
        tta="none",
        source="a paper",
        checked="source",
        n=111,
        accuracy=0.5,
        confusion=tuple(map(tuple, np.diag(counts).tolist())),
        classes=CLASSES,
    )

    def row():
        (model,) = (registry.models["rgb-means"],)
        store = Store(tmp_path / "runs")
        request = Request(datasets=[registry.datasets["nct-crc-he"]], models=[model], data=whole)
        plan = planner.build(registry, store, request)
        session = OpenSession(registry, store, whole)
        for job in plan.to_do(store):
            assert [error for _, error in compute([job], session)] == [None]
        store.set_current(plan.copies[0])
        board = build(store, "nct-crc-he", [paper])
        (found,) = (r for r in board.rows if r["result"] == "measured")
        return found, formats.markdown(board), plan.warnings

    found, page, warnings = row()
    assert found["test_identity"] == f"md5 of {TEST}.zip verified"
    assert found["reproduced"] != "not comparable"
    assert (found["reproduced_if"], warnings) == ("", [])
    assert f"Test patches are taken to be those of {TEST}: md5 of {TEST}.zip verified." in page
    path = whole / f"{TEST}.zip"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    found, page, warnings = row()
    assert found["reproduced"] == "not comparable"
    assert "another md5" in found["reproduced_because"]
    assert "another md5" in page
    assert "another md5" in warnings[0]


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


@pytest.mark.once
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
    content = json.loads((command.folder / "reports/nct-crc-he.json").read_text())
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


@pytest.mark.once
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
    if shutil.disk_usage(command.folder).free < 13e9:
        pytest.skip("the file that is asked for would not fit")
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
