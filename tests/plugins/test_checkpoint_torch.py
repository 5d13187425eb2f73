"""Trained torch models from a TOML file: in real processes, on real patches, and when they fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from harness import FitContext, HarnessError  # noqa: E402
from harness.store.store import Store  # noqa: E402
from harness.store.stored import load_array  # noqa: E402
from harness_checkpoint import read  # noqa: E402
from harness_checkpoint.classifier import SAVED, Worker  # noqa: E402
from harness_perturbations import harness_perturbations  # noqa: E402

STANDIN = Path(__file__).with_name("deepcmorph") / "model.py"
CRC = "pretrained_models/DeepCMorph_NCT_CRC_HE_Dataset_9_classes_acc_9699.pth"
DOCUMENTED = re.findall(
    r"```toml\n(.*?)```",
    (Path(__file__).parents[2] / "docs/how-to/deepcmorph.md").read_text(encoding="utf-8"),
    re.DOTALL,
)
"""The TOML files of the documentation: DeepCMorph and a network of torchvision."""

NET = r"""
import os, sys, time
import torch

class Net(torch.nn.Module):
    '''Mean colors; fails as it is told to.'''

    def __init__(self, mode="", classes=3):
        super().__init__()
        self.mode = mode
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.classes = classes

    def forward(self, x):
        assert x.dtype == self.scale.dtype and x.shape[1] == 3 and x.is_contiguous()
        if self.mode == "memory":
            torch.empty(2 ** 50)
        out = x.mean(dim=(2, 3)) * self.scale
        if self.mode == "crash":
            print("\x1b[31mabout to crash\x1b[0m")
            os._exit(7)
        if self.mode == "raise":
            raise RuntimeError("told to\n\x1b[1mfail\x1b[0m")
        if self.mode == "exit":
            sys.exit(3)
        if self.mode == "nan":
            out = out / 0 * 0
        if self.mode == "wide":
            out = torch.cat([out, out], dim=1)
        if self.mode == "tuple":
            return out, out
        if self.mode == "chatty":
            sys.stdout.write("x" * 5_000_000)
            os.write(1, b"y" * 5_000_000 + b"\n")
        if self.mode == "forks":
            os.fork()
        if self.mode == "writes":
            for number in range(3, 64):
                try:
                    os.write(number, b'{"bytes": 0, "number": 1}\n')
                except OSError:
                    pass
        if self.mode == "input":
            input()
        if self.mode == "sleep" and x.shape[2] == 8:  # not when it is looked at before
            time.sleep(600)
        return out + float(os.environ.get("NET_SHIFT", "0"))

    def load_nothing(self):
        pass

    def load_part(self, path):
        state = torch.load(path)
        torch.nn.DataParallel(self).load_state_dict({"module." + k: v for k, v in state.items()},
                                                    strict=False)

    def load_same(self):
        self.load_state_dict(self.state_dict())

    def load_around(self):
        self.scale.data.copy_(torch.tensor([1., 2., 3.]))

class Wide(Net):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3)

def half():
    return Net().half()

def old_torch():
    load = torch.load
    torch.load = lambda path, map_location=None: load(path)
    return Net()

def not_a_network():
    return 5
"""
RGB = """
kind = "torch-checkpoint"
name = "net"
folder = "code"
network = "worker:Net"
classes = ["red", "green", "blue"]
trained_on = "unknown"
device = "cpu"
files = []
"""
"""Its module is called like the script that imports it, which must not be mistaken for it."""


def context(folder, settings, classes=("red", "green", "blue")):
    said = []
    made = FitContext(
        seed=0,
        classes=classes,
        settings=settings,
        folder=folder,
        say=lambda line: said.append(line),
    )
    return made, said


class Made:
    """A model made of a TOML file in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "code").mkdir()
        (folder / "code/worker.py").write_text(NET)
        self.said = []

    def model(self, text="", network="worker:Net"):
        path = self.folder / "net.toml"
        given = RGB.replace("worker:Net", network)
        if "files" in text or "file " in text:
            given = given.replace("files = []\n", "")
        path.write_text(given + text)
        (model,) = read(path, tomllib.loads(path.read_text()))
        return model

    def __call__(self, text="", classes=("red", "green", "blue"), network="worker:Net", **settings):
        """A fitted classifier."""
        model = self.model(text, network)
        made, self.said = context(self.folder, {**model.execution, **settings}, classes)
        return model.fit(None, None, made)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


@pytest.fixture
def patches():
    return np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3), np.uint8)


def means(patches):
    return patches.astype(np.float64).mean(axis=(1, 2)) / 255


def test_logits_are_those_of_the_network_whatever_the_batches(made, patches):
    classifier = made("batch_size = 2\n")
    logits = classifier.logits(patches)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, means(patches), atol=1e-6)
    flipped = classifier.logits(patches[::-1, :, ::-1])
    np.testing.assert_allclose(flipped, means(patches)[::-1], atol=1e-6)
    single = np.concatenate([classifier.logits(patches[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(single, logits, atol=1e-6)
    assert classifier.logits(patches[:0]).shape == (0, 3)


def test_outputs_are_matched_to_classes_by_name(made, patches):
    logits = made(classes=("blue", "red", "green")).logits(patches)
    np.testing.assert_allclose(logits, means(patches)[:, [2, 0, 1]], atol=1e-6)
    with pytest.raises(HarnessError, match=r"classes are red, green, blue, but .* are ADI, TUM;"):
        made(classes=("ADI", "TUM"))


def test_patches_are_prepared_as_the_file_says(made, patches):
    text = '[input]\nrange = [0, 255]\nchannels = "BGR"\nmean = [1, 2, 3]\nstd = [1, 10, 100]\n'
    expected = (255 * means(patches)[:, ::-1] - [1, 2, 3]) / [1, 10, 100]
    np.testing.assert_allclose(made(text).logits(patches), expected, rtol=1e-4)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_patches_are_resized_as_pillow_does(made, patches, interpolation):
    image = pytest.importorskip("PIL.Image")
    how = getattr(image.Resampling, interpolation.upper())
    resized = np.stack([np.asarray(image.fromarray(p).resize((7, 7), how)) for p in patches])
    text = f'[input]\nrange = [0, 255]\nsize = 7\ninterpolation = "{interpolation}"\n'
    # Pillow computes in fixed point: some pixels differ by 1, and so their means by little.
    expected = 255 * means(resized)
    np.testing.assert_allclose(made(text).logits(patches), expected, atol=0.15)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("crash", r"ended \(exit code 7\); .*the last line printed: about to crash"),
        ("raise", r"the network raised RuntimeError: told to fail; check \[input\]"),
        ("exit", "the network raised SystemExit: 3"),
        ("nan", "logits that are not finite"),
        ("memory", "the network raised RuntimeError: .*; set a batch_size below 32"),
        ("wide", r"an output of shape \(5, 6\) where \(5, 3\) is expected for 5 patches"),
        ("tuple", "an output of type tuple"),
        ("input", "the network raised EOFError"),
        ("writes", "answered is not what it was asked"),
    ],
)
def test_a_model_that_fails_is_told_in_one_line(made, patches, mode, message):
    classifier = made(f'arguments = {{ mode = "{mode}" }}\n')
    with pytest.raises(HarnessError, match=message) as caught:
        classifier.logits(patches)
    assert str(caught.value).startswith(str(made.folder / "net.toml"))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    if mode == "raise":  # where it failed is in the details
        assert "in forward" in "".join(caught.value.__notes__)


def test_what_it_prints_does_no_harm(made, patches):
    classifier = made('arguments = { mode = "chatty" }\n')
    np.testing.assert_allclose(classifier.logits(patches), means(patches), atol=1e-6)
    assert len(classifier.worker().tail) <= 65536


@pytest.mark.skipif(os.name != "posix", reason="no fork")
def test_a_network_that_forks_answers_once(made, patches):
    classifier = made('arguments = { mode = "forks" }\n')
    for part in (patches, patches[::-1], patches[:2]):
        np.testing.assert_allclose(classifier.logits(part), means(part), atol=1e-6)


def test_after_a_failure_the_next_call_starts_anew(made, patches):
    classifier = made()
    classifier.worker().process.kill()
    with pytest.raises(HarnessError, match="signal 9, perhaps out of memory"):
        classifier.logits(patches)
    np.testing.assert_allclose(classifier.logits(patches), means(patches), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('network = "worker:Nett"', "there is no Nett in worker; did you mean Net"),
        ('network = "nowhere:Net"', r"cannot be imported \(ModuleNotFoundError: .*; check folder"),
        ('network = "worker:not_a_network"', "made a int, not a torch.nn.Module"),
        ("arguments = { depth = 5 }", "raised TypeError: .*'depth'.*; correct arguments"),
        ('device = "cuda:99"', "device = 'cuda:99': not on this machine; use cpu"),
        ('[weights]\nmethod = "load_nothin"', "no such method; did you mean load_nothing"),
        ('[weights]\nmethod = "load_nothing"', "left every weight as it was"),
        ('python = "~nosuch/python"', "python = '~nosuch/python': .*; correct the path"),
        ('python = "a\\u0000/b"', "python = .*: has a zero byte; correct the path"),
        (
            '[weights]\nmethod = "load_part"\narguments = { path = "absent.pth" }',
            "raised FileNotFoundError: .*absent.pth.*put the weights where",
        ),
    ],
)
def test_a_model_that_cannot_be_made_is_told_in_one_line(made, text, message):
    key = text.split(" ")[0]
    lines = [line for line in RGB.splitlines() if line.split(" ")[0] != key]
    path = made.folder / "net.toml"
    path.write_text("\n".join([*lines, text]))
    (model,) = read(path, tomllib.loads(path.read_text()))
    given, _ = context(made.folder, model.execution)
    with pytest.raises(HarnessError, match=message) as caught:
        model.fit(None, None, given)
    assert "\n" not in str(caught.value)


STATE = {"scale": torch.tensor([1.0, 2.0, 3.0])}


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (STATE, ""),
        ({"epoch": 3, "model": {"state_dict": STATE}}, 'key = "model.state_dict"\n'),
        (
            {"state_dict": {"module.scale": STATE["scale"], "loss.weight": torch.ones(1)}},
            'key = "state_dict"\nprefix = "module."\n',
        ),
    ],
)
def test_weights_are_read_from_a_file(made, patches, content, more):
    torch.save(content, made.folder / "net.pth")
    classifier = made(f'[weights]\nfile = "net.pth"\n{more}')
    np.testing.assert_allclose(
        classifier.logits(patches), means(patches) * [1, 2, 3], atol=1e-6, rtol=1e-6
    )
    assert made.said == ["net: net.pth loaded 1 of 1 tensors"]


def test_weights_are_loaded_by_a_method(made, patches):
    logits = made('[weights]\nmethod = "load_around"\n').logits(patches)
    np.testing.assert_allclose(logits, means(patches) * [1, 2, 3], rtol=1e-5)
    assert made.said == ["net: load_around loaded 1 of 1 tensors"]
    with pytest.raises(HarnessError, match="'load_same': it left every weight as it was"):
        made('[weights]\nmethod = "load_same"\n')


def test_inputs_have_the_dtype_of_the_network(made, patches):
    logits = made(network="worker:half").logits(patches)
    np.testing.assert_allclose(logits, means(patches), atol=2e-3)


def test_an_installed_network_may_stand_beside_a_folder(made, patches):
    classifier = made("[input]\nsize = 1\n", network="torch.nn:Flatten")
    classifier.save(made.folder)
    np.testing.assert_allclose(classifier.logits(patches), means(patches), atol=0.05)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_torchscript_is_run_as_a_network(made, patches):
    path = made.folder / "net.pt"
    pooled = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.save(torch.jit.script(pooled), path)
    with pytest.raises(HarnessError, match="is TorchScript; remove") as caught:
        made('[weights]\nfile = "net.pt"\n')
    keys = re.findall(r"(arguments = {.*?}|files = \[.*?\])", str(caught.value))
    assert 'network = "torch.jit:load"' in str(caught.value)
    logits = made("\n".join(keys) + "\n", network="torch.jit:load").logits(patches)
    np.testing.assert_allclose(logits, means(patches), atol=1e-6)


def test_a_torch_too_old_to_read_with_care_is_told(made):
    torch.save(STATE, made.folder / "net.pth")
    with pytest.raises(HarnessError, match=r"cannot read it .*; install torch 1\.13 or newer for"):
        made('[weights]\nfile = "net.pth"\n', network="worker:old_torch")


def test_weights_are_read_from_safetensors(made, patches):
    pytest.importorskip("safetensors.torch").save_file(STATE, made.folder / "net.safetensors")
    classifier = made('[weights]\nfile = "net.safetensors"\n')
    np.testing.assert_allclose(
        classifier.logits(patches)[:, 2], 3 * means(patches)[:, 2], rtol=1e-5
    )
    (made.folder / "net.safetensors").write_bytes(b"cut short")
    with pytest.raises(HarnessError, match=r"net\.safetensors': cannot be read"):
        made('[weights]\nfile = "net.safetensors"\n')


class Unsafe:
    """Runs a command when it is read without care."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        ({"module.scale": STATE["scale"]}, "", "set weights.prefix = 'module.'"),
        ({"a.b.scale": STATE["scale"]}, 'prefix = "a."', "set weights.prefix = 'a.b.'"),
        ({"a": STATE, "b": 1}, "", "holds a, b, no tensors; set weights.key"),
        ({"a": STATE}, 'key = "b"', "has no 'b'; correct weights.key"),
        (STATE, 'prefix = "module."', "no name starts with 'module.', the first is 'scale'"),
        ({"scale": torch.ones(7)}, "", "does not fit the network .*size mismatch"),
        ({"other": torch.ones(7)}, "", "1 names of the network are not in it .*correct arguments"),
        (
            {"state_dict": STATE, "hparams": Unsafe("touch harm")},
            "",
            r'holds more .*\(posix\.system\), .*torch\.load\("/.*net\.pth", map_location="cpu", '
            r'weights_only=False\)\["state_dict"\]; .* and say file = "net-tensors\.pth" in',
        ),
        (None, "", r"net\.pth: cannot be read as weights: it is a pointer of Git LFS; run git lfs"),
    ],
)
def test_weights_that_do_not_fit_are_told_in_one_line(made, content, more, message):
    if content is None:
        (made.folder / "net.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    else:
        torch.save(content, made.folder / "net.pth")
    with pytest.raises(HarnessError, match=message) as caught:
        made(f'[weights]\nfile = "net.pth"\n{more}\n')
    assert not {"\n", "\x1b"} & set(str(caught.value))
    assert not list(made.folder.rglob("harm"))


PART = 'method = "load_part"\narguments = { path = "../net.pth" }\n'


@pytest.mark.parametrize("how", [PART, 'file = "net.pth"\n'])
def test_weights_that_are_left_out_must_be_named(made, how):
    torch.save(STATE, made.folder / "net.pth")
    with pytest.raises(HarnessError, match=r"2 (of 3 tensors|names) .*head\.weight"):
        made(f"[weights]\n{how}", network="worker:Wide")
    with pytest.raises(HarnessError, match=r"1 (of 3 tensors|names) .*head\.bias"):
        made(f'[weights]\n{how}missing = ["head.weight"]\n', network="worker:Wide")
    made(f'[weights]\n{how}missing = ["head.*"]\n', network="worker:Wide")
    if "method" in how:
        told = "net: load_part loaded 1 of 3 tensors, none into head.weight, head.bias"
        assert made.said == [told]


def test_a_network_of_torchvision_is_described_without_code(tmp_path):
    models = pytest.importorskip("torchvision.models")
    network = models.resnet18(num_classes=9)
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "last.ckpt")
    path = tmp_path / "resnet.toml"
    (model,) = read(path, tomllib.loads(DOCUMENTED[1]))
    classes = tuple(tomllib.loads(DOCUMENTED[1])["classes"])
    settings = {**model.execution, "device": "cpu", "batch_size": 2}
    classifier = model.fit(None, None, context(tmp_path, settings, classes)[0])
    patches = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy((patches / 255 - mean) / std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    np.testing.assert_allclose(classifier.logits(patches), expected, atol=1e-3)
    assert list(tmp_path.iterdir()) == [tmp_path / "last.ckpt"]  # it wrote nothing


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_checkpoint_saved_on_a_gpu_is_loaded_without_one(made, patches):
    registry = list(torch.serialization._package_registry)
    torch.serialization.register_package(0, lambda storage: "cuda:0", lambda storage, place: None)
    try:
        torch.save(STATE, made.folder / "net.pth")
    finally:
        torch.serialization._package_registry[:] = registry
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(made.folder / "net.pth")
    text = '[weights]\nmethod = "load_part"\narguments = { path = "../net.pth" }\n'
    np.testing.assert_allclose(made(text).logits(patches), means(patches) * [1, 2, 3], rtol=1e-5)


def script(path, *lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)


def test_another_interpreter_runs_it(made, patches, monkeypatch):
    script(made.folder / "env/python", f'NET_SHIFT=7 exec "{sys.executable}" "$@"')
    shifted = made('python = "env/python"\n')
    assert made.model('python = "env/python"\n').requires == ()
    np.testing.assert_allclose(shifted.logits(patches), means(patches) + 7, rtol=1e-5)
    np.testing.assert_allclose(made().logits(patches), means(patches), rtol=1e-5)
    monkeypatch.setenv("PATH", f"{made.folder / 'env'}{os.pathsep}{os.environ['PATH']}")
    named = made(python="python")  # looked for as a shell does
    np.testing.assert_allclose(named.logits(patches), means(patches) + 7, rtol=1e-5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f'PYTHONPATH= exec "{sys.executable}" -S "$@"'], "cannot import torch and numpy"),
        (["exit 0"], r"ended \(exit code 0\); correct the model or python"),
        (["echo hello"], r"ended \(exit code 0\)"),
        (["echo no good >&2; exit 1"], "last line printed: no good"),
        (None, "env/python': cannot be started .*No such file"),
    ],
)
def test_an_interpreter_that_will_not_do_is_told(made, lines, message):
    if lines:
        script(made.folder / "env/python", *lines)
    with pytest.raises(HarnessError, match=message) as caught:
        made('python = "env/python"\n')
    assert "\n" not in str(caught.value)


def test_a_saved_model_is_found_again_until_its_files_change(made, patches):
    torch.save(STATE, made.folder / "net.pth")
    text = '[weights]\nfile = "net.pth"\n'
    saved = made.folder / "saved"
    saved.mkdir()
    classifier = made(text, classes=("blue", "red", "green"))
    classifier.save(saved)
    assert [path.name for path in saved.iterdir()] == [SAVED]
    model = made.model(text)
    again = model.load(saved, model.execution)
    assert again._worker is None  # started only when it is needed
    np.testing.assert_array_equal(again.logits(patches), classifier.logits(patches))
    torch.save({"scale": torch.zeros(3)}, made.folder / "net.pth")
    with pytest.raises(HarnessError, match=r"net\.pth: has changed since .*saved was written"):
        model.load(saved, model.execution)
    (made.folder / "net.pth").unlink()
    with pytest.raises(HarnessError, match=r"weights\.file: .*net\.pth: No such file"):
        model.load(saved, model.execution)
    (saved / SAVED).write_text("{")
    with pytest.raises(HarnessError, match=r"cannot be read .*; remove its folder and run again"):
        model.load(saved, model.execution)


def test_the_process_ends_with_its_classifier(made):
    classifier = made()
    process = classifier.worker().process
    assert process.poll() is None
    del classifier
    assert process.poll() == 0


KILLED = """
import sys, tomllib, pathlib, numpy, threading
from harness import FitContext
from harness_checkpoint import read
path = pathlib.Path(sys.argv[1])
(model,) = read(path, tomllib.loads(path.read_text()))
context = FitContext(seed=0, classes=("red", "green", "blue"), settings=model.execution,
                     folder=path.parent)
classifier = model.fit(None, None, context)
print(classifier.worker().process.pid, flush=True)
classifier.logits(numpy.zeros((1, 8, 8, 3), numpy.uint8))
"""


@pytest.mark.skipif(os.name != "posix", reason="asks a process whether it is there by its number")
def test_the_process_ends_when_the_harness_is_killed(made):
    made.model('arguments = { mode = "sleep" }\n')
    harness = subprocess.Popen(
        [sys.executable, "-c", KILLED, made.folder / "net.toml"], stdout=subprocess.PIPE, text=True
    )
    pid = int(harness.stdout.readline())
    os.kill(pid, 0)
    harness.send_signal(signal.SIGKILL)
    harness.communicate()
    for _ in range(1000):
        try:
            os.kill(pid, 0)
            if (
                Path(f"/proc/{pid}/stat").exists()
                and ") Z " in Path(f"/proc/{pid}/stat").read_text()
            ):
                break  # dead, though whoever inherited it has not asked
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("the process outlived the harness")


def test_the_accelerator_is_named_by_the_process(made):
    model = made.model()
    assert model.device(model.execution) == ""
    with pytest.raises(HarnessError, match="batch_size=0: must be"):
        Worker(made().description, {**model.execution, "batch_size": 0})


@pytest.fixture
def deepcmorph(command):
    """The stand-in beside its TOML file, with weights fitted in closed form; runs it."""
    from harness_nct_crc import harness_datasets

    (sample,) = [d for d in harness_datasets() if d.name == "nct-crc-he-sample"]
    train = sample.load(Path()).train
    checkout = command.folder / "DeepCMorph"
    (checkout / CRC).parent.mkdir(parents=True)
    shutil.copy(STANDIN, checkout)
    features = pooled(train.read(range(len(train.labels))))
    # The nearest of the class means is the largest of these linear functions.
    centers = np.stack([features[train.labels == c].mean(axis=0) for c in range(9)])
    state = {
        "module.output_9.weight": torch.from_numpy(2 * centers).float(),
        "module.output_9.bias": torch.from_numpy(-(centers**2).sum(axis=1)).float(),
    }
    torch.save(state, checkout / CRC)
    (command.folder / "deepcmorph.toml").write_text(DOCUMENTED[0])

    def run(*more, code=0, probes=False):
        asked = more if probes else ("--no-probes", *more)
        plugin = ("--plugin", "deepcmorph.toml")
        return command("run", *plugin, "--dataset", "nct-crc-he-sample", *asked, code=code)

    run.folder, run.sample, run.centers = command.folder, sample, centers
    return run


def pooled(patches):
    """What the stand-in sees of patches (B, H, W, 3): (B, 48)."""
    b, h, w, _ = patches.shape
    parts = patches.astype(np.float64).reshape(b, 4, h // 4, 4, w // 4, 3).mean(axis=(2, 4)) / 255
    return parts.transpose(0, 3, 1, 2).reshape(b, -1)


def stored(folder, model, **fields):
    found = []
    for record, place in Store(folder / "runs").each("prediction", "nct-crc-he-sample"):
        if all(record[key] == value for key, value in {"model": model, **fields}.items()):
            found.append((record, load_array(place, "logits.npy")))
    return found


def rows(folder, result):
    board = json.loads((folder / "reports/nct-crc-he-sample.json").read_text())
    return {row["model"]: row for row in board["rows"] if row["result"] == result}


BOTH = ("--model", "deepcmorph", "--model", "deepcmorph+flips")


def test_deepcmorph_stands_beside_its_published_rows(deepcmorph):
    output = deepcmorph(*BOTH, "--perturbation", "hue")
    said = "load_weights loaded 2 of 4 tensors, none into output.weight, output.bias; https://"
    assert said in output
    measured = rows(deepcmorph.folder, "measured")
    assert set(measured) == {"deepcmorph", "deepcmorph+flips"}
    for name, accuracy in (("deepcmorph", 0.969916), ("deepcmorph+flips", 0.972145)):
        row = measured[name]
        assert row["published_accuracy"] == pytest.approx(accuracy)
        assert row["initial_weights"] == Path(CRC).name
        assert row["selected_on"] == "unknown"
        assert row["trained_on"] == "NCT-CRC-HE-100K"
        assert row["n_train"] is None
    ((_, clean),) = stored(deepcmorph.folder, "deepcmorph", perturbation="clean", view="identity")
    test = deepcmorph.sample.load(Path()).test
    features = pooled(test.read(range(len(test.labels))))
    expected = 2 * features @ deepcmorph.centers.T - (deepcmorph.centers**2).sum(axis=1)
    # The network sums thousands of pixels in float32.
    np.testing.assert_allclose(clean, expected, atol=2e-3)
    accuracy = (clean.argmax(axis=1) == test.labels).mean()
    assert accuracy > 0.2  # nine classes: chance is 0.11
    assert measured["deepcmorph"]["accuracy"] == pytest.approx(accuracy)
    levels = {r["level"] for r, _ in stored(deepcmorph.folder, "deepcmorph", perturbation="hue")}
    assert levels == {-20, -10, 10, 20}

    deepcmorph("--model", "deepcmorph", probes=True)
    changed = [
        r["perturbation"] for r, _ in stored(deepcmorph.folder, "deepcmorph", view="identity")
    ]
    assert set(changed) >= {p.name for p in harness_perturbations() if not p.on_request}
    assert changed.count("hue") == 4, "what was stored is not computed again"
    page = deepcmorph.folder / "reports/nct-crc-he-sample-probes.json"
    found = json.loads(page.read_text())["findings"]
    assert all("deepcmorph" in found[probe] for probe in ("robustness", "reliance", "steering"))

    path = deepcmorph.folder / "DeepCMorph" / CRC
    state = torch.load(path)
    torch.save({key: -value for key, value in state.items()}, path)
    deepcmorph("--model", "deepcmorph")
    after = stored(deepcmorph.folder, "deepcmorph", perturbation="clean", view="identity")
    assert len(after) == 2
    assert rows(deepcmorph.folder, "measured")["deepcmorph"]["accuracy"] < 0.1


def test_deepcmorph_that_crashes_costs_only_itself(deepcmorph):
    model = deepcmorph.folder / "DeepCMorph/model.py"
    crash = """\
        self.batches = getattr(self, "batches", 0) + 1
        if self.batches == 3:
            __import__("os")._exit(9)
"""
    model.write_text(
        model.read_text().replace("        assert x.dtype", f"{crash}        assert x.dtype")
    )
    output = deepcmorph("--model", "deepcmorph", "--model", "rgb-means", code=1)
    assert "deepcmorph.toml: the process that runs the model ended (exit code 9)" in output
    assert rows(deepcmorph.folder, "measured")["rgb-means"]["n_test"] == 111


def test_deepcmorph_whose_head_was_left_out_has_no_figures(deepcmorph):
    path = deepcmorph.folder / "DeepCMorph" / CRC
    torch.save({k.replace("_9", ""): value for k, value in torch.load(path).items()}, path)
    output = deepcmorph("--model", "deepcmorph", code=1)
    assert "loaded nothing into 2 of 4 tensors (output_9.weight, output_9.bias)" in output
    assert not rows(deepcmorph.folder, "measured")


def test_deepcmorph_without_its_weights_says_where_they_belong(deepcmorph):
    (deepcmorph.folder / "DeepCMorph" / CRC).unlink()
    output = deepcmorph("--model", "deepcmorph", "--model", "rgb-means", code=1)
    assert f"{CRC}: No such file or directory; put it there or correct the path" in output
