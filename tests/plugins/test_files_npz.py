"""A user's own arrays in the layout of MedMNIST: what a TOML file says of them, good and bad."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness_nct_crc
from harness import HarnessError
from harness.data import npz
from harness.hooks.loader import load_plugins
from harness_files.npz import read

CLASSES = [*harness_nct_crc.CLASSES]
FEW = ("--model", "rgb-means", "--set", "trees=3")
MINE = {"kind": "npz", "file": "mine.npz", "classes": CLASSES}


@pytest.fixture(scope="module")
def arrays():
    """Real patches, 40 to train on and 30 to test on, of several patients each."""
    sample = harness_nct_crc.load(harness_nct_crc.TRAIN, harness_nct_crc.SAMPLE, folds=5)
    found = {}
    for part, split, n in (("train", sample.train, 40), ("val", sample.test, 10)):
        spread = np.linspace(0, len(split.labels) - 1, n).astype(int)
        each = np.unique(split.labels, return_index=True)[1] if part == "train" else []
        chosen = list(dict.fromkeys([*each, *spread]))[:n]
        found[f"{part}_images"] = smaller(split.read(chosen), 28)
        found[f"{part}_labels"] = split.labels[chosen].astype(np.uint8)
    chosen = np.linspace(1, len(sample.test.labels) - 1, 30).astype(int)
    found["test_images"] = smaller(sample.test.read(chosen), 28)
    found["test_labels"] = sample.test.labels[chosen][:, None].astype(">i4")
    found["train_patients"] = np.arange(40) // 8
    found["val_patients"] = np.array([f"v{i}" for i in range(10)])
    found["test_patients"] = np.array([f"{4 + i // 12}" for i in range(30)], "S")
    for part, n in (("train", 40), ("val", 10), ("test", 30)):
        found[f"{part}_ids"] = np.array([f" {part[0]}_{i}.tif" for i in range(n)])
    return found


def smaller(images, size):
    return np.stack([cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images])


def dataset(folder, **said):
    """The dataset that a TOML file in a folder describes, as a plugin."""
    path = folder / "mine.toml"
    content = {key: value for key, value in {**MINE, **said}.items() if value is not None}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()))
    registry = load_plugins(files=[path])
    (plugin,) = [plugin for plugin in registry.plugins if plugin.distribution == str(path)]
    if plugin.status:
        raise HarnessError(plugin.status)
    return registry.datasets["mine"]


def splits(folder, **said):
    return dataset(folder, **said).load(Path("nowhere"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_arrays_of_each_part_are_read_with_ids_and_groups(tmp_path, arrays, save):
    save(tmp_path / "mine.npz", **arrays)
    found = splits(tmp_path, group="patients", id="ids")
    for part, split in (
        ("train", found.train),
        ("val", found.validation),
        ("test", found.test),
    ):
        images = arrays[f"{part}_images"]
        assert (split.read(np.arange(len(images))) == images).all()
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == arrays[f"{part}_labels"].ravel().tolist()
        assert list(split.ids)[3] == f"{part}/{part[0]}_3.tif"
    assert list(found.groups) == [*"4" * 12, *"5" * 12, *"6" * 6]
    assert list(found.train_groups) == [str(i // 8) for i in range(40)]
    assert found.train_shortfall == "1 of 3 test groups are also in train"
    assert found.folds == 0
    bare = splits(tmp_path)
    assert bare.groups is None
    assert list(bare.test.ids)[:2] == ["test/000000", "test/000001"]
    assert bare.test.fingerprint != found.test.fingerprint


def test_patches_without_parts_are_cross_validated_and_named_by_number(tmp_path, arrays):
    images, labels = arrays["train_images"], arrays["train_labels"] % 3
    np.savez(tmp_path / "mine.npz", pixels=images, y=labels, slide=np.arange(40) // 4)
    said = {"image": "pixels", "label": "y", "group": "slide", "folds": 4, "classes": None}
    found = splits(tmp_path, **said)
    assert found.folds == 4
    assert found.train is None
    assert len(set(found.groups)) == 10
    assert (found.test.read([39]) == images[39]).all()
    assert dataset(tmp_path, **said).classes == ("0", "1", "2")


def test_patches_are_brought_to_one_size(tmp_path, arrays):
    changed = arrays | {"test_images": smaller(arrays["test_images"], 20)}
    np.savez_compressed(tmp_path / "mine.npz", **changed)
    with pytest.raises(HarnessError, match=r"test_images is uint8 \(30, 20.*\(30, 28.*resize = "):
        splits(tmp_path)
    found = splits(tmp_path, resize=[14, 20])
    expected = smaller(changed["train_images"][[5]], 28)
    expected = cv2.resize(expected[0], (20, 14), interpolation=cv2.INTER_AREA)
    assert (found.train.read([5])[0] == expected).all()
    assert found.test.read([0, 29]).shape == (2, 14, 20, 3)
    other = splits(tmp_path, resize=20)
    assert other.train.fingerprint != found.train.fingerprint
    assert (other.test.read([3]) == changed["test_images"][[3]]).all()


def test_a_file_that_is_not_there_is_named(tmp_path):
    found = dataset(tmp_path)
    assert found.missing(Path()).startswith(f"no {tmp_path / 'mine.npz'}; correct the path in")


def lacking(name):
    return lambda a: a.pop(name)


def other(name, change):
    return lambda a: a.update({name: change(a[name])})


@pytest.mark.parametrize(
    ("change", "said", "says"),
    [
        (lacking("test_images"), {}, "where train_images and test_images are expected"),
        (lacking("val_labels"), {}, "has no array val_labels; save it again"),
        (lacking("val_patients"), {"group": "patients"}, "has no array val_patients"),
        (lambda a: a.update(images=a["val_images"]), {}, "has both images and train_images"),
        (lambda a: None, {"folds": 3}, "folds is for images alone"),
        (other("val_images", lambda i: i / 255), {}, "val_images is float64 .* where uint8"),
        (other("val_images", lambda i: i[..., 0]), {}, r"uint8 \(10, 28, 28\) where uint8 \(10, 2"),
        (other("train_images", lambda i: i[0]), {}, r"where uint8 \(40, height, width, 3\)"),
        (other("train_images", lambda i: i[:, :0]), {}, r"where uint8 \(40, height, width|uint8 "),
        (other("val_images", lambda i: i[:4]), {}, r"is uint8 \(4, 28, 28, 3\) where uint8 \(10, "),
        (other("val_labels", lambda i: np.eye(9)[i]), {}, r"val_labels is float64 \(10, 9\) where"),
        (other("val_labels", lambda i: i.astype(int) - 1), {}, "labels from -1 to 7 where 0 to 8"),
        (other("val_labels", lambda i: i + 1), {}, "labels from 1 to 9 where 0 to 8 are expected"),
        (other("val_labels", lambda i: i + np.uint64(2**63)), {"classes": None}, "the label 9223"),
        (other("val_labels", lambda i: i * 5), {"classes": None}, "number them so, or name all cl"),
        (other("val_patients", lambda i: i[:7]), {"group": "patients"}, "7 entries for 10 patches"),
        (other("val_patients", lambda i: i.astype(object)), {"group": "patients"}, "is object"),
        (other("val_patients", lambda i: i[:0]), {"group": "patients"}, r"\(0,\) where texts or"),
        (other("val_patients", lambda i: np.zeros(10)), {"group": "patients"}, "is float64"),
        (
            other("test_patients", lambda i: i[:0].astype("S0")),
            {"group": "patients"},
            "where texts",
        ),
        (
            other("val_patients", lambda i: np.char.replace(i, "v3", "")),
            {"group": "patients"},
            "val_patients has no group at 3; fill it in",
        ),
        (
            other("val_patients", lambda i: np.char.replace(i, "3", "\ax")),
            {"group": "patients"},
            r"has at 3 the group 'v\\x07x', which cannot be printed",
        ),
        (
            other("test_patients", lambda i: np.char.replace(i, b"4", b"\xff")),
            {"group": "patients"},
            "no UTF-8",
        ),
        (
            other("val_ids", lambda i: np.char.replace(i, "_4", "_3")),
            {"id": "ids"},
            "val_ids has the id 'v_3.tif' 2 times; give each patch its own",
        ),
        (other("val_ids", lambda i: i[:9]), {"id": "ids"}, "val_ids has 9 entries for 10 patches"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, arrays, change, said, says):
    changed = dict(arrays)
    change(changed)
    np.savez(tmp_path / "mine.npz", **changed)
    with pytest.raises(HarnessError, match=rf"mine\.(npz|toml).*({says})") as raised:
        splits(tmp_path, **said)
    assert "\n" not in str(raised.value)
    assert "resize" not in str(raised.value)


def test_labels_that_seem_to_count_from_1_are_warned_of(tmp_path, arrays):
    changed = dict(arrays)
    for name in ("train_labels", "val_labels", "test_labels"):
        changed[name] = np.clip(arrays[name], 1, 7)
    np.savez(tmp_path / "mine.npz", **changed)
    (warning,) = splits(tmp_path).warnings
    assert warning.startswith("the arrays of labels have no 0, so no patch is of class 'ADI'")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "mine.npz"
    images = np.arange(6 * 48, dtype=np.uint8).reshape(6, 4, 4, 3)
    about = {"patients": np.array([*"abcabc"]), "ids": np.arange(6)}
    np.savez(path, images=images, labels=np.arange(6) % 2, **about)
    return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_damage_is_an_error_in_one_line_or_none(tmp_path_factory, small, places):
    data = bytearray(small)
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "mine.npz").write_bytes(data)
    content = {"file": "mine.npz", "group": "patients", "id": "ids"}
    try:
        (found,) = read(folder / "mine.toml", content)
        patches = found.load(Path()).test.read([0])
    except HarnessError as error:
        said = str(error)
    else:
        said = "mine"
        assert patches.shape == (1, 4, 4, 3)
    assert "mine" in said
    assert "\n" not in said


@given(codes=st.lists(st.integers(0, 0x120000) | st.integers(0, 2**32 - 1), min_size=1, max_size=4))
def test_texts_are_letters_or_an_error(tmp_path_factory, codes):
    path = tmp_path_factory.mktemp("letters") / "mine.npz"
    np.savez(path, ids=np.array(codes, np.uint32).view("U1"))
    if all(code < 0xD800 or 0xDFFF < code < 0x110000 for code in codes):
        assert npz.texts(path, "ids") == ["" if not code else chr(code) for code in codes]
    else:
        with pytest.raises(HarnessError, match=r"array ids is damaged \(it holds no letters\)"):
            npz.texts(path, "ids")


@pytest.mark.once
def test_groups_reach_probes_and_the_page_and_predictions_find_ids(command, arrays):
    pytest.importorskip("pandas")
    np.savez_compressed(command.folder / "mine.npz", **arrays)
    dataset(command.folder, group="patients", id="ids")
    mine = ("--plugin", "mine.toml", "--dataset", "mine")
    command("run", *mine, *FEW, "--no-probes")
    errors = json.loads((command.folder / "reports/mine-errors.json").read_text())
    assert (errors["groups"], errors["groups_with_few_patches"]) == (3, 1)
    page = (command.folder / "reports/mine-errors.md").read_text()
    assert "## Accuracy by group" in page
    assert "The 30 test patches are of 3 groups (patients or slides)" in page
    command("export", "predictions", "p.csv", *mine, *FEW[:2])
    with (command.folder / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3]["id"] == "test/t_3.tif"
    label = CLASSES[arrays["test_labels"][3, 0]]
    assert rows[3]["label"] == label
