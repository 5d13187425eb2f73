"""``kind = "webdataset"``: images and their labels in tar shards.

    kind = "webdataset"
    train = "train-*.tar"          # a shard, or several
    validation = "val-*.tar"       # optional
    test = "test-*.tar"
    image = "png"                  # suffixes; of images, if there are several
    label = "cls"                  # or "json:class", the key "class" in the .json of each image
    group = "json:slide"           # optional: the patient or slide of each

Files of one patch are called alike up to the first dot: ``a/7.png``, ``a/7.cls``, ``a/7.json``.
Instead of the three, ``files = "*.tar"`` is cross-validated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from harness import Dataset, HarnessError, Splits
from harness.data import tars
from harness.data.class_folders import SUFFIXES
from harness.data.patches import FileSplit
from harness.data.tars import Tar
from harness.hooks.toml_keys import Text
from harness.text.names import suggest
from harness_files import shards
from harness_files.description import CommonKeys, Description

Samples = dict[str, dict[str, str]]
"""By key, the files of each patch by suffix."""


class WebdatasetKeys(CommonKeys):
    """What a TOML file of this kind may say."""

    files: Text | None = Field(None, description="patches to cross-validate, instead of the parts")
    train: Text | None = Field(None, description="a tar, or several: train-*.tar")
    validation: Text | None = Field(None, description="the same, of patches to select on")
    test: Text | None = Field(None, description="the same, of test patches")
    image: Text | None = Field(
        None, description="suffix of the images, such as png; by default, the only one there is"
    )
    label: Text = Field(
        "cls", description="suffix of the labels, such as cls; json:KEY, if they are in a .json"
    )
    group: Text | None = Field(None, description="the same, of the patients or slides, if any")


def keys() -> type[WebdatasetKeys]:
    """The class of its keys."""
    return WebdatasetKeys


@dataclass(frozen=True)
class Patch:
    """A patch in a shard, and what is said of it."""

    where: str
    label: str
    group: str


def read(path: Path, content: Mapping[str, Any] | WebdatasetKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, WebdatasetKeys)
    said = description.content
    parts = shards.of_parts(description)
    classes = description.classes
    patches: dict[str, dict[str, Patch]] = {}
    by_part: dict[str, dict[str, Tar]] = {}
    folder = path.parent
    if not parts.missing:
        shards.check_different(parts.every)
        folder = Path(os.path.commonpath([shard.absolute().parent for shard in parts.every]))
        for part, paths in parts.paths.items():
            by_part[part] = {
                shard.absolute().relative_to(folder).as_posix(): tars.opened([shard])
                for shard in paths
            }
            patches[part] = _patches(description, by_part[part])
        if not classes:
            classes = description.sorted_classes(
                {part: [patch.label for patch in of.values()] for part, of in patches.items()}
            )
    numbers = {part: _numbers(description, of, classes) for part, of in patches.items()}

    def load() -> Splits:
        splits: dict[str, FileSplit] = {}
        shape = description.shape
        for part, of_part in by_part.items():
            splits[part] = FileSplit(
                tars.joined(folder, of_part),
                classes,
                shape,
                part,
                resize=description.shape is not None,
                labels=numbers[part],
                advice=description.resizing,
            )
            shape = splits[part].shape
        groups = {
            part: [patches[part][name].group for name in split.names]
            for part, split in splits.items()
        }
        return description.splits(
            splits,
            groups if "group" in said else {},
            shortfall=parts.shortfall,
            train_shortfall=parts.train_shortfall,
        )

    return description.dataset(classes, load, parts.missing)


def _patches(description: Description, of_part: Mapping[str, Tar]) -> dict[str, Patch]:
    """The patches of a part, by the name of their file: ``SHARD/NAME``."""
    said = description.content
    found: dict[str, Patch] = {}
    for shard, tar in of_part.items():
        samples = _samples(description, tar)
        image = said.get("image") or _suffix(description, tar, samples)
        labels = _texts(description, tar, samples, "label", image)
        groups = _texts(description, tar, samples, "group", image) if "group" in said else {}
        for key, files in samples.items():
            if image not in files:
                raise HarnessError(
                    f"{tar.path}: {next(iter(files.values()))} inside has no .{image} beside it; "
                    f"add it, or say what images end in with image = ... in {description.path}"
                )
            name = files[image]
            where = f"{tar.path}/{name}"
            found[f"{shard}/{name}"] = Patch(where, labels[key], groups.get(key, ""))
    return found


def _samples(description: Description, tar: Tar) -> Samples:
    """The files of each patch: those that are called alike up to the first dot."""
    wanted = {
        description.content[key].partition(":")[0]
        for key in ("image", "label", "group")
        if key in description.content
    }
    found: Samples = {}
    for name in tar.members:
        folder, slash, last = name.rpartition("/")
        stem, _, suffix = last.partition(".")
        if suffix.lower() in wanted or f".{suffix.lower()}" in SUFFIXES:
            found.setdefault(f"{folder}{slash}{stem}", {})[suffix.lower()] = name
    if not found:
        raise HarnessError(f"{tar.path}: holds no patches; download it again, or leave it out")
    return found


def _suffix(description: Description, tar: Tar, samples: Samples) -> str:
    """The suffix of images, which must be the only one."""
    there = {suffix for files in samples.values() for suffix in files if f".{suffix}" in SUFFIXES}
    if len(there) != 1:
        raise HarnessError(
            f"{tar.path}: has images that end in {', '.join(sorted(there)) or 'nothing known'}; "
            f"say which are the patches with image = ... in {description.path}"
        )
    return there.pop()


def _texts(
    description: Description, tar: Tar, samples: Samples, key: str, image: str
) -> dict[str, str]:
    """The label or group of each patch. Raises HarnessError naming the shard and the file."""
    suffix, _, field = description.content[key].partition(":")
    files: dict[str, str] = {}
    for sample, of_sample in samples.items():
        if suffix not in of_sample:
            one = of_sample.get(image) or next(iter(of_sample.values()))
            raise HarnessError(
                f"{tar.path}: {one} inside has no .{suffix} beside it, which would say its {key}; "
                f"add it, or say where that is with {key} = ... in {description.path}"
            )
        files[of_sample[suffix]] = sample
    found = {}
    for name, data in tar.read_all(files):
        where = f"{tar.path}: {name} inside"
        text = _of_json(where, data, field, key) if field else _plain(where, data)
        if not text:
            raise HarnessError(f"{where} has no {key}; fill it in, or leave the patch out")
        if not text.isprintable():
            raise HarnessError(
                f"{where} has the {key} {text!a}, which cannot be printed; correct it"
            )
        found[files[name]] = text
    return found


def _plain(where: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where} is no text (UTF-8); save it again") from error


def _of_json(where: str, data: bytes, field: str, key: str) -> str:
    """A text or whole number in an object of JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{where} is no JSON ({str(error)[:80]}); save it again") from error
    if not isinstance(content, dict) or field not in content:
        there = ", ".join(content) if isinstance(content, dict) else "no object"
        raise HarnessError(
            f"{where} has no {field!r}, but {there[:80] or 'nothing'}; say which one is the {key} "
            f'with {key} = "json:KEY"'
        )
    value = content[field]
    if type(value) not in (str, int):
        raise HarnessError(
            f"{where}: {field} is {str(value)[:40]!a}, where a text or a whole number is expected; "
            "correct it"
        )
    return str(value).strip()


def _numbers(
    description: Description, patches: Mapping[str, Patch], classes: Sequence[str]
) -> dict[str, int]:
    """The label of each patch: a name of a class, or its number from 0."""
    number = {name: place for place, name in enumerate(classes)}
    number |= {str(n): n for n in range(len(classes)) if str(n) not in number}
    found = {}
    for name, patch in patches.items():
        if patch.label not in number:
            raise HarnessError(
                f"{patch.where}: the label {patch.label!r} is none of the classes of "
                f"{description.path}; {suggest(patch.label, classes)}"
            )
        found[name] = number[patch.label]
    return found
