"""Patients and slides of class folders and Parquet files, and ids of patches, good and bad."""

import csv
import json
import shutil
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import harness_kather2016
from harness import HarnessError
from harness.hooks.loader import load_plugins
from harness.testing import contract
from harness_files import groups

KATHER = Path(__file__).parents[1] / "fixtures" / "kather-2016"
ZIP = KATHER / "Kather_texture_2016_image_tiles_5000.zip"
SLIDES = r"CRC-Prim-HE-\d+|^shaik"
test_contract = contract("slides", plugin_file=KATHER / "slides.toml")

FEW = ("--model", "rgb-means", "--set", "trees=3", "--no-probes")


def write(path, /, **content):
    """A TOML file of texts, numbers and lists."""
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()))
    return path


def splits(path):
    """What the dataset that a file describes holds."""
    registry = load_plugins(files=[path])
    (plugin,) = [plugin for plugin in registry.plugins if plugin.distribution == str(path)]
    if plugin.status:
        raise HarnessError(plugin.status)
    (name,) = plugin.contributes["datasets"]
    dataset = registry.datasets[name]
    assert dataset.missing(Path("nowhere")) == ""
    return dataset.load(Path("nowhere"))


def table(path, rows, header=("path", "group")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(
            [header, *rows]
        )
    return path


@pytest.fixture
def kather(tmp_path):
    """31 patches of Kather 2016 in a folder, whose names tell the slide of 24."""
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(tmp_path)
    (tmp_path / ZIP.stem).rename(tmp_path / "patches")
    return tmp_path


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Class folders of train, validation and test, four patches of two patients each."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    for part, first in (("train", 1), ("val", 2), ("test", 3)):
        for label in ("tumor", "normal"):
            (folder / part / label).mkdir(parents=True)
            for number in range(2):
                patch = rng.integers(0, 255, (8, 8, 3), np.uint8)
                name = f"{label}-p{first + number}.png"
                cv2.imwrite(str(folder / part / label / name), patch)
    return folder


PARTS = {"kind": "folder", "train": "train", "validation": "val", "test": "test"}


# A pattern over names


@pytest.mark.parametrize("zipped", [False, True])
def test_slides_of_kather_2016_by_their_pattern(kather, zipped):
    place = str(ZIP) if zipped else "patches"
    found = splits(write(kather / "mine.toml", kind="folder", folder=place, group=SLIDES))
    slides = [harness_kather2016.slide(id_.rpartition("/")[2]) for id_ in found.test.ids]
    named = ["shaik" if slide == harness_kather2016.UNKNOWN else slide for slide in slides]
    assert list(found.groups) == named
    assert len(set(named)) == 11
    assert (found.train_groups, found.folds) == (None, 5)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"p\d", ["p3", "p4"]),
        (r"-(p)(\d)", ["p", "p"]),
        (r"-p(?P<patient>\d)", ["3", "4"]),
        (r"(-)p(?P<patient>\d)(?P<more>\.)", ["3", "4"]),
        (r"(?i)P(?=\d)", ["p", "p"]),
        (r"^(normal|tumor)-", ["normal", "normal", "tumor", "tumor"]),
    ],
)
def test_what_a_pattern_takes_for_the_group(parts, pattern, found):
    path = write(parts / "mine.toml", **PARTS, group=pattern)
    assert list(splits(path).groups) == (found if len(found) == 4 else found * 2)


def test_groups_of_all_parts_and_those_that_are_in_several(parts):
    found = splits(write(parts / "named.toml", **PARTS, group=r"p(\d)\."))
    assert list(found.groups) == ["3", "4"] * 2
    assert list(found.train_groups) == ["1", "2"] * 2
    assert found.train_shortfall == "1 of 2 test groups are also in validation"


def test_names_without_a_group_are_counted_and_an_example_is_given(kather):
    path = write(kather / "mine.toml", kind="folder", folder="patches", group=r"CRC-Prim-HE-\d+")
    says = (
        r"mine\.toml: group = 'CRC-Prim-HE-\\d\+' finds no group in 7 of 31 names of files, such "
        r"as 'shaik_crc5000_\w+\.png'; let it match them as well, A\|B matches A or B, or list the "
        r"groups with group_table"
    )
    with pytest.raises(HarnessError, match=says):
        splits(path)
    write(path, kind="folder", folder="patches", group="(CRC)?")  # matches, and finds nothing
    with pytest.raises(HarnessError, match="finds no group in 31 of 31 names"):
        splits(path)


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "a{99999999999}", "(?P<1>a)", "*", "(" * 3000])
def test_what_is_no_pattern_is_told_when_the_file_is_read(kather, pattern):
    path = write(kather / "mine.toml", kind="folder", folder="nowhere", group=pattern)
    with pytest.raises(HarnessError, match=r"mine\.toml: group = .* is no regular expression"):
        splits(path)


def test_a_pattern_that_takes_for_ever_is_ended(parts, monkeypatch):
    monkeypatch.setattr(groups, "PATTERN_SECONDS", 1.0)
    for label in ("tumor", "normal"):
        shutil.copytree(parts / "test" / label, parts / "slow" / label)
    first = next((parts / "slow" / "tumor").iterdir())
    first.rename(first.with_name(f"{'a' * 60}.png"))
    path = write(parts / "slow.toml", kind="folder", folder="slow", group="^(a+)+x|p", folds=2)
    with pytest.raises(HarnessError, match=r"slow\.toml: group = .* takes longer than 1 s for 4"):
        splits(path)


def test_one_group_for_each_patch_is_warned_about(parts):
    path = write(parts / "own.toml", **PARTS, group=".*")
    (warning,) = splits(path).warnings
    assert warning.startswith("each of the 4 test patches is a group of its own")
    assert str(path) in warning
    assert splits(write(path, **PARTS, group="p.")).warnings == ()


@settings(max_examples=25)
@given(pattern=st.text(min_size=1, max_size=8) | st.from_regex(r"[\\(\[{|)a-z*+?^$.]{1,8}"))
@example(pattern="\\")
@example(pattern="(?i)")
def test_any_pattern_finds_groups_or_is_an_error_in_one_line(parts, pattern):
    from harness_files.folder import read

    content = {**PARTS, "group": pattern}
    path = parts / "any.toml"
    said = f"{path}: read"
    try:
        (dataset,) = read(path, content)
        found = dataset.load(parts)
    except HarnessError as error:
        said = str(error)
    else:
        assert all(group.strip() for group in [*found.groups, *found.train_groups])
    assert str(path) in said
    assert "\n" not in said


# A table beside


@pytest.mark.parametrize("name", ["groups.csv", "groups.tsv"])
@pytest.mark.parametrize("zipped", [False, True])
def test_groups_from_a_table(kather, name, zipped):
    paths = sorted((kather / "patches").rglob("*.png"))
    rows = [[p.relative_to(kather / "patches"), f"slide {n % 4}"] for n, p in enumerate(paths)]
    rows[1][0] = paths[1].name  # as much as tells it from others
    rows[2][0] = f"./{rows[2][0]}"
    rows[3][0] = str(rows[3][0]).replace("/", "\\")
    if zipped:
        rows[4][0] = f"{ZIP.stem}/{rows[4][0]}"
    else:
        rows[4][0], rows[5][0] = f"patches/{rows[4][0]}", paths[5]
    table(kather / name, rows[::-1])
    place = str(ZIP) if zipped else "patches"
    path = write(kather / "mine.toml", kind="folder", folder=place, group_table=name)
    assert list(splits(path).groups) == [f"slide {n % 4}" for n in range(31)]


def rows_of(parts):
    return [
        [f"{part}/{label}/{label}-p{number}.png", f"patient {number}"]
        for part, first in (("train", 1), ("val", 2), ("test", 3))
        for label in ("tumor", "normal")
        for number in (first, first + 1)
    ]


def test_groups_of_all_parts_from_a_table(parts):
    table(parts / "groups.csv", [[*row, "x"] for row in rows_of(parts)], ("path", "group", "more"))
    found = splits(write(parts / "listed.toml", **PARTS, group_table="groups.csv"))
    assert list(found.groups) == ["patient 3", "patient 4"] * 2
    assert list(found.train_groups) == ["patient 1", "patient 2"] * 2
    assert found.train_shortfall == "1 of 2 test groups are also in validation"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda rows: [*rows[:4], ["x.png", "p"], *rows[4:], ["y.png", "p"]],
            r"groups\.csv, line 6: 2 of 14 paths are of no patch, such as 'x\.png'; a patch is "
            r"called 'normal/normal-p1\.png'; correct or remove them",
        ),
        (lambda rows: [["tumor", "p"], *rows], "line 2: 1 of 13 paths are of no patch"),
        (lambda rows: [[".", "p"], *rows], "line 2: 1 of 13 paths are of no patch"),
        (
            lambda rows: rows[2:],
            r"groups\.csv: 2 of 12 patches are not in it, such as 'tumor/tumor-p1\.png'; add them",
        ),
        (
            lambda rows: [*rows, rows[0]],
            r"line 14: 'train/tumor/tumor-p1\.png' is listed already, in .*line 2; remove one",
        ),
        (
            lambda rows: [["tumor-p2.png", "patient 2"], *rows[2:]],
            r"line 2: 'tumor-p2\.png' may be tumor/tumor-p2\.png or tumor/tumor-p2\.png; write",
        ),
        (
            lambda rows: [*rows[:3], [rows[3][0], " "], [rows[4][0], ""], *rows[5:]],
            "line 5: group is empty, as in 2 of 12 rows; fill it in",
        ),
        (lambda rows: [["", "p"], *rows], "line 2: path is empty, as in 1 of 13 rows"),
        (lambda rows: [], r"groups\.csv: lists no patches"),
        (lambda rows: [["a"]], "line 2: has 1 cells where the first line has 2"),
    ],
)
def test_mistakes_in_a_table_of_groups(parts, change, says):
    table(parts / "groups.csv", change(rows_of(parts)))
    with pytest.raises(HarnessError, match=says):
        splits(write(parts / "listed.toml", **PARTS, group_table="groups.csv"))


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (("file", "group"), "has no column 'path'; there is file, group; rename the column of fil"),
        (("path", "groups"), r"has no column 'group'; did you mean groups\?; rename the column of"),
    ],
)
def test_other_columns_in_a_table_of_groups(parts, header, says):
    table(parts / "groups.csv", rows_of(parts), header)
    with pytest.raises(HarnessError, match=says):
        splits(write(parts / "listed.toml", **PARTS, group_table="groups.csv"))


def test_a_table_of_groups_that_is_not_there_and_both_ways_at_once(command, parts):
    path = write(command.folder / "mine.toml", kind="folder", folder=str(parts / "test"))
    write(path, kind="folder", folder=str(parts / "test"), group_table="none.csv")
    output = command("run", "--plugin", path, "--dataset", "mine", *FEW, code=2)
    assert f"no {command.folder / 'none.csv'}; correct the paths in" in output
    write(path, kind="folder", folder="x", group_table="none.csv", group="p")
    with pytest.raises(HarnessError, match="give either group or group_table, not both"):
        splits(path)


# Parquet


def parquet(path, n=12, **columns):
    """A file of patches of three classes, with further columns."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rng = np.random.default_rng(n)
    images = [
        cv2.imencode(".png", rng.integers(0, 80, (8, 8, 3), np.uint8) + 80 * (i % 3))[1].tobytes()
        for i in range(n)
    ]
    found = {"image": pa.array(images, pa.binary()), "label": [i % 3 for i in range(n)], **columns}
    pyarrow.parquet.write_table(pa.table(found), path)
    return path


def test_groups_and_ids_from_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    patients = pa.array([f" patient {i // 4}" for i in range(12)]).dictionary_encode()
    parquet(tmp_path / "train-0.parquet", patient=patients, patch=[f"a{i}" for i in range(12)])
    patients = pa.array([f"patient {i // 3 + 2}" for i in range(12)], pa.large_string())
    parquet(tmp_path / "train-1.parquet", patient=patients, patch=[f"b{i}" for i in range(12)])
    parquet(tmp_path / "test.parquet", 6, patient=[2, 2, 7, 7, 7, 7], patch=[7, 5, 3, 1, 0, 2])
    content = {"kind": "parquet", "train": "train-*.parquet", "test": "test.parquet"}
    plain = splits(write(tmp_path / "mine.toml", **content))
    found = splits(write(tmp_path / "mine.toml", **content, group="patient", id="patch"))
    assert list(found.groups) == ["2", "2", "7", "7", "7", "7"]
    first = [f"patient {i // 4}" for i in range(12)]
    assert list(found.train_groups) == [*first, *(f"patient {i // 3 + 2}" for i in range(12))]
    assert list(found.train.ids) == [f"train/{file}{i}" for file in "ab" for i in range(12)]
    assert list(found.test.ids) == [f"test/{i}" for i in (7, 5, 3, 1, 0, 2)]
    assert plain.groups is None
    assert plain.test.ids[3] == "test/0000003"
    assert (found.test.read([3]) == plain.test.read([3])).all()
    assert found.test.fingerprint != plain.test.fingerprint


def test_other_ids_are_another_fingerprint(tmp_path):
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet", id="patch")
    prints = set()
    for ids in (["a", "b", "c"], ["a", "c", "b"]):
        parquet(tmp_path / "all.parquet", 3, patch=ids)
        prints.add(splits(path).test.fingerprint)
    assert len(prints) == 2


def test_parts_that_count_from_0_each_have_different_ids(tmp_path):
    for part, n in (("train", 9), ("test", 6)):
        parquet(tmp_path / f"{part}.parquet", n, patch=list(range(n)))
    content = {"train": "train.parquet", "test": "test.parquet", "id": "patch"}
    found = splits(write(tmp_path / "mine.toml", kind="parquet", **content))
    assert (found.train.ids[5], found.test.ids[5]) == ("train/5", "test/5")


@pytest.mark.parametrize(
    ("columns", "content", "says"),
    [
        ({}, {"group": "patient"}, r"has no column 'patient', but image, label; .* group = \.\.\."),
        ({}, {"id": "patch"}, r"has no column 'patch', but image, label; say .* with id = \.\.\."),
        (
            {"p": ["a", None, " ", "b", "", "c"]},
            {"group": "p"},
            r"all\.parquet: 3 of 6 rows have no group in the column 'p', such as row 1; fill them",
        ),
        ({"p": ["a", "b", "c", "d", "e", None]}, {"id": "p"}, "1 of 6 rows have no id in .* row 5"),
        ({"p": [0.5] * 6}, {"group": "p"}, "'p' is double where whole numbers or strings"),
        ({"p": [True] * 6}, {"id": "p"}, "'p' is bool where whole numbers or strings"),
        ({"p": [b"a"] * 6}, {"id": "p"}, "'p' is binary where whole numbers or strings"),
        (
            {"p": ["a", "b", "c", "b", "a", "b"]},
            {"id": "p"},
            r"all\.parquet, row 0 and .*all\.parquet, row 4: both have the id 'a'; 2 of 3 ids are",
        ),
        ({"p": ["a\nb", *"cdefg"]}, {"id": "p"}, r"row 0: the id 'a\\nb' cannot be printed"),
        ({}, {"group": " "}, "group = ' ': must be a text"),
    ],
)
def test_mistakes_in_columns_of_groups_and_ids(tmp_path, columns, content, says):
    parquet(tmp_path / "all.parquet", 6, **columns)
    path = write(tmp_path / "mine.toml", kind="parquet", files="all.parquet", folds=2, **content)
    with pytest.raises(HarnessError, match=says):
        splits(path)


def test_an_id_that_is_in_two_files(tmp_path):
    parquet(tmp_path / "a.parquet", 6, patch=list("abcdef"))
    parquet(tmp_path / "b.parquet", 9, patch=list("ghijklmnd"))
    path = write(tmp_path / "mine.toml", kind="parquet", files="*.parquet", id="patch")
    with pytest.raises(HarnessError, match=r"a\.parquet, row 3 and .*b\.parquet, row 8: both hav"):
        splits(path)


@pytest.mark.once
def test_predictions_find_patches_by_the_ids_of_a_column(command, tmp_path):
    pytest.importorskip("pandas")
    for part, n in (("train", 24), ("test", 9)):
        parquet(tmp_path / f"{part}.parquet", n, patch=[f"{part[0]}_{i}.tif" for i in range(n)])
    content = {"train": "train.parquet", "test": "test.parquet", "id": "patch"}
    write(tmp_path / "mine.toml", kind="parquet", **content)
    command("run", "--plugin", "mine.toml", "--dataset", "mine", *FEW)
    command("export", "predictions", "p.csv", "--dataset", "mine", *FEW[:2])
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["id"] for row in rows] == [f"test/t_{i}.tif" for i in range(9)]
    table(tmp_path / "brought.csv", [[f"t_{i}.tif", i % 3] for i in range(9)], ("id", "predicted"))
    about = {"file": "brought.csv", "dataset": "mine", "trained_on": "unknown"}
    write(tmp_path / "brought.toml", kind="predictions", name="brought", **about)
    files = ("--plugin", "mine.toml", "--plugin", "brought.toml")
    command("run", *files, "--dataset", "mine", "--model", "brought", "--no-probes")
    board = json.loads((tmp_path / "reports/mine.json").read_text())
    assert {row["model"]: row["accuracy"] for row in board["rows"]}["brought"] == 1


# What becomes of them

PROBE = """
import numpy as np
from harness import DatasetProbe, Finding, hookimpl
from harness.types.findings import Table

def measure(audit):
    rows = tuple(
        (name, " ".join(map(str, part.groups))) for name, part in audit.parts.items()
        if part.groups is not None
    )
    table = Table(name="groups", title="Groups", headings=("part", "numbers"), rows=rows)
    return Finding(summary=f"{len(rows)} parts with groups", tables=(table,))

@hookimpl
def harness_probes():
    return [DatasetProbe(name="sees-groups", title="Groups", features=(), measure=measure)]
"""


def seen_by_a_probe(command, path):
    """For each part, the numbers of groups that a probe gets in `harness audit`."""
    (command.folder / "probe.py").write_text(PROBE)
    files = ("--plugin", path, "--plugin", "probe.py")
    command("audit", *files, "--dataset", path.stem, "--probe", "sees-groups")
    content = json.loads((command.folder / f"reports/{path.stem}-audit.json").read_text())
    (found,) = content["findings"]["sees-groups"]["tables"]
    return {part: list(map(int, numbers.split())) for part, numbers in found["rows"]}


@pytest.mark.parametrize("kind", ["pattern", "table", "parquet", "npz"])
def test_probes_see_the_groups_of_a_toml_file(command, parts, kind):
    places = {key: str(parts / PARTS[key]) for key in ("train", "validation", "test")}
    content = {"kind": "folder", **places}
    if kind == "pattern":
        content["group"] = r"p(\d)\."
    elif kind == "table":
        table(command.folder / "groups.csv", rows_of(parts))
        content["group_table"] = "groups.csv"
    elif kind == "npz":
        arrays = {"train_patients": [1, 1, 2, 2, 3, 3], "test_patients": ["3", "2", "4"]}
        for part, n in (("train", 6), ("test", 3)):
            arrays[f"{part}_images"] = np.arange(n * 768, dtype=np.uint8).reshape(n, 16, 16, 3)
            arrays[f"{part}_labels"] = np.arange(n) % 2
        np.savez(command.folder / "mine.npz", **arrays)
        content = {"kind": "npz", "file": "mine.npz", "group": "patients"}
    else:
        parquet(command.folder / "train.parquet", 6, patient=[1, 1, 2, 2, 3, 3])
        parquet(command.folder / "test.parquet", 3, patient=["3", "2", "4"])
        content = {"kind": "parquet", "train": "train.parquet", "test": "test.parquet"}
        content["group"] = "patient"
    found = seen_by_a_probe(command, write(command.folder / "mine.toml", **content))
    if kind in ("parquet", "npz"):
        assert found == {"train": [0, 0, 1, 1, 2, 2], "test": [2, 1, 3]}
    else:
        assert found == {"train": [0, 1, 0, 1], "test": [2, 3, 2, 3]}


def test_folds_do_not_cut_slides_and_the_page_has_the_accuracy_by_slide(command, kather):
    content = {"kind": "folder", "folder": "patches", "group": SLIDES, "folds": 3}
    path = write(kather / "mine.toml", **content)
    command("run", "--plugin", path, "--dataset", "mine", *FEW)
    board = json.loads((command.folder / "reports/mine.json").read_text())
    assert board["groups"] == 11
    store = command.folder / "runs"
    (stored,) = store.rglob("groups.json")
    slides, folds = json.loads(stored.read_text()), np.load(stored.with_name("folds.npy"))
    for slide in set(slides):
        assert len({f for f, s in zip(folds, slides, strict=True) if s == slide}) == 1
    errors = json.loads((command.folder / "reports/mine-errors.json").read_text())
    assert (errors["groups"], errors["groups_with_few_patches"]) == (11, 11)
    (one,) = errors["models"]
    assert one["by_group"]["worst_group"] is None
    page = (command.folder / "reports/mine-errors.md").read_text()
    assert "The 31 test patches are of 11 groups (patients or slides)" in page
    assert "11 of 11 groups have fewer than 10 patches" in page


def test_a_search_runs_without_what_is_in_the_folder(parts, monkeypatch):
    (parts / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(parts)
    assert splits(write(parts / "named.toml", **PARTS, group="p.")).groups[0] == "p3"
    (parts / "json.py").unlink()
    monkeypatch.setattr(sys, "executable", str(parts / "none"))
    with pytest.raises(HarnessError, match=r"named\.toml: no process could look for group = 'p"):
        splits(parts / "named.toml")
