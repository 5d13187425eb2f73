"""Datasets described by TOML files: folders, tables and Parquet files, good and bad."""

import csv
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import HarnessError
from harness.hooks.loader import load_plugins
from harness.testing import contract

KATHER = Path(__file__).parents[1] / "fixtures" / "kather-2016"
FEW = ("--model", "rgb-means", "--set", "trees=3", "--no-probes")
RNG = np.random.default_rng(0)

test_contract = contract("class-folders", plugin_file=KATHER / "class-folders.toml")

COLORS = {"tumor": (200, 60, 120), "normal": (120, 60, 200), "stroma": (90, 160, 90)}


def image(label, size=(12, 10)):
    """A patch in the color of its class, with noise."""
    noise = RNG.integers(-40, 40, (*size, 3))
    return np.clip(np.array(COLORS[label]) + noise, 0, 255).astype(np.uint8)


def png(label="tumor", size=(12, 10)):
    return cv2.imencode(".png", image(label, size)[..., ::-1])[1].tobytes()


def fill(folder, n, labels=tuple(COLORS)):
    """Class folders with n patches each."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(n):
            (folder / label / f"{number}.png").write_bytes(png(label))
    return folder


def write(file, **content):
    """A TOML file of texts, numbers and lists."""
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()))
    return file


def described(path):
    """The dataset that a file describes, or the reason why there is none."""
    registry = load_plugins(files=[path])
    (plugin,) = [plugin for plugin in registry.plugins if plugin.distribution == str(path)]
    if plugin.status:
        raise HarnessError(plugin.status)
    (name,) = plugin.contributes["datasets"]
    return registry.datasets[name]


def splits(path):
    dataset = described(path)
    assert dataset.missing(Path("nowhere")) == ""
    return dataset.load(Path("nowhere"))


def board(command, name):
    content = json.loads((command.folder / f"reports/{name}.json").read_text())
    return content, [row for row in content["rows"] if row["result"] == "measured"]


# Folders


def test_one_folder_is_cross_validated(tmp_path):
    fill(tmp_path / "patches", 6)
    path = write(tmp_path / "mine.toml", kind="folder", folder="patches", license="CC0", folds=3)
    dataset, found = described(path), splits(path)
    assert (dataset.name, dataset.title, dataset.license) == ("mine", "mine", "CC0")
    assert dataset.classes == ("normal", "stroma", "tumor")
    assert (found.train, found.validation, found.folds, found.groups) == (None, None, 3, None)
    assert found.test.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert found.test.read([17, 0]).shape == (2, 12, 10, 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_of_splits_and_zips_of_them(tmp_path, zipped):
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        fill(tmp_path / part, n)
        if zipped:
            with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
                for patch in (tmp_path / part).rglob("*.png"):
                    archive.write(patch, patch.relative_to(tmp_path))
    suffix = ".zip" if zipped else ""
    path = write(
        tmp_path / "mine.toml",
        kind="folder",
        train=f"train{suffix}",
        validation=f"val{suffix}",
        test=f"test{suffix}",
        classes=["tumor", "stroma", "normal"],
    )
    found = splits(path)
    assert [len(s.labels) for s in (found.train, found.validation, found.test)] == [12, 6, 9]
    assert described(path).classes == ("tumor", "stroma", "normal")
    assert found.test.ids[0] == "test/normal/0"
    assert found.test.labels[0] == 2
    assert found.folds == 0


def test_resize_brings_all_patches_to_one_size_and_is_in_the_fingerprint(tmp_path):
    folder = fill(tmp_path / "patches", 2)
    (folder / "tumor" / "wide.png").write_bytes(png("tumor", (40, 50)))
    path = write(tmp_path / "mine.toml", kind="folder", folder="patches")
    with pytest.raises(
        HarnessError, match=r"is 50x40 pixels where 10x12 .* with resize = \.\.\. in .*mine\.toml$"
    ):
        splits(path).test.read([6])
    prints = set()
    for resize, shape in ((24, (24, 24)), ([12, 10], (12, 10)), ([10, 12], (10, 12))):
        test = splits(write(path, kind="folder", folder="patches", resize=resize)).test
        assert test.read(range(7)).shape == (7, *shape, 3)
        prints.add(test.fingerprint)
    assert len(prints) == 3


def test_a_folder_runs_from_its_toml_alone(command, tmp_path):
    fill(tmp_path / "data" / "patches", 8)
    path = write(tmp_path / "data" / "mine.toml", kind="folder", folder="patches", title="My own")
    arguments = ("run", "--plugin", path, "--dataset", "mine", *FEW)
    command(*arguments)
    content, (row,) = board(command, "mine")
    assert (content["dataset"]["title"], content["dataset"]["folds"]) == ("My own", 5)
    assert row["accuracy"] > 0.9  # the classes differ in color
    assert "Everything is in the store" in command(*arguments)
    write(path, kind="folder", folder="patches", resize=6)
    assert "Everything is in the store" not in command(*arguments)


@pytest.mark.once
@pytest.mark.parametrize("damaged", [False, True])
def test_what_libjpeg_says_of_damaged_data_is_loud(damaged, command, tmp_path):
    fill(tmp_path / "patches", 8)
    for number, path in enumerate(sorted((tmp_path / "patches").rglob("*.png"))):
        data = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
        if number == 3:  # its end is there, but not all before it; or there is more before it
            data = data[: len(data) - 30] + b"\xff\xd9" if damaged else data[:-2] + b"\0\xff\xd9"
        path.unlink()
        path.with_suffix(".jpg").write_bytes(data)
    path = write(tmp_path / "mine.toml", kind="folder", folder="patches")
    said = command("run", "--plugin", path, "--dataset", "mine", *FEW)
    assert ("JPEG files with damaged data were read" in said) == damaged
    assert ("find them with `jpeginfo -c`" in said) == damaged


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"folder": "patches", "fold": 3}, "there is no key 'fold'; did you mean fold"),
        ({"folder": "patches", "folds": 1}, "folds = 1: must be a whole number from 2 to 100"),
        ({"folder": "patches", "folds": True}, "folds = True: must be a whole number"),
        ({"folder": ["patches"]}, r"folder = \['patches'\]: must be a text"),
        ({"folder": "patches", "resize": 0}, "resize = 0: must be a number of pixels"),
        ({"folder": "patches", "resize": [3]}, r"resize = \[3\]: must be"),
        ({"folder": "patches", "resize": [3, True]}, "resize = .*: must be"),
        (
            {"folder": "patches", "classes": ["a", "a"]},
            "classes = .*: must be a list of at",
        ),
        ({"folder": "patches", "test": "patches"}, "give either folder or test, not both"),
        ({"train": "patches"}, "give folder, which is then cross-validated, or train and test"),
        ({"train": "patches", "test": "patches", "folds": 3}, "folds is for folder; leave it out"),
        ({}, "give folder, which is then cross-validated"),
        ({"train": "patches", "test": "one/../patches"}, "patches is in both train and test"),
        ({"folder": "patches", "name": "My Set"}, "the name 'My Set'; use lower-case letters"),
        ({"folder": "one"}, "the patches are of 1 classes, where at least two are needed"),
        ({"folder": "empty"}, "the patches are of 0 classes"),
        ({"folder": "mine.toml"}, "Not a directory"),
    ],
)
def test_mistakes_in_the_toml_file(tmp_path, content, says):
    fill(tmp_path / "patches", 2)
    fill(tmp_path / "one", 2, labels=["tumor"])
    (tmp_path / "empty").mkdir()
    path = write(tmp_path / "mine.toml", kind="folder", **content)
    with pytest.raises(HarnessError, match=says) as caught:
        described(path)
    assert "mine.toml" in str(caught.value) or "Set" in says


@pytest.mark.parametrize("kind", ["folder", "table", "parquet"])
def test_a_file_whose_name_is_no_name_of_a_dataset_says_to_give_one(tmp_path, listed, kind):
    fill(tmp_path / "patches", 2)
    table(tmp_path / "patches.csv", listed)
    content = {"folder": {"folder": "patches"}, "table": {"table": "patches.csv"}}
    if kind == "parquet":
        parquet(tmp_path / "all.parquet", rows_of(6))
    path = tmp_path / "My_Data.toml"
    write(path, kind=kind, **content.get(kind, {"files": "all.parquet"}))
    with pytest.raises(HarnessError, match=r"My_Data\.toml: .*lower-case.* name = \.\.\."):
        described(path)
    write(path, kind=kind, name="my-data", **content.get(kind, {"files": "all.parquet"}))
    assert described(path).name == "my-data"


def test_a_mistake_in_a_toml_file_costs_a_user_one_line(command, tmp_path):
    path = write(tmp_path / "mine.toml", kind="folder", folder="patches", colour=1)
    output = command("run", "--plugin", path, "--dataset", "mine", *FEW, code=2)
    assert "there is no key 'colour'" in output
    path = write(tmp_path / "mine.toml", kind="folder", folder="patches")
    output = command("run", "--plugin", path, "--dataset", "mine", *FEW, code=2)
    assert f"harness: error: dataset mine: no {tmp_path / 'patches'}; correct the paths" in output


def test_a_class_folder_that_is_not_among_the_classes(tmp_path):
    fill(tmp_path / "patches", 2)
    path = write(
        tmp_path / "mine.toml", kind="folder", folder="patches", classes=["tumor", "normal"]
    )
    with pytest.raises(HarnessError, match="unknown class folder 'stroma'"):
        splits(path)


# Tables


def table(path, rows, header=("path", "label", "group", "split")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
            [header, *rows]
        )
    return path


@pytest.fixture
def listed(tmp_path):
    """Forty-five patches of nine patients, in one folder, with the table's rows for them."""
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(45):
        label = list(COLORS)[number % 3]
        (tmp_path / "images" / f"{number}.png").write_bytes(png(label))
        part = ("train", "train", "validation", "test")[number // 3 % 4]
        rows.append([f"images/{number}.png", label, f"patient {number // 5}", part])
    return rows


def test_a_table_with_splits_and_groups(tmp_path, listed):
    table(tmp_path / "patches.csv", listed)
    found = splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))
    parts = {"train": found.train, "validation": found.validation, "test": found.test}
    for part, split in parts.items():
        rows = sorted(row for row in listed if row[3] == part)
        classes = sorted(COLORS)
        assert list(split.ids) == [f"{part}/{row[0].removesuffix('.png')}" for row in rows]
        assert [classes[label] for label in split.labels] == [row[1] for row in rows]
        expected = cv2.imread(str(tmp_path / rows[1][0]))[..., ::-1]
        assert (split.read([1])[0] == expected).all()
    assert list(found.groups) == [row[2] for row in sorted(listed) if row[3] == "test"]
    assert found.folds == 0
    assert found.train_shortfall == (
        "4 of 5 test groups are also in train, 3 of 5 test groups are also in validation"
    )


def test_groups_on_one_side_of_a_split_are_no_shortfall(tmp_path, listed):
    rows = [[*row[:2], f"{row[3]} {row[2]}", row[3]] for row in listed]
    table(tmp_path / "patches.csv", rows)
    found = splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))
    assert (found.train_shortfall, len(set(found.groups))) == ("", 5)


def test_a_test_group_that_may_be_one_of_train_is_told_in_every_row(tmp_path, listed):
    rows = [[*row[:2], f"{'p' if row[3] == 'train' else 'P'}0", row[3]] for row in listed]
    table(tmp_path / "patches.csv", rows)
    found = splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))
    assert found.train_shortfall == (
        "the test group 'P0' may be 'p0' in train, 1 of 1 test groups are also in validation"
    )


def test_blanks_around_cells_are_left_out(tmp_path, listed):
    (tmp_path / "patches.csv").write_text(
        "path , label\n" + "".join(f"{row[0]}, {row[1]} \n" for row in listed)
    )
    found = splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))
    assert np.bincount(found.test.labels).tolist() == [15, 15, 15]


def test_a_table_with_columns_of_other_names_and_no_splits(tmp_path, listed):
    rows = [[row[1], row[0].removeprefix("images/"), row[2], "ignored"] for row in listed]
    table(tmp_path / "patches.tsv", rows, ("diagnosis", "file", "patient", "note"))
    path = write(
        tmp_path / "mine.toml",
        kind="table",
        table="patches.tsv",
        folder="images",
        path="file",
        label="diagnosis",
        group="patient",
        folds=3,
    )
    found = splits(path)
    assert (found.train, found.folds, len(found.test.labels)) == (None, 3, 45)
    assert sorted(set(found.groups)) == [f"patient {n}" for n in range(9)]


@pytest.mark.parametrize(("place", "name"), [(2, "Group"), (3, " SPLIT"), (3, "sp\u200blit")])
def test_a_column_whose_name_is_nearly_that_of_the_split_is_not_passed_over(
    place, name, tmp_path, listed
):
    header = ["path", "label", "group", "split"]
    key, header[place] = header[place], name
    table(tmp_path / "patches.csv", listed, header)
    path = write(tmp_path / "mine.toml", kind="table", table="patches.csv")
    with pytest.raises(HarnessError, match=rf"patches.csv: .* not taken for the {key} .*{key} = "):
        described(path)


def test_a_table_in_the_toml_file(tmp_path, listed):
    text = 'kind = "table"\nname = "inside"\n'
    for path, label, *_ in listed:
        text += f'[[patches]]\npath = "{path}"\nlabel = "{label}"\n'
    (tmp_path / "mine.toml").write_text(text)
    found = splits(tmp_path / "mine.toml")
    assert described(tmp_path / "mine.toml").name == "inside"
    assert (len(found.test.labels), found.groups, found.folds) == (45, None, 5)


def test_labels_that_are_numbers_are_in_the_order_of_numbers(tmp_path, listed):
    number = {"tumor": "10", "normal": "9", "stroma": "2"}
    table(tmp_path / "patches.csv", [[r[0], number[r[1]], *r[2:]] for r in listed])
    path = write(tmp_path / "mine.toml", kind="table", table="patches.csv")
    assert described(path).classes == ("2", "9", "10")


def test_labels_and_order_are_in_the_fingerprint(tmp_path, listed):
    path = write(tmp_path / "mine.toml", kind="table", table="patches.csv")
    prints = []
    for change in (lambda r: r, lambda r: [[r[0][0], r[1][1], *r[0][2:]], *r[1:]], lambda r: r[1:]):
        table(tmp_path / "patches.csv", change(listed))
        prints.append(splits(path).train.fingerprint)
    assert len(set(prints)) == 3
    table(tmp_path / "patches.csv", listed[::-1])
    assert splits(path).train.fingerprint == prints[0]


def test_a_table_runs_and_selects_on_its_validation_split(command, tmp_path, listed):
    table(tmp_path / "patches.csv", listed)
    path = write(tmp_path / "mine.toml", kind="table", table="patches.csv", test_set="My test")
    command("run", "--plugin", path, "--dataset", "mine", *FEW)
    content, (row,) = board(command, "mine")
    assert content["groups"] == len({r[2] for r in listed if r[3] == "test"})
    assert (row["n_train"], row["n_test"]) == (24, 9)
    assert content["dataset"]["test_set"] == "My test"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("images/0.png,tumor", "line 47: images/0.png is listed already, in .* line 2"),
        ("./images//0.png,tumor", "line 47: ./images//0.png is listed already, in .* line 2"),
        ('images/none.png,"tu\nmor"', r"line 48: the label 'tu\\nmor' cannot be printed"),
        ("images/none.png,tumor", r"line 47: 'images/none.png': No such file"),
        ("images,tumor", "line 47: images: not an image file"),
        ("x.png,tumor", "line 47: .*x.png is no file"),
        ("images/0.txt,tumor", r"line 47: images/0.txt: not an image file"),
        (",tumor", "line 47: path is empty"),
        ("images/1.png,", "line 47: label is empty"),
        ("images/1.png", "line 47: has 1 cells where the first line has 2"),
        ("images/1.png,tumor,2", "line 47: has 3 cells"),
        ('images/1.png,"tumor', "cannot be read as a table"),
    ],
)
def test_mistakes_in_a_line_name_the_line(tmp_path, listed, line, says):
    (tmp_path / "x.png").mkdir()
    path = table(tmp_path / "patches.csv", [row[:2] for row in listed], ("path", "label"))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(HarnessError, match=rf"patches\.csv.*{says}"):
        splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))


@pytest.mark.parametrize(
    ("header", "more", "says"),
    [
        (("paths", "label"), {}, "has no column 'path'; did you mean paths"),
        (("path", "label"), {"group": "patient"}, "has no column 'patient'"),
        (("path", "label"), {"classes": ["tumor", "normal"]}, "the label 'stroma' is none of the"),
        (("path", "split"), {"label": "split"}, "split is 'tumor'"),
        (("path", "path"), {}, r"patches\.csv: has 2 columns 'path'; rename all but one"),
        (("path", "x"), {"label": "path"}, "every patch has another label, such as"),
        (("path", "label"), {"patches": []}, "give either table = .* or"),
        (("path", "label"), {"label": 3}, "label = 3: must be a text"),
    ],
)
def test_mistakes_in_columns(tmp_path, listed, header, more, says):
    table(tmp_path / "patches.csv", [row[:2] for row in listed], header)
    with pytest.raises(HarnessError, match=says):
        described(write(tmp_path / "mine.toml", kind="table", table="patches.csv", **more))


def test_a_table_with_semicolons(tmp_path):
    (tmp_path / "patches.csv").write_text("path;label\na.png;tumor\n")
    with pytest.raises(HarnessError, match=r"one column, 'path;label'; separate the cells with"):
        described(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))


def test_a_table_that_lists_no_test_patches(tmp_path, listed):
    table(tmp_path / "patches.csv", [row for row in listed if row[3] == "train"])
    with pytest.raises(HarnessError, match=r"patches\.csv: lists no test patches"):
        splits(write(tmp_path / "mine.toml", kind="table", table="patches.csv"))


CELL = st.one_of(
    st.sampled_from(["images/0.png", "images/1.png", "tumor", "normal", "train", "test", ""]),
    st.text(max_size=8),
)
NAMES = st.sampled_from([["path", "label"], ["path", "label", "group", "split"]])


def as_csv(rows):
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


TABLES = st.one_of(
    st.binary(max_size=60),
    st.tuples(NAMES, st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=5)).map(
        lambda t: as_csv([t[0], *t[1]])
    ),
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "images").mkdir()
    for number in range(2):
        (folder / "images" / f"{number}.png").write_bytes(png())
    return folder


@settings(max_examples=150, deadline=None)
@given(content=TABLES)
def test_any_table_loads_or_is_an_error_in_one_line(two, content):
    """Whatever is in the file: no other exception, and no message of several lines."""
    from harness_files.table import read

    (two / "patches.csv").write_bytes(content)
    toml = {"kind": "table", "table": "patches.csv", "classes": ["tumor", "normal"]}
    said = f"{two}: read"
    try:
        (dataset,) = read(two / "mine.toml", toml)
        found = dataset.load(two)
    except HarnessError as error:
        said = str(error)
    else:
        assert len(found.test.read([0])) == 1
    assert str(two) in said
    assert "\n" not in said


# Parquet


def parquet(path, rows, *, label=None, metadata=None, per_group=4, plain=False):
    """A file as Hugging Face's datasets writes it: a struct of bytes and path, and a label."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    images = [data for data, _ in rows]
    if plain:
        column = pa.array(images, pa.binary())
    else:
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        column = pa.array([{"bytes": data, "path": None} for data in images], kind)
    found = pa.table({"image": column, "label": pa.array([value for _, value in rows], label)})
    if metadata:
        found = found.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(found, path, row_group_size=per_group)
    return path


def noted(names):
    feature = {"names": names, "_type": "ClassLabel"}
    return {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}


def rows_of(n, value=lambda number, label: number % 3):
    names = list(COLORS)
    return [(png(names[i % 3]), value(i, names[i % 3])) for i in range(n)]


def test_parquet_files_of_splits_with_class_names_from_hugging_face(tmp_path, capsys, console):
    names, train = ["1", "0", "stroma"], rows_of(14)
    metadata = noted(names)
    parquet(tmp_path / "data" / "train-00000.parquet", train[:8], metadata=metadata)
    parquet(tmp_path / "data" / "train-00001.parquet", train[8:], metadata=metadata)
    test = rows_of(7)
    parquet(tmp_path / "data" / "test-00000.parquet", test, metadata=metadata)
    path = write(
        tmp_path / "mine.toml",
        kind="parquet",
        train="data/train-*.parquet",
        test="data/test-*.parquet",
    )
    assert described(path).classes == ("1", "0", "stroma")
    found = splits(path)
    assert not list(tmp_path.glob("*.arrow"))  # made when the first patch is read
    for split, rows in ((found.train, train), (found.test, test)):
        assert split.labels.tolist() == [label for _, label in rows]
        for index in (len(rows) - 1, 0, 3):
            bgr = cv2.imdecode(np.frombuffer(rows[index][0], np.uint8), cv2.IMREAD_COLOR)
            assert (split.read([index])[0] == bgr[..., ::-1]).all()
    assert len(set(found.train.ids)) == 14
    assert sorted(p.name.rpartition("-")[0] for p in tmp_path.glob("*.arrow")) == [
        "mine-test",
        "mine-train",
    ]
    assert "written once" in capsys.readouterr().err
    assert (splits(path).train.read([2]) == found.train.read([2])).all()
    assert "written once" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "kind", "classes", "expected"),
    [
        (lambda i, label: label, "string", None, ("normal", "stroma", "tumor")),
        (lambda i, label: label, "large_string", ["tumor", "normal", "stroma"], None),
        (lambda i, label: i % 3, "int8", ["a", "b", "c"], None),
        (lambda i, label: (5, 30, 7)[i % 3], "uint16", None, ("5", "7", "30")),
    ],
)
def test_labels_of_every_kind_and_plain_bytes(tmp_path, value, kind, classes, expected):
    pa = pytest.importorskip("pyarrow")
    rows = rows_of(9, value)
    parquet(tmp_path / "all.parquet", rows, label=getattr(pa, kind)(), plain=True)
    more = {"classes": classes} if classes else {}
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet", folds=3, **more)
    names = described(path).classes
    assert names == tuple(expected or classes)
    found = splits(path)
    assert found.folds == 3
    for label, (_, given_label) in zip(found.test.labels, rows, strict=True):
        if classes and isinstance(given_label, int):
            assert label == given_label
        else:
            assert names[label] == str(given_label)


@pytest.mark.parametrize(
    ("first", "content", "metadata", "warns"),
    [
        (1, {"classes": ["a", "b", "c", "d"]}, None, True),
        (0, {"classes": ["a", "b", "c"]}, None, False),
        (1, {}, None, False),  # the labels are the names
        (1, {}, noted(["a", "b", "c", "d"]), False),  # which count from 0
    ],
)
def test_numbers_that_seem_to_count_from_one_are_told(tmp_path, first, content, metadata, warns):
    rows = rows_of(9, lambda number, label: number % 3 + first)
    parquet(tmp_path / "all.parquet", rows, metadata=metadata)
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet", **content)
    says = ["the column 'label' has no 0, so no patch is of class 'a'; classes count from 0"]
    told = [warning.partition(": ")[0] for warning in splits(path).warnings]
    assert told == (says if warns else [])


def test_the_fingerprint_of_parquet_files(tmp_path):
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet")
    rows = rows_of(9)
    prints = []
    for changed in (
        rows,
        rows,
        [(rows[1][0], rows[0][1]), *rows[1:]],
        [(rows[0][0], 1), *rows[1:]],
    ):
        parquet(tmp_path / "all.parquet", changed)
        test = splits(path).test
        expected = cv2.imdecode(np.frombuffer(changed[0][0], np.uint8), cv2.IMREAD_COLOR)
        assert (test.read([0])[0] == expected[..., ::-1]).all()  # never an old copy's
        prints.append(test.fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_parquet_runs_from_its_toml_alone(command, tmp_path):
    parquet(tmp_path / "train.parquet", rows_of(24), metadata=noted(list(COLORS)))
    parquet(tmp_path / "test.parquet", rows_of(12), metadata=noted(list(COLORS)))
    path = write(
        tmp_path / "mine.toml", kind="parquet", train="train.parquet", test="test.parquet", resize=8
    )
    arguments = ("run", "--plugin", path, "--dataset", "mine", *FEW)
    command(*arguments)
    content, (row,) = board(command, "mine")
    assert content["dataset"]["classes"] == list(COLORS)
    assert row["accuracy"] > 0.7
    assert "Everything is in the store" in command(*arguments)


def test_without_pyarrow_it_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "all.parquet").touch()
    path = write(tmp_path / "mine.toml", kind="parquet", files="*.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    says = "needs pyarrow: pip install 'histo-harness[parquet]'"
    assert described(path).missing(tmp_path) == says
    (tmp_path / "all.parquet").unlink()
    assert described(path).missing(tmp_path).startswith(f"no *.parquet in {tmp_path}; correct")


@pytest.mark.parametrize(
    ("rows", "content", "says"),
    [
        (rows_of(6), {"image": "picture"}, r"has no column 'picture', but image, label"),
        (rows_of(6), {"image": "label"}, "the column 'label' is int64 where image files"),
        (rows_of(6), {"label": "image"}, "the column 'image' is struct.* where whole numbers"),
        ([(png(), 0), (png(), None)], {}, "1 rows have no label"),
        (rows_of(6), {"classes": ["a", "b"]}, "column label: the label 2 is none of 0, 1"),
        ([(png(), 0), (png(), -1)], {"classes": ["a", "b"]}, "the label -1 is none of 0, 1"),
        ([(None, 0), (png(), 1)], {}, "row 0: holds no image, or only the path"),
        ([(b"no image", 0), (png(), 1)], {}, "row 0: cannot be read as an image"),
        ([], {"classes": ["a", "b"]}, "has no rows"),
    ],
)
def test_mistakes_in_parquet_files(tmp_path, rows, content, says):
    pa = pytest.importorskip("pyarrow")
    parquet(tmp_path / "all.parquet", rows, label=pa.int64())
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet", **content)
    with pytest.raises(HarnessError, match=rf"all\.parquet.*{says}"):
        splits(path)


@pytest.mark.parametrize(
    ("train", "test", "content", "says"),
    [
        (
            {"metadata": noted(["normal", "tumor", "stroma"])},
            {"metadata": noted(list(COLORS))},
            {},
            r"test\.parquet: notes the classes tumor, normal, stroma where .*train\.parquet notes "
            "normal, tumor, stroma",
        ),
        (
            {"metadata": noted(list(COLORS))},
            {"metadata": noted(list(COLORS))},
            {"classes": sorted(COLORS)},
            r"mine\.toml: classes are in another order than the labels of .*train\.parquet",
        ),
        ({}, {"label": "string"}, {}, r"numbers in .*train\.parquet and strings in .*test\.parq"),
        ({"metadata": noted(["x", "x"])}, {}, {}, r"train\.parquet: notes the classes x, x where"),
        ({}, {}, {"test": "data/../data/t*n.parquet"}, "train.parquet is in both train and test"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, train, test, content, says):
    for name, more in (("train", train), ("test", test)):
        rows = rows_of(6, (lambda i, _: str(i % 3)) if "label" in more else lambda i, _: i % 3)
        parquet(tmp_path / "data" / f"{name}.parquet", rows, metadata=more.get("metadata"))
    toml = {"train": "data/train.parquet", "test": "data/test.parquet"} | content
    with pytest.raises(HarnessError, match=says):
        splits(write(tmp_path / "mine.toml", kind="parquet", **toml))


def test_classes_may_be_in_any_order_where_labels_are_names(tmp_path):
    names = list(COLORS)
    rows = rows_of(6, lambda _, label: label)
    for name, order in (("train", names), ("test", names[::-1])):
        parquet(tmp_path / f"{name}.parquet", rows, metadata=noted(order))
    toml = {"train": "train.parquet", "test": "test.parquet", "classes": sorted(names)}
    found = splits(write(tmp_path / "mine.toml", kind="parquet", **toml))
    assert found.train.labels.tolist() == found.test.labels.tolist() == [2, 0, 1, 2, 0, 1]


def test_a_pattern_may_be_absolute_and_its_folder_have_any_name(tmp_path):
    folder = tmp_path / "data [1]"
    parquet(folder / "deep" / "a.parquet", rows_of(6))
    for pattern in (str(tmp_path / "data ?1?" / "*" / "*.parquet"), "**/*.parquet"):
        path = write(folder / "mine.toml", kind="parquet", files=pattern)
        assert len(splits(path).test.labels) == 6


def test_an_image_without_bytes_further_on_leaves_no_copy(tmp_path):
    parquet(tmp_path / "all.parquet", [*rows_of(6), (None, 1)])
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet")
    with pytest.raises(HarnessError, match=r"row 6: holds no image.*embed_table_storage"):
        splits(path).test.read([0])
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".arrow", ".tmp")]


def test_a_split_of_parquet_files_goes_to_other_processes(tmp_path):
    parquet(tmp_path / "all.parquet", rows_of(9))
    test = splits(write(tmp_path / "mine.toml", kind="parquet", files="all.parquet")).test
    for _ in range(2):  # before and after the images were copied
        sent = pickle.loads(pickle.dumps(test))
        assert (sent.read([7]) == test.read([7])).all()


def test_an_error_about_a_patch_names_its_file_and_its_row(tmp_path):
    for number in range(3):
        rows = [
            (png(size=(24, 20) if (number, i) == (2, 4) else (12, 10)), i % 2) for i in range(9)
        ]
        parquet(tmp_path / f"{number}.parquet", rows)
    path = write(tmp_path / "mine.toml", kind="parquet", files="*.parquet")
    says = r"2\.parquet, row 4: is 20x24 .*, or bring all to one size with resize = .* mine\.toml"
    with pytest.raises(HarnessError, match=says.replace(" mine", ".*mine")):
        splits(path).test.read([0, 22])


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data.replace(b"I", b"")])
def test_a_damaged_copy_is_made_anew(tmp_path, damage, capsys, console):
    parquet(tmp_path / "all.parquet", rows_of(9))
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet")
    expected = splits(path).test.read(range(9))
    (copy,) = tmp_path.glob("*.arrow")
    copy.write_bytes(damage(copy.read_bytes()))
    assert (splits(path).test.read(range(9)) == expected).all()
    said = capsys.readouterr().err
    assert f"{copy}: is damaged (" in said
    assert "it is made again" in said


def test_a_copy_of_a_parquet_file_that_was_written_since_is_made_anew(tmp_path, capsys, console):
    source = tmp_path / "all.parquet"
    parquet(source, rows_of(9))
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet")
    expected = splits(path).test.read(range(9))
    later = source.stat().st_mtime_ns + 10**9
    os.utime(source, ns=(later, later))
    assert (splits(path).test.read(range(9)) == expected).all()
    assert "the files that it was made of have changed since" in capsys.readouterr().err


@settings(max_examples=100, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_of_a_copy_is_repaired(tmp_path_factory, places):
    from harness_files.parquet import read

    folder = tmp_path_factory.mktemp("damaged")
    parquet(folder / "all.parquet", rows_of(6))
    (dataset,) = read(folder / "mine.toml", {"kind": "parquet", "files": "all.parquet"})
    expected = dataset.load(folder).test.read(range(6))
    (copy,) = folder.glob("*.arrow")
    data = bytearray(copy.read_bytes())
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    copy.write_bytes(data)
    assert (dataset.load(folder).test.read(range(6)) == expected).all()


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_of_a_parquet_file_is_an_error_in_one_line(tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("damaged")
    path = parquet(folder / "all.parquet", rows_of(6))
    data = bytearray(path.read_bytes())
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(data)
    from harness_files.parquet import read

    said = f"{folder}: read"
    try:
        (dataset,) = read(folder / "mine.toml", {"kind": "parquet", "files": "all.parquet"})
        dataset.load(folder).test.read(range(6))
    except HarnessError as error:
        said = str(error)
    assert str(folder) in said
    assert "\n" not in said


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from harness_files.parquet import read
import pyarrow.parquet, cv2
(dataset,) = read(Path(sys.argv[1]), {"kind": "parquet", "files": "all.parquet"})
def own():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return int(fields["RssAnon"].split()[0]) / 1024
before = own()
split = dataset.load(Path()).test
split.read([0])
peak = own()
for start in range(0, len(split.labels), 100):
    split.read(np.arange(start, start + 4))
    peak = max(peak, own())
print(before, peak)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat(tmp_path):
    """240 MB in row groups of 100, as Hugging Face writes images; far less is ever in memory."""
    head = cv2.imencode(".bmp", np.zeros((200, 200, 3), np.uint8))[1].tobytes()[:54]
    rows = [(head + RNG.bytes(120_000), i % 2) for i in range(2000)]
    parquet(tmp_path / "all.parquet", rows, per_group=100)
    del rows
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "mine.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    before, peak = map(float, done.stdout.split())
    assert peak - before < 120
