"""Digests that a process remembers."""

import os

from harness.system import digests
from harness.system.recent import Recent


def changed_unseen(path):
    """Change a file so that neither its size nor its time tells."""
    status = path.stat()
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def files_in(folder):
    """Three files, one of them in a folder of its own."""
    (folder / "inner").mkdir(parents=True)
    paths = [folder / "one", folder / "two", folder / "inner" / "three"]
    for path in paths:
        path.write_text(f"I am {path.name}")
    return paths


def test_files_of_a_folder_are_read_again_once_forgotten(tmp_path):
    paths, other = files_in(tmp_path / "a"), files_in(tmp_path / "ab")
    before = [digests.of_file(path) for path in paths + other]
    for path in paths + other:
        changed_unseen(path)
    assert [digests.of_file(path) for path in paths + other] == before
    digests.forget(tmp_path / "a")
    after = [digests.of_file(path) for path in paths + other]
    assert not {*before[:3]} & {*after[:3]}
    assert after[3:] == before[3:]


def test_files_of_a_folder_that_was_moved_are_not_read_again(tmp_path):
    paths = files_in(tmp_path / "a")
    before = [digests.of_file(path) for path in paths]
    for path in paths:
        changed_unseen(path)
    (tmp_path / "a").rename(tmp_path / "b")
    digests.moved(tmp_path / "a", tmp_path / "b")
    moved = [tmp_path / "b" / path.relative_to(tmp_path / "a") for path in paths]
    assert [digests.of_file(path) for path in moved] == before
    # What was known of the files that are there now is not what was known of others.
    digests.forget(tmp_path / "b")
    assert not {*before} & {digests.of_file(path) for path in moved}


def test_how_much_is_remembered_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "_known", Recent(2))
    for name in "xyz":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        digests.of_file(tmp_path / name / "file")
    assert sorted(digests._known) == [str(tmp_path / name) for name in "yz"]
