r"""``kind = "folder"``: class folders, in a folder or a zip.

    kind = "folder"
    train = "patches/train"   # with one folder a class in it; or a zip of these
    validation = "patches/val"  # optional
    test = "patches/test"
    group = 'patient(\d+)'     # optional: what the name of a file says of the patient or slide
    # group_table = "patients.csv"  # or a table with the columns path and group

Instead of the three, ``folder = "patches"`` is cross-validated over ``folds`` (5) folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from harness import Dataset, Splits
from harness.data.patches import Files, FileSplit, list_files
from harness.hooks.toml_keys import Text
from harness_files import groups
from harness_files.description import PARTS, CommonKeys, Description


class FolderKeys(CommonKeys):
    """What a TOML file of this kind may say."""

    folder: str | None = Field(None, description="patches to cross-validate, instead of the parts")
    train: str | None = Field(None, description="a folder, or a zip, with a folder for each class")
    validation: str | None = Field(None, description="the same, of patches to select on")
    test: str | None = Field(None, description="the same, of test patches")
    group: Text | None = Field(
        None, description="a regular expression that finds the patient or slide in a file's name"
    )
    group_table: Text | None = Field(
        None, description="a .csv or .tsv file with columns path and group, instead of group"
    )


def keys() -> type[FolderKeys]:
    """The class of its keys."""
    return FolderKeys


def read(path: Path, content: Mapping[str, Any] | FolderKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, FolderKeys)
    said = description.content
    description.check_parts("folder")
    places = {
        "all" if part == "folder" else part: description.beside(said[part])
        for part in ("folder", *PARTS)
        if part in said
    }
    if "group" in said:
        if "group_table" in said:
            raise description.error("give either group or group_table, not both")
        groups.check_pattern(description)
    needed = [*places.values()]
    needed += [description.beside(said["group_table"])] if "group_table" in said else []
    absent = [str(place) for place in needed if not place.exists()]
    missing = f"no {' and no '.join(absent)}; correct the paths in {path}" if absent else ""
    files: dict[str, Files] = {}
    classes = description.classes
    if not missing:
        description.check_apart({part: [place] for part, place in places.items()})
        files = {part: list_files(place) for part, place in places.items()}
        classes = description.sorted_classes(
            {
                part: [name.partition("/")[0] for name in found.sizes]
                for part, found in files.items()
            }
        )

    def load() -> Splits:
        splits: dict[str, FileSplit] = {}
        shape = description.shape
        for part, found in files.items():
            splits[part] = FileSplit(
                found,
                classes,
                shape,
                part,
                resize=description.shape is not None,
                advice=description.resizing,
            )
            shape = splits[part].shape
        names = {part: split.names for part, split in splits.items()}
        if "group" in said:
            return description.splits(splits, groups.by_pattern(description, names))
        if "group_table" in said:
            return description.splits(splits, groups.by_table(description, places, names))
        return description.splits(splits)

    return description.dataset(classes, load, missing)
