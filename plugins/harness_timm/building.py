"""Building a network, feeding it patches, and running it without training."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from harness import HarnessError
from harness_timm.arguments import check, resolved
from harness_timm.networks import EFFICIENTNET_B0, Network

CPU_BATCH = 8
"""Patches that go through the network together on a processor: with more, what one layer hands to
the next no longer fits its cache."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What must be known to build a network and to feed it."""

    pool: str
    """"avg", "max" or another that timm knows; "" for the network's own."""
    classes: int
    """0 for a network that ends in its features."""
    image_size: int
    precision: str
    name: str = EFFICIENTNET_B0.architecture
    arguments: str = "{}"
    """Further arguments of ``timm.create_model``, as JSON; a class is its full name."""
    mean: tuple[float, ...] = EFFICIENTNET_B0.mean
    std: tuple[float, ...] = EFFICIENTNET_B0.std

    @classmethod
    def of(
        cls, network: Network, *, pool: str, classes: int, image_size: int, precision: str
    ) -> Architecture:
        """That of a network of timm."""
        # A transformer has as many positions as the patches it is built for have tiles.
        sized = {"img_size": image_size} if network.fixed_size else {}
        return cls(
            pool=pool,
            classes=classes,
            image_size=image_size,
            precision=precision,
            name=network.architecture,
            arguments=json.dumps({**json.loads(network.arguments), **sized}),
            mean=network.mean,
            std=network.std,
        )

    def keywords(self) -> dict[str, Any]:
        """Arguments of ``create``, but for the number of classes."""
        pooled = {"global_pool": self.pool} if self.pool else {}
        given = json.loads(self.arguments)
        return {key: resolved(value) for key, value in given.items()} | pooled


def create(name: str, **arguments: Any) -> nn.Module:
    """``timm.create_model``, which leaves out arguments that are None; here None is passed on."""
    if None in arguments.values():
        made: nn.Module = timm.models.model_entrypoint(name)(**arguments)
        return made
    made = timm.create_model(name, **arguments)
    return made


def build(architecture: Architecture) -> nn.Module:
    """The network with random weights from torch's generator, on the CPU, channels last."""
    model = create(architecture.name, num_classes=architecture.classes, **architecture.keywords())
    return model.to(memory_format=torch.channels_last)


def build_tried(network: Network, architecture: Architecture) -> nn.Module:
    """Like ``build``, tried out on one patch if those it was trained on had another size.

    Raises HarnessError when it does not take the arguments that it should be built with, or patches
    of this size.
    """
    size, given = architecture.image_size, json.loads(network.arguments)
    resized = size != network.input_size
    try:
        model = build(architecture)
    except Exception as error:
        if not (given or resized or isinstance(error, TypeError)):
            raise
        fix = []
        texts = [key for key, value in given.items() if isinstance(resolved(value), str)]
        if texts and "not callable" in str(error):
            fix.append(f"name a class for {' or '.join(texts)}, such as SiLU")
        if given or not resized:
            fix.append(f"change its arguments {architecture.arguments}")
        if resized:
            fix.append(f"set image_size={network.input_size}")
        raise HarnessError(
            f"timm:{network.name}: timm {timm.__version__} cannot build it ({_reason(error)}); "
            f"{', '.join(fix)} or upgrade timm"
        ) from error
    check(network.name, model, given)
    if resized:
        try:
            # A copy, because some networks keep what they computed with these weights.
            copied = copy.deepcopy(model).eval()
            with torch.no_grad():
                copied(torch.zeros(1, 3, size, size))
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            raise HarnessError(
                f"setting image_size={size}: {network.name} cannot take it ({_reason(error)}); "
                f"use {network.input_size}"
            ) from error
    return model


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """The same patches as a tensor, copied only if they are read-only or not in order."""
    if min(images.strides) < 0:  # numpy takes a single patch to be in order whatever its stride
        images = images.copy()
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def prepare(images: Tensor, architecture: Architecture) -> Tensor:
    """Turn patches (B, H, W, 3), values 0 to 255 of any dtype, into the network's input.

    Returns float32 (B, 3, size, size), normalized, channels last. Patches of another size are
    resized (bilinear, with antialiasing).
    """
    size = architecture.image_size
    x = images.float()
    if x.shape[1:3] != (size, size):
        x = nn.functional.interpolate(
            x.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True
        ).permute(0, 2, 3, 1)
    scale, offset = _normalization(architecture, x.device)
    rows = torch.addcmul(offset, x.reshape(-1, size, size * 3), scale)
    return rows.view(-1, size, size, 3).permute(0, 3, 1, 2)


@cache
def _normalization(architecture: Architecture, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factors and summands for rows of size * 3 numbers.

    A last axis of three would keep a processor from vectorizing; and a GPU would have to wait for
    the numbers if they were sent with every batch.
    """
    size = architecture.image_size
    mean, std = torch.tensor(architecture.mean), torch.tensor(architecture.std)
    return (1 / (255 * std)).repeat(size).to(device), (-mean / std).repeat(size).to(device)


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in ``precision`` what may be."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def run(
    model: nn.Module, architecture: Architecture, device: torch.device, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """What a network gives, float32 (B, D), for uint8 RGB patches (B, H, W, 3) with any B.

    The rows of a patch do not depend on the patches that come with it beyond float rounding. A
    processor may sum the last patches of a batch in another order than the first, which moves them
    in their last digits. On a GPU a batch of another length may be summed in another order, which
    in float32 moves logits by at most a few 1e-4 of their spread, and in bfloat16 by more.
    """
    size = CPU_BATCH if device.type == "cpu" else max(1, len(images))
    rows = []
    with torch.inference_mode(), autocast(device, architecture.precision):
        for start in range(0, max(1, len(images)), size):
            part = as_tensor(images[start : start + size]).to(device)
            n = len(part)
            if n < size:  # a shorter batch would be computed in another order
                part = nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, size - n))
            rows.append(model(prepare(part, architecture))[:n].float().cpu().numpy())
    return np.concatenate(rows)


def for_inference(model: nn.Module) -> nn.Module:
    """A network that is not trained any more, as fast as it gets; what it computes stays."""
    model.eval()
    if isinstance(model, timm.models.EfficientNet):
        _fuse(model)
    return model.to(memory_format=torch.channels_last)


def _fuse(module: nn.Module) -> None:
    """Put each batch normalization into the convolution before it; what it computes stays.

    Saves a third of the time on a processor. In timm's EfficientNet a normalization is registered
    right after its convolution and holds the activation that follows it.
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
