"""``kind = "folder"``: class folders, in a folder or a zip.

    kind = "folder"
    train = "patches/train"   # with one folder a class in it; or a zip of these
    validation = "patches/val"  # optional
    test = "patches/test"

Instead of these three, ``folder = "patches"`` is cross-validated over ``folds`` (5) folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import Dataset, Splits
from harness.patches import Files, FileSplit, list_files
from harness_files.description import PARTS, TEXT, Description

OWN = dict.fromkeys(("folder", *PARTS), TEXT)


def read(path: Path, content: Mapping[str, Any]) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, OWN)
    content = description.content
    description.check_parts("folder")
    places = {
        "all" if part == "folder" else part: description.beside(content[part])
        for part in OWN
        if part in content
    }
    absent = [str(place) for place in places.values() if not place.exists()]
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
        splits = {}
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
        return description.splits(splits)

    return description.dataset(classes, load, missing)
