"""SPIDER as it is published: one tar in parts, with a flat folder of images and a list of them.

``SPIDER-colorectal/metadata.json`` is a list of records, each with ``image_name`` (a file in
``SPIDER-colorectal/images``), ``class``, ``slide_id``, ``split`` ("train" or "test"), and
``context_info``: names of the patches around it, which are not read.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness import HarnessError, Splits
from harness.data import files, tars
from harness.data.class_folders import Files, read_file
from harness.data.patches import FileSplit
from harness.text.names import suggest

METADATA, IMAGES = "metadata.json", "images"
FIELDS = ("image_name", "class", "slide_id", "split")
PART = re.compile(r"\.(\d+|[a-z]{2,3})")
"""What split adds to the name of a part."""
FOLDS = 5


def parts(data: Path, folder: str, archive: str) -> list[Path]:
    """The parts of a tar, or the tar, below a folder of data; none where it is not there."""
    for place in (data, data / folder):
        if (place / archive).is_file():
            return [place / archive]
        found = place.glob(f"{archive}.*") if place.is_dir() else ()
        if ordered := sorted(p for p in found if PART.fullmatch(p.name.removeprefix(archive))):
            return ordered
    return []


def load(data: Path, folder: str, archive: str, classes: Sequence[str]) -> Splits | None:
    """The patches in the tar, or unpacked; None where neither is there. Raises HarnessError."""
    unpacked = data / folder
    if (unpacked / METADATA).exists():
        listing = unpacked / METADATA
        of = _records(listing, files.read_bytes(listing), classes)
        images = unpacked / IMAGES
        names = [name for part in of.values() for name in part]
        sizes = {name: files.check_file(images / name).st_size for name in names}
        return _splits(Files(images, sizes, partial(read_file, images)), of, classes)
    found = parts(data, folder, archive)
    if not found:
        return None
    tar = tars.opened(found)
    listed = [name for name in tar.members if name.rpartition("/")[2] == METADATA]
    if len(listed) != 1:
        raise HarnessError(
            f"{tar.path}: holds {len(listed)} files {METADATA}, where one is expected; download it "
            "again"
        )
    above = listed[0].removesuffix(METADATA) + IMAGES
    of = _records(f"{tar.path}/{listed[0]}", tar.read(listed[0]), classes)
    sizes = {}
    for part in of.values():
        for name in part:
            if f"{above}/{name}" not in tar.members:
                raise HarnessError(
                    f"{tar.path}: {listed[0]} lists {name}, but there is no {above}/{name}; "
                    "download it again"
                )
            sizes[name] = tar.members[f"{above}/{name}"][1]
    reader = partial(_read_below, tar, above)
    return _splits(Files(tar.path / above, sizes, reader), of, classes)


def _read_below(tar: tars.Tar, above: str, name: str) -> bytes:
    return tar.read(f"{above}/{name}")


def _records(
    where: object, data: bytes, classes: Sequence[str]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """By split and the name of the image: the records. Raises HarnessError."""
    try:
        records = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{where}: is no JSON ({str(error)[:80]}); get it again") from error
    if not isinstance(records, list) or not records:
        raise HarnessError(f"{where}: is no list of patches; get it again")
    found: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for number, record in enumerate(records):
        said = record if isinstance(record, dict) else {}
        for field in FIELDS:
            if type(said.get(field)) not in (str, int) or not str(said[field]).isprintable():
                raise HarnessError(
                    f"{where}: record {number} has no {field} that can be read; get it again"
                )
        name, split = str(said["image_name"]), str(said["split"])
        if said["class"] not in classes:
            raise HarnessError(
                f"{where}: record {number}, {name}, is of the unknown class {said['class']!r}; "
                f"{suggest(str(said['class']), classes)}"
            )
        if split not in ("train", "test"):
            raise HarnessError(
                f"{where}: record {number}, {name}, is of the split {split!r}, where train and "
                "test are known; get it again"
            )
        if ".." in name.split("/"):
            raise HarnessError(
                f"{where}: record {number}, {name}, leads out of the folder; get it again"
            )
        if any(name in of for of in found.values()):
            raise HarnessError(f"{where}: record {number}, {name}, is listed already; get it again")
        found[split][name] = said
    if "test" not in found:
        raise HarnessError(f"{where}: lists no test patches; get it again")
    return found


def _splits(
    found: Files, of: Mapping[str, Mapping[str, Mapping[str, Any]]], classes: Sequence[str]
) -> Splits:
    number = {name: label for label, name in enumerate(classes)}
    splits: dict[str, FileSplit] = {}
    groups: dict[str, list[str]] = {}
    for part, records in of.items():
        labels = {name: number[record["class"]] for name, record in records.items()}
        splits[part] = FileSplit(found, classes, None, part, labels=labels)
        groups[part] = [str(records[name]["slide_id"]) for name in splits[part].names]
    return Splits(
        train=splits.get("train"),
        test=splits["test"],
        folds=0 if "train" in splits else FOLDS,
        groups=groups["test"],
        train_groups=groups.get("train"),
    )
