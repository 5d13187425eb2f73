"""Reports of plugins: forms in which leaderboards are written."""

import json

import pytest

MINE = """
from harness import Report, hookimpl

def write(board, folder):
    path = folder / (board.dataset["name"] + "-mine.txt")
    {body}
    path.write_text(" ".join(str(row["model"]) for row in board.rows), encoding="utf-8")
    return [path]

@hookimpl
def harness_reports():
    return [Report(name="mine", title="Names", write=write, on_request={on_request})]
"""
RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")


@pytest.fixture
def written(toy):
    """Runs the toy model; returns a function that writes a plugin and names the files it leaves."""
    toy(*RUN)
    folder = toy.folder / "reports"

    def write(*arguments, body="", on_request=False, code=0):
        (toy.folder / "mine.py").write_text(MINE.format(body=body, on_request=on_request))
        for path in folder.iterdir():
            path.unlink()
        output = toy("leaderboard", "--plugin", "mine.py", *arguments, code=code)
        return output, {path.name for path in folder.iterdir()}

    return write


FORMATS = {"toy.md", "toy.tex", "toy.csv", "toy.json"}


def test_all_are_written_unless_some_are_named(written, toy):
    output, files = written()
    assert {*FORMATS, "toy-mine.txt", "toy-errors.md"} <= files
    assert ".txt" in output
    text = (toy.folder / "reports/toy-mine.txt").read_text()
    assert text.split() == ["toy-mean", "toy-deep"]
    assert written("--report", "mine", "--report", "csv")[1] == {"toy-mine.txt", "toy.csv"}
    assert written(on_request=True)[1] >= FORMATS
    assert "toy-mine.txt" not in written(on_request=True)[1]
    assert written("--report", "mine", on_request=True)[1] == {"toy-mine.txt"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('k')", "KeyError: 'k'"),
        ("return path", "where a list of paths is expected"),
        ("return [path]", "where there is no file"),
        ("path = folder.parent / 'elsewhere'", "which is not in the folder"),
    ],
)
def test_one_that_fails_costs_only_itself(written, body, says):
    output, files = written(body=body, code=1)
    assert "harness: failed: report mine of toy: " in output
    assert says in output
    assert files >= {*FORMATS, "toy-errors.md"}


def test_what_one_does_to_the_rows_reaches_no_other(written, toy):
    (toy.folder / "spoiler.py").write_text(
        MINE.replace('name="mine"', 'name="spoiler"').format(
            body="[row.clear() for row in board.rows]; return []", on_request=False
        )
    )
    written("--plugin", "spoiler.py", "--report", "spoiler", "--report", "mine", "--report", "json")
    rows = json.loads((toy.folder / "reports/toy.json").read_text())["rows"]
    assert [row["model"] for row in rows] == ["toy-mean", "toy-deep"]
    assert (toy.folder / "reports/toy-mine.txt").read_text() == "toy-mean toy-deep"


def test_a_report_that_there_is_not_is_said_before_the_work(toy):
    output = toy(*RUN, "--report", "cvs", code=2)
    assert "harness: error: no report named 'cvs'; did you mean csv?" in output
    assert not (toy.folder / "runs").exists()
