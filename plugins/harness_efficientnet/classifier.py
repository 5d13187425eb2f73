"""The fitted network: patches to logits, and the folder it is saved in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from harness import HarnessError
from harness_efficientnet.recipe import torch_device

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet, which the initial weights were trained on."""

CPU_BATCH = 8
"""Patches that go through the network together on a processor: with more, what one layer hands to
the next no longer fits its cache."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What must be known to build the network and to feed it."""

    pool: str
    """"avg" or "max"."""
    classes: int
    image_size: int
    precision: str


def build(architecture: Architecture) -> nn.Module:
    """EfficientNet-B0 with random weights from torch's generator, on the CPU, channels last."""
    model: nn.Module = timm.create_model(
        "efficientnet_b0",
        num_classes=architecture.classes,
        global_pool=architecture.pool,
    )
    return model.to(memory_format=torch.channels_last)


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """The same patches as a tensor, copied only if they are read-only or not in order."""
    if min(images.strides) < 0:  # numpy takes a single patch to be in order whatever its stride
        images = images.copy()
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def prepare(images: Tensor, size: int) -> Tensor:
    """Turn patches (B, H, W, 3), values 0 to 255 of any dtype, into the network's input.

    Returns float32 (B, 3, size, size), normalized, channels last. Patches of another size are
    resized (bilinear, with antialiasing).
    """
    x = images.float()
    if x.shape[1:3] != (size, size):
        x = nn.functional.interpolate(
            x.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True
        ).permute(0, 2, 3, 1)
    scale, offset = _normalization(size, x.device)
    rows = torch.addcmul(offset, x.reshape(-1, size, size * 3), scale)
    return rows.view(-1, size, size, 3).permute(0, 3, 1, 2)


@cache
def _normalization(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factors and summands for rows of size * 3 numbers.

    A last axis of three would keep a processor from vectorizing; and a GPU would have to wait for
    the numbers if they were sent with every batch.
    """
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return (1 / (255 * std)).repeat(size).to(device), (-mean / std).repeat(size).to(device)


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in ``precision`` what may be."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


class EfficientNet:
    """A fitted EfficientNet-B0; a ``harness.Classifier``.

    ``state`` is the network's state dict. The logits of a patch do not depend on the patches that
    come with it beyond float rounding. A processor may sum the last patches of a batch in another
    order than the first, which moves logits in their last digits. On a GPU a batch of another
    length may be summed in another order, which in float32 moves logits by at most a few 1e-4 of
    their spread, and in bfloat16 by more.
    """

    def __init__(
        self, architecture: Architecture, state: Mapping[str, Tensor], device: torch.device
    ) -> None:
        self.architecture = architecture
        self.state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        self.device = device
        with torch.device("meta"):  # draws no random weights only to throw them away
            model = build(architecture)
        model.load_state_dict(self.state, assign=True)
        model.eval()
        _fuse(model)
        self.model = model.to(device).to(memory_format=torch.channels_last)

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of uint8 RGB patches (B, H, W, 3) with any B."""
        size = CPU_BATCH if self.device.type == "cpu" else max(1, len(inputs))
        logits = np.empty((len(inputs), self.architecture.classes), np.float32)
        with torch.inference_mode(), autocast(self.device, self.architecture.precision):
            for start in range(0, len(inputs), size):
                part = as_tensor(inputs[start : start + size]).to(self.device)
                n = len(part)
                if n < size:  # a shorter batch would be computed in another order
                    part = nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, size - n))
                rows = self.model(prepare(part, self.architecture.image_size))[:n]
                logits[start : start + size] = rows.float().cpu().numpy()
        return logits

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        save_file(self.state, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(asdict(self.architecture), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> EfficientNet:
        """Read what ``save`` wrote. Raises HarnessError naming the file at fault."""
        path = folder / "config.json"
        try:
            architecture = Architecture(**json.loads(path.read_text()))
            path = folder / "model.safetensors"
            state = load_file(path)
            return cls(architecture, state, torch_device(device))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise HarnessError(
                f"{path}: cannot be read ({reason}); remove its folder and fit the model again"
            ) from error


def _fuse(module: nn.Module) -> None:
    """Put each batch normalization into the convolution before it; what it computes stays.

    Saves a third of the time on a processor. In timm's network a normalization is registered right
    after its convolution and holds the activation that follows it.
    """
    children = list(module.named_children())
    for (_, conv), (name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            conv.weight, bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            conv.bias = bias
            setattr(module, name, norm.act)
    for _, child in children:
        _fuse(child)
