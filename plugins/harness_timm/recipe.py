"""The settings: the published recipe, what may deviate from it, and checks that name the culprit.

The defaults are those of Ignatov and Malivenko, arXiv:2409.11546.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness import HarnessError, Setting

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16")
REQUIRES = ("torch", "timm", "safetensors", "huggingface_hub")
INSTALL = "pip install 'histo-harness[torch]'"

SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "epochs": 100,
        "batch_size": 48,
        "image_size": 224,
        "learning_rate": 5e-4,
        "weight_decay": 1e-6,
        "step_size": 5,
        "gamma": 0.75,
        "precision": "float32",
    }
)
EXECUTION: Mapping[str, Setting] = MappingProxyType(
    {
        "weights": "hub",  # the key of a result has the digest of the weights that this leads to
        "device": "auto",
        "workers": 0,
    }
)
DEMO: Mapping[str, Setting] = MappingProxyType({"epochs": 8, "batch_size": 16, "image_size": 64})
"""For a few hundred patches on a laptop's processor."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Checked settings.

    The learning rate is multiplied by ``gamma`` every ``step_size`` epochs. ``image_size`` is the
    side, in pixels, that patches are resized to. ``precision`` is "float32" or "bfloat16"
    (autocast: weights stay float32); in float32, CUDA does convolutions in TF32, PyTorch's default.
    ``weights`` is "hub", "random" or the path of a .safetensors file. ``workers`` is the number of
    reading threads, 0 for one per core.
    """

    epochs: int
    batch_size: int
    image_size: int
    learning_rate: float
    weight_decay: float
    step_size: int
    gamma: float
    precision: str
    weights: str
    device: str
    workers: int

    @classmethod
    def of(cls, settings: Mapping[str, Setting]) -> Recipe:
        """Check settings, filling in defaults.

        Raises HarnessError naming the setting and what it may be. Whether the device is there is
        ``torch_device``'s to say.
        """
        given: dict[str, Any] = {**SETTINGS, **EXECUTION, **settings}
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise HarnessError(
                f"unknown setting {min(unknown)!r}; there is {', '.join([*SETTINGS, *EXECUTION])}"
            )
        _check_whole(given, "epochs", 1)
        # Batch normalization needs two patches to have a variance.
        _check_whole(given, "batch_size", 2)
        # Below 32 pixels nothing is left after the network's five halvings.
        _check_whole(given, "image_size", 32)
        _check_whole(given, "step_size", 1)
        _check_whole(given, "workers", 0)
        _check_number(given, "learning_rate", "above 0", lambda x: x > 0)
        _check_number(given, "weight_decay", "0 or above", lambda x: x >= 0)
        _check_number(given, "gamma", "above 0 and at most 1", lambda x: 0 < x <= 1)
        if given["precision"] not in PRECISIONS:
            raise _wrong(given, "precision", " or ".join(PRECISIONS))
        for name in ("weights", "device"):
            if not isinstance(given[name], str) or not given[name]:
                raise _wrong(given, name, "a text")
        return cls(**given)

    def rate(self, epoch: int) -> float:
        """Learning rate in an epoch, counted from 0: PyTorch's StepLR."""
        return self.learning_rate * self.gamma ** (epoch // self.step_size)


def torch_device(name: str) -> torch.device:
    """The device called "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises HarnessError when this machine has no such device.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if name in ("auto", "cuda") and count:
        return torch.device("cuda", torch.cuda.current_device())
    if name in [f"cuda:{number}" for number in range(count)]:
        return torch.device(name)
    there = ["auto", "cpu", *["cuda"][:count], *[f"cuda:{number}" for number in range(count)]]
    raise HarnessError(f"setting device={name}: not on this machine; use {' or '.join(there)}")


def accelerator(name: str) -> str:
    """Name of the accelerator that ``torch_device(name)`` is; "" when it is the CPU."""
    device = torch_device(name)
    if device.type == "cpu":
        return ""
    import torch

    return str(torch.cuda.get_device_name(device))


def _check_whole(given: Mapping[str, Any], name: str, least: int) -> None:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(given, name, f"a whole number, at least {least}")


def _check_number(given: Mapping[str, Any], name: str, allowed: str, ok: Any) -> None:
    value = given[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not ok(value):
        raise _wrong(given, name, f"a number, {allowed}")


def _wrong(given: Mapping[str, Any], name: str, allowed: str) -> HarnessError:
    return HarnessError(f"setting {name}={given[name]}: must be {allowed}")
