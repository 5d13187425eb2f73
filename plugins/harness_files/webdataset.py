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
Texts = dict[str, dict[str, str]]
"""By key, such as label, what is said of each patch, by the name of its image: ``SHARD/NAME``."""


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
class Shard:
    """A shard, the files of each of its patches, and the suffix of those that are images."""

    tar: Tar
    samples: Samples
    image: str


def read(path: Path, content: Mapping[str, Any] | WebdatasetKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, WebdatasetKeys)
    parts = shards.of_parts(description)
    classes, folder = description.classes, path.parent
    found: dict[str, dict[str, Shard]] = {}
    texts: dict[str, Texts] = {}
    if not parts.missing:
        shards.check_different(parts.every)
        folder = Path(os.path.commonpath([shard.absolute().parent for shard in parts.every]))
        for part, paths in parts.paths.items():
            found[part] = {
                shard.absolute().relative_to(folder).as_posix(): _shard(description, shard)
                for shard in paths
            }
            texts[part] = _texts(description, found[part], *_keys_beside_label(description))
        classes = description.sorted_classes(
            {part: of_part["label"].values() for part, of_part in texts.items()}
        )
    numbers = {
        part: _numbers(description, folder, of_part["label"], classes)
        for part, of_part in texts.items()
    }

    def load() -> Splits:
        splits: dict[str, FileSplit] = {}
        groups: dict[str, list[str]] = {}
        shape = description.shape
        for part, of_part in found.items():
            splits[part] = FileSplit(
                tars.joined(folder, {name: shard.tar for name, shard in of_part.items()}),
                classes,
                shape,
                part,
                resize=description.shape is not None,
                labels=numbers[part],
                advice=description.resizing,
            )
            shape = splits[part].shape
            if "group" in description.content:
                beside = texts[part]
                if "group" not in beside:
                    beside = _texts(description, of_part, "group")
                groups[part] = [beside["group"][name] for name in splits[part].names]
        return description.splits(
            splits,
            groups,
            shortfall=parts.shortfall,
            train_shortfall=parts.train_shortfall,
        )

    return description.dataset(classes, load, parts.missing)


def _keys_beside_label(description: Description) -> list[str]:
    """The keys whose texts are in the files that have the labels, the label first."""
    said = description.content
    suffixes = {key: said[key].partition(":")[0] for key in ("label", "group") if key in said}
    return [key for key, suffix in suffixes.items() if suffix == suffixes["label"]]


def _shard(description: Description, path: Path) -> Shard:
    """A shard, in which each patch has its image. Raises HarnessError naming it otherwise."""
    tar = tars.opened([path])
    samples = _samples(description, tar)
    image = description.content.get("image") or _suffix(description, tar, samples)
    for files in samples.values():
        if image not in files:
            raise HarnessError(
                f"{path}: {next(iter(files.values()))} inside has no .{image} beside it; "
                f"add it, or say what images end in with image = ... in {description.path}"
            )
    return Shard(tar, samples, image)


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


def _texts(description: Description, found: Mapping[str, Shard], *keys: str) -> Texts:
    """The label, the group, or both of each patch, from files of one suffix, which are read once.

    Raises HarnessError naming the shard and the file.
    """
    told: Texts = {key: {} for key in keys}
    for shard_name, shard in found.items():
        files = _beside(description, shard, keys[0])
        for name, data in shard.tar.read_all(files):
            where = f"{shard.tar.path}: {name} inside"
            for key, text in _told(description, where, data, keys).items():
                told[key][f"{shard_name}/{files[name]}"] = text
    return told


def _beside(description: Description, shard: Shard, key: str) -> dict[str, str]:
    """The files that have the texts of a key, and the image that each is beside."""
    suffix = description.content[key].partition(":")[0]
    files: dict[str, str] = {}
    for of_sample in shard.samples.values():
        image = of_sample[shard.image]
        if suffix not in of_sample:
            raise HarnessError(
                f"{shard.tar.path}: {image} inside has no .{suffix} beside it, which would say its "
                f"{key}; add it, or say where that is with {key} = ... in {description.path}"
            )
        files[of_sample[suffix]] = image
    return files


def _told(description: Description, where: str, data: bytes, keys: Sequence[str]) -> dict[str, str]:
    """What a file says of each key."""
    fields = {key: description.content[key].partition(":")[2] for key in keys}
    content = _json(where, data) if any(fields.values()) else None
    told = {}
    for key, field in fields.items():
        text = _of_json(where, content, field, key) if field else _plain(where, data)
        if not text:
            raise HarnessError(f"{where} has no {key}; fill it in, or leave the patch out")
        if not text.isprintable():
            raise HarnessError(
                f"{where} has the {key} {text!a}, which cannot be printed; correct it"
            )
        told[key] = text
    return told


def _plain(where: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where} is no text (UTF-8); save it again") from error


def _json(where: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{where} is no JSON ({str(error)[:80]}); save it again") from error


def _of_json(where: str, content: Any, field: str, key: str) -> str:
    """A text or whole number in an object of JSON."""
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
    description: Description, folder: Path, labels: Mapping[str, str], classes: Sequence[str]
) -> dict[str, int]:
    """The label of each patch: a name of a class, or its number from 0."""
    number = {name: place for place, name in enumerate(classes)}
    number |= {str(n): n for n in range(len(classes)) if str(n) not in number}
    found = {}
    for name, label in labels.items():
        if label not in number:
            raise HarnessError(
                f"{folder / name}: the label {label!r} is none of the classes of "
                f"{description.path}; {suggest(label, classes)}"
            )
        found[name] = number[label]
    return found
