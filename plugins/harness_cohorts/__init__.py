"""Cohorts: test sets of other origin, for models that were fitted on NCT-CRC-HE.

harness transfer nct-crc-he starc-9 --model MODEL

They are described in ``cohorts.toml``. Their patches are read from a folder for each class, or a
zip of these, as they are downloaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from harness import Dataset, PublishedResult, Splits, hookimpl
from harness.hooks.toml_files import read_toml

COHORTS, PUBLISHED = (Path(__file__).with_name(f"{name}.toml") for name in ("cohorts", "published"))
FOLDS = 5


def load(folder: str, classes: tuple[str, ...], data: Path) -> Splits:
    """List the patches that are there, to test on; by itself, a cohort is cross-validated."""
    from harness.data.patches import FileSplit, list_files, place

    files = list_files(place(data, folder) or data / folder)
    return Splits(train=None, test=FileSplit(files, classes, None, folder), folds=FOLDS)


def missing(folder: str, get: str, data: Path) -> str:
    """What is not there, and how to get it."""
    from harness.data.patches import place

    if place(data, folder):
        return ""
    return (
        f"no {folder} (a folder of class folders, or a .zip of them) in {data}; {get}, or point "
        "--data at the folder that holds it"
    )


@hookimpl
def harness_datasets() -> list[Dataset]:
    """Every entry of ``cohorts.toml``."""
    return [_dataset(**entry) for entry in read_toml(COHORTS)["cohort"]]


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """Every entry of ``published.toml``."""
    content = read_toml(PUBLISHED)
    return [PublishedResult(**content["common"], **entry) for entry in content["result"]]


def _dataset(*, folder: str, get: str, classes: list[str], **about: Any) -> Dataset:
    return Dataset(
        classes=tuple(classes),
        load=partial(load, folder, tuple(classes)),
        missing=partial(missing, folder, get),
        on_request=True,
        **about,
    )
