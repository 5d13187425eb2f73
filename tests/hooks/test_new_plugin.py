"""``harness new-plugin``: what it writes is installed, listed, runs, and passes its own tests."""

import json
import shlex
import subprocess
import sys
import tomllib

import pytest

from harness import HarnessError
from harness.hooks.loader import load_plugins
from harness.hooks.new_plugin import KINDS, next_steps, write

pytestmark = pytest.mark.once
SAMPLE = ("--dataset", "nct-crc-he-sample")
OFFERS = {
    "model": "models",
    "dataset": "datasets",
    "perturbation": "perturbations",
    "probe": "probes",
    "published": "published",
    "column": "probes",
    "metric": "metrics",
    "report": "reports",
    "command": "commands",
}


@pytest.fixture
def install(command):
    """A new plugin of a kind, written and installed for ``command``; returns its folder."""

    def installed(kind):
        name = f"my-{kind}"
        command("new-plugin", name, "--kind", kind)
        site = command.folder / "site"
        pip = ("install", "--no-deps", "--no-build-isolation", "--no-index", "--target", site)
        subprocess.run(
            [sys.executable, "-m", "pip", *map(str, pip), f"./{name}"],
            cwd=command.folder,
            check=True,
            capture_output=True,
        )
        command.path.append(site)
        return command.folder / name

    return installed


def listed(command, kind):
    plugins = json.loads(command("plugins", "--json"))
    (mine,) = [plugin for plugin in plugins if plugin["name"] == f"my_{kind}"]
    assert mine["status"] == ""
    assert mine["distribution"] == f"my-{kind}"
    return mine["contributes"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_as_it_stands_it_is_listed_and_passes_its_own_tests(kind, install, command):
    folder = install(kind)
    assert listed(command, kind) == {OFFERS[kind]: [f"my-{kind}"]}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=command.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["histo-harness"]
    assert f"harness check my_{kind}" in (folder / "README.md").read_text()


@pytest.mark.parametrize("kind", ["model", "column", "metric", "report", "perturbation", "dataset"])
def test_it_runs(kind, install, command):
    install(kind)
    steps = next_steps(f"my-{kind}", kind, command.folder).splitlines()
    words = steps[1].split()
    assert words[:2] == ["harness", "run"]
    shown = kind in ("column", "perturbation", "metric", "report")
    quick = [] if shown else ["--no-probes"]
    few = ["--set", "trees=5"] if kind != "model" else []
    asked = ["--probe", "my-column"] if kind == "column" else []
    command("run", *words[2:], *([] if asked else quick), *few, "--without", "bias")
    name = "my-dataset" if kind == "dataset" else "nct-crc-he-sample"
    board = json.loads((command.folder / f"reports/{name}.json").read_text())
    row = board["rows"][0]
    assert row["model"] == ("my-model" if kind == "model" else "color-histogram")
    assert row["accuracy"] > 0.3
    if kind == "column":
        assert 0 < row["my-column.sure when wrong"] < 1
    if kind == "metric":
        assert row["metric.my-metric_low"] < row["metric.my-metric"] < 1
    if kind == "report":
        text = (command.folder / f"reports/{name}-my-report.txt").read_text()
        assert text.startswith("color-histogram ")


def test_a_new_command_runs(install, command):
    install("command")
    command("run", *SAMPLE, "--model", "rgb-means", "--no-probes")
    assert command("my-command", *SAMPLE[1:]) == "rgb-means 0.5405\n"


def test_a_probe_is_asked_of_a_dataset(install, command):
    install("probe")
    output = command("audit", *SAMPLE, "--probe", "my-probe")
    assert "times as sharp as" in output


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My-Model", "not a name for a plugin"),
        ("my_model", "not a name for a plugin"),
        ("../elsewhere", "not a name for a plugin"),
        ("class", "not a name for a plugin"),
        ("numpy", "a module numpy is installed already"),
        ("there", "there exists already"),
        ("color", "a plugin has or offers this name already"),
        ("nct-crc", "a plugin has or offers this name already"),
        ("rgb-means", "a plugin has or offers this name already"),
    ],
)
def test_a_name_that_will_not_do_is_refused(name, says, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(HarnessError, match=says):
        write(name, "model", tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_one_file_is_enough_too(tmp_path):
    write("my-model", "model", tmp_path)
    registry = load_plugins(files=[tmp_path / "my-model/my_model.py"])
    assert "my-model" in registry.models


def test_a_folder_that_cannot_be_written_to_is_named(command):
    (command.folder / "file").write_text("")
    output = command("new-plugin", "mine", "--kind", "model", "--folder", "file", code=2)
    assert "--folder: file is a file, not a folder; name another" in output
    assert [path.name for path in command.folder.iterdir()] == ["file"]


def test_steps_can_be_pasted_whatever_the_folder(tmp_path):
    folder = tmp_path / "my plugins"
    steps = next_steps("my-model", "model", folder).splitlines()
    assert shlex.split(steps[0]) == ["pip", "install", "-e", f"{folder}/my-model[test]"]
    assert shlex.split(steps[-1]) == ["pytest", f"{folder}/my-model"]
