"""Which weights a network starts from: pretrained ones, a file's, or random numbers.

Imports neither torch nor timm: a run asks for this even when all it wants is in the store.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harness import HarnessError, InitialWeights, UnavailableError
from harness.data.files import check_weights, head
from harness.system import digests
from harness_timm.hub import cached_or_downloaded
from harness_timm.networks import Network, package_file

FILES = ("model.safetensors", "pytorch_model.bin")
PICKLES = (".bin", ".pth", ".pt")
"""Endings of what torch.save writes."""
RANDOM = InitialWeights(label="random initialization", digest="random")


@cache
def find(network: Network, weights: str) -> InitialWeights:
    """The weights that the setting ``weights`` of a network means, once in a process.

    "hub" looks in the local cache of the hub, then tries to download; "package" takes the file of
    an installed Python package; both raise UnavailableError when that fails. "random" is a
    random initialization; all else is the path of a .safetensors file, of a folder that holds one
    as a repository does, or, where a network takes them, of a file that torch.save wrote.
    HarnessError is raised when it is missing, of another kind or damaged.
    """
    files = network.files or FILES
    if weights == "random":
        return RANDOM
    if weights == network.home == "package":
        path = package_file(network)
        package = network.package.replace("_", "-")
        return InitialWeights(label=f"ImageNet ({package})", digest=digest_of(path), path=path)
    if weights == network.home:
        if not network.repo:
            raise UnavailableError(
                f"timm:{network.name} has no weights on the Hugging Face hub; use --set "
                "weights=PATH or weights=random"
            )
        try:
            path = cached_or_downloaded(network.repo, files)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}; or give {files[0]} of {network.name} with --set weights=PATH"
            ) from error
        ours = network.repo == "timm/efficientnet_b0.ra_in1k"
        label = f"ImageNet ({network.name})" if ours else f"pretrained ({network.repo})"
        return InitialWeights(label=label, digest=digest_of(path), path=path)
    try:
        path = Path(weights).expanduser()
    except RuntimeError as error:  # the home of nobody
        raise HarnessError(f"setting weights={weights}: {error}; give the whole path") from error
    if path.is_dir():
        held = [path / name for name in files if (path / name).is_file()]
        if not held:
            raise HarnessError(f"setting weights={weights}: it has no {' or '.join(files)}")
        path = held[0]
    elif path.suffix != ".safetensors" and not (network.pickles and path.suffix in PICKLES):
        raise HarnessError(
            f"setting weights={weights}: must be {network.home}, random or the path of a "
            ".safetensors file (other formats can run code when they are read)"
        )
    if not path.is_file():
        raise HarnessError(f"setting weights={weights}: there is no such file")
    return InitialWeights(label=f"file {path.name}", digest=digest_of(path), path=path)


@cache
def find_or_random(network: Network, weights: str) -> InitialWeights:
    """Like ``find``, but random weights with a warning where pretrained ones cannot be obtained."""
    try:
        return find(network, weights)
    except UnavailableError as error:
        return InitialWeights(
            label=RANDOM.label,
            digest=RANDOM.digest,
            warning=(
                f"the pretrained weights of {network.name} could not be obtained ({error}): "
                "training starts from RANDOM weights, which is not the published recipe and "
                "costs accuracy"
            ),
        )


def digest_of(path: Path) -> str:
    """SHA-256 of a file of weights. Raises HarnessError when it is damaged."""
    from safetensors import SafetensorError, safe_open

    check_weights(path, head(path))
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy"):  # reads the header and checks the length
                pass
        return digests.of_file(path)
    except (SafetensorError, OSError) as error:
        raise HarnessError(
            f"{path}: cannot be read as a safetensors file ({error}); remove it and get it again"
        ) from error
