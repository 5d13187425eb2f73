"""Plugins given as files, families of models, and what ``harness plugins`` says of them all."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import HarnessError
from harness.hooks.loader import load_plugins
from harness.store.store import Store
from harness.store.stored import load_array

MODEL = """
import numpy as np
from harness import Model, hookimpl

class Constant:
    def logits(self, images):
        return np.full((len(images), 9), {value}, np.float32) + np.arange(9, dtype=np.float32)
    def save(self, folder):
        (folder / "there.txt").write_text("yes")

@hookimpl
def harness_models():
    fit = load = lambda *_: Constant()
    return [Model(name="constant", title="C", fit=fit, load=load)]
"""
NOISE = """
from harness import Perturbation, hookimpl

@hookimpl
def harness_perturbations():
    return [Perturbation(name="{}", title="T", levels=(1,), apply=lambda patch, level, rng: patch)]
"""
READER = """
from harness import DerivedModel, HarnessError, Reader, hookimpl

def read(path, content):
    if "of" not in content:
        raise HarnessError(f"{path}: no key 'of'; add it")
    terms = ((content["of"], content.get("view", "identity")),)
    return [DerivedModel(name=path.stem, title="T", terms=terms)]

@hookimpl
def harness_readers():
    return [Reader(name="alias", title="Another name for a model", read=read)]
"""
FAMILY = """
from harness import DerivedModel, HarnessError, ModelFamily, hookimpl

def make(rest):
    if rest == "none":
        raise HarnessError("same:none: there is none; name a model")
    name = "else" if rest == "wrong" else f"same:{rest}"
    return DerivedModel(name=name, title=f"The same as {rest}", terms=((rest, "identity"),))

@hookimpl
def harness_models():
    return [ModelFamily(name="same", title="T", make=make, example="same:rgb-means")]
"""


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def plugin(registry, name):
    (found,) = [plugin for plugin in registry.plugins if plugin.name == name]
    return found


def test_a_file_is_a_plugin_with_its_digest_as_version(write):
    path = write("noisy.py", NOISE.format("my-noise"))
    registry = load_plugins(files=[path])
    found = plugin(registry, "noisy")
    assert (found.distribution, found.status) == (str(path), "")
    assert found.hooks == ("harness_perturbations",)
    assert found.contributes == {"perturbations": ("my-noise",)}
    assert registry.perturbations["my-noise"].version == int(found.version, 16)
    write("noisy.py", NOISE.format("my-noise") + "# changed\n")
    assert plugin(load_plugins(files=[path]), "noisy").version != found.version


def test_a_file_named_twice_is_loaded_once(write):
    path = write("noisy.py", NOISE.format("my-noise"))
    assert plugin(load_plugins(files=[path, path]), "noisy").status == ""


@pytest.mark.parametrize("name", ["absent.py", "absent.toml", "plugin.txt", ""])
def test_a_file_that_cannot_be_a_plugin_is_an_error_that_names_it(tmp_path, name):
    with pytest.raises(HarnessError, match=rf"--plugin .*{name}: .*(check the path|must be a)"):
        load_plugins(files=[tmp_path / name])


def test_a_broken_file_is_left_out(write):
    registry = load_plugins(files=[write("bad.py", "1 / 0"), write("ok.py", NOISE.format("n"))])
    assert plugin(registry, "bad").status == "ZeroDivisionError: division by zero"
    assert "bad.py" in plugin(registry, "bad").traceback
    assert "n" in registry.perturbations


def test_a_file_and_a_distribution_with_one_name_are_both_named(
    write, make_distribution, monkeypatch
):
    monkeypatch.syspath_prepend(str(make_distribution("x-files", {"mine": NOISE.format("one")})))
    with pytest.raises(HarnessError, match=r"plugin 'mine'.*x-files.*mine\.py.*--without"):
        load_plugins(files=[write("mine.py", NOISE.format("two"))])
    with pytest.raises(HarnessError, match=r"perturbation 'one'.*x-files.*other\.py.*--without"):
        load_plugins(files=[write("other.py", NOISE.format("one"))])


def test_a_toml_file_is_read_by_the_reader_of_its_kind_in_any_order(write):
    files = [write("mine.toml", 'kind = "alias"\nof = "rgb-means"'), write("kinds.py", READER)]
    registry = load_plugins(files=files)
    assert registry.models["mine"].terms == (("rgb-means", "identity"),)
    assert registry.models.plugin["mine"].distribution == str(files[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = ", "mine.toml: not a TOML file"),
        ("\N{NO-BREAK SPACE}", "mine.toml: not a TOML file"),
        ("", "mine.toml: lacks kind, which must be one of"),
        ("kind = 7", "mine.toml: kind = 7, which must be one of"),
        ('kind = ["alias"]', "which must be one of"),
        ('kind = "alais"', "mine.toml: kind = 'alais', which must be one of"),
        ('kind = "alias"', "mine.toml: no key 'of'; add it"),
        ('kind = "alias"\nof = "m"\nview = "sideways"', "unknown view 'sideways'"),
    ],
)
def test_what_is_wrong_with_a_toml_file_is_said_in_a_line(write, text, says):
    registry = load_plugins(files=[write("mine.toml", text), write("kinds.py", READER)])
    found = plugin(registry, "mine")
    assert says in found.status
    assert "\n" not in found.status
    assert "mine" not in registry.models


def test_a_toml_file_that_is_no_text_is_said_so(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "mine.toml: not a TOML file" in plugin(load_plugins(files=[path]), "mine").status


def test_a_family_makes_a_model_when_it_is_named(write):
    registry = load_plugins(files=[write("family.py", FAMILY)])
    assert "same:rgb-means" not in registry.models
    made = registry.models.find("same:rgb-means")
    assert made.title == "The same as rgb-means"
    assert registry.models.find("same:rgb-means") is made
    assert registry.models.plugin["same:rgb-means"].name == "family"
    assert plugin(registry, "family").contributes == {"families": ("same",)}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("same:none", "there is none; name a model"),
        ("same:wrong", "family same made 'else' for 'same:wrong'"),
        ("sam:rgb-means", "no model named 'sam:rgb-means'.*same:rgb-means and the like"),
        ("same", "no model named 'same'"),
    ],
)
def test_what_a_family_cannot_make_is_said(write, name, says):
    with pytest.raises(HarnessError, match=says):
        load_plugins(files=[write("family.py", FAMILY)]).models.find(name)


def test_flips_are_summed_for_any_model(write):
    registry = load_plugins(files=[write("family.py", FAMILY)])
    made = registry.models.find("same:rgb-means+flips")
    assert {model for model, _ in made.terms} == {"same:rgb-means"}
    assert len(made.terms) == 4
    assert registry.models.plugin[made.name].name == "family"
    assert registry.models.find("rgb-means+flips").terms[0] == ("rgb-means", "identity")
    with pytest.raises(HarnessError, match="did you mean rgb-means"):
        registry.models.find("rgb-mean+flips")


@pytest.mark.once
def test_a_file_that_changes_is_computed_anew(command, write):
    path = write("constant.py", MODEL.format(value=1))
    run = ("run", "--dataset", "nct-crc-he-sample", "--model", "constant", "--no-probes")
    assert "results to compute" in command(*run, "--plugin", path)
    assert "nothing to compute" in command(*run, HARNESS_PLUGINS=str(path))
    write("constant.py", MODEL.format(value=2))
    assert "results to compute" in command(*run, "--plugin", path)


def test_plugins_are_listed_with_hooks_and_tracebacks_as_json(command, write, make_distribution):
    command.path.append(
        make_distribution("x-dist", {"mine": NOISE.format("a"), "broken": "raise KeyError('k')"})
    )
    files = f"{write('kinds.py', READER)},{write('mine2.toml', 'kind = 3')}"
    # Its output holds tracebacks, so it is run without the check for them.
    process = command.start("plugins", "--json", HARNESS_PLUGINS=files)
    listed, warnings = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "WARNING: plugin broken of x-dist is left out: KeyError: 'k'" in warnings
    found = {one["name"]: one for one in json.loads(listed)}
    names = list(found)
    assert names[-2:] == ["kinds", "mine2"]
    assert names[:-2] == sorted(names[:-2])
    assert found["mine"]["contributes"] == {"perturbations": ["a"]}
    assert (found["mine"]["distribution"], found["mine"]["version"]) == ("x-dist", "2.0")
    assert found["mine"]["hooks"] == ["harness_perturbations"]
    assert found["broken"]["status"] == "KeyError: 'k'"
    assert "raise KeyError('k')" in found["broken"]["traceback"]
    assert found["kinds"]["contributes"] == {"readers": ["alias"]}
    assert "kind = 3, which must be one of" in found["mine2"]["status"]


def test_a_broken_plugin_s_reason_is_in_the_table_and_strict_exits_with_3(command, write):
    bad = write("bad.py", "import nothing_of_that_name")
    table = command("plugins", "--plugin", bad)
    (line,) = [line for line in table.splitlines() if line.startswith("bad ")]
    assert "No module named 'nothing_of_that_name'" in line
    command("plugins", "--plugin", bad, "--strict", code=3)


def test_a_missing_file_is_bad_usage(command):
    output = command("list", "--plugin", "absent.py", code=2)
    assert "--plugin absent.py: No such file or directory; check the path" in output


def test_hooks_are_traced(command, write):
    path = write("noisy.py", NOISE.format("my-noise"))
    output = command("plugins", "--trace-hooks", "--plugin", path)
    line = "hook: noisy: harness_perturbations() returned Perturbation my-noise"
    assert line in output
    assert "hook:" not in command("plugins", "--plugin", path)


def test_lifecycle_hooks_are_traced(toy):
    output = toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes", "--trace-hooks")
    assert "hook: harness_run_ended(failures={}) calls toy" in output


def test_two_files_of_one_name_must_be_told_apart_by_the_user(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(NOISE.format(f"of-{folder}"))
    files = [tmp_path / folder / "same.py" for folder in ("a", "b")]
    with pytest.raises(HarnessError, match=r"plugin 'same'.*rename one of the files"):
        load_plugins(files=files)


def test_one_file_said_in_two_ways_is_one_plugin(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(NOISE.format("mine"))
    monkeypatch.chdir(tmp_path)
    registry = load_plugins(files=[Path("mine.py"), tmp_path / "mine.py"])
    assert registry.perturbations.plugin["mine"].distribution == "mine.py"


EDITED = """
from dataclasses import replace
import hashlib
import numpy as np
from harness import Dataset, Features, HarnessError, Model, ModelFamily, Perturbation, Splits
from harness import hookimpl

VALUE = {value}

class Split:
    def __init__(self, name, n):
        self.labels = np.arange(n) % 2
        self.ids = [f"{{name}}/{{i}}" for i in range(n)]
        self.fingerprint = name
    def read(self, indices):
        return np.full((len(indices), 4, 4, 3), VALUE, np.uint8)

class Classifier:
    def logits(self, inputs):
        mean = inputs.reshape(len(inputs), -1).mean(axis=1)
        return np.stack([mean, mean], axis=1).astype(np.float32)
    def save(self, folder):
        pass

def load(folder):
    return Splits(train=Split("train", 8), test=Split("test", 8))

def extract(images):
    return np.full((len(images), 1), VALUE, np.float32)

def model(name, **more):
    return Model(name=name, title=name, fit=lambda train, validation, context: Classifier(),
        load=lambda folder, settings: Classifier(), **more)

FEATURES = Features(name="edited", extract=extract)

@hookimpl
def harness_datasets():
    return [Dataset(name="edited{tag}", title="Edited", classes=("a", "b"), load=load)]

@hookimpl
def harness_models():
    family = ModelFamily(
        name="fam{tag}", title="F", example="fam:x", make=lambda rest: model("fam:x")
    )
    return [model("on-features{tag}", features=lambda settings: FEATURES), family]

@hookimpl
def harness_perturbations():
    return [Perturbation(name="like{tag}", title="L", role="steering", learns=FEATURES,
        apply=lambda patch, level, rng, target: np.full_like(patch, target[0]))]
"""


def test_whatever_a_file_offers_is_computed_anew_when_it_changes(command, write):
    options = ("--model", "on-features", "--model", "fam:x", "--perturbation", "like")
    for value in (3, 7):
        path = write("edited.py", EDITED.format(value=value, tag=""))
        command("run", "--dataset", "edited", "--no-probes", "--plugin", path, *options)
    found = {}
    for record, place in Store(command.folder / "runs").each("prediction", "edited"):
        condition = record["model"], record["perturbation"], record["level"]
        found.setdefault(condition, set()).update(load_array(place, "logits.npy").flat)
    assert len(found) == 6  # both models with clean patches and with those made like either class
    for condition, values in found.items():
        assert values == {3, 7}, condition


def test_features_of_two_plugins_may_have_one_name(command, make_distribution):
    plugins = {f"with-{value}": EDITED.format(value=value, tag=f"-{value}") for value in (3, 7)}
    command.path.append(make_distribution("both", plugins))
    models = ("--model", "on-features-3", "--model", "on-features-7")
    command("run", "--dataset", "edited-3", "--no-probes", *models)
    for value in (3, 7):
        folder = command.folder / f"runs/prediction/edited-3/on-features-{value}"
        (file,) = folder.rglob("logits.npy")
        assert set(np.load(file).flat) == {value}


def test_a_file_that_is_named_in_two_ways_is_one_plugin(toy):
    source = "from harness import hookimpl\n@hookimpl\ndef harness_run_started(jobs):\n    pass\n"
    (toy.folder / "mine.py").write_text(source)
    run = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    toy(*run, "--plugin", "mine.py", HARNESS_PLUGINS=str(toy.folder / "mine.py"))
