"""Classes of training, validation and test patches that do not meet, in every kind of dataset."""

import csv
import json
import unicodedata
import zipfile
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from harness import Dataset, HarnessError, Splits
from harness.data import classes
from harness.data.splits import check_splits, fold_pairs
from harness.hooks.loader import load_plugins
from harness.reports import formats
from harness.text.names import alike

SCHEMA = json.loads(Path(formats.__file__).with_name("leaderboard.schema.json").read_text())
SPELLINGS = {
    "case": ("Debris", "debris"),
    "composed or not": ("Tumör", unicodedata.normalize("NFD", "Tumör")),
    "full-width": ("TUM", "ＴＵＭ"),
    "another space": ("tumor stroma", "tumor\N{NO-BREAK SPACE}stroma"),
    "a space at the end": ("TUM", "TUM "),
    "another alphabet": ("TUM", "TU\N{CYRILLIC CAPITAL LETTER EM}"),
    "underscore": ("tumor stroma", "tumor_stroma"),
    "hyphen": ("tumor-stroma", "tumor stroma"),
    "a zero in front": ("1", "01"),
    "with decimals": ("1", "1.0"),
}


def png(shade):
    pixels = np.full((6, 6, 3), shade, np.uint8)
    pixels[::2] += 20
    return cv2.imencode(".png", pixels)[1].tobytes()


def shades(labels):
    names = sorted(set(labels))
    return [40 + 150 * names.index(label) // len(names) + i % 7 for i, label in enumerate(labels)]


def as_folders(folder, parts):
    for part, labels in parts.items():
        for i, (label, shade) in enumerate(zip(labels, shades(labels), strict=True)):
            path = folder / part / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(shade))
    return 'kind = "folder"\n' + "".join(f'{part} = "{part}"\n' for part in parts)


def as_zips(folder, parts):
    for part, labels in parts.items():
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for i, (label, shade) in enumerate(zip(labels, shades(labels), strict=True)):
                archive.writestr(f"{label}/{i}.png", png(shade))
    return 'kind = "folder"\n' + "".join(f'{part} = "{part}.zip"\n' for part in parts)


def listed(folder, parts):
    rows = []
    for part, labels in parts.items():
        for i, (label, shade) in enumerate(zip(labels, shades(labels), strict=True)):
            (folder / f"{part}-{i}.png").write_bytes(png(shade))
            rows.append((f"{part}-{i}.png", label, part))
    return rows


def as_csv(folder, parts):
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "split"), *listed(folder, parts)])
    return 'kind = "table"\ntable = "t.csv"\n'


def as_toml(folder, parts):
    lines = ['kind = "table"']
    for path, label, part in listed(folder, parts):
        lines += ["[[patches]]", f'path = "{path}"', f"label = {json.dumps(label)}"]
        lines.append(f'split = "{part}"')
    return "\n".join(lines) + "\n"


def as_parquet(folder, parts):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    for part, labels in parts.items():
        images = [{"bytes": png(shade)} for shade in shades(labels)]
        table = pa.table({"image": images, "label": labels})
        pyarrow.parquet.write_table(table, folder / f"{part}.parquet")
    return 'kind = "parquet"\n' + "".join(f'{part} = "{part}.parquet"\n' for part in parts)


WRITERS = {
    "folders": as_folders,
    "zips": as_zips,
    "csv": as_csv,
    "toml": as_toml,
    "parquet": as_parquet,
}


def dataset_of(text, folder):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    registry = load_plugins(files=[path])
    plugin = registry.plugins[-1]
    if plugin.status:
        raise HarnessError(plugin.status)
    return registry.datasets["mine"]


def planned(dataset):
    """What is planned of a dataset before models are fitted."""
    splits = dataset.load(Path("nowhere"))
    check_splits(dataset, splits)
    found = classes.facts(dataset.classes, splits, fold_pairs(splits, dataset.classes))
    classes.check(dataset, splits, found)
    return found


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("part", ["test", "validation"])
def test_no_reader_makes_two_classes_of_two_spellings(tmp_path, writer, spelling, part):
    one, other = spelling
    parts = {
        "train": [one, "ADI"] * 3,
        "test": [one, "ADI"] * 2,
        "validation": [one, "ADI"] * 2,
    }
    parts[part] = [other, "ADI"] * 2
    try:
        found = dataset_of(writer(tmp_path, parts), tmp_path)
        described = planned(found)
    except HarnessError:
        return
    # Only where the reader brought both to one name, as tables leave out blanks at the end.
    assert sorted(found.classes) == sorted([one, "ADI"])
    assert not described["unfitted"]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_two_spellings_are_named_with_their_patches(tmp_path, writer):
    parts = {"train": ["Debris", "ADI"] * 3, "test": ["debris", "ADI"] * 2}
    says = r"'Debris' \(3 patches in train\) and 'debris' \(2 patches in test\) are spelled diff"
    with pytest.raises(HarnessError, match=says) as caught:
        dataset_of(writer(tmp_path, parts), tmp_path)
    assert "or list both with classes = [...]" in str(caught.value)


# Not in folders: those of such names are one folder on some systems.
@pytest.mark.parametrize("writer", [as_csv, as_toml, as_parquet])
def test_classes_that_are_listed_may_be_alike_but_must_be_fitted(tmp_path, writer):
    both = {"train": ["a", "A"] * 3, "test": ["a", "A"] * 2}
    text = writer(tmp_path, both)
    head, *rest = text.split("\n", 1)
    text = "\n".join([head, 'classes = ["a", "A"]', *rest])
    assert not planned(dataset_of(text, tmp_path))["unfitted"]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_class_that_is_tested_and_never_fitted_is_an_error(tmp_path, writer):
    parts = {"train": ["ADI", "TUM"] * 3, "test": ["ADI", "TUM", "STR"] * 2}
    dataset = dataset_of(writer(tmp_path, parts), tmp_path)
    says = "class 'STR' has 2 test patches and no training patch; add training patches"
    with pytest.raises(HarnessError, match=says):
        planned(dataset)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_class_that_is_validated_and_never_fitted_is_an_error(tmp_path, writer):
    parts = {"train": ["ADI", "TUM"] * 2, "test": ["ADI", "TUM"], "validation": ["ADI", "STR"]}
    dataset = dataset_of(writer(tmp_path, parts), tmp_path)
    with pytest.raises(HarnessError, match="class 'STR' has 1 validation patches and no training"):
        planned(dataset)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_class_that_is_never_tested_is_said(tmp_path, writer):
    parts = {"train": ["ADI", "TUM", "STR"], "test": ["ADI", "TUM"]}
    found = planned(dataset_of(writer(tmp_path, parts), tmp_path))
    assert found["untested"] == [{"class": "STR", "n_train": 1}]
    assert classes.untested(found) == "Classes: no test patch is of STR (1 training patches)."


@pytest.mark.parametrize("writer", [as_csv, as_toml, as_folders, as_parquet])
@pytest.mark.parametrize(("label", "others"), [("-1", ["0", "1"]), ("nan", ["ADI", "TUM"])])
def test_a_label_that_says_there_is_none(tmp_path, writer, label, others):
    parts = {"train": [*others, label], "test": others}
    with pytest.raises(HarnessError, match=f"1 patches have the label {label}, which usually"):
        dataset_of(writer(tmp_path, parts), tmp_path)


LACKING = {
    "a float": ["-1.0", "0.0", "1.0"],
    "minus sign": ["\N{MINUS SIGN}1", "0", "1"],
    "beside names": ["-1", "ADI", "TUM"],
    "exponent": ["-1e0", "0", "1"],
    "decimal comma": ["-1,0", "0", "1"],
    "full-width": ["－1", "0", "1"],
    "two of them": ["-1", "-2", "0", "1"],
    **{text: [text, "ADI", "TUM"] for text in ("NA", "None", "<NA>", "null", "N/A", "NaN", "-nan")},
}


@pytest.mark.parametrize("writer", [as_csv, as_toml, as_parquet])
@pytest.mark.parametrize("labels", LACKING.values(), ids=LACKING)
def test_a_label_that_says_there_is_none_in_any_spelling_and_company(tmp_path, writer, labels):
    text = writer(tmp_path, {"train": labels, "test": [*labels, labels[-1]]})
    with pytest.raises(HarnessError, match=f"2 patches have the label {labels[0]}, which usually"):
        dataset_of(text, tmp_path)
    head, rest = text.split("\n", 1)  # who lists it says that it is a class
    text = f"{head}\nclasses = {json.dumps(labels, ensure_ascii=False)}\n{rest}"
    assert not planned(dataset_of(text, tmp_path))["unfitted"]


@pytest.mark.parametrize(
    "label", ["0", "-0.0", "1", "CD3-", "-ve", "1-2", "normal", "nano", "-", ""]
)
def test_a_label_that_is_a_class(label):
    assert not classes.missing_label(label)


def test_groups_that_a_person_takes_for_one_are_told():
    found = classes.groups_alike(["P0", "p1", "p0", "P0", "P 1", "P2"])
    assert found == [["P0", "p0"], ["P 1", "p1"]]
    (told,) = classes.group_warnings({"groups_alike": found})
    assert "the groups 'P0' and 'p0' and 1 more pairs are spelled differently and count" in told
    assert classes.group_warnings({"groups_alike": []}) == classes.group_warnings({}) == []


@pytest.mark.once
def test_groups_that_are_alike_are_told_before_the_run_and_on_the_page(command, tmp_path):
    rows = [("path", "label", "group")]
    for number, (path, label, _) in enumerate(listed(tmp_path, {"all": ["ADI", "TUM"] * 12})):
        rows.append((path, label, ("P0", "p0", "P1", "P2")[number // 2 % 4]))
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "mine.toml").write_text('kind = "table"\ntable = "t.csv"\nfolds = 2\n')
    asked = ("--plugin", "mine.toml", "--dataset", "mine", "--no-probes")
    said = "the groups 'P0' and 'p0' are spelled differently and count as two"
    output = command("run", *asked, "--model", "rgb-means")
    assert f"WARNING: dataset mine: {said}" in output
    assert f"WARNING: {said}" in (tmp_path / "reports/mine.md").read_text()


@pytest.mark.parametrize(("labels", "says"), [([-1, 0, 1], "-1 usually"), ([0, 1, 2], "none of")])
def test_numbers_that_no_name_was_noted_for(tmp_path, labels, says):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    noted = {"info": {"features": {"label": {"names": ["ADI", "TUM"]}}}}
    for part, found in (("train", [0, 1]), ("test", labels)):
        images = [{"bytes": png(50 * label + 60)} for label in found]
        table = pa.table({"image": images, "label": pa.array(found, pa.int64())})
        table = table.replace_schema_metadata({"huggingface": json.dumps(noted)})
        pyarrow.parquet.write_table(table, tmp_path / f"{part}.parquet")
    text = 'kind = "parquet"\ntrain = "train.parquet"\ntest = "test.parquet"\n'
    with pytest.raises(HarnessError, match=says):
        planned(dataset_of(text, tmp_path))
    # Names in another order or spelling than noted would give numbers another meaning.
    for names in ('["tum", "adi"]', '["TUM", "ADI"]', '["adi", "TUM"]'):
        with pytest.raises(HarnessError, match="in another order than the labels"):
            dataset_of(f"{text}classes = {names}\n", tmp_path)


class Labeled:
    """A split as a plugin may have it."""

    def __init__(self, labels, name):
        self.labels = np.asarray(labels, np.int64)
        self.ids = [f"{name}/{i}" for i in range(len(self.labels))]
        self.fingerprint = f"{name} {self.labels.tolist()}"


def of_plugin(names, train, test, **more):
    splits = Splits(train=Labeled(train, "train"), test=Labeled(test, "test"), **more)
    return Dataset(name="mine", title="", classes=names, load=lambda _: splits)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_of_a_plugin_the_class_that_was_meant_is_named(spelling):
    one, other = spelling
    dataset = of_plugin((one, other, "X"), [0] * 5 + [2], [1] * 4 + [2])
    with pytest.raises(HarnessError) as caught:
        planned(dataset)
    text = str(caught.value)
    assert "has 4 test patches and no training patch (did you mean" in text
    assert "which has 5 training patches?); give a class one name everywhere" in text
    assert text.count("\\") > 0 or (repr(one) in text and repr(other) in text)


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ([0, 1], [0, -1], "labels from -1 to 0 for 2 classes; patches without a label"),
        ([0, 2], [0, 1], "train has labels from 0 to 2 for 2 classes"),
        ([0, 1], [], "test has no patches"),
    ],
)
def test_labels_of_a_plugin_beyond_its_classes(train, test, says):
    with pytest.raises(HarnessError, match=says):
        planned(of_plugin(("a", "b"), train, test))


def test_what_a_selection_cannot_see_is_noted():
    splits = Splits(train=Labeled([0, 0, 1, 1, 2], "train"), test=Labeled([0, 1, 2], "test"))
    found = classes.facts("abc", splits, fold_pairs(splits, "abc"))
    assert found["not_selected_on"] == {"held-out": ["c"]}
    assert classes.notes(found, "held-out") == ["the held-out part has no patch of c"]
    assert classes.notes(found, "none") == []


def test_models_are_fitted_on_a_range():
    groups = ["a"] * 6 + ["b"] * 4 + ["c"] * 2
    test = Labeled([0, 1] * 6, "test")
    splits = Splits(train=Labeled([0, 1, 1], "train"), test=test, folds=3, groups=groups)
    found = classes.facts("ab", splits, fold_pairs(splits, "ab"))
    assert (found["n_train"], found["n_train_max"], found["n_train_own"]) == (9, 13, 3)


def test_names_that_differ_are_compared():
    assert classes.spelling(("ADI", "debris"), ("ADI", "Debris")) == (
        "; 'debris' and 'Debris' are spelled differently"
    )
    assert classes.spelling(("ADI", "DEB"), ("ADI", "STR")) == ""
    assert alike("debris", ["Debris"]) == ["Debris"]


def in_one_patient(folder):
    """Ten patches of A and B from each of four patients, and all of C from a fifth."""
    rows = [("path", "label", "group")]
    for patient, names in (*((f"p{i}", "AB") for i in range(4)), ("p9", "CC")):
        for i, name in enumerate(names * 5):
            path = folder / f"{patient}-{name}-{i}.png"
            path.write_bytes(png(60 * "ABC".index(name) + 5 * i))
            rows.append((path.name, name, patient))
    with (folder / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "mine.toml").write_text('kind = "table"\ntable = "t.csv"\ngroup = "group"\n')


@pytest.mark.once
def test_a_class_in_one_patient_is_said_loudly_in_the_row_and_on_the_page(command, tmp_path):
    in_one_patient(tmp_path)
    asked = ("--plugin", "mine.toml", "--dataset", "mine")
    output = command("run", *asked, "--model", "rgb-means", "--no-probes")
    board = json.loads((tmp_path / "reports/mine.json").read_text())
    jsonschema.validate(board, SCHEMA)
    (one,) = board["dataset"]["unfitted"]
    assert (one["class"], one["n_test"], one["group"]) == ("C", 10, "p9")
    said = f"fold {one['fold']} tests C, which its training part lacks: its recall is 0"
    assert f"WARNING: dataset mine: {said}" in output
    (row,) = board["rows"]
    assert said in row["notes"]
    assert {line["class"]: line["recall"] for line in row["recall"]}["C"] == 0
    assert (row["n_train"], row["n_train_max"]) == (40, 40)
    page = (tmp_path / "reports/mine.md").read_text()
    assert f"WARNING: {said}" in page
    assert "models fitted on 40 patches" in page
    assert f"WARNING: {said}" in command("leaderboard", *asked[:2])
    assert f"WARNING: dataset mine: {said}" in command("audit", *asked, "--probe", "color")


def test_an_unfitted_class_is_an_error_of_one_line_but_not_for_who_comes_fitted(command, tmp_path):
    text = as_folders(tmp_path, {"train": ["A", "B"] * 4, "test": ["A", "B", "C"] * 2})
    (tmp_path / "mine.toml").write_text(text)
    asked = ("--plugin", "mine.toml", "--dataset", "mine", "--no-probes")
    output = command("run", *asked, "--model", "rgb-means", code=2)
    assert output.splitlines()[-1] == (
        "harness: error: dataset mine: class 'C' has 2 test patches and no training patch; add "
        "training patches, or leave these out"
    )
    (tmp_path / "fixed.py").write_text(PRETRAINED)
    command("run", *asked, "--plugin", "fixed.py", "--model", "always-c")
    board = json.loads((tmp_path / "reports/mine.json").read_text())
    (row,) = board["rows"]
    assert row["accuracy"] == pytest.approx(1 / 3)
    assert "training" not in row["notes"]


PRETRAINED = """
import numpy as np
from harness import Model, hookimpl

class Always:
    def __init__(self, order):
        self.order = list(order)

    def logits(self, images):
        return np.tile(np.array([name == "C" for name in self.order], np.float32), (len(images), 1))

    def save(self, folder):
        (folder / "order.txt").write_text(" ".join(self.order))

@hookimpl
def harness_models():
    return [
        Model(
            name="always-c",
            title="Always C",
            fit=lambda train, validation, context: Always(context.classes),
            load=lambda folder, _: Always((folder / "order.txt").read_text().split()),
            trained_on="elsewhere",
            classes=("C", "B", "A"),
        )
    ]
"""
