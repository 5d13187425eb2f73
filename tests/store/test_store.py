"""The store: keys, atomic results, versions."""

import errno
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import HarnessError
from harness.store import stored
from harness.store.merging import Merged, merge
from harness.store.store import Key, Store
from harness.store.stored import DamagedError
from harness.system import digests
from harness.system.atomic import disk_error, write_atomically
from harness.system.digests import sealed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(fields=st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_a_key_does_not_depend_on_the_order_of_its_fields(fields):
    turned = dict(reversed(list(fields.items())))
    assert Key("fit", "d", "m", fields).digest == Key("fit", "d", "m", turned).digest


def test_a_key_depends_on_everything_in_it():
    keys = [
        Key("fit", "d", "m", {"seed": 0}),
        Key("fit", "d", "m", {"seed": 1}),
        Key("fit", "d", "n", {"seed": 0}),
        Key("fit", "e", "m", {"seed": 0}),
        Key("prediction", "d", "m", {"seed": 0}),
        Key("fit", "d", "m", {"seed": 0, "x": None}),
    ]
    assert len({key.digest for key in keys}) == len(keys)


def test_a_result_appears_whole_with_its_record(tmp_path):
    store, key = Store(tmp_path / "runs"), Key("fit", "d", "m", {"seed": 0})
    workspace = store.workspace(key)
    (workspace / "checkpoint").write_text("half way")
    with store.write(key) as (folder, record):
        (folder / "result").write_text("done")
        record["seconds"] = 2
        assert key not in store
    assert key in store
    assert (store.folder(key) / "result").read_text() == "done"
    assert store.record(key)["seconds"] == 2
    assert store.record(key)["key"] == key.as_dict()
    assert not workspace.exists()
    assert list((tmp_path / "runs" / "unfinished").iterdir()) == []


def test_a_failed_write_leaves_nothing_but_the_workspace(tmp_path):
    store, key = Store(tmp_path), Key("fit", "d", "m", {})
    store.workspace(key)

    def fail():
        with store.write(key) as (folder, _):
            (folder / "half").write_text("")
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        fail()
    assert key not in store
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == [key.digest]


def test_the_leftovers_of_a_killed_write_are_found(tmp_path):
    store, key = Store(tmp_path), Key("fit", "d", "m", {})
    leftover = tmp_path / "unfinished" / f"{key.digest}.1.tmp"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    assert store.half_written() == {key.digest: [leftover]}
    with store.write(key), store.write(Key("fit", "d", "other", {})):
        assert len(store.half_written()) == 2
    assert store.half_written() == {key.digest: [leftover]}, "a run that claims it removes it"


def test_the_same_result_twice_is_no_error(tmp_path):
    store, key = Store(tmp_path), Key("fit", "d", "m", {})
    for _ in range(2):
        with store.write(key) as (folder, _):
            (folder / "result").write_text("x")
    assert key in store


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "store.json").write_text(json.dumps(sealed({"format": 99})))
    with pytest.raises(HarnessError, match=r"format 99.*upgrade"):
        Store(tmp_path)


def test_a_record_that_is_no_json_names_its_file(tmp_path):
    store, key = Store(tmp_path), Key("fit", "d", "m", {})
    store.folder(key).mkdir(parents=True)
    (store.folder(key) / "record.json").write_text("{")
    with pytest.raises(HarnessError, match=r"record\.json: is damaged.*harness run .*--model m"):
        store.record(key)


def test_a_store_that_cannot_be_made_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="file"):
        Store(tmp_path / "file" / "runs")


def test_write_atomically_replaces_or_leaves_alone(tmp_path, monkeypatch):
    target = tmp_path / "x.txt"
    write_atomically(target, "one")
    write_atomically(target, "two")
    assert target.read_text() == "two"

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("harness.system.atomic._sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, "three")
    assert target.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_full_disk_says_what_to_do(tmp_path):
    message = str(disk_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path))
    assert "no space left" in message
    assert "finished results are kept" in message
    assert "\n" not in message


def flip(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "flipped": flip,
    "zeroed": lambda data: data[:2] + bytes(len(data) - 2),
    "cut": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"1",
    "empty": lambda data: b"",
    "gone": None,
}
KEY = Key("fit", "d", "m", {"seed": 0})


@pytest.fixture
def store(tmp_path):
    """A store with a result of files in nested folders."""
    store = Store(tmp_path / "runs")
    with store.write(KEY) as (folder, record):
        (folder / "weights.bin").write_bytes(bytes(range(200)))
        (folder / "inner" / "most").mkdir(parents=True)
        (folder / "inner" / "most" / "more.json").write_text('{"x": 1}')
        record |= {"seconds": 0.1, "pair": (1, 2), "by_number": {1: "one"}}
    return store


@pytest.mark.parametrize("name", ["weights.bin", "inner/most/more.json", "record.json"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_result_that_does_not_prove_itself_is_named_and_written_again(store, name, damage):
    assert KEY in store
    path = store.folder(KEY) / name
    before = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage(before))
    assert KEY not in store
    assert store.exists(KEY)
    error = store.damaged[KEY.digest]
    assert (error.path, error.folder, error.name) == (path, store.folder(KEY), "m")
    assert str(error).startswith(f"{path}: is ")
    assert f"`harness run --dataset d --model m --store {store.root}` computes it" in str(error)
    assert f"`harness results remove {KEY.digest} --yes --store {store.root}` removes" in str(error)
    with pytest.raises(DamagedError):
        store.find(KEY)
    with store.write(KEY) as (folder, _):
        (folder / "weights.bin").write_bytes(b"new")
    assert KEY in store
    assert store.damaged == {}
    assert stored.names(store.folder(KEY)) == ["weights.bin"]
    assert list((store.root / "unfinished").iterdir()) == []


def test_records_come_back_as_they_are_read_from_json(store):
    record = store.record(KEY)
    assert (record["pair"], record["by_number"], record["seconds"]) == ([1, 2], {"1": "one"}, 0.1)
    about = record["files"]["inner/most/more.json"]
    assert about["size"] == 8
    assert len(about["sha256"]) == 64


def test_a_file_that_was_added_is_damage_but_for_what_file_managers_leave(store):
    (store.folder(KEY) / "inner" / ".DS_Store").write_bytes(b"x")
    assert KEY in store
    (store.folder(KEY) / "inner" / "added.npy").write_bytes(b"x")
    with pytest.raises(DamagedError, match=r"inner/added\.npy: does not belong here"):
        store.find(KEY)


@pytest.mark.parametrize("what", ["empty folder", "file"])
def test_what_stands_in_the_place_of_a_result_is_damage_and_makes_way(store, what):
    other = Key("fit", "d", "m", {"seed": 1})
    if what == "file":
        store.folder(other).write_text("x")
    else:
        store.folder(other).mkdir()
    with pytest.raises(DamagedError, match=r"record\.json: is missing"):
        list(store.records("fit", "d"))
    found, damaged = [], []
    found += store.records("fit", "d", damaged.append)
    assert [folder for folder, _ in found] == [store.folder(KEY)]
    assert [error.folder for error in damaged] == [store.folder(other)]
    with store.write(other):
        pass
    assert len(list(store.records("fit", "d"))) == 2


def test_a_result_is_read_once_unless_it_changes(store, monkeypatch):
    read = []
    digest = digests.hashlib.file_digest
    monkeypatch.setattr(
        digests.hashlib, "file_digest", lambda *given: read.append(given[0].name) or digest(*given)
    )
    for _ in range(2):
        assert KEY in store
    assert read == [], "what this process wrote is known"
    stored.forget(store.folder(KEY))
    for _ in range(2):
        assert KEY in store
    assert len(read) == 2
    path = store.folder(KEY) / "weights.bin"
    os.utime(path, ns=(1, 1))
    assert KEY in store
    assert read[2:] == [str(path)]


def test_a_removed_result_is_gone_at_once_and_its_name_is_free(store):
    store.remove(store.folder(KEY))
    store.remove(store.folder(KEY))
    assert not store.exists(KEY)
    assert list((store.root / "unfinished").iterdir()) == []


COPY = Key("dataset", "d", "splits", {"data": "x"})


@pytest.mark.parametrize("content", [None, b"", b"0" * 16, b"../../fit", b"\xff", "folder"])
def test_the_current_copy_is_proved(store, content):
    with store.write(COPY) as (folder, _):
        (folder / "ids.json").write_text("[]")
    pointer = store.root / "dataset" / "d" / "current"
    if content == "folder":
        pointer.mkdir()
    elif content is not None:
        pointer.write_bytes(content)
    assert store.datasets() == ["d"]
    with pytest.raises(DamagedError, match=f"{pointer}: is .*harness run --dataset d"):
        store.current("d")
    if content == "folder":
        return
    store.set_current(COPY)
    assert store.current("d") == store.folder(COPY)
    (store.folder(COPY) / "ids.json").write_text("()")
    with pytest.raises(DamagedError, match=r"ids\.json: is damaged"):
        store.current("d")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", ["record.json", "weights.bin", "current", "store.json"])
def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(store, name):
    with store.write(COPY) as (folder, _):
        (folder / "ids.json").write_text("[]")
    store.set_current(COPY)
    places = {"current": store.root / "dataset" / "d", "store.json": store.root}
    path = places.get(name, store.folder(KEY)) / name
    path.unlink()
    os.mkfifo(path)

    def read():
        opened = Store.existing(store.root)
        opened.find(KEY)
        opened.current("d")

    with pytest.raises(HarnessError, match=re.escape(f"{path}: ")) as caught:
        read()
    assert "\n" not in str(caught.value)
    if name == "store.json":
        Store(store.root)
        assert path.is_file()


def test_advice_names_the_files_that_the_command_was_given(store, monkeypatch):
    monkeypatch.setattr(stored, "plugin_files", [Path("my data.toml")])
    (store.folder(KEY) / "weights.bin").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"`harness run .* --plugin 'my data.toml'` computes"):
        store.find(KEY)


def test_a_store_of_an_older_format_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"format": 1}\n')
    for opening in (Store, Store.existing):
        with pytest.raises(HarnessError, match=f"--store {tmp_path}: .*format 1.*another --store"):
            opening(tmp_path)


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("")
    for opening in (Store, Store.existing):
        with pytest.raises(HarnessError, match=f"--store {tmp_path / 'runs'}: is a file"):
            opening(tmp_path / "runs")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_store_file_is_named_and_written_again(store, damage, capsys, console):
    marker = store.root / "store.json"
    before = marker.read_bytes()
    marker.unlink()
    if damage is not None:
        marker.write_bytes(damage(before))
    with pytest.raises(HarnessError, match=f"{marker}: is .*`harness run --all --store"):
        Store.existing(store.root)
    Store(store.root)
    assert f"WARNING: {marker}: is " in capsys.readouterr().err
    assert marker.read_bytes() == before
    assert KEY in Store.existing(store.root)


def test_results_of_another_store_are_copied_whole_and_damaged_ones_left_behind(tmp_path, store):
    other, keys = Store(tmp_path / "other"), [Key("fit", "d", name, {}) for name in "abc"]
    for key in keys:
        with other.write(key) as (folder, record):
            (folder / "inner").mkdir()
            (folder / "inner" / "x.bin").write_bytes(key.name.encode() * 100)
            record["model"] = key.name
    with store.write(keys[0]) as (folder, _):
        (folder / "own").write_text("stays")
    path = other.folder(keys[2]) / "inner" / "x.bin"
    path.write_bytes(b"x" * 100)
    left = []
    assert merge(store, other, left.append) == Merged(copied=1, there=1, damaged=1)
    assert [error.path for error in left] == [path]
    assert [key in store for key in keys] == [True, True, False]
    assert stored.names(store.folder(keys[0])) == ["own"]
    assert store.record(keys[1]) == other.record(keys[1])
    assert (store.folder(keys[1]) / "inner" / "x.bin").read_bytes() == b"b" * 100
    assert merge(store, other, left.append) == Merged(copied=0, there=2, damaged=1)


def test_the_workspace_of_a_pass_goes_when_all_its_results_are_stored(store):
    others = [Key("prediction", "d", "m", {"n": number}) for number in range(2)]
    passed = Key("sweep", "d", "m", {})
    folder = store.workspace_of_pass(passed, others)
    (folder / "0.npy").write_bytes(b"half")
    assert store.workspace_of_pass(passed, others) == folder, "killed, and begun again"
    for key in others:
        store.drop_workspaces()
        assert (folder / "0.npy").exists()
        with store.write(key) as (place, _):
            (place / "logits.npy").write_bytes(b"")
    store.drop_workspaces()
    assert not folder.exists()
