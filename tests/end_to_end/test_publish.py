"""harness publish: pages are copied as they are, and nothing else is touched."""

import pytest

pytestmark = pytest.mark.once

RUN = ("run", "--dataset", "toy", "--model", "toy-mean")


def test_what_was_written_is_copied_and_other_files_stay(toy):
    toy(*RUN, "--no-probes")
    kept = toy.folder / "leaderboards"
    kept.mkdir()
    (kept / "other.md").write_text("other")
    (kept / "toy.md").write_text("old")
    (toy.folder / "reports/toy.html").write_text("large")
    assert "to leaderboards" in toy("publish")
    written = {path.name: path.read_bytes() for path in (toy.folder / "reports").iterdir()}
    copied = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert copied.pop("other.md") == b"other"
    del written["toy.html"]
    assert copied == written
    assert {"toy.md", "toy.json", "toy.csv", "toy.tex"} <= set(copied)


def test_a_run_leaves_published_tables_as_they_are(toy):
    (toy.folder / "leaderboards").mkdir()
    (toy.folder / "leaderboards/toy.md").write_text("published")
    toy(*RUN, "--no-probes")
    assert (toy.folder / "leaderboards/toy.md").read_text() == "published"


def test_mistakes_are_told_in_a_line(toy):
    assert "there is no page in reports; write some first" in toy("publish", code=2)
    (toy.folder / "reports").mkdir()
    (toy.folder / "reports/toy.md").write_text("page")
    assert "is the folder that is copied; name another" in toy("publish", "reports", code=2)
    (toy.folder / "file").write_text("")
    assert "file is a file, not a folder" in toy("publish", "file", code=2)
