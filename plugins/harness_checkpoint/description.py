"""The TOML file that describes a trained torch model: its keys, checked, and the files behind it.

What the keys mean is in ``docs/deepcmorph.md``.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from harness import HarnessError, InitialWeights, Outputs, Setting, UnavailableError, files
from harness.normalization import misfit, range_for, reversed_channels
from harness.toml_keys import checked

SPLITS = ("none", "held-out", "validation", "test", "unknown")
NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"


def _text(description: str = "a text", **more: Any) -> dict[str, Any]:
    return {"type": "string", "pattern": r"\S", "description": description, **more}


def _texts(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": _text(), "description": description, **more}


def _one_of(*choices: str) -> dict[str, Any]:
    return {"enum": choices, "description": " or ".join(choices)}


def _whole(**more: Any) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "description": "a whole number, at least 1", **more}


def _numbers(n: int, description: str, **more: Any) -> dict[str, Any]:
    size = {"minItems": n, "maxItems": n}
    return {
        "type": "array",
        "items": {"type": "number", **more},
        **size,
        "description": description,
    }


ARGUMENTS = {
    "$ref": "#/$defs/arguments",
    "description": "a table of texts, numbers and lists of them",
    "default": {},
}
WEIGHTS = {
    "file": _text("the path of a file", default=""),
    "key": _text(default=""),
    "prefix": _text(default=""),
    "method": _text("the name of a method", default=""),
    "arguments": ARGUMENTS,
    "missing": _texts("a list of names of tensors", default=[]),
}
INPUT = {
    "size": _whole(default=0),
    "interpolation": {**_one_of("bilinear", "bicubic", "nearest"), "default": "bilinear"},
    "range": {**_numbers(2, "two numbers, what 0 and 255 become"), "default": [0, 1]},
    "mean": {**_numbers(3, "three numbers"), "default": [0, 0, 0]},
    "std": {**_numbers(3, "three numbers above 0", exclusiveMinimum=0), "default": [1, 1, 1]},
    "channels": {**_one_of("RGB", "BGR"), "default": "RGB"},
}
KEYS = {
    "kind": _text("torch-checkpoint"),
    "name": _text("the name of the model"),
    "title": _text(),
    "folder": _text("the path of a folder", default="."),
    "network": {
        "type": "string",
        "pattern": f"^{NAME}:{NAME}$",
        "description": (
            'MODULE:NAME of a class or function, such as "model:Network" for Network in model.py'
        ),
    },
    "arguments": ARGUMENTS,
    "classes": _texts(
        "the names of the classes in the order of the outputs", minItems=2, uniqueItems=True
    ),
    "trained_on": _text('the name of the training data, or "unknown"'),
    "selected_on": {**_one_of(*SPLITS), "default": "unknown"},
    "outputs": {**_one_of(*get_args(Outputs)), "default": "logits"},
    "license": _text(default=""),
    "source": _text(default=""),
    "files": _texts("a list of paths"),
    "device": _text("auto, cpu, cuda or cuda:N", default="auto"),
    "batch_size": _whole(default=32),
    "python": _text("the path of a Python interpreter", default=""),
    "weights": {
        "type": "object",
        "properties": WEIGHTS,
        "description": "a table with file or method",
        "default": {},
    },
    "input": {"type": "object", "properties": INPUT, "description": "a table", "default": {}},
}
SCHEMA = {
    "properties": KEYS,
    "required": ["kind", "name", "network", "classes", "trained_on"],
    "$defs": {
        "value": {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "items": {"$ref": "#/$defs/value"}},
                {"$ref": "#/$defs/arguments"},
            ]
        },
        "arguments": {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
    },
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """A trained torch model. Paths are absolute, but for that of another interpreter."""

    path: Path
    """The TOML file, which every error names."""
    name: str
    title: str
    folder: Path
    network: str
    arguments: Mapping[str, Any]
    classes: tuple[str, ...]
    weights: Mapping[str, Any]
    """``file`` (absolute), ``key``, ``prefix``, ``method``, ``arguments`` and ``missing``; "" for
    none."""
    files: tuple[Path, ...]
    input: Mapping[str, Any]
    trained_on: str
    selected_on: str
    outputs: Outputs
    license: str
    source: str
    execution: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    """What is likely to be wrong in the file."""

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
        found = {}
        for path in dict.fromkeys([*code, *self._weights_files(), *self.files]):
            key = "files" if path in self.files else "network" if path in code else "weights.file"
            try:
                if path.exists():
                    self._check(key, path)
                with path.open("rb") as file:
                    found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise UnavailableError(
                    f"{self.path}: {key}: {path}: {error.strerror}; put it there or correct the "
                    "path"
                ) from error
        return found

    def _check(self, key: str, path: Path) -> None:
        """Raise HarnessError when a file is not what its key says, such as a pointer of Git LFS."""
        try:
            start = files.head(path)
            if key == "network":
                files.check_text(path, start, "Python code")
            elif key == "weights.file":
                files.check_weights(path, start)
            elif files.what_is(start).group == "pointer":
                raise HarnessError(f"{path}: {files.is_not(start, 'the file itself')}")
        except HarnessError as error:
            raise HarnessError(f"{self.path}: {key}: {error}") from error

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
    said = checked(path, content, SCHEMA)
    weights, given = said["weights"], content.get("weights", {})
    chosen = [key for key in ("file", "method") if weights[key]]
    if set(given) - {"missing"} and len(chosen) != 1:
        raise HarnessError(f"{path}: weights: give either file or method, and no other way")
    strange = ("arguments",) if weights["file"] else ("key", "prefix")
    for key in strange if chosen else ():
        if key in given:
            raise HarnessError(
                f"{path}: weights.{key} does not go with {chosen[0]}; remove one of them"
            )
    if not weights["file"] and "files" not in said:
        raise HarnessError(
            f"{path}: lacks files: name those that hold the weights, so that results are computed "
            "anew when they change (files = [] if there are none)"
        )
    low, high = said["input"]["range"]
    if low >= high:
        raise HarnessError(
            f"{path}: input.range = [{low}, {high}]: the first must be below the second; correct it"
        )
    warnings = _check_normalization(path, said["input"])
    if weights["file"]:
        weights = {**weights, "file": str(beside(path, "weights.file", weights["file"]))}
    return Description(
        path=path,
        name=said["name"],
        title=said.get("title", said["name"]),
        folder=beside(path, "folder", said["folder"]),
        network=said["network"],
        arguments=said["arguments"],
        classes=tuple(said["classes"]),
        weights=weights,
        files=tuple(beside(path, "files", name) for name in said.get("files", ())),
        input=said["input"],
        trained_on=said["trained_on"],
        selected_on=said["selected_on"],
        outputs=said["outputs"],
        license=said["license"],
        source=said["source"],
        execution={key: said[key] for key in ("device", "batch_size", "python")},
        warnings=warnings,
    )


def _check_normalization(path: Path, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Raise HarnessError when the network would see other values than it was trained on.

    Returns what is only likely to be wrong.
    """
    mean, std, (low, high) = given["mean"], given["std"], given["range"]
    if why := misfit(mean, std, low, high):
        wanted = range_for(mean, std)
        fix = "correct input.mean, input.std or input.range"
        if wanted:
            fix = f"say range = [{wanted[0]:g}, {wanted[1]:g}] in [input], or correct them"
        raise HarnessError(f"{path}: input.{why}; {fix}")
    if reversed_channels(mean, given["channels"] == "BGR"):
        other = "RGB" if given["channels"] == "BGR" else "BGR"
        return (
            f"input.mean is that of ImageNet in the order {other}, but channels = "
            f'"{given["channels"]}"; if the network was trained on {other}, say channels = '
            f'"{other}" in [input]',
        )
    return ()


def beside(file: Path, key: str, name: str) -> Path:
    """A path that a TOML file names, relative to the file. Raises HarnessError naming the key.

    It is not resolved: an interpreter knows its environment by the link it is called through.
    """
    try:
        if "\0" in name:
            raise ValueError("has a zero byte")
        return file.parent / Path(name).expanduser()
    except (RuntimeError, ValueError) as error:  # RuntimeError: the home of nobody
        raise HarnessError(f"{file}: {key} = {name!r}: {error}; correct the path") from error


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
