"""``kind = "parquet"``: images in Parquet files, as Hugging Face's datasets are saved.

    kind = "parquet"
    train = "data/train-*.parquet"       # a file, or several
    validation = "data/val-*.parquet"    # optional
    test = "data/test-*.parquet"
    image = "image"                      # names of columns (these are the defaults)
    label = "label"

Instead of these three, ``files = "data/*.parquet"`` is cross-validated.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness import Dataset, HarnessError, Splits
from harness.copies import make_once
from harness.patches import decode
from harness.progress import progress
from harness_files.description import PARTS, TEXT, Description

if TYPE_CHECKING:
    from harness.types import Indices

OWN = dict.fromkeys(("files", *PARTS), TEXT) | {
    name: TEXT | {"default": name} for name in ("image", "label")
}
BATCH = 64
"""Rows that are read at a time."""
SAMPLED, BLOCK = 32, 1 << 12
"""Places of a file, and bytes at each, that tell its content from another's."""


def read(path: Path, content: Mapping[str, Any]) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, OWN)
    content = description.content
    description.check_parts("files")
    patterns = {
        "all" if part == "files" else part: content[part]
        for part in ("files", *PARTS)
        if part in content
    }
    found = {part: _matching(path.parent, pattern) for part, pattern in patterns.items()}
    missing, classes = "", description.classes
    numbers: dict[Any, int] = {}
    if absent := [patterns[part] for part, paths in found.items() if not paths]:
        missing = f"no {' and no '.join(absent)} in {path.parent}; correct the paths in {path}"
    elif not _installed():
        missing = "needs pyarrow: pip install 'histo-harness[parquet]'"
    columns = content["image"], content["label"]
    labels: dict[Path, list[Any]] = {}
    if not missing:
        description.check_apart(found)
        labels = {path: _labels(path, *columns) for paths in found.values() for path in paths}
        _check_labels(found, labels, columns[1])
        classes, numbers = _classes(description, labels, columns[1])

    def load() -> Splits:
        splits: dict[str, ParquetSplit] = {}
        shape = description.shape
        for part, paths in found.items():
            values = [_numbered(labels[file], numbers, file, columns[1]) for file in paths]
            copy = path.with_name(f"{path.stem}-{part}")
            resize = description.shape is not None
            splits[part] = ParquetSplit(
                paths, columns[0], np.concatenate(values), copy, shape, part, resize
            )
            shape = splits[part].shape
        return description.splits(splits)

    return description.dataset(classes, load, missing)


class ParquetSplit:
    """A Split over the rows of Parquet files.

    Parquet can only read many rows at a time, so when the first patch is read, the image files in
    the rows are written one after another into ``<copy>-<digest>.images``, as they are, with the
    places where they begin, int64 (N + 1,), at the end.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        column: str,
        labels: NDArray[np.int64],
        copy: Path,
        shape: tuple[int, int] | None,
        prefix: str,
        resize: bool,
    ) -> None:
        self.paths = paths
        self.column = column
        self.labels = labels
        self.resize = resize
        self.ids = [f"{prefix}/{number:07}" for number in range(len(labels))]
        source = _digest(paths, column)
        self.copy = copy.with_name(f"{copy.name}-{source[:12]}.images")
        if shape is None:
            where, data = next(self._rows())
            first = decode(data, where, None)
            shape = (first.shape[0], first.shape[1])
        self.shape = shape
        resized = str(shape) if resize else ""
        content = source.encode() + labels.tobytes() + resized.encode()
        self.fingerprint = hashlib.sha256(content).hexdigest()
        self._lock = Lock()
        self._starts: NDArray[np.int64] | None = None

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Decode some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        with self._lock:
            if self._starts is None:
                self._starts = self._copied()
        images = np.empty((len(indices), *self.shape, 3), np.uint8)
        with self.copy.open("rb") as file:
            for row, index in enumerate(indices):
                start, end = self._starts[index : index + 2]
                file.seek(start)
                name = f"{self.paths[0].parent}, {self.ids[index]}"
                images[row] = decode(file.read(end - start), name, self.shape, self.resize)
        return images

    def _copied(self) -> NDArray[np.int64]:
        """Make the copy if it is not there; returns where each image begins in it, and the end."""
        size = sum(path.stat().st_size for path in self.paths)
        make_once(self.copy, size, self._write)
        length = 8 * (len(self.labels) + 1)
        with self.copy.open("rb") as file:
            file.seek(0, 2)
            end = file.tell() - length
            file.seek(max(0, end))
            starts = np.frombuffer(file.read(), np.int64)
        if len(starts) != len(self.labels) + 1 or starts[0] or starts[-1] != end:
            raise HarnessError(f"{self.copy}: is not whole; remove it and run again")
        return starts

    def _write(self, out: BinaryIO) -> None:
        starts = [0]
        rows = progress(self._rows(), total=len(self.labels), label=f"copying to {self.copy.name}")
        for _, data in rows:
            out.write(data)
            starts.append(starts[-1] + len(data))
        if len(starts) != len(self.labels) + 1:
            raise HarnessError(
                f"{self.paths[0]}: has {len(starts) - 1} images for {len(self.labels)} labels; "
                "save it again"
            )
        out.write(np.array(starts, np.int64).tobytes())

    def _rows(self) -> Iterator[tuple[str, bytes]]:
        """For each row where it stands and the bytes of its image.

        In memory are a few pages, the parts that Parquet compresses. Hugging Face's datasets make
        them of 100 images; other programs of a thousand.
        """
        import pyarrow as pa

        for path in self.paths:
            number = 0
            with _reading(path) as file:
                for batch in file.iter_batches(BATCH, columns=[self.column], use_threads=False):
                    column = batch.column(0)
                    if pa.types.is_struct(column.type):
                        column = column.field("bytes")
                    for value in column:
                        where = f"{path}, row {number}"
                        number += 1
                        if not value.is_valid:
                            raise HarnessError(
                                f"{where}: holds no image, or only the path of one; save the "
                                "dataset again with its images embedded"
                            )
                        yield where, value.as_py()


def _installed() -> bool:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


def _matching(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern such as ``data/train-*.parquet``, in order."""
    # That of Path takes no absolute pattern.
    found = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return sorted(path for path in map(folder.joinpath, found) if path.is_file())


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """A Parquet file that is read page by page; what is wrong with it becomes a HarnessError."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HarnessError(
            f"{path}: cannot be read as Parquet ({first}); get the file again"
        ) from error


def _labels(path: Path, image: str, label: str) -> list[Any]:
    """The labels of all rows, numbers or strings; the columns are checked, images not read."""
    with _reading(path) as file:
        _check_columns(path, file.schema_arrow, image, label)
        found = file.read(columns=[label]).column(0)
    if found.null_count:
        raise HarnessError(f"{path}: {found.null_count} rows have no {label}; leave them out")
    labels: list[Any] = found.to_pylist()
    return labels


def _check_labels(
    found: Mapping[str, Sequence[Path]], labels: Mapping[Path, Sequence[Any]], column: str
) -> None:
    """Check that there are labels in each part, and that those of all files are of one kind."""
    for paths in found.values():
        if not any(labels[path] for path in paths):
            raise HarnessError(f"{paths[0]}: has no rows; get the file again")
    kinds = {type(values[0]): path for path, values in labels.items() if values}
    if len(kinds) > 1:
        raise HarnessError(
            f"the column {column!r} has numbers in {kinds[int]} and strings in {kinds[str]}; save "
            "them alike"
        )


def _check_columns(path: Path, schema: Any, image: str, label: str) -> None:
    """Check that both columns are there, and of types that can be read."""
    from pyarrow import types

    for column, key in ((image, "image"), (label, "label")):
        if column not in schema.names:
            raise HarnessError(
                f"{path}: has no column {column!r}, but {', '.join(schema.names)}; say which one "
                f"it is with {key} = ..."
            )
    kind = schema.field(image).type
    if types.is_struct(kind):
        kind = next((field.type for field in kind if field.name == "bytes"), kind)
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise HarnessError(
            f"{path}: the column {image!r} is {kind} where image files as bytes are expected; say "
            "which one it is with image = ..."
        )
    kind = schema.field(label).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise HarnessError(
            f"{path}: the column {label!r} is {kind} where whole numbers or strings are expected; "
            "say which one it is with label = ..."
        )


def _classes(
    description: Description, labels: Mapping[Path, Sequence[Any]], column: str
) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Names of the classes, and for each label that may occur the index of its class.

    The names are given, or Hugging Face noted them in the files; labels then are names or indices.
    Else the labels themselves are the names. Raises HarnessError when what an index means is not
    the same everywhere.
    """
    seen = {label for values in labels.values() for label in values}
    noted = {path: names for path in labels if (names := _noted(path, column))}
    first = next(iter(noted), description.path)
    names = description.classes or noted.get(first, ())
    if int in map(type, seen):
        for path, others in noted.items():
            if others != noted[first]:
                raise HarnessError(
                    f"{path}: notes the classes {', '.join(others)} where {first} notes "
                    f"{', '.join(noted[first])}; save both with the same list of names"
                )
            if others != names and set(others) == set(names):
                raise HarnessError(
                    f"{description.path}: classes are in another order than the labels of {path}, "
                    f"which are {', '.join(others)}; leave classes out"
                )
    if not names:
        names = description.sorted_classes({str(label) for label in seen})
        return names, {label: names.index(str(label)) for label in seen}
    if not all(names) or len(set(names)) < max(2, len(names)):
        raise HarnessError(
            f"{first}: notes the classes {', '.join(names)} where at least two different names are "
            f"expected; give them with classes = [...] in {description.path}"
        )
    by_index: dict[Any, int] = dict(enumerate(range(len(names))))
    return names, by_index | {name: number for number, name in enumerate(names)}


def _noted(path: Path, column: str) -> tuple[str, ...]:
    """The names of the classes in the metadata that Hugging Face's datasets leave; () if none."""
    with _reading(path) as file:
        metadata = file.schema_arrow.metadata or {}
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if known else ()


def _numbered(
    labels: Sequence[Any], numbers: Mapping[Any, int], path: Path, column: str
) -> NDArray[np.int64]:
    """Labels as indices into the classes."""
    try:
        return np.array([numbers[label] for label in labels], np.int64)
    except KeyError as error:
        known = ", ".join(str(label) for label in numbers if isinstance(label, type(labels[0])))
        raise HarnessError(
            f"{path}, column {column}: the label {error.args[0]!r} is none of {known}; correct "
            "classes = [...] or the file"
        ) from error


def _digest(paths: Sequence[Path], column: str) -> str:
    """Of the files: their sizes, and what stands at places spread over each, the end included.

    The end holds where each part of the file lies; reading all of many gigabytes would take long.
    """
    digest = hashlib.sha256(column.encode())
    for path in paths:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{path.name} {size}\n".encode())
            for start in np.linspace(0, max(0, size - BLOCK), SAMPLED).astype(int):
                file.seek(int(start))
                digest.update(file.read(BLOCK))
    return digest.hexdigest()
