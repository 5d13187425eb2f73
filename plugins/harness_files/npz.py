"""``kind = "npz"``: arrays of patches and labels in one file of numpy, in the layout of MedMNIST.

    kind = "npz"
    file = "mine.npz"      # train_images, train_labels, test_images, ...; uint8 (N, H, W, 3)
    classes = ["tumor", "stroma"]
    group = "patients"     # optional: train_patients, test_patients, ...
    id = "ids"             # optional: train_ids, test_ids, ...

A file with ``images`` and ``labels`` instead is cross-validated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness import Dataset, HarnessError, Splits
from harness.data import npz
from harness.hooks.toml_keys import Text
from harness_files.description import CommonKeys, Description

PARTS = {"train": "train_", "validation": "val_", "test": "test_"}
"""What the names of the arrays of a part begin with."""
WHOLE = {"all": ""}


class NpzKeys(CommonKeys):
    """What a TOML file of this kind may say."""

    file: Text = Field(description="the .npz file")
    image: Text = Field(
        "images",
        description="what the names of arrays of patches end in, after train_, val_, test_",
    )
    label: Text = Field("labels", description="the same, of labels")
    id: Text | None = Field(
        None, description="the same, of names of patches; by default, they are numbered"
    )
    group: Text | None = Field(None, description="the same, of patients or slides, if any")


def keys() -> type[NpzKeys]:
    """The class of its keys."""
    return NpzKeys


def read(path: Path, content: Mapping[str, Any] | NpzKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, NpzKeys)
    said = description.content
    file = description.beside(said["file"])
    missing, classes = "", description.classes
    parts: dict[str, str] = {}
    if not file.exists():
        missing = f"no {file}; correct the path in {path}"
    else:
        parts = _parts(description, file)
        if not classes:
            classes = _numbers(
                file, {part: before + said["label"] for part, before in parts.items()}
            )

    def load() -> Splits:
        splits: dict[str, npz.NpzSplit] = {}
        shape = description.shape
        ids = _texts(description, file, parts, "id")
        for part, before in parts.items():
            splits[part] = npz.NpzSplit(
                file,
                before.rstrip("_") or part,
                shape,
                len(classes),
                resize=description.shape is not None,
                arrays=(before + said["image"], before + said["label"]),
                names=ids.get(part),
                fix=_fix(description),
                advice=_fix(description, shape is not None and description.shape is None),
            )
            _check_length(file, before + said.get("id", ""), ids.get(part), splits[part])
            shape = splits[part].shape[1], splits[part].shape[2]
        groups = _texts(description, file, parts, "group")
        for part, before in parts.items():
            _check_length(file, before + said.get("group", ""), groups.get(part), splits[part])
        labels = {part: split.labels for part, split in splits.items()}
        return description.splits(splits, groups, warnings=_from_one(description, labels))

    return description.dataset(classes, load, missing)


def _fix(description: Description, shaped: bool = False) -> str:
    """What to do about a file that is not right; ``shaped`` if the first part gave the shape."""
    if shaped:
        return f"save it again, or bring all to one size with resize = ... in {description.path}"
    return f"save it again, or correct {description.path}"


def _parts(description: Description, file: Path) -> dict[str, str]:
    """The parts that are in a file, and what the names of their arrays begin with."""
    image = description.content["image"]
    there = npz.arrays_in(file)
    found = {part: before for part, before in PARTS.items() if before + image in there}
    if image in there:
        if found:
            raise HarnessError(
                f"{file}: has both {image} and {next(iter(found.values()))}{image}; keep either "
                "all patches, to cross-validate, or those of the parts"
            )
        return WHOLE
    if not {"train", "test"} <= set(found):
        raise HarnessError(
            f"{file}: has the arrays {', '.join(there[:8]) or 'none'}, where train_{image} and "
            f"test_{image} are expected, or {image} alone, to cross-validate; save them, or say "
            f"what their names end in with image = ... in {description.path}"
        )
    if "folds" in description.content:
        raise description.error(f"folds is for {image} alone; leave it out")
    return found


def _numbers(file: Path, arrays: Mapping[str, str]) -> tuple[str, ...]:
    """Names for classes that have none: the labels, which must count from 0 without gaps."""
    found = np.unique(np.concatenate([npz.whole_numbers(file, name) for name in arrays.values()]))
    if found[0] != 0 or found[-1] != len(found) - 1:
        listed = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
        raise HarnessError(
            f"{file}: the labels are {listed}, where 0, 1, 2, ... are expected; number them so, or "
            "name all classes with classes = [...]"
        )
    return tuple(map(str, found.tolist()))


def _texts(
    description: Description, file: Path, parts: Mapping[str, str], key: str
) -> dict[str, list[str]]:
    """For each part its ids or groups, if the file says them; blanks around them are left out."""
    if key not in description.content:
        return {}
    found = {}
    for part, before in parts.items():
        array = before + description.content[key]
        found[part] = [text.strip() for text in npz.texts(file, array, _fix(description))]
        for number, text in enumerate(found[part]):
            if not text:
                raise HarnessError(
                    f"{file}: the array {array} has no {key} at {number}; fill it in, or leave the "
                    "patch out"
                )
            if not text.isprintable():
                raise HarnessError(
                    f"{file}: the array {array} has at {number} the {key} {text!a}, which cannot "
                    "be printed; correct it"
                )
        times = Counter(found[part])
        if key == "id" and len(times) < len(found[part]):
            twice = next(id_ for id_, count in times.items() if count > 1)
            raise HarnessError(
                f"{file}: the array {array} has the id {twice!r} {times[twice]:,} times; give each "
                f"patch its own, or leave id = ... out of {description.path}"
            )
    return found


def _check_length(file: Path, array: str, found: Sequence[str] | None, split: npz.NpzSplit) -> None:
    if found is not None and len(found) != len(split.labels):
        raise HarnessError(
            f"{file}: the array {array} has {len(found):,} entries for {len(split.labels):,} "
            "patches; save one for each"
        )


def _from_one(description: Description, labels: Mapping[str, NDArray[np.int64]]) -> tuple[str, ...]:
    """A warning where labels seem to count from 1; else none."""
    if min(found.min() for found in labels.values()) == 0:
        return ()
    return (description.from_one(f"the arrays of {description.content['label']}", "have"),)
