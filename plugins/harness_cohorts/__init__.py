"""Cohorts: test sets of other origin, for models that were fitted on NCT-CRC-HE.

harness transfer nct-crc-he starc-9 --model MODEL

They are described in ``cohorts.toml``. Their patches are read as they are downloaded: from a folder
for each class, a zip of these, or a zip or folder for each class with such a folder in it; SPIDER
from the parts of its tar as well.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Dataset, PublishedResult, Splits, hookimpl
from harness.hooks.toml_files import read_toml

if TYPE_CHECKING:
    from harness.data.patches import Files

COHORTS, PUBLISHED = (Path(__file__).with_name(f"{name}.toml") for name in ("cohorts", "published"))
FOLDS = 5


def load(folder: str, classes: tuple[str, ...], archive: str, data: Path) -> Splits:
    """List the patches that are there, to test on; by itself, a cohort is cross-validated."""
    from harness.data.patches import FileSplit, list_files, place

    if archive:
        from harness_cohorts import spider

        if (found := spider.load(data, folder, archive, classes)) is not None:
            return found
    origin = place(data, folder) or data / folder
    by_class = [
        path
        for name in classes
        for path in (origin / f"{name}.zip", origin / name)
        if path.is_file() or (path / name).is_dir()
    ]
    parts = [list_files(path) for path in by_class]
    files = _joined(origin, parts) if parts else list_files(origin)
    return Splits(train=None, test=FileSplit(files, classes, None, folder), folds=FOLDS)


def _joined(origin: Path, parts: list[Files]) -> Files:
    """The files of several folders or zips as one. Their names begin with the class."""
    from harness.data.patches import Files

    of = {name: part for part in parts for name in part.sizes}
    sizes = {name: part.sizes[name] for name, part in of.items()}
    return Files(origin, sizes, lambda name: of[name].read(name))


def missing(folder: str, get: str, archive: str, data: Path) -> str:
    """What is not there, and how to get it."""
    from harness.data.patches import place

    if place(data, folder):
        return ""
    if archive:
        from harness_cohorts import spider

        if spider.parts(data, folder, archive):
            return ""
    tar = f"no {archive}.* (the parts of a tar) and " if archive else ""
    return (
        f"{tar}no {folder} (a folder of class folders, or a .zip of them) in {data}; "
        f"{get.format(folder=data / folder)}, or point --data at the folder that holds it"
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


def _dataset(
    *, folder: str, get: str, classes: list[str], archive: str = "", **about: Any
) -> Dataset:
    return Dataset(
        classes=tuple(classes),
        load=partial(load, folder, tuple(classes), archive),
        missing=partial(missing, folder, get, archive),
        on_request=True,
        **about,
    )
