"""Reading stored results: nothing of them is used that is not as it was written.

Every reader of a result's folder goes through here. The record of a result holds the size and the
SHA-256 of each file beside it, and of itself.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from harness.errors import HarnessError
from harness.store import keys
from harness.system import digests
from harness.system.recent import Recent

RECORD = "record.json"
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers leave in folders that somebody looks at."""

LONGEST_NAME = 180
"""Characters of a name in a path; file systems take 255, with what is added to it."""

Record = dict[str, Any]
"""What is written beside a result: its provenance."""
JOINT = ("created", "platform", "versions", "revision")
"""Fields of the record of a sweep that are those of its last result."""
PARTS = "parts"
"""The field of the record of a sweep that has, for each of its results, what is not the same for
all of them."""


@dataclass(frozen=True)
class Part:
    """Where one result of a sweep is."""

    folder: Path
    number: int
    """Its index on the first axis of the sweep's arrays; or the name of its own folder there."""


Place = Path | Part
"""Where a result is: a folder of its own, or a part of one."""

_records: Recent[tuple[int, int, Record]] = Recent(10_000)  # about 10 kB each
"""By path: size, time of the last change in ns, and content, of the records this process read."""


class DamagedError(HarnessError):
    """A file of the store is not as it was written. ``folder`` is that of the result it is of."""

    def __init__(self, path: Path, why: str, folder: Path, record: Record | None = None) -> None:
        super().__init__(f"{path}: {why}; {remedy(folder, record)}")
        self.path = path
        self.why = why
        self.folder = folder

    @property
    def name(self) -> str:
        """Name of the result, such as the model's."""
        return unquote(self.folder.parent.name)


plugin_files: list[Path] = []
"""Files that this command was given with --plugin: those that it advises need them, too."""


def remedy(folder: Path, record: Mapping[str, Any] | None = None) -> str:
    """What to do about a damaged result: the commands that compute it again, or remove it."""
    *_, kind, dataset, name, digest = ("", "", "", *folder.absolute().parts)
    store = where(folder.parents[3])
    removed = f"`harness results remove {digest} --yes{store}` removes it"
    store += "".join(f" --plugin {shlex.quote(str(path))}" for path in plugin_files)
    if dataset == keys.SHARED:
        dataset = str((record or {}).get("dataset", ""))
    of = f" --dataset {shlex.quote(dataset)}" if dataset else ""
    if kind == "dataset":
        return f"`harness run --dataset {shlex.quote(dataset)}{store}` lists the patches again"
    if kind == "finding":
        command = f"harness audit --dataset {dataset} --probe {unquote(name)}"
    elif kind in ("calibration", "check", "planted"):
        option = {"calibration": "", "check": f" --dataset {dataset}"}
        command = "harness calibrate" + option.get(kind, f" --real {dataset}")
    elif kind in ("prediction", "fit", "failed"):
        command = f"harness run{of} --model {shlex.quote(unquote(name))}"
        command += _options(record or {})
    else:
        command = f"harness run{of or ' --all'}"
    return f"`{command}{store}` computes it again, {removed}"


def where(root: Path) -> str:
    """The option that names a store, for a command to show; "" for the default."""
    return "" if root == Path("runs") else f" --store {shlex.quote(str(root))}"


def _options(record: Mapping[str, Any]) -> str:
    """What a prediction or a fit was asked for with, as far as its record tells."""
    found = ""
    if record.get("seed"):
        found += f" --seed {record['seed']}"
    if record.get("selected_on") == "test":
        found += " --protocol published"
    if record.get("deviations"):
        of_fit = record["key"]["fields"].get("settings")  # without what changes the execution only
        for key, value in (of_fit or record.get("settings", {})).items():
            found += f" --set {shlex.quote(f'{key}={value}')}"
    return found


def read_record(folder: Path) -> Record:
    """The record of a result, not to be changed. Raises DamagedError.

    Parsed once per process, unless the file changes.
    """
    path = folder / RECORD
    name = os.path.abspath(path)  # noqa: PTH100
    try:
        status = path.stat()
        state = status.st_size, status.st_mtime_ns
        known = _records.get(name)
        if known is not None and known[:2] == state:
            return known[2]
        record = digests.unsealed(digests.read_bytes(path))
        place = _place(record)
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(path, "is missing", folder) from None
    except OSError as error:
        raise _unreadable(path, error, folder) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(path, f"is damaged ({error})", folder) from error
    if place != folder.absolute().parts[-4:]:
        raise DamagedError(path, f"is the record of another result, {'/'.join(place)}", folder)
    _records[name] = (*state, record)
    return record


def part_record(record: Record, number: int) -> Record:
    """The record of one result of a sweep, as if it were stored alone; and its ``position``."""
    fields = record["key"]["fields"]
    key = keys.parts(keys.Key(**record["key"]))[number]
    about = {name: value for name, value in record.items() if name != PARTS}
    return {
        **about,
        **fields[keys.CONDITIONS][number],
        **record[PARTS][number],
        "digest": key.digest,
        "key": key.as_dict(),
        "position": number,
    }


def sweep_record(records: Sequence[Record]) -> Record:
    """The record of the sweep of results with these records, without what its key says of each.

    The time is that of the last, and ``needs`` is what any of them needs.
    """
    same = {
        name: value
        for name, value in records[-1].items()
        if name in JOINT or all(record.get(name) == value for record in records)
    }
    needs = dict.fromkeys(digest for record in records for digest in record["needs"])
    told = (*same, *keys.SWEPT, "needs")
    parts = [{n: v for n, v in record.items() if n not in told} for record in records]
    about = {name: value for name, value in same.items() if name not in keys.SWEPT}
    return {**about, "needs": [*needs], PARTS: parts}


def forget(folder: Path) -> None:
    """Read the files of a result again when they are next asked for."""
    digests.forget(folder)
    _records.pop(os.path.abspath(folder / RECORD), None)  # noqa: PTH100


def file_name(name: str) -> str:
    """A name, such as a model's, as that of a file. A long one is cut, with a digest of the whole:
    the name of a network may have a dozen arguments in it."""
    quoted = quote(name, safe=":+")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    return f"{quoted[:LONGEST_NAME]}~{sha256(name.encode()).hexdigest()[:16]}"


def _place(record: Record) -> tuple[str, ...]:
    """The last four folders of the path that a result belongs in."""
    key = record["key"]
    return key["kind"], key["dataset"], file_name(key["name"]), record["digest"]


def look(folder: Path) -> Record:
    """The record of a result whose files are all there, with their sizes. Raises DamagedError."""
    record = read_record(folder)
    wanted = record["files"]
    try:
        found = {name: (folder / name).stat().st_size for name in names(folder)}
    except OSError as error:
        raise _unreadable(Path(error.filename or folder), error, folder) from error
    for name, about in wanted.items():
        if found.get(name) != about["size"]:
            prove(folder, name, record)  # raises
    for name in found.keys() - wanted.keys():
        why = "does not belong here: the record of this result does not have it"
        raise DamagedError(folder / name, why, folder, record)
    return record


def verify(folder: Path) -> Record:
    """The record of a result that is as it was written, all files. Raises DamagedError."""
    record = look(folder)
    for name in record["files"]:
        prove(folder, name, record)
    return record


def prove(folder: Path, name: str, record: Record | None = None) -> Path:
    """The path of a file of a result, which is as it was written. Raises DamagedError."""
    record = record or read_record(folder)
    path = folder / name
    about = record["files"].get(name)
    if about is None:
        raise DamagedError(path, "is missing", folder, record)
    try:
        why = digests.mismatch(path, about["size"], about["sha256"])
    except OSError as error:
        raise _unreadable(path, error, folder) from error
    if why:
        raise DamagedError(path, why, folder, record)
    return path


def has(folder: Path, name: str) -> bool:
    """Whether a result is there and a file is one of its. Raises DamagedError."""
    return os.path.lexists(folder) and name in read_record(folder)["files"]


def load_array(place: Place, name: str, mmap_mode: Any = None) -> Any:
    """An array of an ``.npy`` file of a result. Raises DamagedError.

    A sweep has it in a file of its own, or as a part of an array (K, ...) of all K results.
    """
    if isinstance(place, Path):
        return np.load(prove(place, name), mmap_mode=mmap_mode)
    folder, number = place.folder, place.number
    own = f"{number}/{name}"
    if own in read_record(folder)["files"]:
        return np.load(prove(folder, own), mmap_mode=mmap_mode)
    part = np.load(prove(folder, name), mmap_mode=mmap_mode or "r")[number]
    return part if mmap_mode else np.array(part)


def load_arrays(folder: Path, name: str) -> dict[str, Any]:
    """The arrays of an ``.npz`` file of a result. Raises DamagedError."""
    with np.load(prove(folder, name)) as stored:
        return dict(stored)


def load_json(folder: Path, name: str) -> Any:
    """The content of a JSON file of a result. Raises DamagedError."""
    return json.loads(prove(folder, name).read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    """The files of a result but for its record, those in its subfolders included."""
    found = []
    for parent, _, files in os.walk(folder):
        inner = Path(parent).relative_to(folder)
        kept = (name for name in files if name not in LITTER and not name.startswith(".nfs"))
        found += [(inner / name).as_posix() for name in kept]
    return [name for name in found if name != RECORD]


def _unreadable(path: Path, error: OSError, folder: Path) -> HarnessError:
    """What to say of a file that is there, but cannot be read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return HarnessError(f"{path}: cannot be read ({error.strerror}); correct its permissions")
    return DamagedError(path, f"cannot be read ({error.strerror})", folder)
