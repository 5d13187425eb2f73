"""The documentation: examples run, pages are up to date, the tutorial works to the letter."""

import importlib.util
import inspect
import io
import json
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import harness
from harness import DatasetProbe, cli, testing
from harness.hooks.command_options import MESSAGES
from harness.hooks.loader import load_plugins

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def script(name):
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


make_hooks, make_reference, make_faults = map(
    script, ("make_hooks", "make_reference", "make_faults")
)
FAULTS = DOCS / "faults"
HOOKS = make_hooks.hooks()
ASKED = [name for name in HOOKS if "_run_" not in name and "_stored" not in name]
TOLD = [name for name in HOOKS if name not in ASKED]


@pytest.mark.parametrize("path", make_hooks.pages(), ids=lambda path: path.stem)
def test_the_page_of_a_hook_is_up_to_date(path):
    assert path.read_text() == make_hooks.pages()[path], "run python docs/make_hooks.py"


@pytest.mark.parametrize("path", make_hooks.tables(), ids=lambda path: path.stem)
def test_the_tables_of_keys_are_up_to_date(path):
    text = path.read_text()
    assert text == make_hooks.tables()[path], "run python docs/make_hooks.py"
    assert "| `name` |" in text


def test_the_table_of_encoders_is_up_to_date():
    ((path, text),) = make_hooks.encoders().items()
    assert path.read_text("utf-8") == text, "run python docs/make_hooks.py"


@pytest.mark.once
def test_the_reference_is_up_to_date():
    for path, text in make_reference.pages().items():
        assert path.read_text("utf-8") == text, "run python docs/make_reference.py"


@pytest.mark.once
def test_the_reference_has_every_option_and_every_public_name():
    text = (DOCS / "reference/command-line.md").read_text("utf-8")
    for name, parser in make_reference._parsers("harness", cli._parser()):
        (section,) = re.findall(rf"(?ms)^## {name}$(.*?)(?=^## |\Z)", text)
        for option in {*parser._option_string_actions} - {"-h", "--help", *MESSAGES}:
            assert f"`{option}" in section, f"{name} {option}"
    text = (DOCS / "reference/python.md").read_text("utf-8")
    for name in {*harness.__all__} - {"HEADS", "Outputs", "Setting", "hookimpl"}:
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.once
def test_every_variable_of_the_environment_is_described():
    text = (DOCS / "reference/environment.md").read_text("utf-8")
    sources = [path for wing in ("harness", "plugins") for path in (ROOT / wing).rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r"\bHARNESS_[A-Z_]+\b", path.read_text("utf-8"))
    }
    described = set(re.findall(r"^\| `(HARNESS_[A-Z_]+)`", text, re.MULTILINE))
    assert described == read - {"HARNESS_"}
    options = make_reference.command_line()
    for option in re.findall(r"^\| `HARNESS_.*\| `(--[a-z-]+)` \|$", text, re.MULTILINE):
        assert re.search(rf"`{option}[ `]", options), option


@pytest.mark.once
def test_what_the_pages_of_faults_quote_is_what_was_measured():
    for path, text in make_faults.pages().items():
        assert path.read_text("utf-8") == text, "run python docs/make_faults.py"


@pytest.mark.once
def test_pictures_of_faults_are_those_of_the_planted_faults():
    """Files of another version of Pillow differ in bytes, not to the eye."""
    made = make_faults.pictures()
    assert {path.name for path in (FAULTS / "pictures").iterdir()} == {path.name for path in made}
    for path, content in made.items():
        kept, new = (np.asarray(Image.open(one), int) for one in (path, io.BytesIO(content)))
        assert kept.shape == new.shape, "run python docs/make_faults.py"
        assert np.abs(kept - new).mean() < 3, f"{path.name}: run python docs/make_faults.py"
        assert path.stat().st_size <= make_faults.MOST_BYTES


def test_every_probe_of_datasets_has_a_page_of_its_fault():
    """Named after the probe; the report links to it. Other pages say which probe finds them."""
    probes = {name for name, one in load_plugins().probes.items() if isinstance(one, DatasetProbe)}
    pages = {path.stem: path.read_text("utf-8") for path in FAULTS.glob("*.md")}
    assert probes <= set(pages)
    index = pages.pop("README")
    sections = re.findall("^## .*", pages["color"], re.MULTILINE)
    for name, text in pages.items():
        assert f"({name}.md)" in index
        (probe,) = re.findall(r"^\*\*Probe:\*\* `([a-z-]+)`", text, re.MULTILINE)
        assert probe == name or (probe in probes and name not in probes)
        assert re.findall("^## .*", text, re.MULTILINE) == sections, name
    audit = (DOCS / "how-to/audit.md").read_text("utf-8")
    assert {name for name in pages if f"](../faults/{name}.md)" in audit} == set(pages)


def test_every_page_is_in_the_navigation_of_the_site():
    """And what is there is in it; so says mkdocs in tox run -e docs, too."""
    text = (DOCS / "site/mkdocs.yml").read_text("utf-8")
    named = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", text, re.MULTILINE)
    assert sorted(named) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_there_is_a_page_for_each_hook_and_for_nothing_else():
    assert {path.stem for path in (DOCS / "hooks").iterdir()} == set(HOOKS)
    index = (DOCS / "README.md").read_text()
    assert {name for name in HOOKS if f"(hooks/{name}.md)" in index} == set(HOOKS)


def test_the_page_of_perturbations_has_all_of_them_and_their_levels():
    text = (DOCS / "reference/perturbations.md").read_text(encoding="utf-8")
    for name, perturbation in load_plugins().perturbations.items():
        levels = ", ".join(f"{level:g}" for level in perturbation.levels)
        assert (f"| `{name}` | {levels} |" if perturbation.on_request else f"`{name}`") in text


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_described_and_used(name):
    hook = HOOKS[name]
    assert len(hook.__doc__.split()) > 20
    assert make_hooks.example(hook), "has no example"
    for parameter in hook.__code__.co_varnames[: hook.__code__.co_argcount]:
        assert f"``{parameter}``" in hook.__doc__, f"does not say what {parameter} is"
    used = {hook for plugin in load_plugins().plugins for hook in plugin.hooks}
    toy = (ROOT / "tests/toy/toy_harness.py").read_text()
    assert name in used or f"def {name}(" in toy


@pytest.mark.once
@pytest.mark.parametrize("name", ASKED)
def test_the_example_of_a_hook_keeps_the_contract(name, command):
    (command.folder / "mine.py").write_text(make_hooks.example(HOOKS[name]))
    plugins = json.loads(command("plugins", "--json", "--plugin", "mine.py"))
    (mine,) = [plugin for plugin in plugins if plugin["name"] == "mine"]
    assert mine["hooks"] == [name]
    assert mine["contributes"]
    output = command("check", "mine", "--plugin", "mine.py")
    assert " 0 broken" in output


def test_the_examples_for_trackers_are_told(toy):
    for name in TOLD:
        (toy.folder / f"{name}.py").write_text(make_hooks.example(HOOKS[name]))
    files = [part for name in TOLD for part in ("--plugin", f"{name}.py")]
    toy("run", "--dataset", "toy", "--model", "toy-mean", *files)
    assert (toy.folder / "to-fit.txt").read_text() == "toy-mean"
    assert (toy.folder / "outcome.txt").read_text() == "all is well"
    lines = (toy.folder / "accuracies.csv").read_text().splitlines()
    assert lines[0].split()[:2] == ["toy-mean", "clean"]
    assert any(line.startswith("toy-mean toy-noise ") for line in lines)


def test_a_reader_makes_models_of_a_file(toy):
    (toy.folder / "reader.py").write_text(make_hooks.example(HOOKS["harness_readers"]))
    (toy.folder / "both.toml").write_text('kind = "sum"\nmodels = ["toy-mean", "toy-features"]\n')
    plugins = ("--plugin", "both.toml", "--plugin", "reader.py")
    toy("run", "--dataset", "toy", "--model", "both", "--no-probes", *plugins)
    board = json.loads((toy.folder / "reports/toy.json").read_text())
    titles = {row["model"]: row["title"] for row in board["rows"]}
    assert titles["both"] == "Sum of toy-mean, toy-features"


def test_every_link_leads_somewhere():
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for page in (*pages, *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")):
        for link in re.findall(r"\]\(([^)]+)", page.read_text("utf-8")):
            path, _, anchor = link.partition("#")
            if link.startswith("http"):
                continue
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def anchors(page):
    """Of the headings of a page, as mkdocs and GitHub make them."""
    found = re.findall(r"^#+ (.*)", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", line.lower()).strip()) for line in found}


def test_every_plugin_here_has_a_name_of_its_own():
    """One who follows the tutorial and installs the example must not end with two of one name."""
    example = (ROOT / "examples/harness-texture/pyproject.toml").read_text()
    names = list(tomllib.loads(example)["project"]["entry-points"]["harness"])
    names += re.findall(r"harness new-plugin (\S+)", (DOCS / "tutorial.md").read_text())
    names += [plugin.name for plugin in load_plugins().plugins]
    assert len(set(names)) == len(names)


def test_the_kit_for_tests_is_described():
    """Every fixture and argument of harness.testing stands in the tutorial."""
    text = (DOCS / "tutorial.md").read_text()
    for name in inspect.signature(testing.contract).parameters:
        assert name == "name" or f"`{name}=" in text
    for name in ("patches", "run_harness"):
        assert hasattr(testing, name)
        assert f"`{name}" in text


@pytest.mark.once
def test_the_tutorial_to_the_letter(command):
    """Every block of shell in turn, and the Python in the file that the text names.

    In a virtual environment of its own, which sees the packages of this one; pip is told not to ask
    the network for what is there.
    """
    venv.create(command.folder / "venv", symlinks=True)
    (site,) = (command.folder / "venv").glob("lib/python*/site-packages")
    places = [path for path in sys.path if path and Path(path).is_dir()]
    (site / "here.pth").write_text("\n".join([*places, str(ROOT / "plugins")]))
    text = (DOCS / "tutorial.md").read_text()
    blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
    shell = """
        set -e
        harness() { python -m harness "$@"; }
        pytest() { python -m pytest -q -p no:cacheprovider "$@"; }
        pip() { python -m pip "$@" --no-deps --no-index --no-build-isolation; }
    """
    environment = command.environment(
        PATH=f"{command.folder / 'venv/bin'}:/usr/bin:/bin", HARNESS_WITHOUT=""
    )
    del environment["PYTHONPATH"]
    outputs = []
    for language, code in blocks:
        if language == "sh":
            done = subprocess.run(
                ["bash", "-c", shell + code],
                cwd=command.folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, code + done.stdout + done.stderr
            outputs.append(done.stdout)
        elif "hookimpl" in code:
            (command.folder / "texture/texture.py").write_text(code)
        else:
            assert code in (command.folder / "texture/tests/test_texture.py").read_text()
    first, probed, compared, _, checked = outputs[1:]
    assert re.search(r"texture +texture +0\.1\.0 +models: texture +ok", first)
    assert re.search(r"^1(–\d)? +texture +\d", first, re.M)
    assert "pixels shuffled" in probed
    assert "texture and color-histogram on nct-crc-he-sample" in compared
    assert " 0 broken" in checked
    assert " passed" in checked
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    rows = [row for row in board["rows"] if row["model"] == "texture"]
    # The new version's row, which takes the place of the template's, and that of another setting.
    assert len(rows) == 2
    assert {"C 10.0 (default 1.0)"} <= {row["notes"].split("; ")[-1] for row in rows}
    assert max(row["accuracy"] for row in rows) > 0.6
