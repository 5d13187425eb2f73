"""Tables saved in parts, and tables of paths: all of them is read, each row once, or an error."""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import HarnessError
from harness_files import table
from harness_files.shards import check_different, check_whole

PNG = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()

STYLES = {
    "Hugging Face": "{kind}-{number:05}-of-{total:05}.parquet",
    "Hugging Face with a hash": "{kind}-{number:05}-of-{total:05}-a7e5bb6d9ca2e4a5.parquet",
    "underscores": "{kind}_{number:05}_of_{total:05}.parquet",
    "short": "{kind}.{number}of{total}.parquet",
    "capitals": "{kind}-{number}-OF-{total}.parquet",
}


def names(style, numbers, total, kind="train"):
    text = STYLES[style]
    return [Path("data", text.format(kind=kind, number=n, total=total)) for n in numbers]


@settings(max_examples=200, deadline=None)
@given(
    style=st.sampled_from(sorted(STYLES)),
    total=st.integers(1, 12),
    first=st.integers(0, 1),
    seed=st.randoms(use_true_random=False),
)
def test_a_save_is_whole_or_its_missing_part_is_named(style, total, first, seed):
    whole = names(style, range(first, first + total), total)
    seed.shuffle(whole)
    assert check_whole(whole, "data/*.parquet") == ""
    found = seed.sample(whole, seed.randint(1, total))
    if len(found) == total:
        return
    with pytest.raises(HarnessError, match="is missing") as caught:
        check_whole(found, "data/*.parquet")
    assert f"{total}" in str(caught.value)
    said = check_whole(found[:1], f"data/{found[0].name}")
    assert said == f"1 of {total} files ({found[0].name})"


def test_the_missing_part_is_named():
    with pytest.raises(HarnessError) as caught:
        check_whole(names("Hugging Face", [0, 2], 5), "data/train-*.parquet")
    assert str(caught.value) == (
        f"{Path('data/train-00001-of-00005.parquet')}: is missing, and 2 more, as the name "
        "train-00000-of-00005.parquet says; get it, or give a pattern in place of "
        "'data/train-*.parquet' that finds only the files meant"
    )


def test_what_a_pattern_leaves_out_is_no_mistake():
    found = names("Hugging Face", [0, 1], 5)
    says = "2 of 5 files (train-00000-of-00005.parquet)"
    assert check_whole(found, "data/train-0000[01]-of-00005.parquet") == says
    with pytest.raises(HarnessError, match="train-00002-of-00005"):
        check_whole(found, "data/train-0000[0-2]-of-00005.parquet")


@pytest.mark.parametrize("style", STYLES)
def test_parts_of_two_saves(style):
    found = [*names(style, range(2), 2), *names(style, range(3), 3)]
    with pytest.raises(HarnessError, match="is a part of another save than "):
        check_whole(found, "data/*.parquet")


@pytest.mark.parametrize("copy", ["train-00000-of-00002 (1).parquet", "train-0-of-2.parquet"])
def test_the_same_part_twice(copy):
    found = [*names("Hugging Face", range(2), 2), Path("data", copy)]
    with pytest.raises(HarnessError, match=r"is the same part as .*; remove one of them"):
        check_whole(found, "data/*.parquet")


def test_saves_of_other_names_or_in_other_folders_are_apart():
    found = names("Hugging Face", range(2), 2) + names("Hugging Face", range(3), 3, "test")
    found += [Path("other", path.name) for path in names("Hugging Face", range(4), 4)]
    assert check_whole(found, "**/*.parquet") == ""


@pytest.mark.parametrize(
    "text", ["part-{}.parquet", "part.{}.parquet", "part-{:05}.snappy.parquet"]
)
def test_parts_whose_number_is_not_known(text):
    def some(*numbers):
        return [Path("data", text.format(number)) for number in numbers]

    assert check_whole(some(0, 1, 2), "data/*") == ""
    assert check_whole(some(1, 2, 3), "data/*") == ""
    with pytest.raises(HarnessError, match="is missing, as the name part"):
        check_whole(some(0, 1, 3), "data/*")
    with pytest.raises(HarnessError, match="is missing, and 3 more"):
        check_whole(some(5), "data/part*")
    (found,) = some(3)
    assert check_whole([found], f"data/{found.name}") == f"1 of at least 3 files ({found.name})"


def test_partitions_count_their_parts_over_all_folders():
    found = [Path("data", f"label={n % 2}", f"part-{n}.parquet") for n in range(4)]
    assert check_whole(found, "data/*/part-*.parquet") == ""


def test_names_that_tell_nothing():
    spark = "part-{:05}-d1b0f3a2-c000.snappy.parquet"
    found = [Path(spark.format(0)), Path(spark.format(4)), Path("patient12.parquet")]
    found += [Path("patient15.parquet"), Path("2019.parquet"), Path("all.parquet")]
    assert check_whole(found, "*.parquet") == ""


@pytest.mark.parametrize(
    "text", ["train_{}.parquet", "train-{}.parquet", "{:04}.parquet", "a1_b{:03}.parquet"]
)
def test_numbers_from_the_start_may_be_those_of_parts(text):
    """They may be of anything else too, such as of patients, so it is a note and no error."""

    def some(*numbers):
        return [Path("data", text.format(number)) for number in numbers]

    assert check_whole(some(0, 1, 2), "data/*") == check_whole(some(1, 2), "data/*") == ""
    missing = some(1)[0].name
    expected = f"2 files numbered up to 2, without {missing}"
    assert check_whole(some(0, 2), "data/*") == expected
    assert check_whole(some(1, 5), "data/*").endswith(f"{some(2)[0].name}, and 2 more")
    assert check_whole(some(7), "data/*") == check_whole(some(1), "data/*") == ""
    assert check_whole(some(0, 20261126123456), "data/*") == ""


def test_two_saves_of_spark():
    name = "part-{:05}-{}-c000.snappy.parquet"
    one, other = "6f0d8a3e-16b5-4a33-8f0e-2b7c5d0e9a11", "0a4b1c9d-77aa-4bd1-9c55-3e21f0a86d42"
    whole = [Path("data", name.format(number, one)) for number in (0, 4)]
    assert check_whole(whole, "data/*.parquet") == ""
    added = Path("data", name.format(0, other))
    with pytest.raises(HarnessError, match="is a part of another save than part-00000-6f0d8a3e"):
        check_whole([*whole, added], "data/*.parquet")


def test_files_with_the_same_content(tmp_path):
    paths = [tmp_path / f"{number}.parquet" for number in range(4)]
    rng = np.random.default_rng(0)
    for path in paths:
        path.write_bytes(rng.bytes(300_000))
    check_different(paths)
    paths[2].write_bytes(paths[1].read_bytes())
    with pytest.raises(HarnessError, match=r"2\.parquet: has the same content as .*1\.parquet"):
        check_different(paths)


def parquet(path, n, start=0):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        cv2.imencode(".png", np.full((4, 4, 3), start + number, np.uint8))[1].tobytes()
        for number in range(n)
    ]
    labels = pa.array([number % 2 for number in range(n)], pa.int64())
    found = pa.table({"image": pa.array(images, pa.binary()), "label": labels})
    pyarrow.parquet.write_table(found, path)


def read_parquet(folder, **content):
    from harness_files import parquet

    (dataset,) = parquet.read(folder / "mine.toml", {"kind": "parquet", **content})
    assert dataset.missing(folder) == ""
    return dataset.load(folder)


def test_parquet_files_left_out_are_in_every_row(tmp_path):
    for part in ("train", "val", "test"):
        for number in range(2):
            path = tmp_path / f"{part}-0000{number}-of-00002.parquet"
            parquet(path, 4, 10 * number + 20 * len(part))
    (tmp_path / "test-00001-of-00002.parquet").unlink()
    found = {
        "train": "train-00000-of-*.parquet",
        "validation": "val-00001-of-*.parquet",
        "test": "test-00000-*.parquet",
    }
    splits = read_parquet(tmp_path, **found)
    assert splits.shortfall == "test patches of 1 of 2 files (test-00000-of-00002.parquet)"
    assert splits.train_shortfall == (
        "training patches of 1 of 2 files (train-00000-of-00002.parquet), "
        "validation patches of 1 of 2 files (val-00001-of-00002.parquet)"
    )
    with pytest.raises(HarnessError, match=r"test-00001-of-00002\.parquet: is missing"):
        read_parquet(tmp_path, **found | {"test": "test-*.parquet"})
    splits = read_parquet(tmp_path, files="t*-00000-of-*.parquet")
    assert splits.shortfall == (
        "test patches of 1 of 2 files (test-00000-of-00002.parquet), "
        "1 of 2 files (train-00000-of-00002.parquet)"
    )


def test_parquet_files_of_the_same_content(tmp_path):
    parquet(tmp_path / "train.parquet", 4)
    parquet(tmp_path / "test.parquet", 4)
    with pytest.raises(HarnessError, match=r"test\.parquet: has the same content as .*train"):
        read_parquet(tmp_path, train="train.parquet", test="test.parquet")
    parquet(tmp_path / "test.parquet", 4, start=7)
    for name in ("more-0", "more-1"):  # parts without rows are alike
        parquet(tmp_path / f"{name}.parquet", 0)
    assert len(read_parquet(tmp_path, files="*.parquet").test.labels) == 8


def test_folders_and_links_among_parquet_files(tmp_path):
    parquet(tmp_path / "spark.parquet" / "part-0.parquet", 4)
    parquet(tmp_path / "one.parquet", 4, start=5)
    assert len(read_parquet(tmp_path, files="**/*.parquet").test.labels) == 8
    with pytest.raises(HarnessError, match=r"spark\.parquet: is a folder, not a file"):
        read_parquet(tmp_path, files="*.parquet")
    if sys.platform != "win32":
        (tmp_path / "two.parquet").symlink_to(tmp_path / "blobs" / "gone")
        with pytest.raises(HarnessError, match=r"two\.parquet: is a link to .*gone"):
            read_parquet(tmp_path, files="**/*.parquet")


def test_an_image_too_large_for_memory_in_a_row(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    images = [PNG, PNG + bytes(1_500_000), PNG]
    found = pa.table({"image": images, "label": [0, 1, 0]})
    pyarrow.parquet.write_table(found, tmp_path / "all.parquet")
    assert len(read_parquet(tmp_path, files="all.parquet").test.read([1])) == 1
    for copy in tmp_path.glob("*.arrow"):
        copy.unlink()
    monkeypatch.setenv("HARNESS_MAX_MB", "1")
    with pytest.raises(HarnessError, match=r"all\.parquet, row 1: is 2 MB, above the limit"):
        read_parquet(tmp_path, files="all.parquet").test.read([0])


# Tables of paths


@pytest.fixture
def listed(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.png").write_bytes(PNG)
    return tmp_path


def read_table(folder, content, **more):
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    (dataset,) = table.read(folder / "mine.toml", {"kind": "table", "table": "t.csv", **more})
    return dataset.load(folder)


ROWS = "path,label\na.png,one\nb.png,two\nc.png,one\nd.png,two\n"


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", "not a table: it is UTF-16 text; save it as UTF-8"),
        ("utf-16-le", "cannot be read as a table"),
        ("latin-1", r"cannot be read as a table \(line 4 is not UTF-8\); save it as UTF-8"),
        ("cp1252", r"\(line 4 is not UTF-8\)"),
        ("gbk", r"\(line 3 is not UTF-8\)"),
    ],
)
def test_the_encoding_of_a_table(listed, encoding, says):
    letters = ("\u80bf", "\u7624") if encoding == "gbk" else ("two", "\u00e9")
    text = ROWS.replace("b.png,two", f"b.png,{letters[0]}").replace(
        "c.png,one", f"c.png,{letters[1]}"
    )
    if says is None:
        assert len(read_table(listed, text.encode(encoding)).test.labels) == 4
        return
    with pytest.raises(HarnessError, match=says) as caught:
        read_table(listed, text.encode(encoding))
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("cut", range(len(ROWS) - 30, len(ROWS) - 1))
def test_a_table_that_is_cut_is_never_read_with_other_labels(listed, cut):
    """Where the classes are given, or the cut goes through a path or a row."""
    try:
        found = read_table(listed, ROWS[:cut], classes=["one", "two"])
    except HarnessError as error:
        said = str(error)
    else:
        said = "t.csv"
        assert ROWS[:cut].strip().endswith(("one", "two"))
        expected = [line.split(",")[1] for line in ROWS[:cut].strip().splitlines()[1:]]
        assert [("one", "two")[label] for label in found.test.labels] == expected
    assert "t.csv" in said


@pytest.mark.parametrize("label", ["one", "two"])
def test_a_path_that_is_listed_twice_with_any_label(listed, label):
    with pytest.raises(
        HarnessError, match=r"t\.csv, line 6: a\.png is listed already, in .*line 2"
    ):
        read_table(listed, f"{ROWS}a.png,{label}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_file_that_is_listed_under_two_names(listed):
    (listed / "e.png").symlink_to(listed / "a.png")
    says = r"line 6: e\.png is the same file as a\.png in .*t\.csv, line 2; remove one of the two"
    with pytest.raises(HarnessError, match=says):
        read_table(listed, f"{ROWS}e.png,two\n")
    (listed / "e.png").unlink()
    os.link(listed / "a.png", listed / "e.png")  # as programs do that look for duplicates
    assert len(read_table(listed, f"{ROWS}e.png,two\n").test.labels) == 5


def test_a_file_of_a_table_that_is_too_large(listed, monkeypatch):
    with (listed / "d.png").open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(HarnessError, match=r"t\.csv, line 5: .*d\.png: is 300 MB, above the limit"):
        read_table(listed, ROWS)


def test_what_hugging_face_writes_of_itself_is_no_table(listed):
    with pytest.raises(HarnessError, match="not a table: it is JSON"):
        read_table(listed, json.dumps({"error": "Repository not found"}))
