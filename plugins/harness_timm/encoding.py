"""Embeddings of patches by an encoder of ``encoders.toml``."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from harness import HarnessError, InitialWeights
from harness_timm.building import Architecture, as_tensor, build, for_inference, run
from harness_timm.encoders import Encoder
from harness_timm.frozen import NETWORK
from harness_timm.loading import TROUBLE, load_initial, read_pickle
from harness_timm.recipe import torch_device


class Pooled(nn.Module):
    """A network and what is read of it: a batch (B, 3, S, S) to embeddings (B, D)."""

    def __init__(self, model: nn.Module, pooling: str, prefix: int) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        self.prefix = prefix
        """Tokens before those of patches: the class token and registers."""

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of normalized patches."""
        model: Any = self.model
        embedding: Tensor
        if self.pooling == "pooled":
            embedding = model(x)
        elif self.pooling == "projected":
            embedding = model(pixel_values=x).image_embeds
        else:
            timms = hasattr(model, "forward_features")
            tokens = model.forward_features(x) if timms else model(pixel_values=x).last_hidden_state
            embedding = pooled(tokens, self.pooling, self.prefix)
        return embedding


def pooled(tokens: Tensor, pooling: str, prefix: int) -> Tensor:
    """Embeddings (B, D) of tokens (B, T, W), of which the first ``prefix`` are of no patch.

    Raises HarnessError for what has no such tokens.
    """
    if tokens.ndim != 3:
        raise HarnessError(
            f"the network gives no tokens but an array {tuple(tokens.shape)}, of which {pooling} "
            'cannot be read; say pooling = "pooled" in its description'
        )
    if not prefix and pooling != "mean":
        raise HarnessError(
            f"the network has no class token, so {pooling} cannot be read; say pooling = "
            '"mean" or "pooled" in its description'
        )
    cls, mean = tokens[:, 0], tokens[:, prefix:].mean(dim=1)
    return {"cls": cls, "mean": mean, "cls+mean": torch.cat([cls, mean], dim=1)}[pooling]


def extract(
    encoder: Encoder,
    pooling: str,
    weights: InitialWeights,
    config: str,
    precision: str,
    device: str,
    images: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Embeddings, float32 (B, D), of uint8 RGB patches (B, H, W, 3)."""

    def answer() -> NDArray[np.float32]:
        model, prefix, architecture, where = _loaded(encoder, weights, config, precision, device)
        reading = Pooled(model, pooling, prefix).eval()
        return run(reading, architecture, where, resized(images, encoder))

    return NETWORK.submit(answer).result()


def resized(images: NDArray[np.uint8], encoder: Encoder) -> NDArray[np.uint8]:
    """Patches brought to the encoder's size, uint8 (B, S, S, 3), as torchvision does it."""
    size = [encoder.size, encoder.size]
    if list(images.shape[1:3]) == size:
        return images
    mode = InterpolationMode(encoder.interpolation)
    small = resize(as_tensor(images).permute(0, 3, 1, 2), size, mode, antialias=True)
    return np.asarray(small.permute(0, 2, 3, 1).contiguous().numpy())


@lru_cache(maxsize=1)  # the largest take gigabytes
def _loaded(
    encoder: Encoder, weights: InitialWeights, config: str, precision: str, device: str
) -> tuple[nn.Module, int, Architecture, torch.device]:
    """The network with its weights, how many tokens are of no patch, how to feed it, and where it
    is."""
    where = torch_device(device)
    architecture = Architecture.of(
        encoder.network, pool="", classes=0, image_size=encoder.size, precision=precision
    )
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(0)  # for random weights
        model: nn.Module
        try:
            if encoder.loader == "timm":
                model = build(architecture)
            else:
                model = bare(encoder, _of_images(json.loads(config)))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise HarnessError(
                f"{encoder.title}: {encoder.loader} cannot build {encoder.architecture} "
                f"({reason}); correct architecture and arguments, or upgrade it"
            ) from error
        if encoder.loader == "timm":
            load_initial(model, weights, architecture)
            model = for_inference(model)
            prefix = int(getattr(model, "num_prefix_tokens", 1))
        else:
            set_weights(model, encoder, weights)
            prefix = 1 + int(getattr(model.config, "num_register_tokens", 0))
    return model.eval().to(where), prefix, architecture, where


def _of_images(content: dict[str, Any]) -> dict[str, Any]:
    """Of the configuration of a model of images and texts, that of images; others as they are."""
    length = content.get("projection_dim")
    if "vision_config" not in content:
        return content
    return {**content["vision_config"], **({"projection_dim": length} if length else {})}


def set_weights(model: nn.Module, encoder: Encoder, weights: InitialWeights) -> None:
    """Load weights into a network of transformers. Raises HarnessError when they do not fit."""
    if weights.path is None:
        return
    try:
        found: dict[str, Tensor] = {}
        names = set(model.state_dict())
        for key, value in read_weights(weights).items():
            name = _own(key, names)
            if name in found:
                raise ValueError(f"it holds {name} twice, as of two networks, such as {key}")
            if name:
                found[name] = value
        if lacking := sorted(names - set(found)):
            raise ValueError(f"it has no {', '.join(lacking[:3])}")
        model.load_state_dict(found)
    except TROUBLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise HarnessError(
            f"{weights.path}: cannot be loaded into {encoder.title} ({reason}); get it again, or "
            "give the weights of another file with --set weights=PATH"
        ) from error


def bare(encoder: Encoder, config: dict[str, Any]) -> nn.Module:
    """A network of transformers with random weights."""
    import transformers

    kind = getattr(transformers, encoder.architecture)
    model: nn.Module = kind(kind.config_class(**config), **encoder.arguments)
    return model


def _own(key: str, names: set[str]) -> str:
    """The name in the network of a tensor in a file, which may have a prefix; "" if none."""
    while key:
        if key in names:
            return key
        key = key.partition(".")[2]
    return ""


def read_weights(weights: InitialWeights) -> dict[str, Tensor]:
    """Tensors of a file by their names. Raises HarnessError for a pickle that holds more."""
    assert weights.path is not None
    if weights.path.suffix == ".safetensors":
        return dict(load_file(weights.path))
    state = read_pickle(weights.path)
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}
