"""Runs a trained torch model in a process of its own: patches in, logits out.

A script that imports nothing of the harness, so that any interpreter from Python 3.8 on that has
torch and numpy can run it. A message is a line of JSON, followed by as many raw bytes as its
"bytes" says: first what to load, then patches, uint8 (B, H, W, 3), each answered by logits,
float32 (B, C). An answer with "error" is the last one.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import io
import json
import os
import queue
import re
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

LONGEST = 300
"""Characters of an error message of others that are passed on."""


class Problem(Exception):  # noqa: N818
    """What the user can mend, in one line."""


def channels() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for messages; whatever else is printed goes to standard error."""
    messages, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)  # so that a crash loses nothing
    return messages, answers


def listen(messages: BinaryIO, received: queue.Queue[Any]) -> None:
    """Pass messages on; end the process, whatever it is doing, when nobody is there any more."""
    while True:
        line = messages.readline()
        if not line:
            os._exit(0)
        message = json.loads(line)
        data = messages.read(message["bytes"])
        received.put((message, data))


def main() -> None:
    """Load what the first message says, then answer the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to answer
    messages, answers = channels()
    received: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=listen, args=(messages, received), daemon=True).start()

    def answer(content: dict[str, Any], data: bytes = b"") -> None:
        answers.write(json.dumps({**content, "bytes": len(data)}).encode() + b"\n")
        answers.write(data)
        answers.flush()

    try:
        setup, _ = received.get()
        model = Loaded(setup)
        answer({"device": model.device_name, "loaded": model.loaded})
        while True:
            message, data = received.get()
            logits = model.logits(data, message["shape"])
            answer({"shape": list(logits.shape)}, logits.tobytes())
    except Problem as problem:
        traceback.print_exc()
        answer({"error": str(problem)})


def plain(text: str) -> str:
    """A text without the codes that color a terminal."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


def short(error: BaseException) -> str:
    """An error of others in one line."""
    text = " ".join(plain(f"{type(error).__name__}: {error}").split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


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
        self.device = self._find_device(setup["device"])
        on_gpu = self.device.type == "cuda"
        self.device_name = torch.cuda.get_device_name(self.device) if on_gpu else ""
        torch.backends.cudnn.deterministic = True
        torch.manual_seed(0)  # what the weights leave open must be the same each time
        if not torch.cuda.is_available():
            # Lets a checkpoint be loaded that was saved on a GPU, by whatever code does it.
            torch.serialization.register_package(
                0,
                lambda storage: None,
                lambda storage, place: storage if str(place).startswith("cuda") else None,
            )
        network = self._build()
        if not isinstance(network, torch.nn.Module):
            raise Problem(
                f"network = {setup['network']!r}: made a {type(network).__name__}, not a "
                "torch.nn.Module; name a class or a function that returns one"
            )
        self.loaded = ""
        if setup["weights"]["method"]:
            self._call_method(network)
        elif setup["weights"]["file"]:
            self._load_file(network)
        self.network = network.to(self.device).eval()
        kinds = [p.dtype for p in network.parameters() if p.is_floating_point()]
        self.dtype = kinds[0] if kinds else torch.float32

    def _find_device(self, name: str) -> Any:
        torch = self.torch
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if name == "auto":
            name = "cuda" if count else "cpu"
        there = ["cpu", *["cuda"][:count], *[f"cuda:{n}" for n in range(count)]]
        if name not in there:
            raise Problem(f"device = {name!r}: not on this machine; use {' or '.join(there)}")
        return torch.device(name)

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
                raise Problem(f"{here}: there is no {part} in {module}; {nearest(part, found)}")
            found = getattr(found, part)
        try:
            return found(**arguments)
        except (Exception, SystemExit) as error:
            raise Problem(
                f"{here}: calling it with arguments = {arguments} raised {short(error)}; "
                "correct arguments"
            ) from error

    def _call_method(self, network: Any) -> None:
        method, arguments = (self.setup["weights"][key] for key in ("method", "arguments"))
        here = f"weights.method = {method!r}"
        if not callable(getattr(network, method, None)):
            raise Problem(f"{here}: the network has no such method; {nearest(method, network)}")
        torch = self.torch

        def tensors() -> dict[str, Any]:
            state = network.state_dict(keep_vars=True)
            return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}

        # Whether a tensor was written to shows in torch's count of that, unless it went round it.
        before = {name: (t, t._version, t.detach().clone()) for name, t in tensors().items()}
        try:
            getattr(network, method)(**arguments)
        except (Exception, SystemExit) as error:
            raise Problem(
                f"{here}: calling it with arguments = {arguments} raised {short(error)}; correct "
                "them, or put the weights where it looks for them"
            ) from error
        after, left = tensors(), []
        for name, tensor in after.items():
            same, version, values = before.get(name, (None, 0, None))
            if tensor is same and tensor._version == version:
                left += [name] if torch.equal(tensor.detach().to(values), values) else []
        if len(left) == len(after):
            raise Problem(
                f"{here}: it left every weight as it was; check its arguments and the file that it "
                "reads"
            )
        if lacking := self._lacking(left):
            raise Problem(
                f"{here}: it loaded nothing into {len(lacking):,} of {len(after):,} tensors "
                f"({listed(lacking)}); check its arguments and the file that it reads, or name in "
                "weights.missing what the answer does not depend on"
            )
        self.loaded = f"{method} loaded {len(after) - len(left):,} of {len(after):,} tensors"
        self.loaded += f", none into {listed(left)}" if left else ""

    def _lacking(self, names: list[str]) -> list[str]:
        """Those names of tensors that may not be missing."""
        allowed = self.setup["weights"]["missing"]
        return [n for n in names if not any(fnmatch.fnmatchcase(n, part) for part in allowed)]

    def _load_file(self, network: Any) -> None:
        weights = self.setup["weights"]
        here = f"weights.file = {weights['file']!r}"
        state = self._read(weights["file"], here)
        for key in filter(None, weights["key"].split(".")):
            if not isinstance(state, dict) or key not in state:
                raise Problem(f"{here}: has no {weights['key']!r}; correct weights.key")
            state = state[key]
        if not isinstance(state, dict) or not state:
            raise Problem(f"{here}: there is no state dict; correct weights.key")
        prefix = weights["prefix"]
        if prefix:
            cut = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
            if not cut:
                raise Problem(
                    f"{here}: no name starts with {prefix!r}, the first is {next(iter(state))!r}; "
                    "correct weights.prefix"
                )
            state = cut
        tensors = {k: v for k, v in state.items() if isinstance(v, self.torch.Tensor)}
        if not tensors:
            raise Problem(f"{here}: holds {listed(state)}, no tensors; set weights.key to one")
        try:
            fit = network.load_state_dict(tensors, strict=False)
        except Exception as error:
            raise Problem(
                f"{here}: does not fit the network ({short(error)}); correct arguments or give its "
                "own weights"
            ) from error
        missing, strange = self._lacking(fit.missing_keys), list(fit.unexpected_keys)
        if missing or strange:
            parts = []
            if missing:
                parts.append(f"{len(missing)} names of the network are not in it ({missing[0]})")
            if strange:
                parts.append(f"{len(strange)} are not in the network ({strange[0]})")
            head = strange[0][: -len(missing[0])] if missing and strange else ""
            hint = "correct arguments, weights.key or weights.prefix"
            if head and strange[0] == head + missing[0]:
                hint = f"set weights.prefix = {prefix + head!r}"
            raise Problem(f"{here}: {', and '.join(parts)}; {hint}")
        self.loaded = f"{len(tensors):,} tensors loaded"

    def _read(self, path: str, here: str) -> Any:
        try:
            if path.endswith(".safetensors"):
                from safetensors.torch import load_file

                return load_file(path)
            return self.torch.load(path, map_location="cpu", weights_only=True)
        except ImportError as error:
            raise Problem(
                f"{here}: {short(error)}; install safetensors for {sys.executable}"
            ) from error
        except Exception as error:
            raise Problem(f"{here}: {self._why_unread(path, error)}") from error

    def _why_unread(self, path: str, error: Exception) -> str:
        """What is wrong with a file that cannot be read, and what to do instead."""
        text = str(error)
        if isinstance(error, TypeError) and "weights_only" in text:
            return (
                f"torch {self.torch.__version__} cannot read it without running what is in it; "
                f"install torch 1.13 or newer for {sys.executable}"
            )
        if "TorchScript" in text:
            file = json.dumps(path)
            return (
                f'is TorchScript; remove [weights] and say network = "torch.jit:load", '
                f"arguments = {{ f = {file} }}, files = [{file}]"
            )
        if found := re.search(r"GLOBAL (\S+)", plain(text)):
            return (
                f"holds more than tensors, numbers and texts ({found[1]}), which would be run; if "
                f"you trust it, save its state dict alone: torch.save(torch.load({path!r}, "
                "weights_only=False)['state_dict'], 'new.pth'), with .state_dict() in place of "
                "['state_dict'] if it is a whole network"
            )
        # What torch says before the cause is to read the file without care.
        cause = re.search(r"WeightsUnpickler error:\s*(.*)", text)
        return (
            f"cannot be read ({cause[1] if cause else short(error)}); it must be a safetensors "
            "file, or one of torch.save that holds nothing but tensors, numbers and texts"
        )

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


def nearest(name: str, owner: Any) -> str:
    """What to say about a name that something does not have."""
    names = [known for known in dir(owner) if not known.startswith("_")]
    near = difflib.get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "correct it"


def listed(names: Any) -> str:
    """A few names of many."""
    names = list(map(str, names))
    return ", ".join(names[:5]) + (", ..." if names[5:] else "")


if __name__ == "__main__":
    # Beside this script lie modules of the harness, not of the model.
    sys.path[0] = str(Path.cwd())
    main()
