"""Networks of timm: EfficientNet-B0 by the published recipe, any other fine-tuned or frozen.

EfficientNet: Tan and Le, arXiv:1905.11946; the recipe, with average and with maximum pooling, is
that of Ignatov and Malivenko, arXiv:2409.11546. Nothing here imports torch or timm until a model is
fitted or loaded, or a network is named that only timm knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness import (
    HEADS,
    Classifier,
    HarnessError,
    InitialWeights,
    Model,
    ModelFamily,
    Reader,
    Setting,
    hookimpl,
    later,
)
from harness_timm import encoders
from harness_timm.frozen import head
from harness_timm.networks import EFFICIENTNET_B0, EFFICIENTNET_LITE0, Network, canonical, look_up
from harness_timm.recipe import (
    DEMO,
    DEMO_PRETRAINED,
    EXECUTION,
    INSTALL,
    REQUIRES,
    SETTINGS,
    accelerator,
    of_size,
)
from harness_timm.weights import find, find_or_random


@hookimpl
def harness_models() -> Iterable[Model | ModelFamily]:
    """EfficientNet-B0 and -Lite0 trained and frozen, and the families of networks by name."""
    for pool in ("avg", "max"):
        title = f"EfficientNet-B0 ({pool} pool)"
        # On the board by default, and so trained from random weights where there are no others.
        yield trained(EFFICIENTNET_B0, f"efficientnet-b0-{pool}", title, pool, find_or_random)
    # Its weights come with a Python package, so that it starts from them without the hub as well.
    title = "EfficientNet-Lite0, fine-tuned"
    yield trained(EFFICIENTNET_LITE0, "efficientnet-lite0", title, demo=DEMO_PRETRAINED)
    title = f"EfficientNet-B0 (ImageNet), {HEADS['linear']}"
    yield head(EFFICIENTNET_B0, "linear", "efficientnet-b0+linear", title)
    for kind in ("linear", "knn"):
        title = f"EfficientNet-Lite0 (ImageNet), {HEADS[kind]}"
        yield head(EFFICIENTNET_LITE0, kind, f"efficientnet-lite0+{kind}", title)
    yield ModelFamily(
        name="timm",
        title="Any network of timm: fine-tuned, or frozen with +linear, +knn or another head",
        make=make,
        example="timm:resnet18.a1_in1k+linear",
    )
    yield ModelFamily(
        name=encoders.FAMILY,
        title="Encoders of pathology, frozen, with +linear, +knn20 or another head",
        make=encoders.make,
        example="encoder:virchow2[cls]+linear",
    )


@hookimpl
def harness_readers() -> Iterable[Reader]:
    """The kind of TOML file that describes an encoder."""
    encoders.ADDED.clear()  # files are read after this, anew each time that plugins are loaded
    yield Reader(
        name="torch-encoder",
        title="An encoder of pathology",
        read=later("harness_timm.described:read"),
        keys=later("harness_timm.described:keys"),
    )


def make(rest: str) -> Model:
    """The model ``timm:<rest>``: the name of a network, with "+HEAD" of ``HEADS`` a frozen one."""
    name, plus, kind = rest.rpartition("+")
    if kind in HEADS:
        named = canonical(name)
        return head(look_up(name), kind, f"timm:{named}+{kind}", f"{named} of timm, {HEADS[kind]}")
    if plus and not kind[:1].isdigit():  # that would be a number such as 1e+5
        heads = " or ".join(f"+{known}" for known in HEADS)
        raise HarnessError(
            f"timm:{rest}: there is no +{kind}; use {heads}, or neither to fine-tune"
        )
    named = canonical(rest)
    return trained(look_up(rest), f"timm:{named}", f"{named} of timm, fine-tuned")


def trained(
    network: Network,
    name: str,
    title: str,
    pool: str = "",
    find: Callable[[Network, str], InitialWeights] = find,
    demo: Mapping[str, Setting] = DEMO,
) -> Model:
    """A network that is fine-tuned by the published recipe. ``pool`` "" is the network's own."""
    return Model(
        name=name,
        title=title,
        fit=partial(later("harness_timm.train:fit"), network, pool),
        load=_load,
        settings={**SETTINGS, "image_size": of_size(network.input_size)},
        execution={
            **EXECUTION,
            "weights": replace(
                EXECUTION["weights"],
                default=network.home,
                help=f"{network.home}, random or the path of a .safetensors file",
            ),
        },
        # Some of these can take no other size, and none was trained at another.
        demo_settings={**demo, "image_size": network.input_size} if network.fixed_size else demo,
        selects=True,
        reports_epochs=True,
        initial_weights=lambda settings: find(network, str(settings["weights"])),
        estimate=partial(later("harness_timm.train:estimate"), network),
        device=lambda settings: accelerator(str(settings["device"])),
        hint="--set epochs=5 --set image_size=96, or a machine with CUDA",
        requires=REQUIRES,
        install=INSTALL,
    )


def _load(folder: Path, settings: Mapping[str, Setting]) -> Classifier:
    from harness_timm.classifier import FittedNetwork

    return FittedNetwork.load(folder, str(settings["device"]))
