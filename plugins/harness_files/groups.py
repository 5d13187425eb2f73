"""Groups of patches in class folders: by a pattern over names of files, or by a table beside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from harness import HarnessError
from harness.text.markup import visible
from harness.text.names import suggest
from harness_files.description import Description
from harness_files.table import of_csv

PATTERN_SECONDS = 30.0
"""How long a pattern may take for all names: that of a hundred thousand takes less than one, and a
pattern such as (a+)+$ may take for ever."""
SEARCH = """
import json, re, sys
pattern, names = json.load(sys.stdin)
pattern = re.compile(pattern)
number = min(pattern.groupindex.values(), default=min(pattern.groups, 1))
found = map(pattern.search, names)
json.dump([match and match[number] for match in found], sys.stdout)
"""
"""What a process of its own does, as nothing stops a search within Python."""
Names = Mapping[str, Sequence[str]]
"""Names of files, "CLASS/FILE", for each part."""


def check_pattern(description: Description) -> None:
    """Raise HarnessError if ``group`` is no regular expression."""
    pattern = description.content["group"]
    try:
        with warnings.catch_warnings(action="ignore"):  # what may mean something else one day
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise description.error(
            f"{_shown(description)} is no regular expression that Python knows ({error})"
        ) from error


def by_pattern(description: Description, names: Names) -> dict[str, list[str]]:
    """The group of each patch of each part: what ``group`` finds in the name of its file.

    That is the first named group of the regular expression, else its first group, else all that it
    matches. Raises HarnessError for names in which it finds nothing, and when it takes too long.
    """
    pattern = description.content["group"]
    files = [name.rpartition("/")[2] for of_part in names.values() for name in of_part]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", SEARCH],
            input=json.dumps([pattern, files]),
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=PATTERN_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(
            f"{description.path}: {_shown(description)} takes longer than {PATTERN_SECONDS:g} s "
            f"for {len(files):,} names of files; a repetition inside another, such as (a+)+, may "
            "take for ever: write it without"
        ) from error
    except (OSError, subprocess.CalledProcessError) as error:
        code = getattr(error, "returncode", None)
        why = f"it ended with code {code}" if code else error
        raise HarnessError(
            f"{description.path}: no process could look for {_shown(description)} ({why}); run "
            "again"
        ) from error
    found = [(group or "").strip() for group in json.loads(done.stdout)]
    if without := [name for name, group in zip(files, found, strict=True) if not group]:
        raise HarnessError(
            f"{description.path}: {_shown(description)} finds no group in {len(without):,} of "
            f"{len(files):,} names of files, such as {without[0]!r}; let it match them as well, "
            "A|B matches A or B, or list the groups with group_table = ..."
        )
    groups = iter(found)
    return {part: [next(groups) for _ in of_part] for part, of_part in names.items()}


def by_table(
    description: Description, places: Mapping[str, Path], names: Names
) -> dict[str, list[str]]:
    """The group of each patch of each part, as ``group_table`` lists them.

    A path in it is that of a patch or its end, such as ``TUMOR/1.png``. Raises HarnessError for
    rows that are of no patch, of several, or without a group, and for patches without a row.
    """
    table = description.beside(description.content["group_table"])
    rows = list(_rows(table))
    patches = [(part, name) for part, of_part in names.items() for name in of_part]
    whole = [(*_above(places[part]), *name.split("/")) for part, name in patches]
    wanted = {parts for _, _, parts, _ in rows}
    lengths = {len(parts) for parts in wanted}
    by_end: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, parts in enumerate(whole):
        for length in lengths:
            if (end := parts[-length:]) in wanted:
                by_end[end].append(number)
    unknown = [(where, path) for where, path, parts, _ in rows if parts not in by_end]
    if unknown:
        where, path = unknown[0]
        raise HarnessError(
            f"{where}: {len(unknown):,} of {len(rows):,} paths are of no patch, such as {path!r}; "
            f"a patch is called {'/'.join(whole[0][-2:])!r}; correct or remove them"
        )
    group_of: dict[int, tuple[str, str]] = {}
    for where, path, parts, group in rows:
        number, *others = by_end[parts]
        if others:
            one, other = ("/".join(_end(whole[at], parts)) for at in (number, others[0]))
            raise HarnessError(
                f"{where}: {path!r} may be {one} or {other}; write the folder before it as well"
            )
        if number in group_of:
            raise HarnessError(
                f"{where}: {path!r} is listed already, in {group_of[number][0]}; remove one of the "
                "two"
            )
        group_of[number] = where, group
    if lacking := [number for number in range(len(patches)) if number not in group_of]:
        raise HarnessError(
            f"{table}: {len(lacking):,} of {len(patches):,} patches are not in it, such as "
            f"{'/'.join(whole[lacking[0]][-2:])!r}; add them: without their group, intervals would "
            "be too narrow"
        )
    groups: dict[str, list[str]] = {part: [] for part in names}
    for number, (part, _) in enumerate(patches):
        groups[part].append(group_of[number][1])
    return groups


def _shown(description: Description) -> str:
    """The key and the pattern, as one writes it in single quotes, in one line."""
    return f"group = '{visible(description.content['group'])}'"


def _rows(table: Path) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """For each row where it stands, its path as it is written and in parts, and its group."""
    found, header = of_csv(table)
    for column in ("path", "group"):
        if column not in header:
            raise HarnessError(
                f"{table}: has no column {column!r}; {suggest(column, header)}; rename the column "
                f"of {'files' if column == 'path' else 'patients or slides'}"
            )
    if not found:
        raise HarnessError(f"{table}: lists no patches; add them")
    for column in ("path", "group"):
        if empty := [where for where, cells in found if not cells[column]]:
            raise HarnessError(
                f"{empty[0]}: {column} is empty, as in {len(empty):,} of {len(found):,} rows; fill "
                "it in"
            )
    for where, cells in found:
        parts = PurePosixPath(cells["path"].replace("\\", "/")).parts
        yield where, cells["path"], parts, cells["group"]


def _above(place: Path) -> tuple[str, ...]:
    """The parts of the folder of class folders, which is that of a zip without its suffix."""
    path = place.absolute()
    return (path.with_suffix("") if path.suffix.lower() == ".zip" else path).parts


def _end(whole: tuple[str, ...], end: tuple[str, ...]) -> tuple[str, ...]:
    """The end of a path with the folder before it."""
    return whole[-len(end) - 1 :]
