"""Loads weights into a network, and tells one set of loaded weights from another.

Part of ``worker.py``: imports nothing of the harness but what that has loaded, so that any
interpreter from Python 3.8 on can run it, and gets torch handed over.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterator
from typing import Any

from harness.system.foreign_loop import Problem, plain, short


def load(torch: Any, network: Any, weights: dict[str, Any]) -> None:
    """Load weights into a network, as a TOML file describes them."""
    if weights["method"]:
        _call_method(network, weights)
    elif weights["file"]:
        _load_file(torch, network, weights)


def disturb(torch: Any, network: Any, but: Collection[int] = ()) -> list[Any]:
    """Fill all that a state dict should hold with noise, so that what is not loaded shows.

    Also what is built as a constant, such as the statistics of batch normalization. Buffers that
    are not saved, and whole numbers such as positions, stay: nobody loads them. The noise is
    positive, for variances. ``but`` has the identities of tensors to leave alone; returns the
    others.
    """
    saved = set(network.state_dict())
    found = []
    for name, tensor in _tensors(network).items():
        numbers = tensor.is_floating_point() or tensor.is_complex()
        if name in saved and numbers and id(tensor) not in but:
            found.append(tensor)
            try:
                with torch.no_grad():
                    tensor.uniform_(0.5, 1.5)
            except Exception:  # not there yet, or of a dtype without random numbers
                continue
    return found


@contextlib.contextmanager
def disturbing(torch: Any) -> Iterator[None]:
    """Within, each network is disturbed before it is given a state dict; each tensor once.

    For functions that make a network and load its weights in one.
    """
    load = torch.nn.Module.load_state_dict
    done: dict[int, Any] = {}

    def disturbed(network: Any, *arguments: Any, **more: Any) -> Any:
        done.update((id(tensor), tensor) for tensor in disturb(torch, network, done))
        return load(network, *arguments, **more)

    torch.nn.Module.load_state_dict = disturbed
    try:
        yield
    finally:
        torch.nn.Module.load_state_dict = load


def other_defaults(torch: Any) -> None:
    """From here on, what stays as it is built is never the same as in another process.

    Seeds that the code of the network sets have no effect, parameters that are to be constant and
    statistics of batch normalization get noise. For a process that is there to be compared.
    """
    for owner in (torch, torch.random, torch.cuda):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(owner, name):
                setattr(owner, name, lambda seed: torch.default_generator)

    def noisy(fill: Any) -> Any:
        def filled(tensor: Any, *arguments: Any, **more: Any) -> Any:
            found = fill(tensor, *arguments, **more)
            if isinstance(tensor, torch.nn.Parameter) and tensor.is_floating_point():
                with torch.no_grad():
                    tensor.uniform_(0.5, 1.5)
            return found

        return filled

    for name in ("constant_", "ones_", "zeros_"):
        setattr(torch.nn.init, name, noisy(getattr(torch.nn.init, name)))
    norm = torch.nn.modules.batchnorm._NormBase
    reset = norm.reset_running_stats

    def reset_to_noise(module: Any) -> None:
        reset(module)
        if module.track_running_stats:
            for statistic in (module.running_mean, module.running_var):
                statistic.uniform_(0.5, 1.5)

    norm.reset_running_stats = reset_to_noise


def digests(torch: Any, network: Any) -> dict[str, str]:
    """By name of each tensor of a network, its dtype and a digest of its values.

    "unsaved" stands before the dtype of those that no state dict holds.
    """
    found = {}
    saved = set(network.state_dict())
    for name, tensor in _tensors(network).items():
        kind = str(tensor.dtype).split(".")[-1]
        kind = kind if name in saved else f"unsaved {kind}"
        try:
            values = tensor.detach().cpu().contiguous().reshape(-1)
            if values.is_complex():
                values = torch.view_as_real(values).reshape(-1)
            data = values.view(torch.uint8).numpy()
            found[name] = f"{kind}:{hashlib.sha256(data).hexdigest()[:32]}"
        except Exception as error:  # has no values, or hides them
            found[name] = f"{kind}:{type(error).__name__}"
    return found


def _tensors(network: Any) -> dict[str, Any]:
    """Parameters and buffers by name; of tied ones the first."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def _call_method(network: Any, weights: dict[str, Any]) -> None:
    method, arguments = weights["method"], weights["arguments"]
    here = f"weights.method = {method!r}"
    if not callable(getattr(network, method, None)):
        raise Problem(f"{here}: the network has no such method; {nearest(method, network)}")
    try:
        getattr(network, method)(**arguments)
    except (Exception, SystemExit) as error:
        raise Problem(
            f"{here}: calling it with arguments = {arguments} raised {short(error)}; correct "
            "them, or put the weights where it looks for them"
        ) from error


def _load_file(torch: Any, network: Any, weights: dict[str, Any]) -> None:
    here = f"weights.file = {weights['file']!r}"
    state = _read(torch, weights["file"], here)
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
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise Problem(f"{here}: holds {listed(state)}, no tensors; set weights.key to one")
    try:
        fit = network.load_state_dict(tensors, strict=False)
    except Exception as error:
        raise Problem(
            f"{here}: does not fit the network ({short(error)}); correct arguments or give its "
            "own weights"
        ) from error
    missing, strange = list(fit.missing_keys), list(fit.unexpected_keys)
    if strange:  # what is missing shows where two networks are compared
        lacking = f"{len(missing)} names of the network are not in it ({missing[0]}), and "
        head = strange[0][: -len(missing[0])] if missing else ""
        hint = "correct arguments, weights.key or weights.prefix"
        if head and strange[0] == head + missing[0]:
            hint = f"set weights.prefix = {prefix + head!r}"
        raise Problem(
            f"{here}: {lacking if missing else ''}{len(strange)} are not in the network "
            f"({strange[0]}); {hint}"
        )


def _read(torch: Any, path: str, here: str) -> Any:
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise Problem(
            f"{here}: {short(error)}; install safetensors for {sys.executable}"
        ) from error
    except Exception as error:
        text = plain(str(error))
        found = re.search(r"(?:GLOBAL|Unsupported class) (\S+)", text)
        unsafe = found[1] if found and "TorchScript" not in text else ""
        raise Problem(f"{here}: {_why_unread(torch, path, error)}", unsafe) from error


def _why_unread(torch: Any, path: str, error: Exception) -> str:
    """What is wrong with a file that cannot be read, and what to do instead."""
    text = str(error)
    if isinstance(error, TypeError) and "weights_only" in text:
        return (
            f"torch {torch.__version__} cannot read it without running what is in it; "
            f"install torch 1.13 or newer for {sys.executable}"
        )
    if "TorchScript" in text:
        file = json.dumps(path)
        return (
            f'is TorchScript; remove [weights] and say network = "torch.jit:load", '
            f"arguments = {{ f = {file} }}, files = [{file}]"
        )
    # What torch says before the cause is to read the file without care.
    cause = re.search(r"WeightsUnpickler error:\s*(.*)", text)
    return (
        f"cannot be read ({cause[1] if cause else short(error)}); it must be a safetensors "
        "file, or one of torch.save that holds nothing but tensors, numbers and texts"
    )


def nearest(name: str, owner: Any) -> str:
    """What to say about a name that something does not have."""
    names = [known for known in dir(owner) if not known.startswith("_")]
    near = difflib.get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "correct it"


def listed(names: Any) -> str:
    """A few names of many."""
    names = list(map(str, names))
    return ", ".join(names[:5]) + (", ..." if names[5:] else "")
