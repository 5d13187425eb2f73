"""The store: keys, atomic results, versions."""

import errno
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import HarnessError
from harness.digests import sealed
from harness.store import Key, Store, disk_error, write_atomically

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


def test_the_leftovers_of_a_killed_write_go_away(tmp_path):
    store, key = Store(tmp_path), Key("fit", "d", "m", {})
    leftover = tmp_path / "unfinished" / f"{key.digest}.1.tmp"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    with store.write(key):
        pass
    assert list((tmp_path / "unfinished").iterdir()) == []


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

    monkeypatch.setattr("harness.store._sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, "three")
    assert target.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_full_disk_says_what_to_do(tmp_path):
    message = str(disk_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path))
    assert "no space left" in message
    assert "finished results are kept" in message
    assert "\n" not in message
