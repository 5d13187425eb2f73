"""Where training starts: ImageNet weights from the Hugging Face hub, a file, or random numbers.

Imports neither torch nor timm: a run asks for this even when all it wants is in the store.
"""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness import HarnessError, InitialWeights, Setting
from harness_efficientnet.recipe import Recipe

REPO = "timm/efficientnet_b0.ra_in1k"
FILE = "model.safetensors"
REACH_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


def initial_weights(settings: Mapping[str, Setting]) -> InitialWeights:
    """Find the weights that these settings start from, once in the life of the process.

    "hub" looks in the local cache of the hub, then tries to download (HF_HUB_OFFLINE, HF_ENDPOINT
    and HF_HOME are respected), and falls back to random weights with a warning within seconds.
    Raises HarnessError for a file that is missing, is no .safetensors file or is damaged.
    """
    return _find(Recipe.of(settings).weights)


@cache
def _find(weights: str) -> InitialWeights:
    if weights == "hub":
        return _from_hub()
    if weights == "random":
        return InitialWeights(label="random initialization", digest="random")
    path = Path(weights).expanduser()
    if path.suffix != ".safetensors":
        raise HarnessError(
            f"setting weights={weights}: must be hub, random or the path of a .safetensors file "
            "(other formats can run code when they are read)"
        )
    if not path.is_file():
        raise HarnessError(f"setting weights={weights}: there is no such file")
    return InitialWeights(label=f"file {path.name}", digest=_digest(path), path=path)


def _from_hub() -> InitialWeights:
    import huggingface_hub

    path = huggingface_hub.try_to_load_from_cache(REPO, FILE)
    reason = ""
    if not isinstance(path, str):
        reason = _out_of_reach(huggingface_hub.hf_hub_url(REPO, FILE))
    if not isinstance(path, str) and not reason:
        try:
            path = huggingface_hub.hf_hub_download(REPO, FILE, etag_timeout=REACH_SECONDS)
        except Exception as error:  # its HTTP library has changed more than once, and its errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(path, str):
        return InitialWeights(
            label="ImageNet (efficientnet_b0.ra_in1k)",
            digest=_digest(Path(path)),
            path=Path(path),
        )
    return InitialWeights(
        label="random initialization",
        digest="random",
        warning=(
            f"the ImageNet weights {REPO} could not be had ({reason}): EfficientNet-B0 starts from "
            "RANDOM weights, which is not the published recipe and costs accuracy; connect to the "
            f"network, or give its {FILE} with --set weights=PATH"
        ),
    )


def _out_of_reach(url: str) -> str:
    """Why the hub cannot be asked for a file right now, or "" when it answers.

    The hub's own client retries for a minute when it has no connection. A thread, because looking
    up a name has no time limit of its own.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not in the local cache"
    outcome = [f"no answer from {url.split('/timm')[0]} within {REACH_SECONDS:.0f} s"]

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=REACH_SECONDS):
                outcome[0] = ""
        except urllib.error.HTTPError as error:
            # Below 500 the hub is there: what it refuses us it may grant its client (a token).
            outcome[0] = f"{url} answered {error.code}" if error.code >= 500 else ""
        except (OSError, ValueError) as error:
            outcome[0] = f"{url}: {getattr(error, 'reason', error)}"

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACH_SECONDS)
    return outcome[0]


def _digest(path: Path) -> str:
    """SHA-256 of a safetensors file. Raises HarnessError when it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # reads the header and checks the length
            pass
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (SafetensorError, OSError) as error:
        raise HarnessError(
            f"{path}: cannot be read as a safetensors file ({error}); remove it and get it again"
        ) from error
