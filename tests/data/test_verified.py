"""Digests of files that are computed once and remembered."""

import hashlib
import json
import os

import pytest

from harness import RemoteFile
from harness.data import verified

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data" / "test.zip"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def reads(monkeypatch):
    """Files that were read to compute their digest."""
    found = []
    real = verified._md5
    monkeypatch.setattr(verified, "_md5", lambda path: found.append(path) or real(path))
    return found


def published(content=CONTENT, size=None):
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return RemoteFile(name="test.zip", url="", md5=md5, size=len(content) if size is None else size)


def test_a_file_is_read_once(data, reads):
    for _ in range(3):
        assert verified.compared(data, published()) == "same"
    assert reads == [data]


@pytest.mark.parametrize("size", [None, 0])
def test_another_content_of_the_same_size_is_told_and_not_read_again(data, reads, size):
    other = published(CONTENT[::-1], size)
    assert verified.compared(data, other) == "other md5"
    assert verified.compared(data, other) == "other md5"
    assert len(reads) == 1
    known = verified.known(data, other, "", "counts alone")
    assert known.shortfall == "test.zip has another md5 than the published file"
    assert known.identity == ""
    assert known.warnings
    assert "not compared with published results" in known.warnings[0]


def test_a_file_of_another_size_is_not_read(data, reads):
    assert verified.compared(data, published(size=7)) == "other size"
    assert verified.known(data, published(size=7), "", "counts alone").identity == "counts alone"
    assert not reads


CHANGES = {
    "time": lambda path: os.utime(path, ns=(1, 1)),
    "content": lambda path: path.write_bytes(CONTENT[::-1]),
    "size": lambda path: path.write_bytes(CONTENT + b"x"),
    "another file": lambda path: (path.unlink(), path.write_bytes(CONTENT[1:] + b"x")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_is_remembered_of_a_file_that_changed(data, change):
    assert verified.compared(data, published(size=0)) == "same"
    os.utime(data, ns=(5, 5))
    verified.remember(data, published().md5)
    assert verified.remembered(data) == published().md5
    change(data)
    assert verified.remembered(data) is None
    right = data.read_bytes() == CONTENT
    assert verified.compared(data, published(size=0)) == ("same" if right else "other md5")


def test_what_was_remembered_of_one_file_is_not_taken_for_its_copy(data, tmp_path, reads):
    assert verified.compared(data, published()) == "same"
    copy = tmp_path / "copy"
    data.parent.rename(copy)
    (copy / "test.zip").write_bytes(CONTENT[::-1])
    os.utime(copy / "test.zip", ns=(6, 6))
    assert verified.remembered(copy / "test.zip") is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"md5": 3}', "\x00" * 40])
def test_a_damaged_memory_counts_for_nothing(data, reads, damage):
    assert verified.compared(data, published()) == "same"
    place = verified._places(data)[0]
    assert json.loads(place.read_text())["md5"] == published().md5
    place.write_text(damage)
    assert verified.compared(data, published()) == "same"
    assert len(reads) == 2


def test_where_the_data_cannot_be_written_the_cache_of_the_user_remembers(
    data, reads, cache, monkeypatch
):
    real = verified.write_atomically

    def refuse(path, text):
        if path.parent == data.parent:
            raise PermissionError(13, "Permission denied", str(path))
        real(path, text)

    monkeypatch.setattr(verified, "write_atomically", refuse)
    assert verified.compared(data, published()) == "same"
    assert verified.compared(data, published()) == "same"
    assert len(reads) == 1
    assert list(data.parent.iterdir()) == [data]
    assert len(list(cache.rglob("*.json"))) == 1
    monkeypatch.setattr(verified, "_places", lambda path: ())
    assert verified.compared(data, published()) == "same", "where nothing can be remembered at all"


def test_a_large_file_is_not_read_but_what_its_download_verified_counts(data, reads, monkeypatch):
    monkeypatch.setattr(verified, "AT_ONCE", 100)
    assert verified.compared(data, published()) == "not read"
    assert verified.known(data, published(), "", "its name alone").identity == "its name alone"
    verified.remember(data, published().md5)
    assert verified.known(data, published(), "", "").identity == "md5 of test.zip verified"
    assert not reads


def test_a_part_or_a_folder_is_not_looked_at(data, reads):
    assert verified.known(data, published(), "3 of 9", "x") == verified.Known("3 of 9", "")
    assert verified.known(data.parent, published(), "", "names").identity == "names"
    assert not reads
