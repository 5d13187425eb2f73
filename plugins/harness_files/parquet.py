"""``kind = "parquet"``: images in Parquet files, as Hugging Face's datasets are saved.

    kind = "parquet"
    train = "data/train-*.parquet"       # a file, or several
    validation = "data/val-*.parquet"    # optional
    test = "data/test-*.parquet"
    image = "image"                      # names of columns (these are the defaults)
    label = "label"
    id = "patch"                         # optional: what patches are called
    group = "patient"                    # optional: the patient or slide of each

Instead of these three, ``files = "data/*.parquet"`` is cross-validated.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness import Dataset, HarnessError, Splits
from harness.data import files
from harness.data.classes import missing_label
from harness.data.copies import make_once
from harness.data.patches import DECODED, decode
from harness.hooks.toml_keys import Text
from harness.system.progress import progress
from harness.text.names import alike, folded, quoted
from harness_files import shards
from harness_files.description import CommonKeys, Description

if TYPE_CHECKING:
    from harness.types.datasets import Indices

BATCH = 64
"""Rows that are read at a time."""
EMBEDDED = (
    'ds.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)'
    ".with_format(None).to_parquet(FILE)"
)
"""How to have Hugging Face's datasets save the images, not where they lie."""
_LOCK = Lock()
"""So that of several threads one makes the copy."""


class ParquetKeys(CommonKeys):
    """What a TOML file of this kind may say."""

    files: str | None = Field(None, description="patches to cross-validate, instead of the parts")
    train: str | None = Field(None, description="a file, or several: train-*.parquet")
    validation: str | None = Field(None, description="the same, of patches to select on")
    test: str | None = Field(None, description="the same, of test patches")
    image: str = Field("image", description="column of the images")
    label: str = Field("label", description="column of the classes")
    id: Text | None = Field(
        None, description="column of the names of patches; by default, they are numbered"
    )
    group: Text | None = Field(None, description="column of the patients or slides, if any")


def keys() -> type[ParquetKeys]:
    """The class of its keys."""
    return ParquetKeys


def read(path: Path, content: Mapping[str, Any] | ParquetKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, ParquetKeys)
    said = description.content
    parts = shards.of_parts(description)
    found, missing, classes = parts.paths, parts.missing, description.classes
    numbers: dict[Any, int] = {}
    if not missing and not _installed():
        missing = "needs pyarrow: pip install 'histo-harness[parquet]'"
    columns = said["image"], said["label"]
    labels: dict[Path, list[Any]] = {}
    if not missing:
        labels = {path: _labels(path, *columns) for path in parts.every}
        shards.check_different(path for path, values in labels.items() if values)
        _check_labels(found, labels, columns[1])
        classes, numbers = _classes(description, found, labels, columns[1])

    def texts(key: str) -> dict[str, list[str]] | None:
        """The values of the column that ``key`` names, for each part."""
        if key not in said:
            return None
        return {
            part: [value for file in paths for value in _texts(file, said[key], key)]
            for part, paths in found.items()
        }

    def load() -> Splits:
        splits: dict[str, ParquetSplit] = {}
        ids = texts("id")
        shape = description.shape
        for part, paths in found.items():
            splits[part] = ParquetSplit(
                {file: _numbered(labels[file], numbers, file, columns[1]) for file in paths},
                columns[0],
                path.with_name(f"{path.stem}-{part}"),
                shape,
                part,
                resize=description.shape is not None,
                resizing=description.resizing,
                ids=None if ids is None else ids[part],
            )
            shape = splits[part].shape
        return description.splits(
            splits,
            texts("group") or {},
            shortfall=parts.shortfall,
            train_shortfall=parts.train_shortfall,
            warnings=_from_one(description, labels, columns[1]),
        )

    return description.dataset(classes, load, missing)


class ParquetSplit:
    """A Split over the rows of Parquet files; ``labels`` are those of each.

    Parquet can only read many rows at a time, so when the first patch is read, the column of images
    is written into ``<copy>-<digest>.arrow``, a file of Arrow that is memory-mapped. ``resizing``
    is what to do about a patch of another shape. ``ids`` are the patches' names in place of their
    numbers. Raises HarnessError when two patches have one.
    """

    def __init__(
        self,
        labels: Mapping[Path, NDArray[np.int64]],
        column: str,
        copy: Path,
        shape: tuple[int, int] | None,
        prefix: str,
        resize: bool,
        resizing: str,
        ids: Sequence[str] | None = None,
    ) -> None:
        self.paths = list(labels)
        self.starts = np.cumsum([0, *map(len, labels.values())])
        self.column = column
        self.labels = np.concatenate(list(labels.values()))
        self.resize = resize
        self.resizing = resizing
        if ids is None:
            self.ids = [f"{prefix}/{number:07}" for number in range(len(self.labels))]
        else:
            self._check_different(ids)
            self.ids = [f"{prefix}/{id_}" for id_ in ids]
        digest = hashlib.sha256(column.encode())
        for path in self.paths:
            digest.update(f"{path.name}\n".encode() + shards.digest(path))
        source = digest.hexdigest()
        self.copy = copy.with_name(f"{copy.name}-{source[:12]}.arrow")
        if shape is None:
            first = decode(self._original(0), self._where(0), None)
            shape = (first.shape[0], first.shape[1])
        self.shape = shape
        resized = str(shape) if resize else ""
        named = "" if ids is None else "\n".join(["", *ids])
        content = f"{source} decoded {DECODED}".encode() + self.labels.tobytes()
        content += resized.encode() + named.encode()
        self.fingerprint = hashlib.sha256(content).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the copy itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_images"}

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Decode some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        with _LOCK:
            column = self._images
        images = np.empty((len(indices), *self.shape, 3), np.uint8)
        for row, index in enumerate(map(int, indices)):
            data, where = column[index].as_py(), self._where(index)
            try:
                images[row] = decode(data, where, self.shape, self.resize, self.resizing)
            except HarnessError as error:
                if data != self._original(index):
                    raise self._damaged(error) from error
                raise
        return images

    @cached_property
    def _images(self) -> Any:
        """The image files in the copy, a column of bytes; it is made if it is not there."""
        import pyarrow as pa

        size = sum(path.stat().st_size for path in self.paths)
        make_once(self.copy, size, self._write, self.paths)
        try:
            column = pa.ipc.open_file(pa.memory_map(str(self.copy))).read_all().column(0)
            column.validate(full=True)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        if len(column) - column.null_count != len(self.labels) or column.type != pa.large_binary():
            raise self._damaged(f"it has {len(column)} rows of {column.type}")
        return column

    def _write(self, out: BinaryIO) -> None:
        import pyarrow as pa

        schema = pa.schema([(self.column, pa.large_binary())])
        batches = (images for path in self.paths for images in self._batches(path))
        total = -(-len(self.labels) // BATCH)
        label = f"copying to {self.copy.name}, {BATCH} images each"
        with pa.ipc.new_file(out, schema) as file:
            for images in progress(batches, total=total, label=label):
                file.write_batch(pa.record_batch([images], schema=schema))

    def _batches(self, path: Path) -> Iterator[Any]:
        """The image files in a Parquet file, as arrays of bytes.

        In memory are a few pages, the parts that Parquet compresses. Hugging Face's datasets make
        them of 100 images; other programs of a thousand.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        done = 0
        with _reading(path) as file:
            for batch in file.iter_batches(BATCH, columns=[self.column], use_threads=False):
                images = batch.column(0)
                if pa.types.is_struct(images.type):
                    images = images.field("bytes")
                if images.null_count:
                    row = done + images.is_valid().index(False).as_py()
                    raise HarnessError(
                        f"{path}, row {row}: holds no image, or only the path of one; save the "
                        f"dataset again with its images embedded: {EMBEDDED}"
                    )
                images = images.cast(pa.large_binary())
                for row, size in enumerate(pc.binary_length(images).to_pylist(), done):
                    files.check_size(f"{path}, row {row}", size)
                done += len(images)
                yield images

    def _original(self, index: int) -> bytes:
        """An image file as Parquet has it; all rows before it are read for that."""
        file = self._file(index)
        rows = (row for images in self._batches(self.paths[file]) for row in images)
        data: bytes = next(islice(rows, index - self.starts[file], None)).as_py()
        return data

    def _check_different(self, ids: Sequence[str]) -> None:
        """Raise HarnessError when an id is there twice."""
        times = Counter(ids)
        if twice := [id_ for id_, count in times.items() if count > 1]:
            one = ids.index(twice[0])
            other = ids.index(twice[0], one + 1)
            raise HarnessError(
                f"{self._where(one)} and {self._where(other)}: both have the id {twice[0]!r}; "
                f"{len(twice):,} of {len(times):,} ids are there more than once: give each patch "
                "its own, or leave id = ... out"
            )

    def _file(self, index: int) -> int:
        return int(np.searchsorted(self.starts, index, "right")) - 1

    def _where(self, index: int) -> str:
        file = self._file(index)
        return f"{self.paths[file]}, row {index - self.starts[file]}"

    def _damaged(self, why: object) -> HarnessError:
        said = " ".join(str(why).split())
        return HarnessError(f"{self.copy}: is damaged ({said}); remove it and run again")


def _installed() -> bool:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """A Parquet file that is read page by page; what is wrong with it becomes a HarnessError."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(
            path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True
        ) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if files.what_is(start := files.head(path)).name != "a Parquet file":
            raise HarnessError(f"{path}: {files.is_not(start, 'a Parquet file')}") from error
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


def _texts(path: Path, column: str, key: str) -> list[str]:
    """The values of a column of ids or groups in all rows, as texts without blanks around them.

    Raises HarnessError for a column of anything but texts and whole numbers, and for empty values.
    """
    with _reading(path) as file:
        _check_column(path, file.schema_arrow, column, key)
        values = file.read(columns=[column]).column(0).to_pylist()
    texts = ["" if value is None else str(value).strip() for value in values]
    if empty := [row for row, text in enumerate(texts) if not text]:
        raise HarnessError(
            f"{path}: {len(empty):,} of {len(texts):,} rows have no {key} in the column "
            f"{column!r}, such as row {empty[0]}; fill them in, or leave these rows out"
        )
    for row, text in enumerate(texts):
        if not text.isprintable():
            raise HarnessError(
                f"{path}, row {row}: the {key} {text!a} cannot be printed; correct it"
            )
    return texts


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

    _check_there(path, schema, image, "image")
    kind = schema.field(image).type
    if types.is_struct(kind):
        kind = next((field.type for field in kind if field.name == "bytes"), kind)
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise HarnessError(
            f"{path}: the column {image!r} is {kind} where image files as bytes are expected; say "
            "which one it is with image = ..."
        )
    _check_column(path, schema, label, "label")


def _check_there(path: Path, schema: Any, column: str, key: str) -> None:
    if column not in schema.names:
        raise HarnessError(
            f"{path}: has no column {column!r}, but {', '.join(schema.names)}; say which one "
            f"it is with {key} = ..."
        )


def _check_column(path: Path, schema: Any, column: str, key: str) -> None:
    """Check that a column is there and holds whole numbers or strings."""
    from pyarrow import types

    _check_there(path, schema, column, key)
    kind = schema.field(column).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise HarnessError(
            f"{path}: the column {column!r} is {kind} where whole numbers or strings are expected; "
            f"say which one it is with {key} = ..."
        )


def _classes(
    description: Description,
    found: Mapping[str, Sequence[Path]],
    labels: Mapping[Path, Sequence[Any]],
    column: str,
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
            if others != names and {*map(folded, others)} == {*map(folded, names)}:
                raise HarnessError(
                    f"{description.path}: classes are in another order than the labels of {path}, "
                    f"or spelled differently: these are {', '.join(others)}; leave classes out"
                )
    if not names:
        names = description.sorted_classes(
            {
                part: [str(label) for path in paths for label in labels[path]]
                for part, paths in found.items()
            }
        )
        return names, {label: names.index(str(label)) for label in seen}
    if not all(names) or len(set(names)) < max(2, len(names)):
        raise HarnessError(
            f"{first}: notes the classes {', '.join(names)} where at least two different names are "
            f"expected; give them with classes = [...] in {description.path}"
        )
    by_index: dict[Any, int] = dict(enumerate(range(len(names))))
    return names, by_index | {name: number for number, name in enumerate(names)}


def _from_one(
    description: Description, labels: Mapping[Path, Sequence[Any]], column: str
) -> tuple[str, ...]:
    """A warning where labels are indices into ``classes`` and seem to count from 1; else none."""
    seen = {label for values in labels.values() for label in values}
    noted = any(_noted(path, column) for path in labels)
    if not description.classes or noted or int not in map(type, seen) or 0 in seen:
        return ()
    return (description.from_one(f"the column {column!r}", "has"),)


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
        label = error.args[0]
        known = [str(other) for other in numbers if isinstance(other, type(label))]
        if missing_label(str(label)):
            fix = f"{label} usually says that a patch has no label: leave such rows out"
        elif near := alike(str(label), known):
            fix = f"did you mean {quoted(near[0], [str(label)])}? Correct the file"
        else:
            fix = "correct classes = [...] or the file"
        raise HarnessError(
            f"{path}, column {column}: the label {label!r} is none of {', '.join(known)}; {fix}"
        ) from error
