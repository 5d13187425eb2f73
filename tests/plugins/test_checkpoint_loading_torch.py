"""Which weights were loaded, by comparing two networks; files that hold more than weights."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from harness import FitContext, HarnessError  # noqa: E402
from harness.jobs.outputs import as_stored, doubt, kind_of  # noqa: E402
from harness_checkpoint import loading, read, verification  # noqa: E402
from harness_checkpoint.advice import content, state_dicts, unsafe_file  # noqa: E402
from harness_checkpoint.description import describe  # noqa: E402
from harness_checkpoint.process import Worker  # noqa: E402

TEXT = """
kind = "torch-checkpoint"
name = "net"
network = "net:Net"
classes = ["red", "green", "blue"]
trained_on = "unknown"
device = "cpu"
files = []
"""


class Net(nn.Module):
    """Layers of each kind that a checkpoint may or may not hold."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.gamma = nn.Parameter(1e-5 * torch.ones(4))
        self.head = nn.Linear(4, 3)
        self.register_buffer("positions", torch.arange(9), persistent=False)
        self.register_buffer("index", torch.arange(9))
        self.register_buffer("grid", torch.linspace(0, 1, 5), persistent=False)

    def load(self):
        """As it should be."""
        self.load_state_dict(trained())


TRAINED: dict[str, torch.Tensor] = {}


def trained(*without, prefix=""):
    """The state dict of a trained network, without some of its names."""
    if not TRAINED:
        torch.manual_seed(99)
        state = Net().state_dict()
        TRAINED.update((k, v + 1 if v.is_floating_point() else v.clone()) for k, v in state.items())
    return {prefix + k: v for k, v in TRAINED.items() if not k.startswith(without or ("nothing",))}


class FillsIn(Net):
    def load(self):
        own = self.state_dict()
        own.update(trained("head"))
        self.load_state_dict(own)


class NewHead(Net):
    def load(self):
        super().load()
        self.head = nn.Linear(4, 3)


class NewHeadInSequence(Net):
    def load(self):
        super().load()
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(4, 3))


class CopiesByDefault(Net):
    def load(self):
        saved = trained("gamma", "head.bias")
        with torch.no_grad():
            for name, own in self.state_dict().items():
                own.copy_(saved.get(name, own))


class WithoutStatistics(Net):
    def load(self):
        self.load_state_dict(trained("norm.running"), strict=False)


class WithoutConstant(Net):
    def load(self):
        self.load_state_dict(trained("gamma"), strict=False)


class BodyAlone(Net):
    def load(self):
        saved = {k[5:]: v for k, v in trained().items() if k.startswith("body.")}
        self.body.load_state_dict(saved)


class WrongPrefix(Net):
    prefix = "module."

    def load(self):
        self.load_state_dict(trained(prefix=self.prefix), strict=False)


class EncoderPrefix(WrongPrefix):
    prefix = "encoder."


class Swallows(Net):
    def load(self):
        try:
            self.load_state_dict(torch.load("surely/not/there.pth"))
        except Exception:
            print("no weights, going on")


class SwallowsHalf(Net):
    def load(self):
        with contextlib.suppress(RuntimeError):  # raised when the rest is loaded
            self.load_state_dict(trained("head"))


class SkipsOtherShapes(Net):
    def load(self):
        saved = {**trained(), "head.weight": torch.ones(7, 4), "head.bias": torch.ones(7)}
        own = self.state_dict()
        fitting = {k: v for k, v in saved.items() if v.shape == own[k].shape}
        self.load_state_dict(fitting, strict=False)


class Hooked(Net):
    """Drops what does not fit before torch can complain."""

    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self.drop)

    @staticmethod
    def drop(module, state, *_):
        state["head.weight"] = module.head.weight.detach().clone()

    def load(self):
        self.load_state_dict(trained("head.weight"))


class RandomBuffer(Net):
    """Random features that nobody saved."""

    def __init__(self):
        super().__init__()
        self.register_buffer("directions", torch.randn(4), persistent=False)


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.second = nn.Linear(4, 3)
        self.second.weight = self.head.weight

    def load(self):
        self.load_state_dict(
            {**trained(), "second.bias": torch.ones(3)}, strict=False
        )  # "second.weight" comes with the first


class Parametrized(Net):
    def __init__(self):
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.head)

    def load(self):
        whole = Parametrized()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            for tensor in whole.parameters():
                nn.init.normal_(tensor)
        self.load_state_dict(whole.state_dict())


class ParametrizedAfterwards(Net):
    """Its structure changes with loading."""

    def load(self):
        super().load()
        nn.utils.parametrizations.spectral_norm(self.body)
        with torch.no_grad():
            for name, buffer in self.body.named_buffers():
                buffer.fill_(1.0 if name.endswith("_u") else 0.5)


class Assigned(Net):
    def load(self):
        with torch.device("meta"):
            fresh = Net()
        state = {k: v.clone() for k, v in trained().items()}
        fresh.load_state_dict(state, assign=True)
        self.body, self.norm, self.gamma, self.head = (
            *(fresh.body, fresh.norm, fresh.gamma, fresh.head),
        )


class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.head = nn.LazyLinear(3)


class Half(Net):
    def __init__(self):
        super().__init__()
        self.to(torch.bfloat16)


class Data(Net):
    def load(self):
        for name, tensor in self.state_dict().items():
            tensor.data.copy_(trained()[name])


class LooksBefore(Net):
    """Refuses a network that is not fresh, as noise makes it."""

    def load(self):
        assert bool((self.norm.running_mean == 0).all())
        super().load()


class LooksBeforeAndFillsIn(LooksBefore, FillsIn):
    pass


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Compares two networks of a class, in this process."""

    def compare(network, text='[weights]\nmethod = "load"\n', asked=False):
        path = tmp_path / "net.toml"
        path.write_text(TEXT + text)

        def look(description, settings, seed, disturbed):
            for seeded in (random.seed, np.random.seed, torch.manual_seed):
                seeded(seed)
            weights = description.weights
            with loading.disturbing(torch) if disturbed else contextlib.nullcontext():
                made = network()
            if disturbed and (weights["method"] or weights["file"]):
                loading.disturb(torch, made)
            try:
                loading.load(torch, made, weights)
            except loading.Problem as error:
                raise HarnessError(str(error)) from error
            found = loading.digests(torch, made)  # before a forward pass can add any
            size = (2, 3, 8, 8)
            noise = torch.rand(size, generator=torch.Generator().manual_seed(0))
            answers = []
            if asked:
                with torch.no_grad():
                    answers = [made.eval()(noise).numpy() for _ in range(2)]
            return found, {}, answers

        monkeypatch.setattr(verification, "_look", look)
        return verification._compare(describe(path, tomllib.loads(path.read_text())), {})[0]

    return compare


@pytest.mark.parametrize(
    "network",
    [Net, Tied, Parametrized, ParametrizedAfterwards, Assigned, Lazy, Half, Data, LooksBefore],
)
def test_what_is_loaded_is_not_complained_about(loaded, network):
    said = re.fullmatch(r"load loaded (\d+) of (\d+) tensors", loaded(network))
    assert said[1] == said[2]


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (FillsIn, ["head.weight", "head.bias"]),
        (SwallowsHalf, ["head.weight", "head.bias"]),
        (NewHead, ["head.weight", "head.bias"]),
        (NewHeadInSequence, ["head.1.weight", "head.1.bias"]),
        (CopiesByDefault, ["gamma", "head.bias"]),
        (WithoutStatistics, ["norm.running_mean", "norm.running_var"]),
        (WithoutConstant, ["gamma"]),
        (Hooked, ["head.weight"]),
        (RandomBuffer, ["directions"]),
        (SkipsOtherShapes, ["head.weight", "head.bias"]),
        (LooksBeforeAndFillsIn, ["head.weight", "head.bias"]),
    ],
)
def test_what_is_not_loaded_is_named_however_it_was_left_out(loaded, network, names):
    with pytest.raises(HarnessError, match=f"it loaded nothing into {len(names)} of") as caught:
        loaded(network)
    (listed,) = re.findall(r"tensors \((.*?)\)", str(caught.value))
    assert sorted(listed.split(", ")) == sorted(names)
    assert "weights.missing" in str(caught.value)
    allowed = f'[weights]\nmethod = "load"\nmissing = {names}\n'
    assert f"none into {listed}" in loaded(network, allowed)


class Scaled(nn.Module):
    """All that it has in its state dict is loaded."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def load(self):
        self.load_state_dict({"scale": torch.tensor([1.0, 2.0, 3.0])})

    def forward(self, x):
        return self.top(x.mean(dim=(2, 3)) * self.scale)

    def top(self, x):
        return x


class Plain(Scaled):
    def __init__(self):
        super().__init__()
        self.w = torch.randn(3, 3)

    def top(self, x):
        return x @ self.w


class InList(Scaled):
    def __init__(self):
        super().__init__()
        self.heads = [nn.Linear(3, 3)]

    def top(self, x):
        return self.heads[0](x)


class MadeInForward(Scaled):
    def top(self, x):
        if not hasattr(self, "head"):
            self.head = nn.Linear(3, 3)
        return self.head(x)


class CachedBefore(Scaled):
    def __init__(self):
        super().__init__()
        self.factor = None

    def load(self):
        self.factor = self.scale.detach().clone()
        super().load()

    def top(self, x):
        return x * self.factor


class Dropping(Scaled):
    def top(self, x):
        return nn.functional.dropout(x.repeat(1, 99), training=True)[:, :3]


@pytest.mark.parametrize("network", [Plain, InList, MadeInForward, CachedBefore])
def test_an_answer_that_depends_on_more_than_what_is_loaded_is_told(loaded, network):
    with pytest.raises(HarnessError, match="values that come from no file and are no parameters"):
        loaded(network, asked=True)


@pytest.mark.parametrize("network", [Scaled, Dropping])
def test_an_answer_that_is_the_same_or_random_each_time_is_none_of_these(loaded, network):
    assert loaded(network, asked=True) == "load loaded 1 of 1 tensors"


@pytest.mark.parametrize(
    ("dtype", "by", "hidden"),
    [("float32", 1e-4, False), ("float32", 0.01, True), ("bfloat16", 0.01, False)],
)
def test_rounding_is_no_other_answer(dtype, by, hidden):
    answer = np.array([[3.0, -1.0]], np.float32)
    pair, others = [answer] * 2, [answer * (1 + by)] * 2
    assert verification._hidden(pair, others, {"w": f"{dtype}:0"}) is hidden
    assert not verification._hidden([], others, {})  # it failed


def test_loading_a_part_names_the_rest(loaded):
    with pytest.raises(HarnessError, match="it loaded nothing into 7 of 11 tensors"):
        loaded(BodyAlone)


@pytest.mark.parametrize("network", [WrongPrefix, EncoderPrefix, Swallows])
def test_a_method_that_loads_nothing_is_told(loaded, network):
    with pytest.raises(HarnessError, match=r"weights\.method = 'load': it left every weight as it"):
        loaded(network)


@pytest.mark.parametrize("missing", [[], ["gamma"], ["norm.running_mean", "norm.running_var"]])
def test_a_file_is_held_to_the_same(loaded, tmp_path, missing):
    state = {key: value for key, value in trained().items() if key not in missing}
    torch.save(state, tmp_path / "net.pth")
    text = '[weights]\nfile = "net.pth"\n'
    if missing:
        with pytest.raises(HarnessError, match=f"nothing into .*{missing[0]}"):
            loaded(Net, text)
    said = loaded(Net, f"{text}missing = {missing}\n")
    assert said.startswith(f"net.pth loaded {11 - len(missing)} of 11 tensors")


def test_counters_and_indices_need_not_be_in_a_file(loaded, tmp_path):
    """They are the same whenever the network is built, and nothing is learned in them."""
    torch.save(trained("norm.num_batches_tracked", "index"), tmp_path / "net.pth")
    assert "11 of 11 tensors" in loaded(Net, '[weights]\nfile = "net.pth"\n')


def test_a_hook_that_lets_a_file_pass_does_not_hide_what_it_lacks(loaded, tmp_path):
    torch.save(trained("head.weight"), tmp_path / "net.pth")
    with pytest.raises(HarnessError, match=r"nothing into 1 of 11 tensors \(head\.weight\)"):
        loaded(Hooked, '[weights]\nfile = "net.pth"\n')


def whole():
    made = Net()
    made.load()
    return made


def in_two_steps():
    """The body comes with weights of its own, and all is loaded after that."""
    made = Net()
    made.body.load_state_dict(nn.Conv2d(3, 4, 1).state_dict())
    made.load()
    return made


def in_parts():
    made = Net()
    for name, part in made.named_children():
        saved = {k[len(name) + 1 :]: v for k, v in trained().items() if k.startswith(f"{name}.")}
        part.load_state_dict(saved)
    return made


def with_random_head():
    made = whole()
    made.head = nn.Linear(4, 3)
    return made


def filling_in():
    made = FillsIn()
    made.load()
    return made


def without_statistics():
    made = WithoutStatistics()
    made.load()
    return made


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (whole, ""),
        (in_two_steps, ""),
        (in_parts, ""),  # what nobody loads and is a constant is part of the code
        (with_random_head, "head.weight, head.bias"),
        (filling_in, "head.weight, head.bias"),
        (without_statistics, "norm.running_mean, norm.running_var"),
    ],
)
def test_a_function_that_loads_weights_itself_is_held_to_the_same(loaded, network, names):
    if names:
        with pytest.raises(HarnessError, match=rf"2 of 11 tensors \({names}\) come from no file"):
            loaded(network, "")
    missing = '[weights]\nmissing = ["head.*", "norm.running_*"]\n'
    assert loaded(network, missing if names else "") == ""


SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 2.0))
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3)) * self.scale)

    def load_weights(self, path):
        own = self.state_dict()
        own.update(torch.load(path))
        self.load_state_dict(own)

class Softmax(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight.data = 9 * torch.eye(3)
        self.to(getattr(torch, dtype))

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3))).softmax(dim=1)

class Configured(Net):
    pretrained_cfg = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""


class Made:
    """A model made of a TOML file in a folder, in processes of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "net.py").write_text(SOURCE)

    def description(self, text):
        path = self.folder / "net.toml"
        lines = TEXT.strip().splitlines()
        given = {line.split(" =")[0] for line in text.splitlines()}
        kept = [line for line in lines if line.split(" =")[0] not in given]
        path.write_text("\n".join([*kept, text]) + "\n")
        return describe(path, tomllib.loads(path.read_text()))

    def model(self, text):
        path = self.description(text).path
        (model,) = read(path, tomllib.loads(path.read_text()))
        return model

    def fit(self, text):
        description, model = self.description(text), self.model(text)
        said = []
        context = FitContext(
            seed=0,
            classes=description.classes,
            settings=model.execution,
            folder=self.folder,
            say=said.append,
        )
        return model.fit(None, None, context), said


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def test_in_processes_a_network_that_fills_in_its_own_weights_is_refused(made):
    torch.save({"scale": torch.ones(1)}, made.folder / "w.pth")
    text = '[weights]\nmethod = "load_weights"\narguments = { path = "w.pth" }\n'
    with pytest.raises(HarnessError, match=r"2 of 3 tensors \(head\.weight, head\.bias\)"):
        made.fit(text)
    torch.manual_seed(3)
    state = {"scale": torch.ones(1), **nn.Linear(3, 3).state_dict(prefix="head.")}
    torch.save(state, made.folder / "w.pth")
    classifier, said = made.fit(text)
    assert said == ["net: load_weights loaded 3 of 3 tensors"]
    patches = np.full((2, 4, 4, 3), 255, np.uint8)
    with torch.no_grad():
        expected = nn.functional.linear(torch.ones(3), state["head.weight"], state["head.bias"])
    np.testing.assert_allclose(classifier.logits(patches), expected.expand(2, 3), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_softmax_at_the_end_is_noticed_in_any_precision_and_can_be_declared(made, dtype):
    text = f'network = "net:Softmax"\narguments = {{ dtype = "{dtype}" }}\n'
    patches = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    classifier, _ = made.fit(text)
    returned = classifier.logits(patches)
    assert "look like probabilities" in doubt(returned)
    declared = made.model('outputs = "probabilities"\n' + text)
    assert kind_of(declared, classifier) == "probabilities"
    stored = as_stored("net", "probabilities", returned, 20, 3)
    logits = 9 * patches.astype(float).mean(axis=(1, 2)) / 255
    tolerance = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.15}[dtype]
    centered = [values - values.mean(axis=1, keepdims=True) for values in (stored, logits)]
    np.testing.assert_allclose(*centered, atol=tolerance)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", True),
        ("[input]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n", True),
        ("[input]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n", False),
        (
            "[input]\nrange = [0, 255]\nmean = [123.675, 116.28, 103.53]\n"
            "std = [58.395, 57.12, 57.375]\n",
            False,
        ),
    ],
)
def test_what_the_network_itself_says_of_its_input_is_compared(made, text, told):
    torch.save(Net_state(), made.folder / "w.pth")
    _, said = made.fit(f'network = "net:Configured"\n[weights]\nfile = "w.pth"\n{text}')
    warned = [line for line in said if line.startswith("WARNING")]
    assert len(warned) == told
    assert all("mean = [0.485, 0.456, 0.406]" in line for line in warned)


def Net_state():  # noqa: N802
    return {"scale": torch.ones(1), **nn.Linear(3, 3).state_dict(prefix="head.")}


def arrays():
    return {name: value.numpy() for name, value in Net_state().items()}


class Unsafe:
    """Runs a command when it is read without care."""

    def __reduce__(self):
        return os.system, ("touch harm",)


ARGS = argparse.Namespace(lr=0.1)
FILES = {
    "args": ({"model": Net_state(), "args": ARGS}, "model"),
    "args, no key": ({"model": Net_state(), "args": ARGS}, ""),
    "nested": (
        {"epoch": 3, "model": {"state_dict": Net_state(), "args": ARGS}},
        "model.state_dict",
    ),
    "lightning": ({"state_dict": Net_state(), "hyper_parameters": ARGS, "epoch": 1}, "state_dict"),
    "lightning, no key": ({"state_dict": Net_state(), "hyper_parameters": ARGS}, ""),
    "wrong key": ({"state_dict": Net_state(), "args": ARGS}, "model"),
    "arrays": (arrays(), ""),
    "arrays under a key": ({"params": arrays()}, "params"),
    "arrays under no key": ({"params": arrays(), "step": np.float64(3)}, ""),
}


def advised(error, folder):
    """Runs the command that an error advises; what it says about the TOML file."""
    text = str(error)
    assert "\n" not in text
    (command,) = re.findall(r"with the command (.*) and say file = ", text)
    assert command.count(str(folder)) >= 2
    subprocess.run(command, shell=True, check=True, cwd="/", env={**os.environ, "PATH": "/bin"})
    (name,) = re.findall(r'and say file = "(.*?)" in \[weights\]', text)
    assert ("and remove key" in text) == ("key" in (folder / "net.toml").read_text())
    return name


@pytest.mark.parametrize("name", FILES)
def test_the_advice_about_unsafe_files_works_as_it_is_printed(made, name):
    saved, key = FILES[name]
    folder = made.folder / "it's a folder"
    folder.mkdir()
    torch.save(saved, folder / "w 1.pth")
    wanted = '[weights]\nfile = "it\'s a folder/w 1.pth"\n'
    description = made.description(wanted + (f'key = "{key}"\n' if key else ""))
    with pytest.raises(HarnessError, match="holds more than tensors, numbers and texts") as caught:
        Worker(description, description.execution)
    assert ("weights.key = 'model' is not in it" in str(caught.value)) == (name == "wrong key")
    new = advised(caught.value, made.folder)
    assert new == "it's a folder/w 1-tensors.pth"
    classifier = Worker(made.description(f'[weights]\nfile = "{new}"\n'), description.execution)
    state = torch.load(made.folder / new, weights_only=True)
    found = [v for v in (saved, *saved.values()) if isinstance(v, dict)]
    expected = next(v for v in (*found, *(d.get("state_dict", {}) for d in found)) if "scale" in v)
    for key_, value in expected.items():
        assert torch.equal(state[key_], torch.as_tensor(value))
    classifier.close()


def test_a_whole_network_that_was_saved_is_advised_too(made):
    code = "import torch, net; torch.manual_seed(0); torch.save({}, 'w.pth')"
    for saved, key in (("net.Net()", ""), ("{'net': net.Net(), 'epoch': 3}", "net")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(saved)], cwd=made.folder, check=True
        )
        assert done.returncode == 0
        text = '[weights]\nfile = "w.pth"\n' + (f'key = "{key}"\n' if key else "")
        description = made.description(text)
        with pytest.raises(HarnessError, match=r"holds more .*\(net\.Net\)") as caught:
            Worker(description, description.execution)
        assert "state_dict()" in str(caught.value)
        new = advised(caught.value, made.folder)
        assert set(torch.load(made.folder / new, weights_only=True)) == set(Net_state())


def test_looking_into_a_file_runs_nothing_of_it(made, monkeypatch):
    monkeypatch.chdir(made.folder)
    torch.save({"a": Unsafe(), "net": Net_state(), "more": [Unsafe(), {Unsafe()}]}, "w.pth")
    assert list(state_dicts(content(Path("w.pth")))) == [(3, ("net",))]
    assert not (made.folder / "harm").exists()


@pytest.mark.parametrize("how", ["old", "pickle", "cut", "absent"])
def test_of_what_cannot_be_looked_into_the_key_is_believed(made, how):
    path = made.folder / "w.pth"
    saved = {"model": Net_state(), "args": ARGS}
    if how == "old":
        torch.save(saved, path, _use_new_zipfile_serialization=False)
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"model": arrays(), "args": ARGS}))
    elif how == "cut":
        torch.save(saved, path)
        path.write_bytes(path.read_bytes()[:100])
    description = made.description('[weights]\nfile = "w.pth"\nkey = "model"\n')
    error = HarnessError(unsafe_file(description, sys.executable, "argparse.Namespace"))
    assert '["model"]; s = s.state_dict() if' in str(error)
    if how == "old":
        new = advised(error, made.folder)
        assert set(torch.load(made.folder / new, weights_only=True)) == set(Net_state())


MORE = """
import copy
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).mean(dim=(2, 3)))

    def load_whole(self):
        self.load_state_dict(torch.load("w.pth"))

    def load_and_new_head(self):
        self.load_whole()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def load_and_constant_head(self):
        self.load_whole()
        self.head = nn.Linear(4, 3)
        nn.init.constant_(self.head.weight, 0.5)
        nn.init.zeros_(self.head.bias)

def whole():
    net = Net()
    net.load_whole()
    return net

def whole_after_a_seed():
    torch.manual_seed(1)
    return whole()

def parameters_alone():
    net, saved = Net(), torch.load("w.pth")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(saved[name])
    return net

def copied_before():
    net = Net()
    own = copy.deepcopy(net.state_dict())
    own.update({k: v for k, v in torch.load("w.pth").items() if "running" not in k})
    net.load_state_dict(own)
    return net

def seeded_head():
    torch.manual_seed(42)
    net = Net()
    saved = torch.load("w.pth")
    net.body.load_state_dict({k[5:]: v for k, v in saved.items() if k.startswith("body.")})
    return net

def seeded():
    torch.manual_seed(42)
    return Net()

def other_norm():
    net = whole()
    net.body[1] = nn.BatchNorm2d(4)
    return net
"""


@pytest.fixture
def more(made):
    """The same, with the networks above and weights of all their tensors."""
    (made.folder / "more.py").write_text(MORE)
    body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).state_dict(prefix="body.")
    state = {**body, **nn.Linear(4, 3).state_dict(prefix="head.")}
    torch.save({k: v + 1 for k, v in state.items()}, made.folder / "w.pth")
    return made


@pytest.mark.parametrize(
    ("network", "method", "names"),
    [
        ("parameters_alone", "", "body.1.running_mean, body.1.running_var"),
        ("copied_before", "", "body.1.running_mean, body.1.running_var"),
        ("seeded_head", "", "head.weight, head.bias"),
        ("seeded", "", "body.0.weight, body.0.bias, body.1.weight, body.1.bias, "),
        ("other_norm", "", "body.1.weight, body.1.bias, body.1.running_mean, body.1.running_var"),
        ("Net", "load_and_new_head", "head.weight, head.bias"),
        ("Net", "load_and_constant_head", "head.weight, head.bias"),
    ],
)
def test_what_a_seed_or_a_constant_makes_the_same_each_time_is_not_loaded(
    network, method, names, more
):
    text = f'network = "more:{network}"\n'
    text += f'[weights]\nmethod = "{method}"\n' if method else ""
    with pytest.raises(HarnessError, match=re.escape(f"tensors ({names}")):
        more.fit(text)


@pytest.mark.parametrize(
    ("network", "method"), [("whole", ""), ("whole_after_a_seed", ""), ("Net", "load_whole")]
)
def test_seeds_and_constants_do_not_matter_where_all_is_loaded(network, method, more):
    text = f'network = "more:{network}"\n'
    text += f'[weights]\nmethod = "{method}"\n' if method else ""
    _, said = more.fit(text)
    assert said == (["net: load_whole loaded 9 of 9 tensors"] if method else [])
