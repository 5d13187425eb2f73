"""What the README and the pages about boards show is what is in the repository, and is printed."""

import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "docs/reference"


def test_the_leaderboard_of_the_readme_is_the_one_in_the_repository():
    (shown,) = re.findall(r"<!-- leaderboard -->\n(.*?)<!-- /leaderboard -->", README, re.DOTALL)
    page = (ROOT / "leaderboards/nct-crc-he-sample.md").read_text()
    page, _, fell_back = page.partition("## Started from random weights")
    rows = [row for row in table(page) if row.get("result") == "measured"]
    assert len(rows) >= 5
    assert not any("random initialization" in row["initial weights"] for row in rows)
    assert "| measured" in fell_back
    columns = list(table(shown)[0])
    assert {"model", "accuracy % (95 % interval)", "notes"} <= {*columns}
    assert table(shown) == [{name: row[name] for name in columns} for row in rows]


def table(text):
    """The rows of the first table in Markdown, by their headings."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    headings, _, *rows = lines
    return [dict(zip(headings, row, strict=True)) for row in rows]


def test_what_the_page_shows_of_a_terminal_is_what_is_printed(command):
    page = (REFERENCE / "leaderboard.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- printed -->\n```text\n(.*?)\n```\n<!-- /printed", page, re.DOTALL)
    said = re.search(r"what `(harness run [^`]+)` prints on 100 columns", page)
    assert command(*said[1].split()[1:], COLUMNS="100").startswith(shown[1])


def test_every_command_stands_in_the_table_of_commands_and_no_other(command):
    page = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `harness ([\w-]+)", page, re.MULTILINE))
    known = set(re.findall(r"^    ([a-z-]+)(?:  |$)", command("--help"), re.MULTILINE))
    assert named == known


def test_the_readme_is_short_and_its_first_line_of_tox_is_the_command():
    """.ci/run takes the first line with "tox run" for the command that tests everything."""
    text = re.sub(r"(?s)<!-- leaderboard -->.*?<!-- /leaderboard -->", "", README)
    assert len(text.splitlines()) <= 80
    first = next(line for line in README.splitlines() if "tox run" in line)
    assert (
        first
        == "python3 -m venv .venv-tox && .venv-tox/bin/pip install tox && .venv-tox/bin/tox run"
    )
    done = subprocess.run(["bash", "-nc", first], check=False, capture_output=True)
    assert done.returncode == 0
