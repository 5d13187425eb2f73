"""The TOML file that describes a trained torch model: its keys, checked, and the files behind it.

What the keys mean is in ``docs/how-to/deepcmorph.md``.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness import HarnessError, InitialWeights, Outputs, Setting, UnavailableError
from harness.data import files
from harness.data.normalization import misfit, range_for, reversed_channels
from harness.hooks.toml_keys import Arguments, Keys, MustBe, Names, Number, Text, checked

NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"


def _number_below(values: list[Number]) -> list[Number]:
    if min(values) <= 0:
        raise ValueError("has one that is not above 0")
    return values


Three = Annotated[list[Number], Field(min_length=3, max_length=3)]


class WeightsKeys(Keys):
    """The table ``weights``."""

    file: Annotated[Text, MustBe("the path of a file")] = Field("", description="the weights")
    key: Text = Field("", description="where the state dict is in the file; dots go deeper")
    prefix: Text = Field("", description="to cut off its names; names without it are left out")
    method: Annotated[Text, MustBe("the name of a method")] = Field(
        "", description="instead of file: a method of the network that loads them"
    )
    arguments: Arguments = Field(default_factory=dict, description="what the method is called with")
    missing: Annotated[list[Text], MustBe("a list of names of tensors")] = Field(
        default_factory=list,
        description="tensors that the weights may leave as they are, as the answer does not depend "
        "on them; * stands for any part of a name",
    )


class InputKeys(Keys):
    """The table ``input``."""

    size: int = Field(
        0, ge=1, description="side, in pixels, that patches are resized to; by default, as they are"
    )
    interpolation: Literal["bilinear", "bicubic", "nearest"] = Field(
        "bilinear", description="as Pillow does it"
    )
    range: Annotated[list[Number], MustBe("two numbers, what 0 and 255 become")] = Field(
        [0, 1],
        min_length=2,
        max_length=2,
        description="[0, 255] for a mean such as 123.675, [0, 1] for 0.485",
    )
    mean: Annotated[Three, MustBe("three numbers")] = Field(
        [0, 0, 0], description="by channel, in the order of channels, subtracted after that"
    )
    std: Annotated[Three, AfterValidator(_number_below), MustBe("three numbers above 0")] = Field(
        [1, 1, 1],
        description="by channel, divided by after that; an error where they do not fit range",
    )
    channels: Literal["RGB", "BGR"] = Field(
        "RGB", description="the order of the channels that the network sees"
    )


class CheckpointKeys(Keys):
    """What a TOML file of a trained torch model may say."""

    name: Annotated[Text, MustBe("the name of the model")] = Field(
        description="of the model; NAME+flips is then known as well"
    )
    title: Text | None = Field(None, description="for tables; by default, the name")
    folder: Annotated[Text, MustBe("the path of a folder")] = Field(
        ".",
        description="where modules are imported from, and the working folder of the model's "
        "process",
    )
    network: Annotated[
        str,
        Field(pattern=f"^{NAME}:{NAME}$"),
        MustBe(
            'MODULE:NAME of a class or function, such as "model:Network" for Network in model.py'
        ),
    ] = Field(description="makes the network, a torch.nn.Module")
    arguments: Arguments = Field(default_factory=dict, description="what that is called with")
    classes: Annotated[Names, MustBe("the names of the classes in the order of the outputs")] = (
        Field(min_length=2, description="those of the dataset, in any order")
    )
    trained_on: Annotated[Text, MustBe('the name of the training data, or "unknown"')] = Field(
        description="as published results call it"
    )
    selected_on: Literal["none", "held-out", "validation", "test", "unknown"] = Field(
        "unknown", description="the split that chose the checkpoint"
    )
    outputs: Outputs = Field(
        "logits",
        description="what the network returns: logits, probabilities (each row sums to 1), or "
        "scores, of which only the order means something",
    )
    license: Text = Field("", description="said when the model is first run, and kept with it")
    source: Text = Field("", description="said when the model is first run, and kept with it")
    files: Annotated[list[Text] | None, MustBe("a list of paths")] = Field(
        None,
        description="besides weights.file and the code, what the answer depends on; required "
        "without weights.file",
    )
    device: Annotated[Text, MustBe("auto, cpu, cuda or cuda:N")] = Field(
        "auto", description="where the network runs, such as cuda:1"
    )
    batch_size: int = Field(
        32, ge=1, description="patches that go through the network together, at most 64"
    )
    python: Annotated[Text, MustBe("the path of a Python interpreter")] = Field(
        "",
        description="another one than that of the harness, from Python 3.8 on, with torch and "
        "numpy, such as env/bin/python",
    )
    weights: Annotated[WeightsKeys, MustBe("a table with file or method")] = Field(
        default_factory=lambda: WeightsKeys.model_validate({}),
        description="where the trained weights are",
    )
    input: InputKeys = Field(
        default_factory=lambda: InputKeys.model_validate({}),
        description="what the network is given",
    )


def keys() -> type[CheckpointKeys]:
    """The class of the keys of this kind of file."""
    return CheckpointKeys


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


def describe(path: Path, content: Mapping[str, Any] | CheckpointKeys) -> Description:
    """Check what a TOML file says. Raises HarnessError naming the file and the key.

    Whether the files that it names are there is looked at only when the model is used.
    """
    path = path.absolute()
    keys = checked(path, content, CheckpointKeys)
    said = keys.model_dump(exclude_none=True)
    weights, given = said["weights"], keys.weights.model_fields_set
    chosen = [key for key in ("file", "method") if weights[key]]
    if given - {"missing"} and len(chosen) != 1:
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
