"""``kind = "table"``: image files listed in a CSV file, or in the TOML file itself.

kind = "table"
table = "patches.csv"  # a .tsv has tabs; or [[patches]] tables with the same fields
folder = "images"      # what the paths in it are relative to (default: the TOML file's folder)
path = "file"          # names of columns (default: path, label, group and split)
label = "diagnosis"
group = "patient"      # optional: patches of one group are not cut by a fold
split = "part"         # optional: train, validation or test; without it, cross-validation
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness import Dataset, HarnessError, Splits
from harness.data import files
from harness.data.patches import Files, FileSplit, check_suffix, read_file
from harness.hooks.toml_keys import MustBe
from harness.text.names import folded, quoted, suggest
from harness_files.description import PARTS, CommonKeys, Description

REQUIRED, OPTIONAL = ("path", "label"), ("group", "split")


class TableKeys(CommonKeys):
    """What a TOML file of this kind may say."""

    table: str | None = Field(None, description="a .csv file, or a .tsv file with tabs")
    folder: str = Field(".", description="what the paths in the table are relative to")
    patches: Annotated[list[Any] | None, MustBe("a list of [[patches]]")] = Field(
        None, description="tables with the fields of a row, instead of table"
    )
    path: str | None = Field(None, description="column of the paths; path by default")
    label: str | None = Field(None, description="column of the classes; label by default")
    group: str | None = Field(None, description="column of the patients or slides, if any")
    split: str | None = Field(None, description="column that says train, validation or test")


def keys() -> type[TableKeys]:
    """The class of its keys."""
    return TableKeys


@dataclass(frozen=True)
class Row:
    """A patch of the table; ``where`` names the file and the line."""

    where: str
    path: str
    label: str
    group: str | None
    split: str | None


def read(path: Path, content: Mapping[str, Any] | TableKeys) -> list[Dataset]:
    """The dataset that a file describes."""
    description = Description(path, content, TableKeys)
    said = description.content
    if ("table" in said) == ("patches" in said):
        raise description.error('give either table = "FILE.csv" or [[patches]]')
    folder = description.beside(said["folder"])
    table = description.beside(said["table"]) if "table" in said else path
    absent = [str(place) for place in (table, folder) if not place.exists()]
    missing = f"no {' and no '.join(absent)}; correct the paths in {path}" if absent else ""
    rows = [] if missing else _rows(description, folder, table)
    often = Counter(row.label for row in rows)
    if rows and not description.classes and max(often.values()) == 1:
        raise HarnessError(
            f"{table}: every patch has another label, such as {rows[0].label!r}; say which column "
            f"holds the classes with label = ... in {path}"
        )
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(row.split or "all", []).append(row.label)
    classes = description.sorted_classes(labels)
    for row in rows:
        if row.label not in classes:
            raise HarnessError(
                f"{row.where}: the label {row.label!r} is none of the classes of {path}; "
                f"{suggest(row.label, classes)}"
            )
    return description.dataset(classes, lambda: _load(description, folder, rows, classes), missing)


def _rows(description: Description, folder: Path, table: Path) -> list[Row]:
    """The patches of the table, checked one by one and against each other."""
    named = {key: description.content.get(key, key) for key in REQUIRED + OPTIONAL}
    if table == description.path:
        found = _of_toml(description)
        columns = {column for _, values in found for column in values}
    else:
        found, header = of_csv(table)
        columns = set(header)
    for key, column in named.items():
        wanted = key in REQUIRED or key in description.content
        if wanted and column not in columns:
            raise HarnessError(
                f"{table}: has no column {column!r}; {suggest(column, columns)}; say which one it "
                f"is with {key} = ... in {description.path}"
            )
        if column not in columns and (alike := [c for c in columns if folded(c) == folded(column)]):
            raise HarnessError(
                f"{table}: has a column {quoted(alike[0], [column])}, which is not taken for the "
                f"{key} as its name is not {quoted(column, alike)}; say {key} = "
                f"{json.dumps(alike[0])} in {description.path}, or give it another name"
            )
    if not found:
        raise HarnessError(f"{table}: lists no patches; add some")
    rows: list[Row] = []
    seen: dict[str, str] = {}
    for where, values in found:
        cells = {key: values.get(column) for key, column in named.items() if column in columns}
        for key, cell in cells.items():
            if not cell:
                raise HarnessError(f"{where}: {named[key]} is empty; fill it in")
        row = Row(
            where, cells["path"] or "", cells["label"] or "", cells.get("group"), cells.get("split")
        )
        listed = os.path.normpath(folder / row.path)  # without a look at the disk
        if listed in seen:
            raise HarnessError(
                f"{where}: {row.path} is listed already, in {seen[listed]}; remove one of the two"
            )
        seen[listed] = where
        if not row.label.isprintable():
            raise HarnessError(f"{where}: the label {row.label!a} cannot be printed; correct it")
        if row.split is not None and row.split not in PARTS:
            raise HarnessError(
                f"{where}: {named['split']} is {row.split!r}; {suggest(row.split, PARTS)}"
            )
        rows.append(row)
    return rows


def of_csv(table: Path) -> tuple[list[tuple[str, dict[str, str]]], list[str]]:
    """For each line where it stands and its cells by column, and the columns.

    Raises HarnessError for what is no table of cells separated by commas, or by tabs in a .tsv.
    """
    content = files.read_bytes(table)
    files.check_text(table, content[: files.HEAD], "a table")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise HarnessError(
            f"{table}: cannot be read as a table (line {line} is not UTF-8); save it as UTF-8"
        ) from error
    try:
        delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [cell.strip() for cell in next(reader, [])]
        if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
            raise HarnessError(
                f"{table}: has one column, {header[0]!r}; separate the cells with commas, or "
                "with tabs in a .tsv file"
            )
        for column, times in Counter(filter(None, header)).items():
            if times > 1:
                raise HarnessError(f"{table}: has {times} columns {column!r}; rename all but one")
        found = []
        for cells_of_line in reader:
            cells = [cell.strip() for cell in cells_of_line]
            where = f"{table}, line {reader.line_num}"
            if len(cells) not in (0, len(header)):
                raise HarnessError(
                    f"{where}: has {len(cells)} cells where the first line has {len(header)}; "
                    "correct it"
                )
            if cells:
                found.append((where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise HarnessError(f"{table}: cannot be read as a table ({error}); correct it") from error
    return found, header


def _of_toml(description: Description) -> list[tuple[str, dict[str, str]]]:
    found = []
    for number, values in enumerate(description.content["patches"], 1):
        where = f"{description.path}, patch {number}"
        if not isinstance(values, dict):
            raise HarnessError(f"{where}: must be a table; write [[patches]] above its keys")
        for key, value in values.items():
            if type(value) not in (str, int):
                raise HarnessError(f"{where}: {key} = {value!r} must be a text; correct it")
        found.append((where, {key: str(value) for key, value in values.items()}))
    return found


def _load(
    description: Description, folder: Path, rows: Sequence[Row], classes: Sequence[str]
) -> Splits:
    """List the patches; each file is looked for."""
    number = {name: label for label, name in enumerate(classes)}
    parts: dict[str, dict[str, Row]] = {}
    sizes: dict[str, int] = {}
    seen: dict[tuple[int, int], Row] = {}
    for row in rows:
        check_suffix(row.path, f"{row.where}: ")
        try:
            path = folder / row.path
            status = path.stat()
            if not path.is_file():
                raise HarnessError(f"{row.where}: {path} is no file; correct the table")
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a name
            why = getattr(error, "strerror", None) or error
            raise HarnessError(f"{row.where}: {row.path!r}: {why}; correct the table") from error
        files.check_file(path)
        files.check_size(f"{row.where}: {path}", status.st_size)
        # By a link, or in upper and lower case; a file with several names on disk may be meant.
        other = seen.setdefault((status.st_dev, status.st_ino), row)
        if other is not row and status.st_nlink == 1:
            raise HarnessError(
                f"{row.where}: {row.path} is the same file as {other.path} in {other.where}; "
                "remove one of the two"
            )
        sizes[row.path] = status.st_size
        parts.setdefault(row.split or "all", {})[row.path] = row
    if "all" not in parts:
        if absent := [part for part in ("train", "test") if part not in parts]:
            raise HarnessError(f"{rows[0].where.split(', ')[0]}: lists no {absent[0]} patches")
        if "folds" in description.content:
            raise description.error("folds is for tables without a column of splits; leave it out")
    listed = Files(folder, sizes, partial(read_file, folder))
    splits: dict[str, FileSplit] = {}
    shape = description.shape
    for part in ("all", *PARTS):
        if part in parts:
            splits[part] = FileSplit(
                listed,
                classes,
                shape,
                part,
                resize=description.shape is not None,
                labels={name: number[row.label] for name, row in parts[part].items()},
                advice=description.resizing,
            )
            shape = splits[part].shape
    if rows[0].group is None:
        return description.splits(splits)
    return description.splits(
        splits,
        groups={
            part: [parts[part][name].group or "" for name in split.names]
            for part, split in splits.items()
        },
    )
