"""``kind = "embeddings"``: what an encoder made of the patches of a dataset elsewhere.

    kind = "embeddings"
    name = "my-encoder"             # models are my-encoder+linear, my-encoder+knn, ...
    dataset = "nct-crc-he"          # whose patches these are
    train = "train.npz"             # or .npy, .h5, .parquet, .csv
    test = "test.npz"

Each file has a row of equally many numbers for each patch of its part of the dataset, and their
ids. A dataset that is cross-validated has test patches alone, and so one file. Those of cohorts are
in a table ``cohorts``, such as ``starc-9 = "starc-9.npz"``, for ``harness transfer``.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness import (
    HEADS,
    Features,
    Given,
    HarnessError,
    InitialWeights,
    Model,
    Setting,
    Split,
    UnavailableError,
    head_model,
)
from harness.data import cohorts, files
from harness.errors import one_line
from harness.hooks.toml_keys import Keys, MustBe, Text, checked
from harness.system import digests
from harness_files import by_id

if TYPE_CHECKING:
    import pandas

PARTS = ("train", "validation", "test")
ID, LIST = "id", "embedding"
"""Columns of a table: of ids, and of lists of numbers."""
IDS, ARRAYS = "ids", ("embeddings", "features")
"""Arrays in a .npz or .h5 file."""
MANIFEST, SAMPLE = "manifest.csv", "sample_id"
"""The file beside arrays in the layout of croma, and its column of ids."""
FILE = MustBe("the path of a .npz, .npy, .h5, .parquet or .csv file")

Rows = tuple[list[str], NDArray[Any]]
"""Ids, and a row of numbers for each."""
_widths: dict[tuple[Path, int, int], int] = {}
"""By path, size and time of the last change: numbers for each patch, of files that were read."""


class EmbeddingsKeys(Keys):
    """What a TOML file of embeddings may say."""

    name: Annotated[Text, MustBe("the name of the encoder")] = Field(
        description="of the encoder, which those of models begin with"
    )
    title: Text | None = Field(None, description="for tables; by default, the name")
    dataset: Text = Field(description="whose patches they are of")
    train: Annotated[Text | None, FILE] = Field(
        None, description="those of the training patches, relative to this file"
    )
    validation: Annotated[Text | None, FILE] = Field(
        None, description="of the validation patches, if the dataset has some"
    )
    test: Annotated[Text, FILE] = Field(
        description="of the test patches, all there are if the dataset is cross-validated"
    )
    cohorts: Annotated[dict[str, Text], MustBe('a table such as { starc-9 = "starc-9.npz" }')] = (
        Field(
            default_factory=dict,
            description="those of the patches of other datasets, by name: for harness transfer",
        )
    )


def keys() -> type[EmbeddingsKeys]:
    """The class of its keys."""
    return EmbeddingsKeys


def read(path: Path, content: Mapping[str, Any] | EmbeddingsKeys) -> Sequence[Model]:
    """A model for each head on the embeddings. Raises HarnessError naming what is wrong."""
    said = checked(path, content, EmbeddingsKeys)
    named = {part: getattr(said, part) for part in PARTS if getattr(said, part)}
    by_part = {part: path.parent / text for part, text in named.items()}
    of_cohorts = {name: path.parent / text for name, text in said.cohorts.items()}
    for file in (*by_part.values(), *of_cohorts.values()):
        for source in _sources(file):
            files.check_file(source)
    suffixes = {file.suffix.lower() for file in (*by_part.values(), *of_cohorts.values())}
    needed = {module: extra for one in suffixes for module, extra in NEEDS.get(one, {}).items()}
    extras = ",".join(sorted(set(needed.values())))
    given = Given(
        said.dataset, cohorts={name: partial(_digests, file) for name, file in of_cohorts.items()}
    )
    return [
        head_model(
            head,
            name=f"{said.name}+{head}",
            title=f"{said.title or said.name}, {HEADS[head]}",
            features=partial(_features, _Files(path, given, by_part, of_cohorts), said.name),
            given=given,
            requires=tuple(sorted(needed)),
            install=f"pip install 'histo-harness[{extras}]'" if needed else "",
        )
        for head in HEADS
    ]


def _sources(file: Path) -> list[Path]:
    """A file of embeddings, and the one with its ids if that is another. Raises HarnessError."""
    suffix = file.suffix.lower()
    if suffix not in READERS:
        raise HarnessError(f"{file}: must end in {', '.join(READERS)}")
    if suffix != ".npy":
        return [file]
    beside = [file.with_suffix(".ids.txt"), file.with_name(MANIFEST)]
    for ids in beside:
        if ids.exists():
            return [file, ids]
    raise HarnessError(
        f"{file}: has no ids beside it; write them, a line each, to {beside[0].name}, or to the "
        f"column {SAMPLE} of {MANIFEST}"
    )


@dataclass(frozen=True)
class _Files:
    """The files that a TOML file names: those of parts of the dataset, and of other datasets."""

    path: Path
    given: Given
    by_part: Mapping[str, Path]
    of_cohorts: Mapping[str, Path]


def _features(named: _Files, name: str, settings: Mapping[str, Setting]) -> Features:
    """The embeddings in files, distinguished by what is in these. Raises HarnessError.

    Those of cohorts have digests of their own, so that one more changes nothing at home.
    """
    found = {part: _digests_of(file) for part, file in named.by_part.items()}
    listed = ", ".join(dict.fromkeys(file.name for file in named.by_part.values()))
    return Features(
        name=name,
        extract=partial(_extract, named.path),
        brought=partial(_brought, named),
        weights=InitialWeights(label=f"embeddings of {listed}", digest=digests.of_json(found)),
    )


def _digests(file: Path) -> str:
    return digests.of_json(_digests_of(file))


def _digests_of(file: Path) -> list[str]:
    return [by_id.digest_of(source) for source in _sources(file)]


def _extract(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """There is nothing to extract them with."""
    raise HarnessError(f"{path}: has embeddings of certain patches, and no encoder")


def _brought(named: _Files, split: Split, part: str, dataset: str) -> NDArray[np.float32]:
    """Embeddings of all patches of a split, (N, D). Raises HarnessError."""
    cohort = cohorts.brought_for(named.given, dataset) or ""
    wanted = [named.of_cohorts[cohort]] if cohort and part == "test" else []
    if part == "train" and cohort:  # all patches are fitted on where home is cross-validated
        wanted += [named.by_part[one] for one in ("train", "test") if one in named.by_part]
    elif not wanted and part in named.by_part:
        wanted += [named.by_part[part]]
    if not wanted:
        raise HarnessError(
            f"{named.path}: has no embeddings of the {part} patches, which are needed; name their "
            f"file with {part} = ..."
        )
    first = next(iter(named.by_part.values()))
    ids: list[str] = []
    rows: list[NDArray[np.float32]] = []
    for file in wanted:
        if len(ids) >= len(split.labels):
            break
        found, values = load(file)
        if values.shape[1] != _width(first):
            raise HarnessError(
                f"{file}: has {values.shape[1]:,} numbers for each patch, but {first} has "
                f"{_width(first):,}; take both from the same encoder"
            )
        ids += found
        rows.append(values)
    values = rows[0] if len(rows) == 1 else np.concatenate(rows)
    order = by_id.order(split, ids, wanted[0], part, others=bool(cohort))
    whole = len(order) == len(values) and (order == np.arange(len(order))).all()
    return values if whole else values[order]


def _width(file: Path) -> int:
    """How many numbers a file has for each patch."""
    if (state := _state(file)) not in _widths:
        load(file)
    return _widths[state]


def _state(file: Path) -> tuple[Path, int, int]:
    status = files.check_file(file)
    return file, status.st_size, status.st_mtime_ns


def load(file: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and embeddings (N, D) of a file, all finite. Raises HarnessError.

    No pickle is ever loaded. Rows that are all zeros, which stand where nothing was computed, are
    refused.
    """
    state, suffix = _state(file), file.suffix.lower()
    for source in _sources(file):
        kind = files.what_is(files.head(source))
        binary = source == file and suffix != ".csv"
        if kind.group in ("pointer", "page", "empty") or (binary and kind.group == "text"):
            raise HarnessError(f"{source}: is {kind.name}; {kind.fix}")
    try:
        ids, values = READERS[suffix](file)
    except HarnessError:
        raise
    except ImportError as error:
        raise UnavailableError(
            f"{file}: {error}; pip install 'histo-harness[h5,pandas,parquet]'"
        ) from error
    except Exception as error:  # what readers of other libraries raise for damaged files
        said = one_line(f"{type(error).__name__}: {error}")[:200]
        raise HarnessError(f"{file}: cannot be read ({said}); save it again") from error
    ids = [id_.strip() for id_ in ids]
    rows = _checked(file, ids, values)
    _widths[state] = rows.shape[1]
    return ids, rows


def _checked(file: Path, ids: Sequence[str], values: NDArray[Any]) -> NDArray[np.float32]:
    """Embeddings as float32 (N, D). Raises HarnessError unless each id has a row of numbers."""
    number = np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)
    if values.ndim != 2 or not number:
        raise HarnessError(
            f"{file}: has embeddings {values.dtype} {values.shape}; save numbers (N, D), a row for "
            "each patch"
        )
    if not values.size:
        raise HarnessError(f"{file}: has no embeddings, but {values.shape}; compute them again")
    if len(ids) != len(values):
        raise HarnessError(
            f"{file}: has {len(ids):,} ids for {len(values):,} embeddings; save one for each"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        rows = values.astype(np.float32, copy=False)
        finite, filled = np.isfinite(rows).all(axis=1), rows.any(axis=1)
    for wrong, what in (
        (~finite, "have a number that is missing or not finite"),
        (~filled, "are all zeros"),
    ):
        if wrong.any():
            raise HarnessError(
                f"{file}: {int(wrong.sum()):,} of {len(rows):,} embeddings {what}, such as that of "
                f"{ids[int(wrong.argmax())]!r}; compute them again"
            )
    return rows


def _npz(file: Path) -> Rows:
    found = _numpy(file)
    if isinstance(found, np.ndarray):
        raise HarnessError(f"{file}: is a .npy file; name it so")
    with found as stored:
        name = _one_of(file, stored.files)
        try:
            return _texts(file, stored[IDS]), stored[name]
        except ValueError as error:
            raise _readable(file, error) from error


def _npy(file: Path) -> Rows:
    source = _sources(file)[1]
    if source.name == MANIFEST:
        ids = _manifest(source)
    else:
        text = source.read_text(encoding="utf-8-sig")
        ids = [line for line in text.splitlines() if line.strip()]
    values = _numpy(file)
    if not isinstance(values, np.ndarray):
        raise HarnessError(f"{file}: is a .npz file; name it so")
    return ids, values


def _numpy(file: Path) -> Any:
    """What a file of numpy holds; one with objects, which only pickle can read, is refused."""
    try:
        return np.load(file, allow_pickle=False)
    except ValueError as error:
        raise _readable(file, error) from error


def _readable(file: Path, error: ValueError) -> Exception:
    """What to raise in the place of an error of numpy."""
    if "pickle" not in str(error):
        return error
    return HarnessError(
        f"{file}: holds objects of Python (pickle), which are never loaded; save ids with "
        "numpy.array(ids, dtype=str) and embeddings as float32"
    )


def _manifest(file: Path) -> list[str]:
    with file.open(newline="", encoding="utf-8-sig") as text:
        rows = csv.DictReader(text)
        if SAMPLE not in (rows.fieldnames or ()):
            raise HarnessError(f"{file}: has no column {SAMPLE}; name that of the ids so")
        return [row[SAMPLE] or "" for row in rows]


def _h5(file: Path) -> Rows:
    import h5py

    with h5py.File(file, "r") as stored:
        name = _one_of(file, list(stored))
        ids, values = stored[IDS], stored[name]
        for one in (ids, values):
            if not isinstance(one, h5py.Dataset):
                raise HarnessError(f"{file}: {one.name} is a group; save an array")
        texts = ids.asstr() if h5py.check_string_dtype(ids.dtype) else ids
        return _texts(file, np.asarray(texts[:])), values[:]


def _one_of(file: Path, there: Sequence[str]) -> str:
    """Which of the arrays in a file are the embeddings. Raises HarnessError, also without ids."""
    found = [name for name in ARRAYS if name in there]
    if len(found) != 1 or IDS not in there:
        raise HarnessError(
            f"{file}: has the arrays {_listed(sorted(there))}; save the ids of the "
            f"patches as {IDS!r} and the embeddings as {' or '.join(map(repr, ARRAYS))}"
        )
    return found[0]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) or "none"


def _texts(file: Path, ids: NDArray[Any]) -> list[str]:
    """Ids, whatever they are stored as. Raises HarnessError unless they are texts or numbers."""
    found: list[Any] = ids.tolist() if ids.ndim == 1 else [None]
    if ids.dtype.kind == "S":
        found = [text.decode("utf-8") for text in found]
    if not all(isinstance(id_, str | int) for id_ in found):
        raise HarnessError(f"{file}: has ids {ids.dtype} {ids.shape}; save texts (N,)")
    return list(map(str, found))


def _table(file: Path) -> Rows:
    frame = by_id.table(file, ID)
    names = list(map(str, frame.columns))
    if ID not in names:
        raise HarnessError(
            f"{file}: has no column {ID!r}, but {_listed(names)}; name that of the ids so"
        )
    frame.columns = names  # type: ignore[assignment,unused-ignore]
    ids = by_id.ids_in(file, frame, ID)
    if LIST in names:
        return ids, _lists(file, ids, frame[LIST])
    return ids, _columns(file, frame, names)


def _lists(file: Path, ids: Sequence[str], column: pandas.Series[Any]) -> NDArray[np.float32]:
    """The rows of a column of lists."""
    rows = []
    for id_, row in zip(ids, column, strict=True):
        if isinstance(row, str) or np.ndim(row) != 1:
            raise HarnessError(
                f"{file}: {LIST} of {id_!r} is no list of numbers; save lists, or a column for "
                "each number"
            )
        rows.append(np.asarray(row, np.float32))
        if len(rows[-1]) != len(rows[0]):
            raise HarnessError(
                f"{file}: {LIST} has {len(rows[0]):,} numbers for {ids[0]!r} and {len(row):,} for "
                f"{id_!r}; save equally many"
            )
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)


def _columns(file: Path, frame: pandas.DataFrame, names: Sequence[str]) -> NDArray[np.float32]:
    """The rows of columns that are numbered, such as 0, 1, ... or f0, f1, ...

    Other columns, such as a label that is a number, are never taken for a part of an embedding.
    """
    import pandas as pd

    found: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if match := re.fullmatch(r"(.*?)([0-9]{1,9})", name):
            found[match[1]][int(match[2])] = name
    if len(found) != 1:
        which = [next(iter(columns.values())) for columns in found.values()] or names
        raise HarnessError(
            f"{file}: needs a column {LIST!r} of lists, or columns that are called alike and "
            f"numbered, such as f0, f1, f2, and no others with a number at the end; there is "
            f"{_listed(which)}"
        )
    ((before, columns),) = found.items()
    first = min(columns)
    gap = next((n for n in range(first, first + len(columns)) if n not in columns), None)
    if first > 1 or gap is not None:
        raise HarnessError(
            f"{file}: has {len(columns):,} columns, from {columns[first]!r}, but no "
            f"{f'{before}{gap or 0}'!r}; number them from 0 or 1 without gaps"
        )
    values = np.empty((len(frame), len(columns)), np.float32)
    with np.errstate(over="ignore"):
        for place, number in enumerate(sorted(columns)):
            values[:, place] = pd.to_numeric(frame[columns[number]], errors="coerce")
    return values


READERS: dict[str, Callable[[Path], Rows]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".h5": _h5,
    ".parquet": _table,
    ".csv": _table,
}
NEEDS: Mapping[str, Mapping[str, str]] = {
    ".h5": {"h5py": "h5"},
    ".csv": {"pandas": "pandas"},
    ".parquet": {"pandas": "pandas", "pyarrow": "parquet"},
}
"""By suffix, modules that must be there, and the extra that brings each."""
