"""The README: its plugin works as it stands, and its leaderboard is the one in the repository."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_plugin_of_the_readme_makes_a_row(command, make_distribution):
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    command.path.append(make_distribution("readme", {"nearest_color": source}))
    assert " 0 broken" in command("check", "nearest-color")
    command("run", "--dataset", "nct-crc-he-sample", "--model", "nearest-color")
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    row = board["rows"][0]
    assert row["model"] == "nearest-color"
    assert row["accuracy"] > 0.3  # nine classes: chance is 0.11
    assert row["n_test"] == 111


def test_the_leaderboard_of_the_readme_is_the_one_in_the_repository():
    (shown,) = re.findall(r"<!-- leaderboard -->\n(.*?)<!-- /leaderboard -->", README, re.DOTALL)
    page = (ROOT / "leaderboards/nct-crc-he-sample.md").read_text()
    rows = [line for line in page.splitlines() if "| measured" in line]
    assert len(rows) >= 8
    assert [line for line in shown.splitlines() if "| measured" in line] == rows


def test_what_the_readme_shows_of_a_terminal_is_what_is_printed(command):
    shown = re.search(r"<!-- printed -->\n```text\n(.*?)\n```\n<!-- /printed", README, re.DOTALL)
    said = re.search(r"what `(harness run [^`]+)` prints on 100 columns", README)
    assert command(*said[1].split()[1:], COLUMNS="100").startswith(shown[1])


def test_every_command_of_the_readme_exists(command):
    text = command("--help")
    for name in set(re.findall(r"^\| `harness ([\w-]+)", README, re.MULTILINE)):
        assert re.search(rf"^\s+{name}\s", text, re.MULTILINE), name


def test_the_python_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    (source,) = re.findall(r"```py\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(source, names)
    assert names["found"].confusion.shape == (9, 9)
    assert names["found"].confusion.sum() == 111
