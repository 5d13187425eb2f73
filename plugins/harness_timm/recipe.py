"""The settings: the published recipe, what may deviate from it, and checks that name the culprit.

The defaults are those of Ignatov and Malivenko, arXiv:2409.11546.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness import HarnessError, Option, Setting
from harness.types.options import check, defaults

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16")
REQUIRES = ("torch", "timm", "safetensors", "huggingface_hub")
INSTALL = "pip install 'histo-harness[torch]'"

SETTINGS: Mapping[str, Option] = MappingProxyType(
    {
        "epochs": Option(100, ge=1, help="passes over the training patches"),
        # Batch normalization needs two patches to have a variance.
        "batch_size": Option(48, ge=2, help="patches of a step"),
        # Below 32 pixels nothing is left after the network's five halvings.
        "image_size": Option(224, ge=32, help="side, in pixels, that patches are resized to"),
        "learning_rate": Option(5e-4, gt=0, help="of Adam, in the first epochs"),
        "weight_decay": Option(1e-6, ge=0, help="of Adam"),
        "step_size": Option(5, ge=1, help="epochs after which the learning rate is multiplied"),
        "gamma": Option(0.75, gt=0, le=1, help="by what the learning rate is multiplied"),
        "precision": Option(
            "float32",
            choices=PRECISIONS,
            help="of activations; weights stay float32, and CUDA does convolutions in TF32",
        ),
    }
)
EXECUTION: Mapping[str, Option] = MappingProxyType(
    {
        # The key of a result has the digest of the weights that this leads to.
        "weights": Option("hub", help="hub, random or the path of a .safetensors file"),
        "device": Option("auto", help="auto, cpu, cuda or cuda:N"),
        "workers": Option(0, ge=0, help="threads that read patches, 0 for one per core"),
        "on_device": Option(
            False, help="keep all decoded patches in the memory of the device while it trains"
        ),
    }
)


def of_size(pixels: int) -> Option:
    """The setting ``image_size`` of a network that takes patches of this size."""
    return replace(SETTINGS["image_size"], default=pixels)


DEMO: Mapping[str, Setting] = MappingProxyType({"epochs": 8, "batch_size": 16, "image_size": 64})
"""For a few hundred patches on a laptop's processor."""
DEMO_PRETRAINED: Mapping[str, Setting] = MappingProxyType(
    {"epochs": 8, "batch_size": 16, "image_size": 96}
)
"""The same for a network that starts from pretrained weights."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Checked settings.

    The learning rate is multiplied by ``gamma`` every ``step_size`` epochs. ``image_size`` is the
    side, in pixels, that patches are resized to. ``precision`` is "float32" or "bfloat16"
    (autocast: weights stay float32); in float32, CUDA does convolutions in TF32, PyTorch's default.
    ``weights`` is "hub", "random" or the path of a .safetensors file. ``workers`` is the number of
    reading threads, 0 for one per core. With ``on_device``, patches are decoded once and kept as
    uint8 in the memory of the device, where they fit.
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
    on_device: bool

    @classmethod
    def of(cls, settings: Mapping[str, Setting]) -> Recipe:
        """Check settings, filling in defaults.

        Raises HarnessError naming the setting and what it may be. Whether the device is there is
        ``torch_device``'s to say.
        """
        options = {**SETTINGS, **EXECUTION}
        given: dict[str, Any] = {**defaults(options), **settings}
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise HarnessError(f"unknown setting {min(unknown)!r}; there is {', '.join(options)}")
        check(options, given)
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
