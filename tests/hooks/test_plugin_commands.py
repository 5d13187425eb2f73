"""Commands that plugins add to ``harness``."""

import subprocess
import sys

import pytest

from harness.cli import _parser
from harness.hooks.loader import load_plugins
from harness.hooks.reserved import COMMANDS

MINE = """
from harness import Command, HarnessError, hookimpl

def add_arguments(parser):
    parser.add_argument("dataset")
    parser.add_argument("--times", type=int, default=1)

def run(session, options):
    {body}

@hookimpl
def harness_commands():
    return [Command(name="{name}", title="Say", run=run, add_arguments=add_arguments)]
"""
FIRST = "print(session.leaderboard(options.dataset).rows[0]['model'] * options.times); return 0"
PLUGIN = ("--plugin", "mine.py")


@pytest.fixture
def write(toy):
    def written(body=FIRST, name="first"):
        (toy.folder / "mine.py").write_text(MINE.format(body=body, name=name))
        return toy

    return written


def test_it_runs_with_a_session_of_what_the_user_named(write):
    toy = write()
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes", "--store", "there")
    output = toy("first", "toy", *PLUGIN, "--store", "there", "--times", "2")
    assert output == "toy-meantoy-mean\n"
    assert toy("first", "toy", "--store", "there", HARNESS_PLUGINS="mine.py") == "toy-mean\n"


def test_it_is_listed_and_has_a_help(write):
    toy = write()
    rows = [row.split() for row in toy("list", "commands", *PLUGIN).splitlines()]
    assert ["first", "Say"] in [row[:2] for row in rows]
    assert "toy-groups, toy, toy-folds" in toy("toy-datasets")
    output = toy("first", "--help", *PLUGIN)
    assert output.startswith("usage: harness first ")
    assert "--times" in output
    assert "--store DIR" in output
    assert "Plugins may add commands: harness list commands names them." in toy("--help")


def test_what_the_user_does_wrong_is_one_line(write):
    toy = write()
    assert toy("first", *PLUGIN, code=2).endswith("following arguments are required: dataset\n")
    says = "harness: error: no command named 'firts'; did you mean first?"
    assert says in toy("firts", "toy", *PLUGIN, code=2)
    assert "no command named 'rum'; did you mean run?" in toy("rum", code=2)
    missing = toy("first", "toy", *PLUGIN, "--store", "none", code=2)
    assert missing.startswith("harness: error: --store none: no store there; run ")
    output = write("raise HarnessError('say another')")("first", "toy", *PLUGIN, code=2)
    assert output == "harness: error: say another\n"


def test_a_command_that_is_broken_is_named_with_its_plugin(write):
    output = write("raise KeyError('k')")("first", "toy", *PLUGIN, code=3)
    assert "the command first of the plugin mine raised KeyError: 'k' (details in " in output
    assert "where an exit code is expected" in write("pass")("first", "toy", *PLUGIN, code=3)
    assert write("return 1")("first", "toy", *PLUGIN, code=1) == ""


def test_a_command_of_the_harness_is_not_taken(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(body=FIRST, name="run"))
    (broken,) = load_plugins(files=[path]).broken
    assert broken.status == (
        "ValueError: run: is a command of the harness itself; choose another name"
    )


def test_the_names_that_are_reserved_are_those_of_the_commands():
    (choices,) = (action.choices for action in _parser()._actions if action.choices)
    assert set(COMMANDS) == set(choices)


def test_a_help_looks_through_no_plugin():
    code = (
        "import sys\nfrom harness import cli\ncli.main(['--help'])\n"
        "sys.exit('pluggy' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
