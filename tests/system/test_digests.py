"""Digests that a process remembers."""

from harness.system import digests
from harness.system.recent import Recent


def test_files_may_be_read_in_another_thread_while_some_are_forgotten(tmp_path, monkeypatch):
    class Name(str):
        def startswith(self, *given):
            monkeypatch.setitem(digests._known, str(len(digests._known)), (0, 0, ""))  # read there
            return super().startswith(*given)

    monkeypatch.setattr(digests, "_known", Recent(100))
    inside, outside = str(tmp_path / "a"), "/elsewhere/b"
    for name in (inside, outside):
        digests._known[Name(name)] = (1, 2, "digest")
    assert digests.forget(tmp_path) == {"a": (1, 2, "digest")}
    assert inside not in digests._known
    assert outside in digests._known


def test_files_of_a_folder_that_was_moved_count_among_those_that_are_remembered(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(digests, "_known", Recent(2))
    (tmp_path / "a").mkdir()
    for name in "xyz":
        (tmp_path / "a" / name).write_text(name)
        digests.of_file(tmp_path / "a" / name)
    digests.moved(tmp_path / "a", tmp_path / "b")
    assert sorted(digests._known) == [str(tmp_path / "b" / name) for name in "yz"]
