"""What to do about a file that holds more than weights: a command that saves these alone.

Such a file can run code when it is read. Here nothing of it is run: its pickle is read with inert
stand-ins for everything that it names, which tells where in it the weights are.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness_checkpoint.description import Description

TENSORS = ("torch._utils", "torch._tensor", "numpy")
"""Modules whose functions make tensors and arrays again."""
DEEP = 4
"""Keys on the way to a state dict, at most."""


class Inert(dict[Any, Any]):
    """Stands for an object of any type; takes whatever a pickle does to it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Any arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def append(self, _: Any) -> None:
        """As a list."""

    add = extend = append

    @property
    def is_module(self) -> bool:
        """Whether it is a torch.nn.Module."""
        return isinstance(self.state, dict) and "_modules" in self.state


class Tensor(Inert):
    """Stands for a tensor or an array."""


class Reading(pickle.Unpickler):
    """Reads a pickle and runs nothing of it."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in."""
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        return Tensor if module.startswith(TENSORS) else Inert

    def persistent_load(self, pid: Any) -> Any:
        """Of the data of a tensor."""
        return None


def content(path: Path) -> Any:
    """What is in a file of ``torch.save``, of stand-ins; None where that cannot be told."""
    try:
        with zipfile.ZipFile(path) as file:
            (name,) = (n for n in file.namelist() if n.endswith("/data.pkl"))
            with file.open(name) as member:
                return Reading(member).load()
    except Exception:  # of an old torch, or damaged
        return None


def state_dicts(found: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[int, tuple[str, ...]]]:
    """How many tensors there are under which keys: of dictionaries of them, and of modules."""
    if isinstance(found, Inert):
        if found.is_module:
            yield 1, keys
    elif isinstance(found, dict) and len(keys) < DEEP:
        if tensors := sum(isinstance(value, Tensor) for value in found.values()):
            yield tensors, keys
        for key, value in found.items():
            if isinstance(key, str):
                yield from state_dicts(value, (*keys, key))


def under(found: Any, keys: Sequence[str]) -> Any:
    """What is under keys, one in the other; None if there is nothing."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def unsafe_file(description: Description, python: str, unsafe: str) -> str:
    """What to say of the weights of a model that hold ``unsafe``, the name of some type."""
    weights: Mapping[str, Any] = description.weights
    path = Path(weights["file"])
    named = tuple(filter(None, weights["key"].split(".")))
    found = content(path)
    candidates = sorted(state_dicts(found), key=lambda one: -one[0])
    keys, wrong = named, ""
    if candidates and (not named or not under(found, named)):
        keys = candidates[0][1]
        if named:
            wrong = f"weights.key = {weights['key']!r} is not in it; "
    here = under(found, keys)
    new = _new(path)
    steps = [
        "import torch",
        f's = torch.load({_quoted(path)}, map_location="cpu", weights_only=False)'
        + "".join(f"[{_quoted(key)}]" for key in keys),
        'torch.save({k: torch.as_tensor(v) for k, v in s.items() if hasattr(v, "shape")}, '
        f"{_quoted(new)})",
    ]
    whole = here is None or (isinstance(here, Inert) and here.is_module)
    if whole:
        steps.insert(2, 's = s.state_dict() if hasattr(s, "state_dict") else s')
    command = f"{shlex.quote(python)} -c {shlex.quote('; '.join(steps))}"
    if whole:  # its class is imported from there
        command = f"cd {shlex.quote(str(description.folder))} && {command}"
    if new.is_relative_to(description.path.parent):
        new = new.relative_to(description.path.parent)
    fix = f'say file = "{new.as_posix()}" in [weights]' + (" and remove key" if named else "")
    return (
        f"weights.file = {str(path)!r}: holds more than tensors, numbers and texts ({unsafe}), "
        f"which would be run; {wrong}if you trust it, save its tensors alone with the command "
        f"{command} and {fix}"
    )


def _quoted(text: str | Path) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(str(text), ensure_ascii=False)


def _new(path: Path) -> Path:
    return Path(os.path.normpath(path)).with_name(f"{path.stem}-tensors.pth")
