"""Runs a trained torch model in a process of its own: patches in, logits out.

A script that imports nothing of the harness but two modules by their place, so that any interpreter
from Python 3.8 on that has torch and numpy can run it. ``harness.system.foreign_loop`` says how it
talks: patches, uint8 (B, H, W, 3), are answered by logits, float32 (B, C).
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import sys
from pathlib import Path
from typing import Any


def module_at(path: str, name: str) -> Any:
    """The module in a file, by its place: modules of the model may have any name."""
    spec: Any = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loop: Any = module_at(sys.argv[1], "harness.system.foreign_loop")
loading: Any = module_at(str(Path(__file__).with_name("loading.py")), "harness_checkpoint.loading")
Problem = loop.Problem
short = loop.short


def begin(setup: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Load what the first message says, and answer the others."""
    model = Loaded(setup)

    def respond(message: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        logits = model.logits(data, message["shape"])
        return {"shape": list(logits.shape)}, logits.tobytes()

    ready = {
        "device": model.device_name,
        "tensors": loading.digests(model.torch, model.network) if setup["digests"] else {},
        "configuration": model.configuration(),
    }
    return ready, respond


class Loaded:
    """The model, on its device, with its weights."""

    def __init__(self, setup: dict[str, Any]) -> None:
        try:
            import numpy
            import torch
        except Exception as error:
            raise Problem(
                f"python = {sys.executable!r} cannot import torch and numpy ({short(error)}); "
                "install them there or name another interpreter"
            ) from error
        self.numpy, self.torch, self.setup = numpy, torch, setup
        self.device = loop.find_device(torch, setup["device"])
        on_gpu = self.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.device) if on_gpu else ""
        torch.backends.cudnn.deterministic = True
        self._seed(setup["seed"])  # what the weights leave open must be the same each time
        if not torch.cuda.is_available():
            # Lets a checkpoint be loaded that was saved on a GPU, by whatever code does it.
            torch.serialization.register_package(
                0,
                lambda storage: None,
                lambda storage, place: storage if str(place).startswith("cuda") else None,
            )
        if setup["disturbed"]:
            loading.other_defaults(torch)
        with loading.disturbing(torch) if setup["disturbed"] else contextlib.nullcontext():
            network = self._build()
        if not isinstance(network, torch.nn.Module):
            raise Problem(
                f"network = {setup['network']!r}: made a {type(network).__name__}, not a "
                "torch.nn.Module; name a class or a function that returns one"
            )
        weights = setup["weights"]
        if setup["disturbed"] and (weights["method"] or weights["file"]):
            loading.disturb(torch, network)
        loading.load(torch, network, weights)
        self.network = network.to(self.device).eval()
        kinds = [p.dtype for p in network.parameters() if p.is_floating_point()]
        self.dtype = kinds[0] if kinds else torch.float32

    def _seed(self, seed: int) -> None:
        random.seed(seed)
        self.numpy.random.seed(seed)
        self.torch.manual_seed(seed)

    def configuration(self) -> dict[str, list[float]]:
        """Mean and deviation that a network of timm says it was trained with, in 0..1."""
        said = getattr(self.network, "pretrained_cfg", None)
        found = {}
        for name in ("mean", "std"):
            value = said.get(name) if isinstance(said, dict) else None
            if not isinstance(value, (list, tuple)) or len(value) != 3:
                return {}
            found[name] = [float(number) for number in value]
        return found

    def _build(self) -> Any:
        reference, arguments = self.setup["network"], self.setup["arguments"]
        module, _, name = reference.partition(":")
        here = f"network = {reference!r}"
        sys.dont_write_bytecode = True  # the folder is the user's, to read
        try:
            found: Any = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise Problem(
                f"{here}: cannot be imported ({short(error)}); check folder and network, or "
                f"install what is missing for {sys.executable}"
            ) from error
        for part in name.split("."):
            if not hasattr(found, part):
                raise Problem(
                    f"{here}: there is no {part} in {module}; {loading.nearest(part, found)}"
                )
            found = getattr(found, part)
        try:
            return found(**arguments)
        except (Exception, SystemExit) as error:
            raise Problem(
                f"{here}: calling it with arguments = {arguments} raised {short(error)}; "
                "correct arguments"
            ) from error

    def logits(self, data: bytes, shape: list[int]) -> Any:
        """Logits, float32 (B, C), of the bytes of patches uint8 (B, H, W, 3)."""
        torch, n_classes, size = self.torch, self.setup["n_classes"], self.setup["batch_size"]
        images = torch.from_numpy(
            self.numpy.frombuffer(bytearray(data), self.numpy.uint8).reshape(shape)
        )
        rows = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            n = len(part)
            with torch.no_grad():
                out = self._forward(part)
            if not isinstance(out, torch.Tensor) or tuple(out.shape) != (n, n_classes):
                what = (
                    f"shape {tuple(out.shape)}"
                    if isinstance(out, torch.Tensor)
                    else f"type {type(out).__name__}"
                )
                raise Problem(
                    f"the network returned an output of {what} where ({n}, {n_classes}) is "
                    f"expected for {n} patches and {n_classes} classes; correct classes or "
                    "arguments, or let network name a function whose network returns logits"
                )
            rows.append(out.float().cpu())
        found = torch.cat(rows) if rows else torch.empty((0, n_classes))
        if not bool(torch.isfinite(found).all()):
            raise Problem(
                "the network returned logits that are not finite; check the weights and [input]"
            )
        return found.numpy()

    def _forward(self, images: Any) -> Any:
        try:
            return self.network(self._prepare(images))
        except (Exception, SystemExit) as error:
            hint = "check [input] and arguments"
            if "out of memory" in str(error) or "allocate" in str(error):
                hint = f"set a batch_size below {self.setup['batch_size']}"
            raise Problem(f"the network raised {short(error)}; {hint}") from error

    def _prepare(self, images: Any) -> Any:
        """Patches uint8 (B, H, W, 3) as the network's input, (B, 3, H, W) of its own dtype."""
        torch, given = self.torch, self.setup["input"]
        x = images.to(self.device).permute(0, 3, 1, 2).float()
        size = (given["size"], given["size"])
        if given["size"] and tuple(x.shape[2:]) != size:
            # Rounded to 8 bits, as Pillow and torchvision do.
            mode = given["interpolation"]
            how = {"mode": "nearest-exact"} if mode == "nearest" else {"mode": mode, **SMOOTH}
            x = torch.nn.functional.interpolate(x, size, **how).round().clamp(0, 255)
        if given["channels"] == "BGR":
            x = x.flip(1)
        low, high = given["range"]
        mean, std = (
            torch.tensor(given[key], dtype=torch.float32, device=self.device).view(3, 1, 1)
            for key in ("mean", "std")
        )
        return ((x / 255 * (high - low) + low - mean) / std).to(self.dtype).contiguous()


SMOOTH = {"antialias": True, "align_corners": False}


if __name__ == "__main__":
    # Beside this script lie modules of the harness, not of the model.
    sys.path[0] = str(Path.cwd())
    loop.serve(begin)
