"""PathMNIST from files made in MedMNIST's format: read in place, damaged, and on the board."""

import json
import pickle
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_nct_crc
from harness import HarnessError
from harness.data import npz
from harness.data.npz import NpzSplit
from harness.hooks.loader import load_plugins
from harness_medmnist import CLASSES, MD5, PARTS, TEST_COUNTS, load, remote_file


def real_patches(size):
    """Arrays of an npz, from the sample of NCT-CRC-HE."""
    sample = harness_nct_crc.load(harness_nct_crc.TRAIN, harness_nct_crc.SAMPLE, folds=5)

    def resized(split, chosen):
        return np.stack(
            [
                cv2.resize(patch, (size, size), interpolation=cv2.INTER_AREA)
                for patch in split.read(chosen)
            ]
        )

    arrays = {}
    rng = np.random.default_rng(0)
    places = np.array_split(rng.permutation(len(sample.test.labels)), 2)
    train = rng.permutation(len(sample.train.labels))
    train = np.concatenate([np.unique(sample.train.labels, return_index=True)[1], train])
    train = np.array(list(dict.fromkeys(train.tolist())))[:90]  # some of each class
    for part, split, chosen in (
        ("train", sample.train, train),
        ("val", sample.test, places[0]),
        ("test", sample.test, places[1]),
    ):
        arrays[f"{part}_images"] = resized(split, chosen)
        arrays[f"{part}_labels"] = split.labels[chosen].astype(np.uint8)[:, None]
    return arrays


@pytest.fixture(scope="module")
def arrays():
    return real_patches(28)


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "compressed"])
def folder(request, tmp_path, arrays):
    request.param(tmp_path / "pathmnist.npz", **arrays)
    return tmp_path


def test_the_splits_are_those_of_the_file(folder, arrays):
    splits = load(28, folder)
    for part, split in (
        ("train", splits.train),
        ("val", splits.validation),
        ("test", splits.test),
    ):
        images = arrays[f"{part}_images"]
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == arrays[f"{part}_labels"].ravel().tolist()
        assert len(set(split.ids)) == len(images)
        read = split.read([5, 0, 5])
        assert read.dtype == np.uint8
        assert (read == images[[5, 0, 5]]).all()
        assert (split.read(np.arange(len(images))) == images).all()
    assert splits.folds == 0
    assert splits.shortfall == "55 of 7,180 test patches"
    assert splits.train_shortfall == (
        "90 of 89,996 training patches, 56 of 10,004 validation patches"
    )
    assert len({s.fingerprint for s in (splits.train, splits.validation, splits.test)}) == 3


def test_a_split_goes_to_other_processes(folder, arrays):
    test = load(28, folder).test
    for _ in range(2):  # before and after the images were mapped
        sent = pickle.dumps(test)
        assert len(sent) < 20_000
        assert (pickle.loads(sent).read([7]) == test.read([7])).all()


def test_how_the_file_is_compressed_is_no_part_of_the_fingerprint(tmp_path, arrays):
    found = []
    for number, save in enumerate((np.savez, np.savez_compressed)):
        (tmp_path / str(number)).mkdir()
        save(tmp_path / str(number) / "pathmnist.npz", **arrays)
        found.append(load(28, tmp_path / str(number)).test.fingerprint)
    changed = dict(arrays)
    changed["test_images"] = arrays["test_images"].copy()
    changed["test_images"][7, 3, 3, 1] ^= 1
    np.savez_compressed(tmp_path / "pathmnist.npz", **changed)
    assert found[0] == found[1] != load(28, tmp_path).test.fingerprint


def test_compressed_images_are_unpacked_once_and_only_when_read(tmp_path, arrays, capsys, console):
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
    splits = load(28, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pathmnist.npz"]
    splits.test.read([0])
    (copy,) = tmp_path.glob("*.npy")
    assert copy.name.startswith("pathmnist.test_images.")
    assert "written once" in capsys.readouterr().err
    assert (np.load(copy) == arrays["test_images"]).all()
    written = copy.stat().st_mtime_ns
    load(28, tmp_path).test.read([1])
    assert copy.stat().st_mtime_ns == written
    assert "written" not in capsys.readouterr().err
    # Another file of the same name has a copy of its own.
    arrays = arrays | {"test_images": 255 - arrays["test_images"]}
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
    assert (load(28, tmp_path).test.read([0]) == arrays["test_images"][:1]).all()


def test_stored_images_are_read_where_they_are(tmp_path, arrays):
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    splits = load(28, tmp_path)
    splits.test.read([0])
    assert [path.name for path in tmp_path.iterdir()] == ["pathmnist.npz"]


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from harness.data import npz
from harness.data.npz import NpzSplit
split = NpzSplit(Path(sys.argv[1]), "test", (224, 224), 9)
split.read([0])
# Pages of a file that is mapped are the system's to take back; what counts is the rest.
def own():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return int(fields["RssAnon"].split()[0]) / 1024
before = own()
for start in range(0, len(split.labels), 16):
    split.read(np.arange(start, start + 16))
print(before, own())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_memory_stays_flat(tmp_path, compression):
    """300 MB of patches, of which the process never has a tenth in memory of its own."""
    path = tmp_path / "pathmnist_224.npz"
    n = 2000
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        with archive.open("test_labels.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros((n, 1), np.uint8))
        with archive.open("test_images.npy", "w") as file:
            about = {"descr": "|u1", "fortran_order": False, "shape": (n, 224, 224, 3)}
            np.lib.format.write_array_header_1_0(file, about)
            for number in range(n):
                file.write(bytes([number % 251]) * (224 * 224 * 3))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    assert after - before < 30
    assert before < 120


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("val_images"), "has no array val_images"),
        (lambda a: a.pop("test_labels"), "has no array test_labels"),
        (lambda a: a.update(test_images=a["test_images"].astype(float)), "test_images is float64"),
        (lambda a: a.update(test_images=a["test_images"][..., 0]), r"test_images is uint8 \(55, "),
        (lambda a: a.update(test_images=a["test_images"][:5]), r"uint8 \(5, 28, 28, 3\) where"),
        (lambda a: a.update(test_images=a["test_images"].astype(">i8")), "test_images is >i8"),
        (
            lambda a: a.update(val_labels=np.hstack([a["val_labels"]] * 2)),
            r"val_labels is uint8 \(56, 2\)",
        ),
        (lambda a: a.update(val_labels=a["val_labels"] * 1.0), "val_labels is float64"),
        (lambda a: a.update(val_labels=a["val_labels"] + 1), "labels from 1 to 9 where 0 to 8"),
        (lambda a: a.update(val_labels=a["val_labels"].astype(int) - 1), "labels from -1 to 7"),
    ],
)
def test_arrays_that_are_not_as_they_should_be(tmp_path, arrays, change, says):
    changed = dict(arrays)
    change(changed)
    np.savez(tmp_path / "pathmnist.npz", **changed)
    with pytest.raises(HarnessError, match=rf"pathmnist\.npz: .*{says}"):
        load(28, tmp_path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_in_any_order_of_bytes_and_axes_are_read(tmp_path, arrays, save):
    """As MATLAB, HDF5 and transposed arrays are saved."""
    changed = {name: np.asfortranarray(array) for name, array in arrays.items()}
    changed |= {name: changed[name].astype(">i8") for name in changed if name.endswith("labels")}
    save(tmp_path / "pathmnist.npz", **changed)
    splits = load(28, tmp_path)
    for part, split in (("train", splits.train), ("test", splits.test)):
        assert (split.labels == arrays[f"{part}_labels"].ravel()).all()
        found = split.read([7, 0, 7, 3])
        assert found.flags.c_contiguous
        assert (found == arrays[f"{part}_images"][[7, 0, 7, 3]]).all()
        sent = pickle.loads(pickle.dumps(split))
        assert (sent.read([5]) == arrays[f"{part}_images"][[5]]).all()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice(tmp_path, arrays):
    path = tmp_path / "pathmnist.npz"
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a") as archive, archive.open("val_labels.npy", "w") as file:
        np.lib.format.write_array(file, arrays["val_labels"][::-1])
    with pytest.raises(HarnessError, match=r"pathmnist\.npz: holds val_labels\.npy twice"):
        load(28, tmp_path)


def test_labels_that_would_take_all_memory_are_not_read(tmp_path, arrays):
    path = tmp_path / "pathmnist.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                if name != "val_labels":
                    np.lib.format.write_array(file, array)
                    continue
                about = {"descr": "<i8", "fortran_order": False, "shape": (10**8, 1)}
                np.lib.format.write_array_header_1_0(file, about)
    with pytest.raises(HarnessError, match=r"val_labels: is 800 MB, above the .*HARNESS_MAX_MB"):
        load(28, tmp_path)


def test_a_file_that_is_no_npz(tmp_path, arrays):
    path = tmp_path / "pathmnist.npz"
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HarnessError, match=r"pathmnist\.npz: not a whole \.npz file"):
        load(28, tmp_path)


def test_damage_found_while_unpacking_leaves_no_copy(tmp_path, arrays):
    path = tmp_path / "pathmnist.npz"
    np.savez_compressed(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("test_images.npy")
    data = bytearray(path.read_bytes())
    middle = info.header_offset + info.compress_size // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    splits = load(28, tmp_path)
    with pytest.raises(HarnessError, match=r"pathmnist\.npz: the array test_images is damaged"):
        splits.test.read([0])
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".npy", ".tmp")]


@pytest.mark.parametrize("array", ["train_images", "test_images", "test_labels"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_damage_of_an_array_that_is_stored_as_it_is_shows_when_it_is_read(
    array, share, tmp_path, arrays
):
    path = tmp_path / "pathmnist.npz"
    np.savez(path, **arrays)
    data, content = bytearray(path.read_bytes()), arrays[array].tobytes()
    data[data.find(content) + int(share * len(content))] ^= 1
    path.write_bytes(data)
    part, named = array.partition("_")[0], rf"pathmnist\.npz: the array {array} is damaged"
    with pytest.raises(HarnessError, match=named):
        getattr(load(28, tmp_path), part).read([0])
    with pytest.raises(HarnessError, match=named):  # also the second time
        getattr(load(28, tmp_path), part).read([0])


def test_an_array_that_is_stored_as_it_is_is_checked_once(tmp_path, arrays, monkeypatch):
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    checked = []
    crc32 = npz.zlib.crc32
    monkeypatch.setattr(npz.zlib, "crc32", lambda *given: checked.append(1) or crc32(*given))
    for _ in range(2):
        load(28, tmp_path).test.read([0])
    chunks = -(-arrays["test_images"].nbytes // npz.CHUNK)
    assert len(checked) == chunks


def test_a_disk_without_room_is_named(tmp_path, arrays, monkeypatch):
    np.savez_compressed(tmp_path / "pathmnist.npz", **arrays)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("harness.data.copies.shutil.disk_usage", lambda _: usage)
    with pytest.raises(HarnessError, match=r"test_images\.\w+\.npy: needs 0\.0 GB where"):
        load(28, tmp_path).test.read([0])


@settings(max_examples=150, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_an_error_in_one_line_or_none(tmp_path_factory, small, places):
    data = bytearray(small)
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / "pathmnist.npz"
    path.write_bytes(data)
    said = f"{path.parent}: pathmnist"
    try:
        patches = NpzSplit(path, "test", (4, 4), 9).read([0])
    except HarnessError as error:
        said = str(error)
    else:
        assert patches.shape == (1, 4, 4, 3)
    assert "pathmnist" in said
    assert "\n" not in said


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "pathmnist.npz"
    images = np.arange(6 * 48, dtype=np.uint8).reshape(6, 4, 4, 3)
    np.savez_compressed(path, test_images=images, test_labels=np.arange(6, dtype=np.uint8)[:, None])
    return path.read_bytes()


def test_the_counts_are_those_of_the_whole_test_split():
    assert sum(TEST_COUNTS) == PARTS["test"]
    assert TEST_COUNTS == harness_nct_crc.TEST_COUNTS


def test_files_are_named_as_the_zenodo_record_names_them(tmp_path):
    datasets = load_plugins().datasets
    names = {28: "pathmnist.npz", **{p: f"pathmnist_{p}.npz" for p in (64, 128, 224)}}
    assert set(MD5) == set(names)
    for pixels, name in names.items():
        file = remote_file(pixels)
        assert (file.name, file.md5) == (name, MD5[pixels])
        assert file.url == f"https://zenodo.org/records/10519652/files/{name}"
        dataset = datasets[f"pathmnist-{pixels}"]
        assert dataset.downloads == (file,)
        assert dataset.classes == CLASSES == harness_nct_crc.CLASSES
        says = f"no {name} in {tmp_path}; harness data get pathmnist-{pixels}"
        assert dataset.missing(tmp_path).startswith(says)
        (tmp_path / name).touch()
        assert dataset.missing(tmp_path) == ""


def test_published_results_are_about_28_px():
    published = {r.model: r for r, p in load_plugins().published if p.name == "medmnist"}
    assert len(published) == 7
    assert {r.test_set for r in published.values()} == {"PathMNIST 28 px"}
    best = published["medmnist-resnet50"]
    assert (best.auroc, best.accuracy, best.n) == (0.990, 0.911, 7180)
    assert best.selected_on == "validation"


SOURCE = """
from dataclasses import replace
from harness import Features, estimator_model, hookimpl

def extract(images):
    import numpy as np
    return images.mean(axis=(1, 2)).astype(np.float32)

def neighbors(settings, seed):
    from sklearn.neighbors import KNeighborsClassifier
    return KNeighborsClassifier(n_neighbors=settings.get("k", 5))

def knn(**more):
    features = Features(name="means", extract=extract)
    return estimator_model(
        name="knn", title="Neighbors", estimator=neighbors, features=features, **more
    )

def reporting(model):
    def fit(train, validation, context):
        classifier = model.fit(train, validation, context)
        if context.after_epoch:
            context.after_epoch(0, classifier, 0.5)
        return classifier
    return replace(model, fit=fit, reports_epochs=True)

@hookimpl
def harness_models():
    return [MODEL]
"""
CHOICES = 'choices={"k": (1, 5, 15)}'


def with_model(command, model):
    (command.folder / "knn.py").write_text(SOURCE.replace("MODEL", model))
    return ("--plugin", "knn.py", "--model", "knn", "--no-probes")


@pytest.mark.once
def test_models_select_on_its_own_validation_split_and_stand_beside_published_ones(command, folder):
    arguments = (
        *("run", "--dataset", "pathmnist-28", "--data", folder),
        *with_model(command, f"knn({CHOICES})"),
        *("--model", "rgb-means", "--set", "rgb-means.trees=3"),
        *("--columns", "default,figures", "--temperature"),
    )
    command(*arguments)
    board = json.loads((command.folder / "reports/pathmnist-28.json").read_text())
    rows = {row["model"]: row for row in board["rows"]}
    assert rows["knn"]["selected_on"] == "validation"
    assert rows["rgb-means"]["selected_on"] == "none"
    assert rows["knn+temperature"]["notes"].startswith("temperature ")
    assert (rows["knn"]["n_train"], rows["knn"]["n_test"]) == (90, 55)
    (fit,) = (command.folder / "runs/fit/_shared/knn").glob("*/record.json")
    record = json.loads(fit.read_text())
    assert record["n_selection"] == 56
    assert record["n"] == 90  # none of the training patches is held out
    published = rows["medmnist-resnet50"]
    assert (published["macro_auroc"], published["accuracy"]) == (0.99, 0.911)
    assert published["macro_auroc_low"] is None
    assert published["difference_to_reference_empty_because"] == "no reference"
    page = (command.folder / "reports/pathmnist-28.md").read_text()
    (line,) = [line for line in page.splitlines() if "medmnist-resnet50 " in line]
    assert "0.9900" in line
    assert "validation" in line
    assert "(55 of 7,180 test patches)" in page
    assert "Everything is in the store" in command(*arguments)


@pytest.mark.once
def test_a_model_that_comes_fitted_may_have_been_selected_on_a_validation_split(
    command, tmp_path, arrays
):
    """Its authors' validation split is not the dataset's; it is neither asked for nor read."""
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    arguments = with_model(command, 'knn(trained_on="elsewhere", selected_on="validation")')
    for dataset in ("pathmnist-28", "nct-crc-he-sample"):
        command("run", "--dataset", dataset, "--data", tmp_path, *arguments)
        board = json.loads((command.folder / f"reports/{dataset}.json").read_text())
        (row,) = [row for row in board["rows"] if row["model"] == "knn"]
        assert row["selected_on"] == "validation"
        assert row["trained_on"] == "elsewhere"
        parts = {path.name for path in (command.folder / "runs" / "features").glob("*/*")}
        assert "means-test" in parts
        assert "means-validation" not in parts


@pytest.mark.once
def test_selection_on_features_of_a_validation_split_can_be_audited(command, tmp_path, arrays):
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    command(
        *("run", "--dataset", "pathmnist-28", "--data", tmp_path, "--audit-selection"),
        *with_model(command, f"reporting(knn({CHOICES}))"),
    )
    assert (command.folder / "reports/pathmnist-28-selection.md").exists()
