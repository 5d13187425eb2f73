"""The TOML file that describes a trained torch model: its keys, checked, and the files behind it.

kind = "torch-checkpoint"
name = "mine"                    # of the model; "mine+flips" is then known as well
title = "My network"             # the name, if left out
folder = "checkout"              # imports and relative paths of the code start here; the folder
                                 # of this file, if left out
network = "model:Network"        # MODULE:NAME of a class or function; the module is one of the
                                 # folder, or an installed one
arguments = { num_classes = 9 }  # that it is called with
classes = ["ADI", "BACK"]        # in the order of the outputs
trained_on = "NCT-CRC-HE-100K"   # as published results call it, or "unknown"
selected_on = "unknown"          # which split chose it: none, held-out, validation, test
license = "CC BY 4.0"            # said when it is run, like the source
source = "https://..."
files = ["config.json"]          # what else the answer depends on; needed without weights.file

device = "auto"                  # or "cpu", "cuda", "cuda:1"
batch_size = 32
python = "env/bin/python"        # another interpreter, with torch and numpy

[weights]                        # none where calling the network loads them
file = "weights.safetensors"     # or a file of torch.save, read with weights_only
key = "state_dict"               # where the state dict is in it; dots go deeper
prefix = "module."               # to cut off its names; other names are left out
# or a method of the network, called once:
# method = "load_weights"
# arguments = { dataset = "CRC" }

[input]
size = 224                       # side, in pixels, to resize to; as they are, if left out
interpolation = "bilinear"       # or "bicubic", "nearest"
range = [0, 1]                   # what 0 and 255 become
mean = [0.485, 0.456, 0.406]     # subtracted then, by channel
std = [0.229, 0.224, 0.225]      # divided by then
channels = "RGB"                 # or "BGR"
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import HarnessError, InitialWeights, Setting, UnavailableError
from harness.registry import suggest

REQUIRED = object()
SPLITS = ("none", "held-out", "validation", "test", "unknown")
REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

Keys = Mapping[str, tuple[Callable[[Any], bool], str, Any]]
"""By key: whether a value will do, what it must be in words, and the default."""


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _one_of(*choices: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in choices, " or ".join(choices)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _numbers(n: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == n
            and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        )

    return check


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _arguments(value: Any) -> bool:
    try:
        return isinstance(value, dict) and bool(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False


ARGUMENTS: tuple[Callable[[Any], bool], str, Any] = (
    _arguments,
    "a table of texts, numbers and lists of them",
    {},
)
KEYS: Keys = {
    "kind": (_text, "torch-checkpoint", REQUIRED),
    "name": (_text, "the name of the model", REQUIRED),
    "title": (_text, "a text", ""),
    "folder": (_text, "the path of a folder", "."),
    "network": (
        lambda value: isinstance(value, str) and bool(REFERENCE.fullmatch(value)),
        'MODULE:NAME of a class or function, such as "model:Network" for Network in model.py',
        REQUIRED,
    ),
    "arguments": ARGUMENTS,
    "classes": (
        lambda value: _texts(value) and len(value) == len(set(value)) >= 2,
        "the names of the classes in the order of the outputs",
        REQUIRED,
    ),
    "trained_on": (_text, 'the name of the training data, or "unknown"', REQUIRED),
    "selected_on": (*_one_of(*SPLITS), "unknown"),
    "license": (_text, "a text", ""),
    "source": (_text, "a text", ""),
    "files": (_texts, "a list of paths", None),
    "device": (_text, "auto, cpu, cuda or cuda:N", "auto"),
    "batch_size": (_whole, "a whole number, at least 1", 32),
    "python": (_text, "the path of a Python interpreter", ""),
    "weights": (_table, "a table with file or method", {}),
    "input": (_table, "a table", {}),
}
WEIGHTS: Keys = {
    "file": (_text, "the path of a file", ""),
    "key": (_text, "a text", ""),
    "prefix": (_text, "a text", ""),
    "method": (_text, "the name of a method", ""),
    "arguments": ARGUMENTS,
}
INPUT: Keys = {
    "size": (_whole, "a whole number, at least 1", 0),
    "interpolation": (*_one_of("bilinear", "bicubic", "nearest"), "bilinear"),
    "range": (
        lambda value: _numbers(2)(value) and value[0] < value[1],
        "two numbers, what 0 and 255 become, such as [0, 1]",
        [0, 1],
    ),
    "mean": (_numbers(3), "three numbers", [0, 0, 0]),
    "std": (
        lambda value: _numbers(3)(value) and all(v > 0 for v in value),
        "three numbers above 0",
        [1, 1, 1],
    ),
    "channels": (*_one_of("RGB", "BGR"), "RGB"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """A trained torch model. Paths are absolute; see the top of this module for the rest."""

    path: Path
    """The TOML file, which every error names."""
    name: str
    title: str
    folder: Path
    network: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    weights: Mapping[str, Any]
    """``file`` (absolute), ``key``, ``prefix``, ``method`` and ``arguments``; "" for none."""
    files: tuple[Path, ...]
    input: Mapping[str, Any]
    trained_on: str
    selected_on: str
    license: str
    source: str
    execution: Mapping[str, Setting]
    own_folder: bool
    """Whether the file names a folder, which then must have the module."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Modules that this interpreter must have; none when another one runs the model."""
        if self.execution["python"]:
            return ()
        safetensors = self.weights["file"].endswith(".safetensors")
        return ("torch", "safetensors") if safetensors else ("torch",)

    @cached_property
    def initial_weights(self) -> InitialWeights:
        """The trained weights, under a digest of all files that the answer depends on.

        Raises UnavailableError when one of them is not there.
        """
        names = [path.name for path in self._weights_files()]
        label = ", ".join(names) or self.network
        return InitialWeights(label=label, digest=self.digest(self.digests()))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that the answer depends on, by path, as they are now.

        Raises UnavailableError when one of them is not there.
        """
        if not self.folder.is_dir():
            raise UnavailableError(
                f"{self.path}: folder: there is no folder {self.folder}; put it there or correct "
                "the path"
            )
        module = self.network.partition(":")[0]
        code = sources(self.folder, module)
        if self.own_folder and not code:
            raise UnavailableError(
                f"{self.path}: network = {self.network!r}: there is no module {module} in "
                f"{self.folder}; correct network or folder"
            )
        found = {}
        for path in dict.fromkeys([*code, *self._weights_files(), *self.files]):
            try:
                with path.open("rb") as file:
                    found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                key = "files" if path in self.files else "weights.file"
                raise UnavailableError(
                    f"{self.path}: {key}: {path}: {error.strerror}; put it there or correct the "
                    "path"
                ) from error
        return found

    def digest(self, digests: Mapping[str, str]) -> str:
        """One digest of these files and of what the description says, wherever they lie."""
        weights = {**self.weights, "file": Path(self.weights["file"]).name}
        said = [
            *(self.network, self.arguments, self.classes, weights, self.input, self.trained_on),
            [[_place(Path(path), self.folder), digest] for path, digest in digests.items()],
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def order(self, classes: Sequence[str]) -> list[int]:
        """For each class of a dataset, which output is its. Raises HarnessError if they differ."""
        if set(classes) != set(self.classes):
            raise HarnessError(
                f"{self.path}: classes are {', '.join(self.classes)}, but those of the dataset are "
                f"{', '.join(classes)}; choose another dataset or correct classes"
            )
        return [self.classes.index(name) for name in classes]

    def _weights_files(self) -> list[Path]:
        return [Path(self.weights["file"])] if self.weights["file"] else list(self.files)


def describe(path: Path, content: Mapping[str, Any]) -> Description:
    """Check what a TOML file says. Raises HarnessError naming the file and the key.

    Whether the files that it names are there is looked at only when the model is used.
    """
    path = path.absolute()
    given = _checked(path, "", content, KEYS)
    weights = _checked(path, "weights.", given["weights"], WEIGHTS)
    chosen = [key for key in ("file", "method") if weights[key]]
    if given["weights"] and len(chosen) != 1:
        raise HarnessError(f"{path}: weights: give either file or method, and no other way")
    strange = ("arguments",) if weights["file"] else ("key", "prefix")
    for key in strange:
        if key in given["weights"]:
            raise HarnessError(
                f"{path}: weights.{key} does not go with {chosen[0]}; remove one of them"
            )
    if not weights["file"] and given["files"] is None:
        raise HarnessError(
            f"{path}: lacks files: name those that hold the weights, so that results are computed "
            "anew when they change (files = [] if there are none)"
        )
    where = path.parent
    python = given["python"]
    return Description(
        path=path,
        name=given["name"],
        title=given["title"] or given["name"],
        folder=where / Path(given["folder"]).expanduser(),
        own_folder="folder" in content,
        network=given["network"],
        arguments=given["arguments"],
        classes=tuple(given["classes"]),
        weights={
            **weights,
            "file": str(where / Path(weights["file"]).expanduser()) if weights["file"] else "",
        },
        files=tuple(where / Path(name).expanduser() for name in given["files"] or ()),
        input=_checked(path, "input.", given["input"], INPUT),
        trained_on=given["trained_on"],
        selected_on=given["selected_on"],
        license=given["license"],
        source=given["source"],
        execution={
            "device": given["device"],
            "batch_size": given["batch_size"],
            # A bare name, such as "python3.12", is looked for as a shell does. The path is not
            # resolved: an interpreter knows its environment by the link it was called through.
            "python": str(where / Path(python).expanduser())
            if Path(python).name != python
            else python,
        },
    )


def _checked(path: Path, where: str, table: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    """The values of a table, with defaults for those left out."""
    for key, value in table.items():
        if key not in keys:
            raise HarnessError(f"{path}: unknown key {where}{key}; {suggest(key, keys)}")
        good, allowed, _ = keys[key]
        if not good(value):
            raise HarnessError(f"{path}: {where}{key} = {value!r}: must be {allowed}")
    for key, (_, allowed, default) in keys.items():
        if default is REQUIRED and key not in table:
            raise HarnessError(f"{path}: lacks {where}{key}: {allowed}; add it")
    return {key: table.get(key, default) for key, (*_, default) in keys.items()}


def sources(folder: Path, module: str) -> list[Path]:
    """The files of a module of a folder and of all that it imports from there, sorted.

    Found by reading, not by running: what is imported by other means than ``import`` is missed.
    """
    found: set[Path] = set()
    names = [module]
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        names += [name.rpartition(".")[0]] if "." in name else []
        base = folder.joinpath(*name.split("."))
        for path, package in (
            (base / "__init__.py", name),
            (base.with_name(base.name + ".py"), ""),
        ):
            if path.is_file():
                found.add(path)
                names += _imports(path, package or name.rpartition(".")[0])
                break
    return sorted(found)


def _imports(path: Path, package: str) -> list[str]:
    """Names of modules that a file may import; ``package`` is what its relative imports mean."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # of another Python than this one
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(filter(None, [*(above if node.level else ()), node.module or ""]))
            names += [base] if base else []
            names += [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
    return [name for name in names if not name.endswith("*")]


def _place(path: Path, folder: Path) -> str:
    """Where a file lies in the folder, or its name alone if it lies elsewhere."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
