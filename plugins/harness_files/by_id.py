"""Files of what was computed elsewhere, a row a patch: which patch an id means."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness import HarnessError, Split, UnavailableError
from harness.data import files
from harness.data.class_folders import SUFFIXES
from harness.system import digests

if TYPE_CHECKING:
    import pandas

DIGEST = 64
"""Hexadecimal digits of a SHA-256."""


def table(file: Path, *texts: str) -> pandas.DataFrame:
    """A CSV or Parquet file as pandas reads it; columns named ``texts`` are texts.

    Raises HarnessError, as UnavailableError where a package is lacking.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise UnavailableError(
            f"{file}: a table needs pandas: pip install 'histo-harness[pandas]'"
        ) from error
    try:
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file)
        if file.suffix.lower() == ".csv":
            return pd.read_csv(file, dtype=dict.fromkeys(texts, str), skipinitialspace=True)
    except ImportError as error:
        raise UnavailableError(
            f"{file}: Parquet needs pyarrow: pip install 'histo-harness[parquet]'"
        ) from error
    except (ValueError, OSError, KeyError) as error:  # the last, of damaged metadata
        reason = " ".join(str(error).split())[:200]
        raise HarnessError(f"{file}: cannot be read as a table ({reason}); correct it") from error
    raise HarnessError(f"{file}: must end in .csv or .parquet")


def ids_in(file: Path, frame: pandas.DataFrame, column: str) -> list[str]:
    """The ids in a column of a table. Raises HarnessError for a row without one."""
    if frame[column].isna().any():
        row = int(frame[column].isna().to_numpy().argmax()) + 2
        raise HarnessError(f"{file}, line {row}: has no id; remove the line")
    return [str(id_).strip() for id_ in frame[column]]


def order(
    split: Split,
    ids: Sequence[str],
    path: Path,
    part: str = "test",
    several: str = "",
    others: bool = False,
) -> NDArray[np.int64]:
    """For each patch of a split its place among the ids of a file, int64 (N,).

    ``part`` is what messages call the patches, ``several`` what to do where each is there more than
    once. ``others`` says that some ids may be of patches that are not asked for, such as those of
    classes that a cohort does not share. Raises HarnessError for ids that are of no patch, for
    patches that are there twice, and for those that are not there.
    """
    place = places(split, ids, path)
    unknown = [id_ for id_, at in zip(ids, place, strict=True) if at is None]
    if unknown and not (others and len(unknown) < len(ids)):
        fix = "correct them"
        if len(unknown) == len(ids):
            fix = "it seems to be of another dataset, or of another part of this one"
        raise HarnessError(
            f"{path}: {len(unknown):,} of {len(ids):,} ids are of no {part} patch, such as "
            f"{unknown[0]!r}; a patch is called {split.ids[0]!r}; {fix}"
        )
    times = Counter(place)
    double = [at for at, count in times.items() if count > 1 and at is not None]
    if double:
        raise HarnessError(
            f"{path}: {len(double):,} {part} patches are there twice, such as "
            f"{split.ids[double[0]]!r}; keep one line of each{several}"
        )
    lacking = [at for at in range(len(split.labels)) if at not in times]
    if lacking:
        raise HarnessError(
            f"{path}: {len(lacking):,} of {len(split.labels):,} {part} patches are not in it, "
            f"such as {split.ids[lacking[0]]!r}; add them"
        )
    found = np.empty(len(split.labels), np.int64)
    for row, at in enumerate(place):
        if at is not None:
            found[at] = row
    return found


def places(split: Split, ids: Sequence[str], path: Path) -> list[int | None]:
    """Which patch each id means: its id or the end of it, with or without suffix, or the SHA-256 of
    its pixels. None where it means none; raises HarnessError where it means several."""
    if ids and all(len(id_) == DIGEST and _is_hexadecimal(id_) for id_ in ids):
        by_pixels = {
            hashlib.sha256(np.ascontiguousarray(split.read([at])).tobytes()).hexdigest(): at
            for at in range(len(split.labels))
        }
        return [by_pixels.get(id_.lower()) for id_ in ids]
    by_end: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, id_ in enumerate(split.ids):
        parts = _parts(id_)
        for length in range(1, len(parts) + 1):
            by_end[parts[-length:]].append(at)
    found: list[int | None] = []
    for id_ in ids:
        parts = _parts(id_)
        # Folders above may be others here, but not the last one, such as that of the class.
        starts = range(max(1, len(parts) - 1))
        ends = (by_end.get(parts[start:], []) for start in starts)
        meant = next((places for places in ends if places), [])
        if len(meant) > 1:
            named = " and ".join(repr(split.ids[at]) for at in meant[:2])
            raise HarnessError(
                f"{path}: the id {id_!r} may mean {named}; write the folder before it as well"
            )
        found.append(meant[0] if meant else None)
    return found


def _parts(id_: str) -> tuple[str, ...]:
    """The parts of an id, the last without the suffix of an image."""
    name = PurePosixPath(id_.replace("\\", "/"))
    if name.suffix.lower() in SUFFIXES:
        name = name.with_suffix("")
    return tuple(part for part in name.parts if part not in ("/", "."))


def _is_hexadecimal(text: str) -> bool:
    return set(text.lower()) <= set("0123456789abcdef")


def digest_of(file: Path) -> str:
    """SHA-256 of a file, read once in a process while it does not change. Raises HarnessError."""
    files.check_file(file)
    try:
        return digests.of_file(file)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}; check the disk") from error
