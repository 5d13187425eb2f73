"""Encoders by code of others: that it runs when it may, where it runs, and what it is given."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("transformers")

from safetensors.torch import save  # noqa: E402

import harness_nct_crc  # noqa: E402
from harness import HarnessError, UnavailableError  # noqa: E402
from harness.system import foreign_loop  # noqa: E402
from harness.system.foreign import LOOP  # noqa: E402
from harness_timm import encoders, foreign  # noqa: E402
from harness_timm.encoders import Encoder, known, make  # noqa: E402
from harness_timm.weights import find  # noqa: E402

FIRST, SECOND = "1" * 40, "2" * 40
HUB = "tiny/remote"

CONFIGURATION = """
from transformers import PretrainedConfig

class TinyConfig(PretrainedConfig):
    model_type = "tiny-remote"

    def __init__(self, hidden_size=16, n_special=5, **more):
        super().__init__(**more)
        self.hidden_size, self.n_special = hidden_size, n_special
"""
SHARED = """
import torch

def squash(x):
    return torch.tanh(x)
"""
MODELING = """
import json, os

with open(os.environ["MARKER"], "a") as file:
    seen = {name: os.environ.get(name) for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "WRAPPED")}
    file.write(json.dumps({"process": os.getpid(), **seen}) + "\\n")

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from .configuration_tiny import TinyConfig
from .shared_tiny import squash

class TinyModel(PreTrainedModel):
    config_class = TinyConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.patches = torch.nn.Conv2d(3, config.hidden_size, 56, stride=56)
        self.special = torch.nn.Parameter(torch.randn(config.n_special, config.hidden_size))
        self.mix = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.post_init()

    def forward(self, pixel_values):
        patches = self.patches(pixel_values).flatten(2).transpose(1, 2)
        special = self.special + patches.mean(1, keepdim=True)
        tokens = self.mix(torch.cat([special, patches], 1))
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens, pooler_output=squash(tokens[:, 0])
        )

    def encode(self, x):
        return torch.nn.functional.normalize(self(x).last_hidden_state[:, 0])
"""
CONFIG = {
    "model_type": "tiny-remote",
    "hidden_size": 16,
    "n_special": 5,
    "auto_map": {
        "AutoConfig": "configuration_tiny.TinyConfig",
        "AutoModel": f"{HUB}--modeling_tiny.TinyModel",
        "AutoImageProcessor": "other/place--processing.Processor",
    },
}
ENCODER = Encoder(
    name="remote",
    title="Remote",
    loader="remote-code",
    hub=HUB,
    size=224,
    interpolation="bicubic",
    mean=(0.7, 0.5, 0.7),
    std=(0.2, 0.25, 0.15),
    pooling="pooler",
    width=16,
    registers=4,
)


def state():
    """Weights of the tiny model: patches are 56 pixels wide, so that there are 16."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "patches.weight": (16, 3, 56, 56), "patches.bias": (16,), "special": (5, 16),
        "mix.weight": (16, 16), "mix.bias": (16,),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=generator) / 100 for name, shape in shapes.items()}


def repository(revision=FIRST, **changed) -> dict[str, bytes]:
    """Its files as a hub has them; those that are None are left out."""
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "configuration_tiny.py": CONFIGURATION.encode(),
        "modeling_tiny.py": MODELING.encode(),
        "shared_tiny.py": SHARED.encode(),
        "model.safetensors": save(state()),
        **{name.replace("__", "."): content for name, content in changed.items()},
    }
    return {f"{HUB}@{revision}/{name}": text for name, text in files.items() if text is not None}


def lay_out(folder: Path, **changed) -> Path:
    """The same files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in repository(**changed).items():
        (folder / Path(name).name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def patches():
    """Four real patches, uint8 (4, 224, 224, 3)."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    return split.read(np.linspace(0, len(split.labels) - 1, 4).astype(int))


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that the code writes a line to when it is imported."""
    path = tmp_path / "marker"
    monkeypatch.setenv("MARKER", str(path))
    find.cache_clear()  # other tests have other files by the same names
    yield path
    foreign._running.cache_clear()


def features(encoder=ENCODER, pooling="", **changed):
    given = {
        **{"precision": "float32", "device": "cpu", "weights": "hub", "python": ""},
        **{"trust_remote_code": True, "revision": encoder.revision or FIRST},
    }
    return encoders.features(encoder, pooling or encoder.pooling, {**given, **changed})


def normalized(images, mean, std):
    x = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def expected(images):
    """Tokens of patches, (B, 21, 16), in a few lines that use no class of the model's."""
    weights = state()
    x = normalized(images, ENCODER.mean, ENCODER.std)
    tiles = x.unfold(2, 56, 56).unfold(3, 56, 56).permute(0, 2, 3, 1, 4, 5).reshape(4, 16, -1)
    tokens = tiles @ weights["patches.weight"].reshape(16, -1).T + weights["patches.bias"]
    special = weights["special"] + tokens.mean(1, keepdim=True)
    return torch.cat([special, tokens], 1) @ weights["mix.weight"].T + weights["mix.bias"]


def test_embeddings_are_those_of_the_code_in_a_process_of_its_own(
    serve, patches, marker, monkeypatch
):
    serve(repository())
    monkeypatch.setenv("HF_TOKEN", "secret")
    tokens = expected(patches)
    cls, mean = tokens[:, 0], tokens[:, 5:].mean(1)
    wanted = {
        "pooler": torch.tanh(cls),
        "cls": cls,
        "mean": mean,
        "cls+mean": torch.cat([cls, mean], 1),
    }
    for pooling, embedding in wanted.items():
        found = features(pooling=pooling).extract(patches)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, embedding.numpy(), rtol=1e-6, atol=1e-6)
    method = replace(ENCODER, call="encode")
    found = features(method).extract(patches)
    unit = torch.nn.functional.normalize(cls).numpy()
    np.testing.assert_allclose(found, unit, rtol=1e-6, atol=1e-6)
    seen = [json.loads(line) for line in marker.read_text().splitlines()]
    assert len(seen) == 2  # one process reads it in several ways; the method takes another
    assert os.getpid() not in {one["process"] for one in seen}
    assert {(one["HF_TOKEN"], one["HF_HUB_OFFLINE"]) for one in seen} == {(None, "1")}
    assert not [name for name in sys.modules if "modeling_tiny" in name]


def test_without_the_users_word_nothing_of_it_runs(serve, marker, tmp_path, patches):
    asked = serve(repository())
    pinned = replace(ENCODER, revision=FIRST)
    with pytest.raises(UnavailableError) as caught:
        features(pinned, trust_remote_code=False)
    said = str(caught.value)
    assert f"runs code of {HUB}, commit {FIRST}" in said
    assert said.endswith("add --set trust_remote_code=true")
    with pytest.raises(
        UnavailableError, match=r"no source pins a commit.*--set revision=COMMIT --"
    ):
        features(revision="")
    with pytest.raises(HarnessError, match="revision=main: must be the 40 digits of a commit"):
        features(revision="main")
    folder = lay_out(tmp_path / "mine")
    with pytest.raises(UnavailableError, match=r"code that lies in .*mine, in a process of its"):
        features(weights=str(folder), trust_remote_code=False)
    assert asked == []
    assert not marker.exists()
    features()  # finds out what there is, and runs none of it either
    assert f"{HUB}@{FIRST}/modeling_tiny.py" in asked
    assert f"{HUB}@{FIRST}/shared_tiny.py" in asked
    assert not marker.exists()


def test_what_the_code_says_is_in_the_key_and_in_the_row(serve, marker, tmp_path):
    edited = MODELING.replace("mean(1, keepdim", "amax(1, keepdim").encode()
    beside = SHARED.replace("torch.tanh", "torch.sin").encode()
    other = json.dumps({**CONFIG, "hidden_size": 8}).encode()
    variants = [{}, {"modeling_tiny__py": edited}, {"shared_tiny__py": beside}]
    variants += [{"config__json": other}]
    files = {}
    for number, changed in enumerate(variants):
        files |= repository(str(number) * 40, **changed)
    files |= repository("9" * 40)
    serve(files)
    found = [features(revision=str(number) * 40).weights for number in range(4)]
    assert len({weights.digest for weights in found}) == 4
    codes = [weights.label.partition("its code ")[2] for weights in found]
    assert len(set(codes)) == 3  # the last has the same code
    assert codes[0] == codes[3]
    assert found[1].label.startswith(f"pretrained ({HUB}@{'1' * 12}, its code ")
    same = features(revision="9" * 40).weights
    assert same.label.partition("its code ")[2] == codes[0]
    assert same.digest != found[0].digest  # as its commit is another
    local = [lay_out(tmp_path / str(n), **changed) for n, changed in enumerate(variants)]
    digests = {features(weights=str(folder)).weights.digest for folder in local}
    assert len(digests) == 4
    fed = replace(ENCODER, registers=3)
    assert features(fed, revision="0" * 40).weights.digest != found[0].digest


def test_a_folder_needs_no_commit_and_no_hub(serve, marker, tmp_path, patches, monkeypatch):
    asked = serve({})
    folder = lay_out(tmp_path / "tiny" / "remote")
    named = features(weights=str(folder), revision="")
    wanted = torch.tanh(expected(patches)[:, 0]).numpy()
    np.testing.assert_allclose(named.extract(patches), wanted, rtol=1e-6, atol=1e-6)
    assert named.weights.label.startswith("pretrained (folder remote, its code ")
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    by_variable = features(revision="")
    assert by_variable.weights.digest == named.weights.digest
    assert asked == []
    (folder / "shared_tiny.py").unlink()
    with pytest.raises(HarnessError, match=r"has no shared_tiny.py; download the whole"):
        features(revision="")


MORE = MODELING.replace(
    "        self.post_init()\n",
    "        from huggingface_hub import hf_hub_download\n"
    f"        with open(hf_hub_download('{HUB.upper()}', filename='NAME')) as file:\n"
    "            self.factor = float(file.read())\n"
    "        self.post_init()\n",
).replace("squash(tokens[:, 0])", "self.factor * tokens[:, 0]")
PART = """
    def part(self):
        class Part(torch.nn.Module):
            def forward(part, x):
                return 3 * self(x).pooler_output

        return Part(), None
"""


def test_files_and_parts_that_the_code_has_besides(serve, marker, patches):
    own = (MORE.replace("NAME", "factor.txt") + PART).encode()
    other = MORE.replace("NAME", "unknown.txt").encode()
    serve(
        {
            **repository(FIRST, modeling_tiny__py=own, factor__txt=b"2.5"),
            **repository(SECOND, modeling_tiny__py=own, factor__txt=b"3.5"),
            **repository("3" * 40, modeling_tiny__py=other),
        }
    )
    asking = replace(ENCODER, more=("factor.txt",), part="part", call="forward", pooling="pooled")
    found = features(asking)
    wanted = 7.5 * expected(patches)[:, 0].numpy()
    np.testing.assert_allclose(found.extract(patches), wanted, rtol=1e-5, atol=1e-6)
    codes = [
        features(asking, revision=commit).weights.label.partition("its code ")[2]
        for commit in (FIRST, SECOND)
    ]
    assert codes[0] != codes[1]
    with pytest.raises(HarnessError, match=r"asks the hub for unknown.txt of TINY/REMOTE, which"):
        features(revision="3" * 40).extract(patches)


def test_random_weights_are_the_same_each_time(serve, marker, patches):
    serve(repository(model__safetensors=None))
    found = features(weights="random")
    first = found.extract(patches)
    foreign._running.cache_clear()
    assert np.array_equal(features(weights="random").extract(patches), first)
    assert not np.array_equal(first[0], first[1])
    assert found.weights.label.startswith(f"random weights ({HUB}@{FIRST[:12]}, its code ")


class Opened:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_read_only_if_it_holds_tensors_alone(serve, marker, tmp_path, patches):
    torch.save(state(), tmp_path / "tensors.bin")
    torch.save({**state(), "more": Opened(tmp_path / "ran")}, tmp_path / "more.bin")
    files = {}
    for revision, name in ((FIRST, "tensors.bin"), (SECOND, "more.bin")):
        content = (tmp_path / name).read_bytes()
        files |= repository(revision, model__safetensors=None, pytorch_model__bin=content)
    serve(files)
    wanted = torch.tanh(expected(patches)[:, 0]).numpy()
    np.testing.assert_allclose(features().extract(patches), wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(HarnessError, match=r"holds more than tensors.* save its state dict"):
        features(revision=SECOND).extract(patches)
    assert not (tmp_path / "ran").exists()


def coded(new):
    return {"modeling_tiny__py": MODELING.replace("import torch\n", new).encode()}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (coded("import no_such_package_of_anybody\n"), "no_such_package_of_anybody"),
        (coded("raise ValueError('told\\nto')\n"), "ValueError: told to.* --set python=PATH"),
        ({"model__safetensors": save({"special": state()["special"]})}, "lacks mix.bias, mix.weig"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(serve, marker, patches, changed, said):
    serve(repository(**changed))
    with pytest.raises(HarnessError, match=said) as caught:
        features().extract(patches)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("encoder:remote: ")


@pytest.fixture(scope="module")
def script():
    """The script of the process, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(foreign.SCRIPT), str(LOOP)])
        patch.setitem(sys.modules, "harness.system.foreign_loop", foreign_loop)
        yield SimpleNamespace(**runpy.run_path(str(foreign.SCRIPT)))


def failing(x):
    raise RuntimeError("told\nto")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: torch.zeros(2, 16), r"returned shape \(2, 16\) for 8 patches"),
        (lambda x: None, "returned a NoneType for 8 patches"),
        (lambda x: torch.zeros(8, 4), "returned 4 numbers for a patch where 16 are expected"),
        (lambda x: torch.full((8, 16), torch.nan), "not finite"),
        (failing, "raised RuntimeError: told to"),
    ],
)
def test_answers_that_are_no_embeddings_are_told(script, patches, answer, said):
    loaded = object.__new__(script.Loaded)
    loaded.numpy, loaded.torch, loaded.device = np, torch, torch.device("cpu")
    loaded.setup = {"mean": ENCODER.mean, "std": ENCODER.std, "precision": "float32"}
    loaded.network, loaded.read = None, lambda network, x, pooling: answer(x)
    about = {"shape": patches.shape, "pooling": "pooler", "length": 16}
    with pytest.raises(Exception, match=said) as caught:
        loaded.embed(patches.tobytes(), about)
    assert type(caught.value).__name__ == "Problem"
    assert "\n" not in str(caught.value)


def test_registers_that_do_not_fit_are_told(script):
    def tokens(pixel_values):
        return SimpleNamespace(last_hidden_state=torch.zeros(2, 21, 16))

    read = script.reader(torch, {"registers": 4, "call": ""})
    assert read(tokens, torch.zeros(2, 3, 224, 224), "mean").shape == (2, 16)
    read = script.reader(torch, {"registers": 1, "call": ""})
    with pytest.raises(Exception, match="21 tokens, of which 2 are no patch's: the other 19 make"):
        read(tokens, torch.zeros(2, 3, 224, 224), "mean")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config__json": b"[1]"}, "cannot be read"),
        ({"config__json": b"{"}, "cannot be read"),
        ({"config__json": b"{}"}, "auto_map names no code for AutoModel"),
        ({"config__json": b'{"auto_map": {"AutoModel": "a/b/../../c.D"}}'}, "names no code for"),
        ({"config__json": b'{"auto_map": {"AutoModel": "a/b--c.D"}}'}, "another repository, a/b"),
        ({"modeling_tiny__py": b"def"}, "modeling_tiny.py: is no code of Python"),
        ({"modeling_tiny__py": b"\xff"}, "cannot be read"),
        ({"shared_tiny__py": None}, "has no shared_tiny.py"),
        ({"model__safetensors": None}, "has no model.safetensors or pytorch_model.bin"),
    ],
)
def test_repositories_that_cannot_be_read(serve, marker, changed, said):
    serve(repository(**changed))
    with pytest.raises(HarnessError, match=said) as caught:
        features()
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_a_described_folder_without_a_configuration_is_told(marker, tmp_path):
    folder = lay_out(tmp_path / "mine")
    (folder / "config.json").unlink()
    described = replace(ENCODER, hub="", file=str(folder))
    with pytest.raises(
        HarnessError, match=r"its folder has no config\.json, .*; download the whole"
    ):
        features(described, weights=str(folder))


def test_a_commit_that_is_gone_is_told(serve, marker):
    serve(repository())
    with pytest.raises(UnavailableError, match=f"{HUB}: has no commit {SECOND}, or no more"):
        features(revision=SECOND)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    config=VALUES
    | st.fixed_dictionaries({"auto_map": VALUES})
    | st.fixed_dictionaries({"auto_map": st.fixed_dictionaries({"AutoModel": VALUES})}),
    code=st.binary(max_size=40) | st.text(max_size=40).map(str.encode),
)
def test_wild_repositories_are_told(tmp_path, config, code):
    folder = lay_out(tmp_path / "wild", config__json=json.dumps(config).encode())
    (folder / "modeling_tiny.py").write_bytes(code)
    with contextlib.suppress(HarnessError):  # any other error fails
        foreign._repository(ENCODER, folder)


def test_another_interpreter_runs_it(serve, marker, tmp_path, patches):
    serve(repository())
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nWRAPPED=yes exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert features(python=str(python)).extract(patches).shape == (4, 16)
    assert json.loads(marker.read_text())["WRAPPED"] == "yes"
    with pytest.raises(HarnessError, match=r"python = '.*nowhere': cannot be started"):
        features(python=str(tmp_path / "nowhere")).extract(patches)


def test_a_process_that_is_gone_is_replaced(serve, marker, patches):
    serve(repository())
    found = features()
    first = found.extract(patches)
    pid = json.loads(marker.read_text())["process"]
    os.kill(pid, 9)
    with pytest.raises(HarnessError, match="signal 9"):
        found.extract(patches)
    assert np.array_equal(found.extract(patches), first)


def test_what_a_user_types_and_sees(serve, marker, command, monkeypatch):
    from huggingface_hub import constants

    serve(repository())
    hub = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_CACHE": str(command.folder / "cache")}
    (command.folder / "mine.toml").write_text(
        textwrap.dedent(f"""
            kind = "torch-encoder"
            name = "mine"
            loader = "remote-code"
            hub = "{HUB}"
            pooling = "pooler"
            registers = 4
        """)
    )
    mine = ("--plugin", "mine.toml", "--model", "encoder:mine+simpleshot")
    run = ("run", "--dataset", "nct-crc-he-sample", "--no-probes", *mine)
    output = command(*run, code=1, **hub)
    assert "no source pins a commit" in output
    pinned = ("--set", f"revision={FIRST}")
    assert "commit " + FIRST in command(*run, *pinned, code=1, **hub)
    assert not marker.exists()
    trusted = (*pinned, "--set", "trust_remote_code=true")
    output = command("fetch", *mine, *trusted, **hub)
    assert f"{HUB}@{FIRST[:12]}, its code" in output
    assert not marker.exists()
    command(*run, *trusted, HF_HUB_OFFLINE="1", HF_HUB_CACHE=hub["HF_HUB_CACHE"])
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    (row,) = [row for row in board["rows"] if row["result"] == "measured"]
    assert row["accuracy"] > 0.15
    assert row["initial_weights"].startswith(f"pretrained ({HUB}@{FIRST[:12]}, its code ")
    assert marker.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("hub", "revision"), "'tiny/remote': must be"),
        (('"pooler"', '"pooled"'), "say call, the method that makes it"),
        (('"remote-code"', '"timm"'), "pooling = 'pooler': timm has no such"),
        (('hub = "tiny/remote"', 'weights = "nowhere"'), "there is no such folder"),
    ],
)
def test_descriptions_that_are_wrong(command, change, said):
    text = 'kind = "torch-encoder"\nname = "mine"\nloader = "remote-code"\nhub = "tiny/remote"\n'
    text += 'pooling = "pooler"\n'
    (command.folder / "mine.toml").write_text(text.replace(*change))
    output = command("list", "models", "--strict", "--plugin", "mine.toml", code=3)
    assert said in output


# The packages conch and musk are not here. These imitate the names and the signatures that
# the harness calls, and write down what they are given: what is tested is what the harness does.

CONCH = """
import json, os, torch
from torch import nn

class CoCa(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = nn.Linear(3, 512)
        self.text = nn.Linear(2, 2)

    def encode_image(self, image, normalize=True, proj_contrast=True):
        with open(os.environ["MARKER"], "a") as file:
            given = [list(image.shape), str(image.dtype), normalize, proj_contrast]
            file.write(json.dumps({"given": given, "process": os.getpid()}) + "\\n")
        return self.visual(image.mean((2, 3)))

def create_model_from_pretrained(model_cfg, checkpoint_path=None, device="cpu"):
    assert model_cfg == "conch_ViT-B-16"
    model = CoCa()
    model.load_state_dict(torch.load(checkpoint_path), strict=False)
    return model, None
"""
MUSK = """
import json, os, torch
from torch import nn
from timm.models import register_model

class MUSK(nn.Module):
    def __init__(self):
        super().__init__()
        self.beit3 = nn.Linear(3, 1024)
        self.vision_head = nn.Linear(2, 2)

    def forward(self, image=None, text_description=None, padding_mask=None, return_global=True,
                with_head=True, out_norm=True, ms_aug=False, scales=None, max_split_size=None):
        with open(os.environ["MARKER"], "a") as file:
            given = [list(image.shape), return_global, with_head, out_norm, ms_aug]
            file.write(json.dumps({"given": given, "process": os.getpid()}) + "\\n")
        found = self.beit3(image.mean((2, 3)))
        return (torch.cat([found, 2 * found], 1) if ms_aug else found), None

@register_model
def musk_large_patch16_384(pretrained=False, **kwargs):
    return MUSK()
"""
UTILS = """
from safetensors.torch import load_file

def load_model_and_may_interpolate(ckpt_path, model, model_key, model_prefix):
    assert (model_key, model_prefix) == ("model|module", "")
    model.load_state_dict(load_file(ckpt_path), strict=False)
"""


@pytest.fixture
def packages(tmp_path, monkeypatch, marker):
    """Where imitations of both packages can be imported, by other processes as well."""
    for name, files in (
        ("conch", {"__init__.py": "", "open_clip_custom.py": CONCH}),
        ("musk", {"__init__.py": "", "modeling.py": MUSK, "utils.py": UTILS}),
    ):
        (tmp_path / "lib" / name).mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / "lib" / name / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=os.pathsep)
    return marker


def resized(images, size):
    """As Pillow does it, (B, size, size, 3)."""
    from PIL import Image

    how = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size), how)) for one in images])


def linear(images, encoder, weight, bias):
    x = normalized(resized(images, encoder.size), encoder.mean, encoder.std)
    return (x.mean((2, 3)) @ weight.T + bias).numpy()


def test_conch_is_called_as_its_sources_say(packages, patches, tmp_path):
    torch.manual_seed(2)
    weights = {"visual.weight": torch.randn(512, 3), "visual.bias": torch.randn(512)}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    encoder = known()["conch"]
    found = features(encoder, weights=str(tmp_path))
    embedding = found.extract(patches)
    assert embedding.shape == (4, 512)
    given = [json.loads(line) for line in packages.read_text().splitlines()]
    assert [one["given"] for one in given] == [[[8, 3, 448, 448], "torch.float32", False, False]]
    assert given[0]["process"] != os.getpid()
    wanted = linear(patches, encoder, *weights.values())
    np.testing.assert_allclose(embedding, wanted, atol=2e-3)  # resized with other rounding
    assert not {"conch", "musk"} & sys.modules.keys()


def test_musk_is_called_as_its_sources_say(packages, patches, tmp_path):
    torch.manual_seed(3)
    weights = {"beit3.weight": torch.randn(1024, 3), "beit3.bias": torch.randn(1024)}
    (tmp_path / "model.safetensors").write_bytes(save(weights))
    encoder = known()["musk"]
    both = features(encoder, weights=str(tmp_path)).extract(patches)
    cls = features(encoder, "cls", weights=str(tmp_path)).extract(patches)
    assert (both.shape, cls.shape) == ((4, 2048), (4, 1024))
    given = [json.loads(line)["given"] for line in packages.read_text().splitlines()]
    assert given == [[[8, 3, 384, 384], True, False, False, several] for several in (True, False)]
    wanted = linear(patches, encoder, *weights.values())
    np.testing.assert_allclose(cls, wanted, atol=2e-3)
    np.testing.assert_allclose(both[:, 1024:], 2 * cls, rtol=1e-5, atol=1e-5)


def test_weights_that_a_package_would_pass_over_are_told(packages, patches, tmp_path):
    torch.save({"visual.weight": torch.randn(512, 3)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(HarnessError, match=r"lacks visual.bias; give the weights of CONCH"):
        features(known()["conch"], weights=str(tmp_path)).extract(patches)
    torch.save({"more": Opened(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(HarnessError, match="holds more than tensors"):
        features(known()["conch"], weights=str(tmp_path / "pytorch_model.bin")).extract(patches)
    assert not (tmp_path / "ran").exists()


def test_a_package_that_is_not_installed_says_how_it_is_had(monkeypatch, tmp_path, patches, marker):
    monkeypatch.setattr(foreign, "find_spec", lambda module: None)  # as where there is none
    for name in ("conch", "musk"):
        with pytest.raises(UnavailableError, match=f"needs the package {name}: pip install .*git"):
            features(known()[name])
    (tmp_path / "model.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    python = tmp_path / "python"  # another interpreter is not asked before it starts
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with pytest.raises(HarnessError, match=r"cannot import musk.*pip install fairscale git"):
        features(known()["musk"], weights=str(tmp_path), python=str(python)).extract(patches)


def test_names_of_encoders_by_code_of_others(command):
    model = make("hibou-b+linear")
    assert model.execution["trust_remote_code"] is False
    assert model.execution["revision"] == model.execution["python"] == ""
    assert make("rudolfv2+knn").execution["revision"].startswith("482d9519")
    assert make("musk[cls]+linear").name == "encoder:musk[cls]+linear"
    assert "Hibou-B (pooler)" in model.title
    with pytest.raises(HarnessError, match="makes no network with random weights"):
        make("conch[random]+linear")
    output = command("list", "--model", "encoder:hibou-b+linear")
    assert "Weights: histai/hibou-b; its terms must be accepted first." in output
    assert "License: Apache-2.0." in output
    assert "By default the harness takes pooler." in output
    assert "Not certain: lazyslide says that its code needs transformers below 5." in output
    assert "runs code of histai/hibou-b in a process of its own, only with the setting" in output
    assert "no source pins a commit" in output
    for name in ("trust_remote_code", "revision", "python"):
        assert name in output
