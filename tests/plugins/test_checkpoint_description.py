"""The TOML file of a trained torch model: its errors, and what its digest depends on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import HarnessError, UnavailableError
from harness_checkpoint import read
from harness_checkpoint.description import (
    CheckpointKeys,
    InputKeys,
    WeightsKeys,
    describe,
    sources,
)

TEXT = """
kind = "torch-checkpoint"
name = "mine"
network = "model:Net"
classes = ["red", "green"]
trained_on = "elsewhere"
folder = "code"
[weights]
file = "weights.pth"
"""


@pytest.fixture
def file(tmp_path):
    """A TOML file, and the files that it names."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/model.py").write_text("import layers\n")
    (tmp_path / "code/layers.py").write_text("")
    (tmp_path / "code/unrelated.py").write_text("")
    (tmp_path / "weights.pth").write_bytes(b"w")
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def described(path, text=None):
    if text is not None:
        path.write_text(text)
    return describe(path, tomllib.loads(path.read_text()))


def digest(path, text=None):
    return described(path, text).initial_weights.digest


@pytest.mark.parametrize(
    ("mean", "channels", "told"),
    [
        ("[0.485, 0.456, 0.406]", "RGB", ""),
        ("[0.406, 0.456, 0.485]", "BGR", ""),
        ("[0.406, 0.456, 0.485]", "RGB", 'say channels = "BGR"'),
        ("[0.485, 0.456, 0.406]", "BGR", 'say channels = "RGB"'),
    ],
)
def test_the_order_of_channels_is_compared_with_the_mean(file, mean, channels, told):
    given = f'[input]\nmean = {mean}\nstd = [0.2, 0.2, 0.2]\nchannels = "{channels}"\n'
    warnings = described(file, TEXT + given).warnings
    assert len(warnings) == bool(told)
    assert all(told in warning for warning in warnings)


def test_outputs_are_logits_unless_the_file_says_otherwise(file):
    (model,) = read(file, tomllib.loads(TEXT))
    assert model.outputs == "logits"
    (model,) = read(file, tomllib.loads('outputs = "probabilities"\n' + TEXT))
    assert model.outputs == "probabilities"


def test_weights_may_name_only_what_is_missing(file):
    text = TEXT.replace('file = "weights.pth"', 'missing = ["head.*"]')
    assert described(file, "files = []\n" + text).weights["missing"] == ["head.*"]


def test_what_a_file_says_becomes_a_model(file):
    (model,) = read(file, tomllib.loads(TEXT + "[input]\nsize = 96\n"))
    assert (model.name, model.title) == ("mine", "mine")
    assert (model.trained_on, model.selected_on) == ("elsewhere", "unknown")
    assert dict(model.execution) == {"device": "auto", "batch_size": 32, "python": ""}
    assert model.settings == {}
    assert model.requires == ("torch",)
    assert model.initial_weights({}).label == "weights.pth"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mine"', "", "lacks name"),
        ('trained_on = "elsewhere"', "", 'lacks trained_on: .*or "unknown"'),
        ('network = "model:Net"', 'network = "model.py"', "network = 'model.py': .*MODULE:NAME"),
        ("classes", "clases", "there is no key 'clases'; did you mean classes"),
        ('["red", "green"]', '["red", "red"]', "classes = .*: must be"),
        ('["red", "green"]', "9", "classes = 9: must be"),
        ("file =", "fil =", r"there is no key 'weights\.fil'; did you mean file"),
        ("[weights]", "batch_size = 0\n[weights]", "batch_size = 0: must be a whole number"),
        ("[weights]", "batch_size = true\n[weights]", "batch_size = True: must be"),
        ("[weights]", 'selected_on = "luck"\n[weights]', "selected_on = 'luck': must be none or"),
        ("[weights]", "arguments = {d = 2020-01-01}\n[weights]", "arguments = .* must be a table"),
        ("[weights]", "input = { std = [1, 0, 1] }\n[weights]", r"input\.std = .* above 0"),
        ("[weights]", "input = { mean = 0.5 }\n[weights]", r"input\.mean = 0\.5: must be three"),
        (
            "[weights]",
            "input = { range = [1, 0] }\n[weights]",
            r"input\.range = \[1, 0\]: the first must",
        ),
        ("[weights]", "input = { range = [0] }\n[weights]", r"input\.range = .*two numbers, what"),
        (
            "[weights]",
            "input = { mean = [123.675, 116.28, 103.53], std = [58.4, 57, 57] }\n[weights]",
            r"input\.mean = \[123\.675, .* lies outside; say range = \[0, 255\] in \[input\]",
        ),
        (
            "[weights]",
            "input = { range = [-1, 1], mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }\n[weights]",
            r"input\.mean = .* those of Inception, .* 0 to 1; say range = \[0, 1\] in \[input\]",
        ),
        (
            "[weights]",
            "input = { range = [0, 255], mean = [0.5, 0.4, 0.3], std = [1, 1, 1] }\n[weights]",
            r"input\.mean = .* as large as 255; say range = \[0, 1\] in \[input\]",
        ),
        (
            "[weights]",
            "input = { mean = [0.4, 0.4, -300] }\n[weights]",
            r"lies outside; correct input\.mean, input\.std or input\.range",
        ),
        (
            "[weights]",
            'outputs = "softmax"\n[weights]',
            "must be logits or probabilities or scores",
        ),
        ("[weights]", 'input = { channels = "HSV" }\n[weights]', "must be RGB or BGR"),
        ("[weights]", '[weights]\nmethod = "load"', "give either file or method"),
        ("[weights]", "[weights]\narguments = {a = 1}", "arguments does not go with file"),
        (
            '"weights.pth"',
            '"weights.pth"\nmissing = "x"',
            r"weights\.missing = 'x': must be a list",
        ),
        ('"weights.pth"', '"~nosuch/x"', r"weights\.file = '~nosuch/x': .*; correct the path"),
        ('"code"', '"~nosuch/x"', "folder = '~nosuch/x': .*; correct the path"),
        ('"code"', r'"a\u0000b"', r"folder = 'a\\x00b': has a zero byte; correct the path"),
        ("[weights]", 'files = ["~nosuch/x"]\n[weights]', "files = '~nosuch/x': .*; correct the"),
        ('file = "weights.pth"', 'method = "load"', "lacks files: name those"),
        ('file = "weights.pth"', "", "lacks files: name those"),
        (
            '[weights]\nfile = "weights.pth"',
            'files = []\n[weights]\nmethod = "load"\nkey = "a"',
            "key does not go with method",
        ),
    ],
)
def test_a_mistake_is_told_with_the_file_and_the_key(file, old, new, message):
    assert old in TEXT
    with pytest.raises(HarnessError, match=message) as caught:
        described(file, TEXT.replace(old, new))
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


INNER = [*InputKeys.model_fields, *WeightsKeys.model_fields, "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(INNER),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*CheckpointKeys.model_fields, "other"]), VALUES))
def test_whatever_a_file_says_is_described_or_refused(changes):
    path = Path("/nowhere/mine.toml")
    refused = ""
    try:
        model = describe(path, tomllib.loads(TEXT) | changes)
    except HarnessError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(f"{path}: ")
    else:
        assert model.execution["batch_size"] >= 1
        assert len(model.classes) >= 2
        with pytest.raises(UnavailableError, match=re.escape(f"{path}: folder: there is no")):
            model.digests()


def test_the_digest_is_of_files_and_of_what_matters(file):
    first = digest(file)
    same = TEXT.replace('name = "mine"', 'name = "mine"\ntitle = "T"\nlicense = "MIT"\n# said')
    assert digest(file, same.replace("[weights]", "batch_size = 2\n[weights]")) == first
    (file.parent / "code/unrelated.py").write_text("changed")
    assert digest(file, TEXT) == first
    seen = {first}
    for text in (
        TEXT.replace("elsewhere", "unknown"),
        TEXT.replace('"red", "green"', '"green", "red"'),
        TEXT.replace("[weights]", "arguments = {a = 1}\n[weights]"),
        TEXT + 'prefix = "module."\n',
        TEXT + "[input]\nsize = 8\n",
    ):
        seen.add(digest(file, text))
    for name in ("code/model.py", "code/layers.py", "weights.pth"):
        path = file.parent / name
        path.write_bytes(path.read_bytes() + b"\n# changed")
        seen.add(digest(file, TEXT))
    assert len(seen) == 9


def test_the_digest_stays_when_everything_is_moved(file, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "moved"
    first = digest(file)
    file.parent.rename(elsewhere)
    assert digest(elsewhere / file.name) == first


def test_files_that_a_method_reads_count(file):
    text = TEXT.replace('file = "weights.pth"', 'method = "load"')
    text = text.replace("[weights]", 'files = ["weights.pth"]\n[weights]')
    first = described(file, text).initial_weights
    assert first.label == "weights.pth"
    (file.parent / "weights.pth").write_bytes(b"other")
    assert digest(file) != first.digest


def test_what_is_not_there_is_told_with_its_key(file):
    (file.parent / "weights.pth").unlink()
    message = r"weights\.file: .*weights\.pth: No such file .*; put it there"
    with pytest.raises(UnavailableError, match=message) as caught:
        digest(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_sources_are_what_a_module_imports_from_its_folder(tmp_path):
    files = {
        "pkg/__init__.py": "",
        "pkg/net.py": "import os\nfrom . import blocks\nfrom ..up import x\nfrom .c import *",
        "pkg/blocks.py": "from pkg.deep.most import thing",
        "pkg/deep/most.py": "def f():\n    import helper",
        "pkg/c.py": "import pkg.net",
        "helper.py": "this is python of another age",
        "unrelated.py": "import helper",
        "pkg/unrelated.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in sources(tmp_path, "pkg.net")}
    assert found == set(files) - {"unrelated.py", "pkg/unrelated.py"}
    assert sources(tmp_path, "json") == []


def test_the_file_is_listed_without_torch_or_the_files_that_it_names(command):
    (command.folder / "mine.toml").write_text(TEXT)
    output = command("list", "--plugin", "mine.toml", "--strict")
    assert re.search(r"^mine\s", output, re.MULTILINE)


def test_a_mistake_in_the_file_leaves_it_out_in_one_line(command):
    (command.folder / "mine.toml").write_text(TEXT.replace("network", "netwrok"))
    output = command("list", "--plugin", "mine.toml", "--strict", code=3)
    assert "there is no key 'netwrok'; did you mean network?" in output


def test_a_name_that_cannot_be_one_is_told_with_the_file(command):
    (command.folder / "mine.toml").write_text(TEXT.replace('"mine"', '"My Net"'))
    output = " ".join(command("list", "--plugin", "mine.toml", "--strict", code=3).split())
    assert "mine.toml" in output
    assert "'My Net'" in output
