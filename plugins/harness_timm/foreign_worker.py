"""Runs an encoder by code of others, in a process of its own: patches in, embeddings out.

A script that imports nothing of the harness but a module by its place, so that any interpreter from
Python 3.8 on that has torch, numpy and what the encoder needs can run it.
``harness.system.foreign_loop`` says how it talks: patches, uint8 (B, S, S, 3), are answered by
embeddings, float32 (B, D).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[Any, Any, str], Any]
    """Embeddings (B, D) of a network, its input (B, 3, S, S) and a pooling."""

_spec: Any = importlib.util.spec_from_file_location("harness.system.foreign_loop", sys.argv[1])
sys.modules[_spec.name] = loop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(loop)
Problem = loop.Problem
short = loop.short

SHORTEST = 8
"""Patches that go through the network together, on a processor at most, as in the harness."""
HERE = tempfile.TemporaryDirectory(prefix="harness-encoder-")
"""Where the code of a repository is put to be imported. Removed when the process ends."""


def begin(setup: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Load what the first message says, and answer the others."""
    encoder = Loaded(setup)

    def respond(message: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        found = encoder.embed(data, message)
        return {"shape": list(found.shape)}, found.tobytes()

    return {}, respond


class Loaded:
    """An encoder, on its device, with its weights."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.numpy, self.torch = needed("numpy"), needed("torch")
        self.setup = setup
        torch = self.torch
        self.device = loop.find_device(torch, setup["device"])
        torch.manual_seed(0)  # for random weights
        try:
            self.network, self.read = LOADERS[setup["load"]](torch, setup)
        except Problem:
            raise
        except (Exception, SystemExit) as error:
            raise Problem(why(error, setup)) from error
        self.network = self.network.float().eval().to(self.device)

    def embed(self, data: bytes, message: dict[str, Any]) -> Any:
        """Embeddings, float32 (B, D), of the bytes of patches uint8 (B, S, S, 3).

        ``message`` says their shape, the pooling, and D, 0 where it is not known.
        """
        torch, setup, pooling = self.torch, self.setup, message["pooling"]
        length = message["length"]
        raw = self.numpy.frombuffer(bytearray(data), self.numpy.uint8).reshape(message["shape"])
        images = torch.from_numpy(raw).to(self.device).permute(0, 3, 1, 2)
        mean, std = (
            torch.tensor(setup[key], device=self.device).view(3, 1, 1) for key in ("mean", "std")
        )
        size = SHORTEST if self.device.type == "cpu" else max(1, len(images))
        rows = []
        half = setup["precision"] == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            for start in range(0, len(images), size):
                part = images[start : start + size]
                n = len(part)
                if n < size:  # a shorter batch would be computed in another order
                    part = torch.nn.functional.pad(part, (0, 0, 0, 0, 0, 0, 0, size - n))
                x = (part.float() / 255 - mean) / std
                rows.append(self._read(x, pooling, length)[:n].float().cpu())
        found = torch.cat(rows) if rows else torch.empty((0, length))
        if not bool(torch.isfinite(found).all()):
            raise Problem("it returned embeddings that are not finite; check its weights")
        return found.numpy()

    def _read(self, x: Any, pooling: str, length: int) -> Any:
        try:
            found = self.read(self.network, x, pooling)
        except Problem:
            raise
        except (Exception, SystemExit) as error:
            raise Problem(f"it raised {short(error)}") from error
        if not isinstance(found, self.torch.Tensor) or found.ndim != 2 or len(found) != len(x):
            raise Problem(f"it returned {shown(found)} for {len(x)} patches, no row for each")
        if length and found.shape[1] != length:
            raise Problem(
                f"it returned {found.shape[1]:,} numbers for a patch where {length:,} are "
                "expected; is it another encoder?"
            )
        return found


def of_repository(torch: Any, setup: dict[str, Any]) -> tuple[Any, Reader]:
    """The network of a repository that transformers loads by the repository's own code."""
    folder = Path(HERE.name, "repository")
    folder.mkdir()
    for name, text in setup["code"].items():
        Path(folder, name).write_text(text, encoding="utf-8")
    Path(folder, "config.json").write_text(json.dumps(setup["config"]), encoding="utf-8")
    os.environ["HF_MODULES_CACHE"] = str(Path(HERE.name, "modules"))
    own_files(setup)
    transformers = needed("transformers")
    transformers.logging.set_verbosity_error()
    asked = {"trust_remote_code": True, "local_files_only": True}
    if setup["weights"]:
        suffix = Path(setup["weights"]).suffix
        name = "model.safetensors" if suffix == ".safetensors" else "pytorch_model.bin"
        Path(folder, name).symlink_to(setup["weights"])
        network, info = transformers.AutoModel.from_pretrained(
            str(folder), output_loading_info=True, **asked
        )
        lacking = sorted(map(str, info["missing_keys"])) + sorted(
            str(one[0]) for one in info["mismatched_keys"]
        )
        if lacking:
            raise Problem(
                f"{setup['weights']}: lacks {listed(lacking)}, or has them in another shape; "
                "give the weights that belong to its code"
            )
    else:
        config = transformers.AutoConfig.from_pretrained(str(folder), **asked)
        network = transformers.AutoModel.from_config(config, trust_remote_code=True)
    if setup["part"]:
        network = getattr(network, setup["part"])()
        network = network[0] if isinstance(network, tuple) else network
    return network, reader(torch, setup)


def reader(torch: Any, setup: dict[str, Any]) -> Reader:
    """How embeddings are read of a model of transformers."""
    prefix, call = 1 + setup["registers"], setup["call"]

    def read(network: Any, x: Any, pooling: str) -> Any:
        if pooling in ("pooler", "pooled", "projected") and call:
            return network(x) if call == "forward" else getattr(network, call)(x)
        output = network(pixel_values=x)
        if pooling == "pooler":
            return output.pooler_output
        tokens = output.last_hidden_state
        cls = tokens[:, 0]
        if pooling == "cls":
            return cls
        n = tokens.shape[1] - prefix
        if n < 1 or round(n**0.5) ** 2 != n:
            raise Problem(
                f"it returned {tokens.shape[1]} tokens, of which {prefix} are no patch's: the "
                f"other {n} make no square; correct its number of registers"
            )
        mean = tokens[:, prefix:].mean(dim=1)
        return mean if pooling == "mean" else torch.cat([cls, mean], dim=1)

    return read


def conch(torch: Any, setup: dict[str, Any]) -> tuple[Any, Reader]:
    """CONCH by its package."""
    made = needed("conch.open_clip_custom", setup["install"]).create_model_from_pretrained
    network, _ = made("conch_ViT-B-16", checkpoint_path=setup["weights"])
    complete(network, "visual.", torch.load(setup["weights"], map_location="cpu"), setup)

    def read(network: Any, x: Any, pooling: str) -> Any:
        return network.encode_image(x, proj_contrast=False, normalize=False)

    return network, read


def musk(torch: Any, setup: dict[str, Any]) -> tuple[Any, Reader]:
    """MUSK by its package; with "multiscale", as its authors do it for classification."""
    needed("musk.modeling", setup["install"])  # so that timm knows its name
    utils, timm = needed("musk.utils", setup["install"]), needed("timm")
    network = timm.create_model("musk_large_patch16_384")
    utils.load_model_and_may_interpolate(setup["weights"], network, "model|module", "")
    complete(network, "beit3.", needed("safetensors.torch").load_file(setup["weights"]), setup)

    def read(network: Any, x: Any, pooling: str) -> Any:
        several = pooling == "multiscale"
        asked = {"with_head": False, "out_norm": False, "return_global": True}
        return network(image=x, ms_aug=several, **asked)[0]

    return network, read


LOADERS = {"remote-code": of_repository, "conch": conch, "musk": musk}


def complete(network: Any, part: str, state: dict[str, Any], setup: dict[str, Any]) -> None:
    """Raise Problem where a file lacks parameters of a part: packages pass over that."""
    for wrapping in ("state_dict", "model", "module"):
        state = state.get(wrapping, state)
    found = {name[7:] if name.startswith("module.") else name for name in state}
    own = [name for name, _ in network.named_parameters() if name.startswith(part)]
    lacking = [name for name in own if name not in found]
    if lacking or not own:
        what = listed(lacking) if own else f"anything that begins with {part}"
        raise Problem(
            f"{setup['weights']}: lacks {what}; give the weights of {setup['title']}, or the "
            "package has changed"
        )


def own_files(setup: dict[str, Any]) -> None:
    """Let code that asks the hub for a file of its own repository find the one that was got.

    What it asks for besides has no pinned commit, and is refused.
    """
    hub: Any = needed("huggingface_hub")

    def own(repo_id: str, filename: str, *_: Any, **__: Any) -> str:
        if repo_id.lower() == setup["hub"].lower() and filename in setup["more"]:
            return str(setup["more"][filename])
        raise Problem(
            f"its code asks the hub for {filename} of {repo_id}, which the registry does not "
            "list, so that no commit pins it; name a folder that holds it with --set weights=FOLDER"
        )

    hub.hf_hub_download = own


def needed(name: str, install: str = "") -> Any:
    """A module. Raises Problem when it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        how = install or f"pip install {name.partition('.')[0]}"
        raise Problem(
            f"python = {sys.executable!r} cannot import {name} ({short(error)}); {how}, or name "
            "another interpreter with --set python=PATH"
        ) from error


def why(error: BaseException, setup: dict[str, Any]) -> str:
    """What went wrong while an encoder was loaded, and what to do."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ or chain[-1].__context__:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)  # type: ignore[arg-type]
    problem = next((one for one in chain if isinstance(one, Problem)), None)
    if problem is not None:
        return str(problem)
    if any(type(one).__name__ == "UnpicklingError" for one in chain):
        return (
            f"{setup['weights']}: holds more than tensors, and reading it would run code of "
            "others; save its state dict with torch.save where it can be trusted, and name that "
            "file with --set weights=PATH"
        )
    return (
        f"cannot be loaded ({short(error)}); its code may be for other versions of its libraries: "
        "name an interpreter that has them with --set python=PATH"
    )


def shown(found: Any) -> str:
    """What something that is no batch of embeddings is."""
    shape = getattr(found, "shape", None)
    return f"shape {tuple(shape)}" if shape is not None else f"a {type(found).__name__}"


def listed(names: list[str]) -> str:
    """A few names of many."""
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


if __name__ == "__main__":
    # Beside this script lie modules of the harness, not of the encoder.
    del sys.path[0]
    loop.serve(begin, HERE.cleanup)
