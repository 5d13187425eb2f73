"""A frozen network: its features, and classifiers on them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from harness import Features, InitialWeights, Model, Setting, head_model
from harness_timm.networks import Network
from harness_timm.recipe import (
    EXECUTION,
    INSTALL,
    REQUIRES,
    SETTINGS,
    Recipe,
    accelerator,
    of_size,
    torch_device,
)
from harness_timm.weights import find

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from harness_timm.building import Architecture

NETWORK = ThreadPoolExecutor(1)
"""Patches are read by several threads; the network itself uses all cores, or the one GPU. It runs
in one thread of its own, as OpenMP keeps a thread a core ready for each thread that calls it."""

OWN = ("image_size", "precision", "weights", "device")
"""Settings that features depend on; a head may have others."""


def features(network: Network, settings: Mapping[str, Setting]) -> Features:
    """The pooled output of a frozen network before its last layer.

    Raises UnavailableError when its weights cannot be obtained: features of random weights are
    extracted only if asked for, with ``weights=random``.
    """
    recipe = Recipe.of({name: settings[name] for name in OWN if name in settings})
    weights = find(network, recipe.weights)
    named = f"{network.name}-{recipe.image_size}"
    if recipe.precision != "float32":
        named += f"-{recipe.precision}"
    return Features(
        name=named,
        extract=partial(
            _extract, network, weights, recipe.image_size, recipe.precision, recipe.device
        ),
        weights=weights,
        device=partial(accelerator, recipe.device),
    )


def _extract(
    network: Network,
    weights: InitialWeights,
    image_size: int,
    precision: str,
    device: str,
    images: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Features, float32 (B, D), of uint8 RGB patches (B, H, W, 3)."""
    from harness_timm.building import run

    def answer() -> NDArray[np.float32]:
        return run(*_frozen(network, weights, image_size, precision, device), images)

    return NETWORK.submit(answer).result()


@cache
def _frozen(
    network: Network, weights: InitialWeights, image_size: int, precision: str, device: str
) -> tuple[nn.Module, Architecture, torch.device]:
    """The network without its last layer, how to feed it, and where it is; built once."""
    import torch

    from harness_timm.building import Architecture, build_tried, for_inference
    from harness_timm.loading import load_initial

    architecture = Architecture.of(
        network, pool="", classes=0, image_size=image_size, precision=precision
    )
    where = torch_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for weights=random
        model = build_tried(network, architecture)
    load_initial(model, weights, architecture)
    return for_inference(model.to(where)), architecture, where


def head(network: Network, kind: str, name: str, title: str) -> Model:
    """A classifier on frozen features: ``kind`` is one of ``harness.HEADS``."""
    return head_model(
        kind,
        name=name,
        title=title,
        features=partial(features, network),
        settings={
            "image_size": of_size(network.input_size),
            "precision": SETTINGS["precision"],
        },
        execution={
            "weights": replace(EXECUTION["weights"], default=network.home),
            "device": EXECUTION["device"],
        },
        device=lambda settings: accelerator(str(settings["device"])),
        requires=REQUIRES + ((network.package,) if network.package else ()),
        install=INSTALL,
    )
