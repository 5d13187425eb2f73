"""The store: every finished result in a folder of its own, found by what it depends on.

    <store>/store.json                                   the format
    <store>/<kind>/<dataset>/<name>/<digest>/record.json  how the result came about
    <store>/<kind>/<dataset>/<name>/<digest>/...          the result
    <store>/unfinished/<digest>/                         checkpoints of a fit under way

A result folder is written elsewhere and renamed into place, so it is whole or not there at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import HarnessError

FORMAT = 1


Record = dict[str, Any]
"""What is written beside a result: how it came about."""


@dataclass(frozen=True)
class Key:
    """What a result depends on. Two keys are the same result when their digests are equal.

    ``fields`` must be JSON; ``kind`` is dataset, features, fit or prediction; ``dataset`` and
    ``name`` also make the folder, for a person to find it.
    """

    kind: str
    dataset: str
    name: str
    fields: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over everything in the key."""
        content = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """The key as plain JSON."""
        return {
            "kind": self.kind,
            "dataset": self.dataset,
            "name": self.name,
            "fields": dict(self.fields),
        }


class Store:
    """Results on disk. Raises HarnessError when a newer version of the harness wrote the folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / "store.json"
        if marker.exists():
            written = _read_json(marker).get("format")
            if not isinstance(written, int) or written > FORMAT:
                raise HarnessError(
                    f"{root}: this store has format {written}, this version of the harness reads "
                    f"up to {FORMAT}; upgrade histo-harness or choose another --store"
                )
            return
        try:
            root.mkdir(parents=True, exist_ok=True)
            write_atomically(marker, json.dumps({"format": FORMAT}) + "\n")
        except OSError as error:
            raise disk_error(error, root) from error

    def folder(self, key: Key) -> Path:
        """Where the result is, or will be."""
        return self.results(key.kind, key.dataset, key.name) / key.digest

    def results(self, kind: str, dataset: str, name: str) -> Path:
        """Folder of the results of a kind with a name, such as a model's fits."""
        return self.root / kind / dataset / quote(name, safe=":+")

    def __contains__(self, key: Key) -> bool:
        return (self.folder(key) / "record.json").exists()

    def record(self, key: Key) -> dict[str, Any]:
        """How a stored result came about."""
        return _read_json(self.folder(key) / "record.json")

    def records(self, kind: str, dataset: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """All results of a kind for a dataset, whatever their digest."""
        for path in sorted((self.root / kind / dataset).glob("*/*/record.json")):
            yield path.parent, _read_json(path)

    def workspace(self, key: Key) -> Path:
        """A folder that survives a killed run and goes away when the result is stored."""
        folder = self.root / "unfinished" / key.digest
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def write(self, key: Key) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield an empty folder and a record to fill; both appear as the result at the end."""
        unfinished = self.root / "unfinished"
        for leftover in unfinished.glob(
            f"{key.digest}.*.tmp"
        ):  # of a run that was killed while writing
            shutil.rmtree(leftover, ignore_errors=True)
        staging = unfinished / f"{key.digest}.{os.getpid()}.tmp"
        try:
            staging.mkdir(parents=True)
            record: dict[str, Any] = {}
            yield staging, record
            whole = {"format": FORMAT, "digest": key.digest, "key": key.as_dict(), **record}
            (staging / "record.json").write_text(
                json.dumps(whole, indent=1) + "\n", encoding="utf-8"
            )
            for path in staging.rglob("*"):
                if path.is_file():
                    _sync(path)
            target = self.folder(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staging.rename(target)
            except OSError as error:
                # Another process finished the same result first; both are equally good.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            shutil.rmtree(unfinished / key.digest, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs off this store. Raises HarnessError when one is under way.

        The system lets go of the lock when a process ends, however it ends.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no such lock
            yield
            return
        with (self.root / "lock").open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HarnessError(
                    f"{self.root}: another run is using this store; wait until it has ended, or "
                    "choose another --store"
                ) from None
            yield

    def set_current(self, key: Key) -> None:
        """Remember which copy of a dataset was used last: the leaderboard is about that one."""
        pointer, text = self._current(key.dataset), key.digest + "\n"
        if not pointer.exists() or pointer.read_text(encoding="utf-8") != text:
            write_atomically(pointer, text)

    def datasets(self) -> dict[str, Path]:
        """For each dataset name, the result folder of the copy that was used last."""
        found = {}
        for pointer in sorted((self.root / "dataset").glob("*/current")):
            folder = pointer.parent / "splits" / pointer.read_text(encoding="utf-8").strip()
            if (folder / "record.json").exists():
                found[pointer.parent.name] = folder
        return found

    def _current(self, dataset: str) -> Path:
        return self.root / "dataset" / dataset / "current"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a result folder."""
    return _read_json(folder / "record.json")


def disk_error(error: OSError, folder: Path) -> HarnessError:
    """An OSError from writing below ``folder``, in words for the user."""
    if error.errno == errno.ENOSPC:
        return HarnessError(
            f"{folder}: no space left on the disk; make room or choose another folder, then run "
            "the same command again (finished results are kept)"
        )
    where = error.filename or folder
    return HarnessError(f"{where}: {error.strerror}; check the folder, then run again")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise HarnessError(
            f"{path}: cannot be read ({error}); remove the folder it is in and run again"
        ) from error
    return content
