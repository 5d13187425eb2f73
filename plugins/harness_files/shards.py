"""The shards of a dataset: files that are parts of one save, and whether all are there, each once.

Their names say so: ``train-00000-of-00003.parquet`` (Hugging Face's datasets, TensorFlow), or
``part-0.parquet`` (pyarrow, Dask). Those of Spark say only which save they are of: a part without
rows has no file. Files whose names end in numbers from 0 or 1 on may be parts, too.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from harness import HarnessError
from harness.data import files
from harness_files.description import PARTS, Description

OF = re.compile(r"(.*?)(\d+)([-_. ]?of[-_. ]?)(\d+)(.*)", re.IGNORECASE)
NUMBERED = re.compile(r"(.*?)(\d+)()()((?:\.\w+)+)")
PART = re.compile(r"(part[-_.]?)(\d+)()()((?:\.\w+)*)", re.IGNORECASE)
SPARK = re.compile(r"part-\d+-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}).*", re.IGNORECASE)
MOST = 100_000
"""Larger numbers in names count no parts; they are dates, for example."""
SAMPLED, BLOCK = 32, 1 << 12
"""Places of a file, and bytes at each, that tell its content from another's."""


@dataclass
class _Save:
    """The parts of one save: their files by number, and how many there are (0: not known)."""

    total: int
    files: dict[int, Path] = field(default_factory=dict)

    def missing(self) -> list[Path]:
        """Where the other parts should be. Parts are counted from 0, or from 1."""
        if not self.total and max(self.files) > MOST:
            return []
        first = 0 if 0 in self.files or (self.total and self.total not in self.files) else 1
        last = first + self.total if self.total else max(self.files)
        absent = sorted(set(range(first, last)) - set(self.files))
        known = next(iter(self.files.values()))
        before, number, of, total, after = _parts(known)
        return [known.with_name(f"{before}{n:0{len(number)}}{of}{total}{after}") for n in absent]


@dataclass(frozen=True)
class Parts:
    """The shards of each part of a dataset: of "all", to cross-validate, or of train and so on."""

    paths: Mapping[str, Sequence[Path]]
    missing: str = ""
    """What is not there at all."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """By part, of how many files its pattern finds some; see ``check_whole``."""

    @property
    def every(self) -> list[Path]:
        """The shards of all parts."""
        return [path for paths in self.paths.values() for path in paths]

    @property
    def shortfall(self) -> str:
        """What the test patches lack."""
        return self._lacking(all="test", test="test")

    @property
    def train_shortfall(self) -> str:
        """What the patches to train and to select on lack."""
        return self._lacking(train="training", validation="validation")

    def _lacking(self, **names: str) -> str:
        return ", ".join(
            f"{name} patches of {self.left_out[part]}"
            for part, name in names.items()
            if part in self.left_out
        )


def of_parts(description: Description) -> Parts:
    """The shards that a file describes by patterns. Raises HarnessError when they are not whole."""
    description.check_parts("files")
    said, folder = description.content, description.path.parent
    patterns = {
        "all" if part == "files" else part: said[part] for part in ("files", *PARTS) if part in said
    }
    paths = {part: matching(folder, pattern) for part, pattern in patterns.items()}
    if absent := [patterns[part] for part, found in paths.items() if not found]:
        fix = f"correct the paths in {description.path}"
        return Parts(paths, f"no {' and no '.join(absent)} in {folder}; {fix}")
    description.check_apart(paths)
    left_out = {part: check_whole(found, patterns[part]) for part, found in paths.items()}
    return Parts(paths, left_out={part: why for part, why in left_out.items() if why})


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern such as ``data/train-*.parquet``, in order.

    A folder that it finds must have files in it that it finds too. Raises HarnessError for other
    folders, and for what is no file that can be read.
    """
    # That of Path takes no absolute pattern.
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    found = sorted(map(folder.joinpath, names))
    above = {parent for path in found for parent in path.parents}
    found = [path for path in found if path not in above]
    for path in found:
        files.check_file(path)
    return found


def check_whole(paths: Sequence[Path], pattern: str) -> str:
    """Check that no part of a save is missing among the files of ``pattern``.

    Raises HarnessError for a missing part that the pattern would have found, for a part that is
    there twice, and for parts of two saves. What the pattern itself leaves out is told: the text,
    such as "1 of 3 files (train-00000-of-00003.parquet)", is "" when there is nothing.
    """
    saves: dict[tuple[object, ...], _Save] = {}
    by_spark: dict[str, Path] = {}
    for path in paths:
        if found := SPARK.fullmatch(path.name):
            by_spark.setdefault(found[1].lower(), path)
            continue
        if not _parts(path):
            continue
        before, number, _, total, after = _parts(path)
        # Partitioned tables count their parts over all folders.
        key = (path.parent, before) if total else (before, after)
        save = saves.setdefault(key, _Save(int(total or 0)))
        if save.total != int(total or 0):
            other = next(iter(save.files.values()))
            raise HarnessError(
                f"{path}: is a part of another save than {other.name}; remove those of one of them"
            )
        if total and int(number) in save.files:
            raise HarnessError(
                f"{path}: is the same part as {save.files[int(number)].name}; remove one of them"
            )
        save.files[int(number)] = path
    if len(by_spark) > 1:
        other, path = list(by_spark.values())[:2]
        raise HarnessError(
            f"{path}: is a part of another save than {other.name}; remove those of one of them, or "
            "save the table anew if rows were added to it"
        )
    left_out = []
    for save in saves.values():
        missing = save.missing()
        known = next(iter(save.files.values())).name
        if missing and not save.total and not PART.fullmatch(known):
            if min(save.files) <= 1 < len(save.files):
                left_out.append(
                    f"{len(save.files)} files numbered up to {max(save.files)}, without "
                    f"{missing[0].name}{_more(len(missing) - 1)}"
                )
            continue
        if unwanted := [p for p in missing if fnmatchcase(p.name, Path(pattern).name)]:
            raise HarnessError(
                f"{unwanted[0]}: is missing{_more(len(unwanted) - 1)}, as the name {known} says; "
                f"get it, or give a pattern in place of {pattern!r} that finds only the files meant"
            )
        if missing:
            least = "" if save.total else "at least "
            left_out.append(
                f"{len(save.files)} of {least}{len(save.files) + len(missing)} files ({known})"
            )
    return ", ".join(left_out)


def check_different(paths: Iterable[Path]) -> None:
    """Raise HarnessError when two files have the same content."""
    by_size = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    seen: dict[bytes, Path] = {}
    for path in (path for same in by_size.values() if len(same) > 1 for path in same):
        other = seen.setdefault(digest(path), path)
        if other != path:
            raise HarnessError(f"{path}: has the same content as {other}; remove one of them")


def digest(path: Path) -> bytes:
    """Of the size of a file and of what stands at places spread over it, the end included.

    The end of a Parquet file says where each of its parts lies; reading all of many gigabytes would
    take long.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        found.update(f"{size}\n".encode())
        for start in np.linspace(0, max(0, size - BLOCK), SAMPLED).astype(int):
            file.seek(int(start))
            found.update(file.read(BLOCK))
    return found.digest()


def _parts(path: Path) -> tuple[str, ...]:
    """The name of a part: before the number, number, "of", total, and what comes after it.

    Nothing if it is not the name of a part.
    """
    for names in (OF, PART, NUMBERED):
        if found := names.fullmatch(path.name):
            return found.groups()
    return ()


def _more(number: int) -> str:
    return f", and {number:,} more" if number else ""
