"""What the plugin contributes, what it imports, and what it says of settings that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import harness_timm
from harness import HarnessError
from harness.types.options import defaults
from harness_timm.recipe import DEMO, EXECUTION, SETTINGS, Recipe, torch_device


def run_python(code, **environment):
    paths = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_two_models_with_the_published_defaults():
    models = {model.name: model for model in harness_timm.harness_models()}
    for pool in ("avg", "max"):
        model = models[f"efficientnet-b0-{pool}"]
        assert model.selects
        assert dict(model.settings) == {
            "epochs": 100,
            "batch_size": 48,
            "image_size": 224,
            "learning_rate": 5e-4,
            "weight_decay": 1e-6,
            "step_size": 5,
            "gamma": 0.75,
            "precision": "float32",
        }
        assert dict(model.execution) == {
            "weights": "hub",
            "device": "auto",
            "workers": 0,
            "on_device": False,
        }
        # A demo may be shorter and smaller, and is otherwise the published recipe.
        assert set(model.demo_settings) <= {"epochs", "batch_size", "image_size"}


@pytest.mark.parametrize(
    "code",
    [
        "import harness_timm as e; list(e.harness_models())",
        "import harness_timm as e; m = next(iter(e.harness_models())); "
        "m.initial_weights({'weights': 'hub'})",
    ],
    ids=["description", "initial_weights"],
)
def test_no_torch_before_a_fit(code, tmp_path):
    pytest.importorskip("huggingface_hub")
    check = (
        ";import sys; heavy = {'torch', 'timm', 'cv2', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = run_python(code + check, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr


def test_defaults_and_demo_settings_are_valid():
    recipe = Recipe.of({})
    assert vars(recipe) == defaults({**SETTINGS, **EXECUTION})
    assert Recipe.of(DEMO).epochs == DEMO["epochs"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", -3, "at least 1"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("batch_size", 1, "at least 2"),
        ("image_size", 31, "at least 32"),
        ("step_size", 0, "at least 1"),
        ("workers", -1, "at least 0"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "above 0"),
        ("learning_rate", "fast", "a number"),
        ("weight_decay", -1e-6, "at least 0"),
        ("gamma", 0.0, "above 0 and at most 1"),
        ("gamma", 1.1, "above 0 and at most 1"),
        ("precision", "float16", "float32 or bfloat16"),
        ("weights", "", "a text"),
        ("device", 0, "a text"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_is_allowed(name, value, allowed):
    with pytest.raises(HarnessError, match=f"setting {name}=.*{allowed}"):
        Recipe.of({name: value})


def test_an_unknown_setting_is_named():
    with pytest.raises(HarnessError, match=r"unknown setting 'epoch'; .*epochs"):
        Recipe.of({"epoch": 3})


def test_edges_of_what_is_allowed():
    edges = {
        "epochs": 1,
        "batch_size": 2,
        "image_size": 32,
        "step_size": 1,
        "gamma": 1,
        "weight_decay": 0,
        "learning_rate": 1,
        "precision": "bfloat16",
    }
    assert {name: getattr(Recipe.of(edges), name) for name in edges} == edges


def test_the_learning_rate_is_that_of_steplr():
    torch = pytest.importorskip("torch")
    recipe = Recipe.of({})
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=5e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.75)
    for epoch in range(23):
        assert recipe.rate(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "mps", "CPU", "cuda:-1"])
def test_a_device_that_is_not_there_is_an_error(name):
    pytest.importorskip("torch")
    with pytest.raises(HarnessError, match=rf"setting device={name}: .*use auto or cpu"):
        torch_device(name)


def test_the_cpu_is_always_there():
    pytest.importorskip("torch")
    assert torch_device("cpu").type == "cpu"
    model = next(iter(harness_timm.harness_models()))
    assert model.device({"device": "cpu"}) == ""


def test_a_machine_without_cuda_falls_back_to_its_cpu():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        assert torch_device("auto").type == "cuda"
    else:
        assert torch_device("auto").type == "cpu"
        with pytest.raises(HarnessError, match="setting device=cuda: not on this machine"):
            torch_device("cuda")
