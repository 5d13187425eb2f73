"""The store: every finished result in a folder of its own, found by what it depends on.

    <store>/store.json                                   the format
    <store>/<kind>/<dataset>/<name>/<digest>/record.json  provenance of the result, and digests
    <store>/<kind>/<dataset>/<name>/<digest>/...          the result
    <store>/<kind>/<dataset>/<name>/sweep-<digest>/...    results under perturbations, together
    <store>/dataset/<dataset>/current                    the copy that was used last
    <store>/unfinished/<digest>/                         checkpoints of a fit or a pass under way
    <store>/perturbed/                                   patches kept for the length of a run

A result folder is written elsewhere and renamed into place, so it is whole or not there at all.
The predictions of a model under
all the perturbations that are computed in one pass are one folder, a sweep, with one record and one
array (``harness.store.keys``); what a later run computes besides is another.

Its record holds the size and the SHA-256 of each of its files and of itself:
``harness.store.stored`` reads nothing that does not match.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.errors import HarnessError
from harness.store import format as store_format
from harness.store import keys, stored
from harness.store.keys import Key as Key
from harness.store.stored import RECORD, DamagedError, Part, Place, Record, file_name
from harness.system import digests
from harness.system.atomic import _sync, write_atomically, writing_to

log = logging.getLogger(__name__)

KINDS = (
    *("dataset", "features", "fit", "prediction", "finding"),
    *("failed", "figures", "picture", "folds", "calibration", "check", "planted"),
)
"""Folders of a store that hold results."""
PASS = "jobs.json"
"""In the workspace of a pass, the keys of the results that it is to give."""
CACHES = ("figures", "picture", "folds")
"""Those of them that are on no row: made anew from other results when they are gone."""
MOMENT = 1.0
"""Seconds for which a sweep that is as it was written is not looked at again for each of its
results. Whatever is read of it is compared with its digest in any case."""


@dataclass
class _Sweeps:
    """The sweeps in a folder of results, as far as they were read."""

    names: set[str] = field(default_factory=set)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """By digest of a result, where it is: more than one place where it was computed twice, such as
    after damage."""
    damaged: dict[str, DamagedError] = field(default_factory=dict)
    """By name, those whose record cannot be read: nobody knows what they hold."""


class Store:
    """Results on disk. The folder is made if it is not there.

    Raises HarnessError when another version of the harness wrote it. A ``store.json`` that is
    damaged or missing is written again, with a warning: each result says its own format, too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.is_written = True
        """Whether notes such as why something failed are written; a dry run writes nothing."""
        self.damaged: dict[str, DamagedError] = {}
        """By digest: results that were looked for, are there, and do not prove themselves. One that
        may be in a sweep whose record is damaged is among them."""
        self._sweeps: dict[Path, _Sweeps] = {}
        """By folder of results."""
        self._sound: dict[Path, float] = {}
        """By folder of a sweep, when it was last found to be as it was written."""
        why = store_format.fault(root)
        if not why:
            return
        if any((root / kind).is_dir() for kind in KINDS):
            log.warning(f"{root / store_format.NAME}: {why}; it is written again")
        with writing_to(root):
            root.mkdir(parents=True, exist_ok=True)
            write_atomically(root / store_format.NAME, store_format.text())

    @classmethod
    def existing(cls, root: Path) -> Store:
        """A store that must be there already. Raises HarnessError otherwise."""
        why = store_format.fault(root)
        option = stored.where(root)
        if why and any((root / kind).is_dir() for kind in KINDS):
            raise HarnessError(
                f"{root / store_format.NAME}: {why}; `harness run --all{option}`, or any other "
                "run, writes it again"
            )
        if why:
            raise HarnessError(f"--store {root}: no store there; run `harness run --all{option}`")
        return cls(root)

    def folder(self, key: Key) -> Path:
        """Where the result is, or will be; of one in a sweep, the folder of that."""
        place = self.place(key)
        return place.folder if isinstance(place, Part) else place

    def place(self, key: Key) -> Place:
        """The folder of a result or, for one in a sweep that is there, its part of that."""
        folder = self.results(key.kind, key.dataset, key.name)
        return (self._part(key, folder) if key.is_swept else None) or folder / key.digest

    def _part(self, key: Key, folder: Path) -> Part | None:
        """Where a result of a sweep is: in one that proves itself, if there is any."""
        known = self._sweeps.setdefault(folder, _Sweeps())
        for look_again in (False, True):
            if look_again:
                self._read_sweeps(folder, known)
            for part in known.parts.get(key.digest, ()):
                if self._is_sound(part.folder):
                    return part
        return next(iter(known.parts.get(key.digest, ())), None)

    def _read_sweeps(self, folder: Path, known: _Sweeps) -> None:
        """Read the records of sweeps that were not there before, and forget those that are gone."""
        names = {path.name for path in _inside(folder) if path.name.startswith(keys.SWEEP)}
        for digest, found in [*known.parts.items()] if known.names - names else ():
            known.parts[digest] = [part for part in found if part.folder.name in names]
        known.names &= names
        known.damaged.clear()
        for name in sorted(names - known.names):
            try:
                key = Key(**stored.read_record(folder / name)["key"])
            except DamagedError as error:
                known.damaged[name] = error
                continue
            known.names.add(name)
            for number, part in enumerate(keys.parts(key)):
                known.parts.setdefault(part.digest, []).append(Part(folder / name, number))

    def _is_sound(self, folder: Path) -> bool:
        """Whether a sweep is as it was written, now or a moment ago."""
        now = time.monotonic()
        if now - self._sound.get(folder, -MOMENT) >= MOMENT:
            try:
                stored.verify(folder)
            except DamagedError:
                return False
            self._sound[folder] = now
        return True

    def results(self, kind: str, dataset: str, name: str) -> Path:
        """Folder of the results of a kind with a name, such as a model's fits."""
        return self.root / kind / dataset / file_name(name)

    def exists(self, key: Key) -> bool:
        """Whether a result is there, be it damaged."""
        return os.path.lexists(self.folder(key))

    def __contains__(self, key: Key) -> bool:
        """Whether a result is there and proves itself; ``damaged`` has those that do not."""
        try:
            return self.find(key) is not None
        except DamagedError as error:
            self.damaged[key.digest] = error
            return False

    def warn_of_damaged(self, lacking: Iterable[Key]) -> None:
        """Name what was looked for and is damaged, before it is computed again."""
        wanted = [key.digest for key in lacking if key.digest in self.damaged]
        found = [error for digest in wanted for error in self._may_hold(digest)]
        for error in {error.path: error for error in found}.values():
            log.warning(f"{error.path}: {error.why}; this result is computed again")

    def _may_hold(self, digest: str) -> list[DamagedError]:
        """What is damaged and holds, or may hold, a result that was looked for."""
        error = self.damaged[digest]
        known = self._sweeps.get(error.folder.parent)
        if known is not None and error.folder.name in known.damaged:
            return [*known.damaged.values()]
        return [error]

    def drop_replaced(self, lasting: Callable[[Key], bool]) -> None:
        """Remove damaged sweeps whose results were computed again, and so are in others now.

        ``lasting`` tells whether a result can still be asked for. Of one whose record is damaged,
        what was looked for is all that is known.
        """
        looked_for: dict[Path, list[str]] = {}
        for digest in self.damaged:
            for error in self._may_hold(digest):
                if error.folder.name.startswith(keys.SWEEP) and os.path.lexists(error.folder):
                    looked_for.setdefault(error.folder, []).append(digest)
        for folder, wanted in looked_for.items():
            known = self._sweeps.setdefault(folder.parent, _Sweeps())
            self._read_sweeps(folder.parent, known)
            if folder.name not in known.damaged:
                held = keys.parts(Key(**stored.read_record(folder)["key"]))
                wanted = [key.digest for key in held if lasting(key)]
            if not self._is_sound(folder) and all(
                any(self._is_sound(part.folder) for part in known.parts.get(digest, ()))
                for digest in wanted
            ):
                self.remove(folder)

    def find(self, key: Key) -> Path | None:
        """The folder of a result; None if there is none. Raises DamagedError.

        Also when it may be in a sweep of which nobody knows what it holds.
        """
        place = self.place(key)
        folder = place.folder if isinstance(place, Part) else place
        if os.path.lexists(folder):
            if not (isinstance(place, Part) and self._is_sound(folder)):
                stored.verify(folder)
            return folder
        known = self._sweeps.get(folder.parent)
        if key.is_swept and known and known.damaged:
            raise next(iter(known.damaged.values()))
        return None

    def record(self, key: Key) -> Record:
        """The provenance of a stored result. Raises DamagedError, also when there is none."""
        place = self.place(key)
        if isinstance(place, Part):
            return stored.part_record(stored.read_record(place.folder), place.number)
        return stored.read_record(place)

    def records(
        self, kind: str, dataset: str, damaged: Callable[[DamagedError], None] | None = None
    ) -> Iterator[tuple[Path, Record]]:
        """All results of a kind for a dataset, whatever their digest.

        Files are all there, with their sizes; their content is proved when they are read. With
        ``damaged``, a result of which this cannot be said is handed to it and left out; without,
        DamagedError is raised.
        """
        for folder in self.folders(kind, dataset):
            try:
                record = stored.look(folder)
            except DamagedError as error:
                if damaged is None:
                    raise
                damaged(error)
            else:
                yield folder, record

    def each(self, kind: str, dataset: str) -> Iterator[tuple[Record, Place]]:
        """The records of all results of a kind for a dataset, and where they are; those of sweeps
        one by one. Raises DamagedError."""
        for folder, record in self.records(kind, dataset):
            swept = keys.parts(Key(**record["key"]))
            for number in range(len(swept)):
                yield stored.part_record(record, number), Part(folder, number)
            if not swept:
                yield record, folder

    def folders(self, kind: str, dataset: str) -> list[Path]:
        """Where all results of a kind for a dataset are, whether or not they prove themselves."""
        found = []
        for name in _inside(self.root / kind / dataset):
            if name.is_dir():
                found += _inside(name)
        return found

    def workspace(self, key: Key) -> Path:
        """A folder that survives a killed run and goes away when the result is stored."""
        folder = self.root / "unfinished" / key.digest
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def workspace_of_pass(self, key: Key, results: Sequence[Key]) -> Path:
        """The workspace of a pass with this key, which gives some results."""
        folder = self.workspace(key)
        if not (folder / PASS).exists():
            write_atomically(folder / PASS, json.dumps([key.as_dict() for key in results]))
        return folder

    def drop_workspaces(self) -> None:
        """Remove the workspaces of killed passes whose results are all stored now: by a pass of
        other runs, or because the pass was killed in its last moment."""
        for path in [*(self.root / "unfinished").glob(f"*/{PASS}")]:
            try:
                results = [Key(**content) for content in json.loads(path.read_text("utf-8"))]
            except (OSError, ValueError, TypeError):
                continue
            if all(key in self for key in results):
                shutil.rmtree(path.parent, ignore_errors=True)

    @contextmanager
    def write(self, key: Key) -> Iterator[tuple[Path, Record]]:
        """Yield an empty folder and a record to fill; both appear as the result at the end.

        A result that is there already stays, unless it is damaged.
        """
        with self._staged(key) as staging:
            record: Record = {}
            yield staging, record
            # Hashed while they are in the page cache.
            files = {name: _written(staging / name) for name in sorted(stored.names(staging))}
            about = {"format": store_format.FORMAT, "digest": key.digest, "key": key.as_dict()}
            whole = digests.sealed({**about, **record, "files": files})
            (staging / RECORD).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
            _sync(staging / RECORD)
        shutil.rmtree(self.root / "unfinished" / key.digest, ignore_errors=True)

    def adopt(self, folder: Path) -> bool:
        """Copy a result of another store; False if it is there. Raises DamagedError."""
        key = Key(**stored.verify(folder)["key"])
        if key in self or ((parts := keys.parts(key)) and all(part in self for part in parts)):
            return False
        with self._staged(key) as staging:
            for name in (*stored.names(folder), RECORD):
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, staging / name)
                _sync(staging / name)
        stored.verify(self.folder(key))
        return True

    @contextmanager
    def _staged(self, key: Key) -> Iterator[Path]:
        """Yield an empty folder, which is the result at the end."""
        unfinished = self.root / "unfinished"
        # Of a sweep, it has the name of a result that a run claims before it computes it.
        name = (keys.parts(key) or [key])[0].digest
        staging = unfinished / f"{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
        try:
            staging.mkdir(parents=True)
            yield staging
            target = self.folder(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            if key not in self:
                self.remove(target)
            try:
                staging.rename(target)
                digests.moved(staging, target)
            except OSError as error:
                # Another process finished the same result first; both are equally good.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            self.damaged.pop(key.digest, None)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def forget(self, key: Key) -> None:
        """Read the files of a result again when they are next asked for."""
        folder = self.folder(key)
        stored.forget(folder)
        self._sound.pop(folder, None)

    def half_written(self) -> dict[str, list[Path]]:
        """By digest of a result: what processes have begun to write, some of which are gone."""
        found: dict[str, list[Path]] = {}
        for path in (self.root / "unfinished").glob("*.tmp"):
            found.setdefault(path.name.partition(".")[0], []).append(path)
        return found

    def remove(self, folder: Path) -> None:
        """Remove a result, or what is in its place: at once, whatever ends this process."""
        if not os.path.lexists(folder):
            return
        stored.forget(folder)
        self._sound.pop(folder, None)
        unfinished = self.root / "unfinished"
        unfinished.mkdir(exist_ok=True)
        removed = unfinished / f"{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
        try:
            folder.rename(removed)
        except FileNotFoundError:  # another process has removed it
            return
        if removed.is_dir() and not removed.is_symlink():
            shutil.rmtree(removed, ignore_errors=True)
        else:
            removed.unlink(missing_ok=True)

    def set_current(self, key: Key) -> None:
        """Remember which instance of a dataset was used last: the leaderboard is about that one."""
        self.point_to(key.dataset, key.digest)

    def point_to(self, dataset: str, digest: str) -> None:
        """Remember that the instance of a dataset with this digest was used last."""
        pointer, text = self._current(dataset), digest + "\n"
        try:
            if digests.read_bytes(pointer) == text.encode():
                return
        except OSError:
            pass
        write_atomically(pointer, text)

    def warn_of_current(self, dataset: str) -> None:
        """Name a damaged pointer to the instance of a dataset that was used last."""
        if self.folders("dataset", dataset):
            try:
                self.current(dataset)
            except DamagedError as error:
                if error.path == self._current(dataset):
                    log.warning(f"{error.path}: {error.why}; it is written again")

    def has_current(self, dataset: str) -> bool:
        """Whether it was ever set which instance of a dataset was used last."""
        return os.path.lexists(self._current(dataset))

    def datasets(self) -> list[str]:
        """Names of the datasets of which there is something, be it predictions alone."""
        kinds = ("dataset", "prediction")
        found = [folder for kind in kinds for folder in _inside(self.root / kind)]
        return sorted({folder.name for folder in found if any(_inside(folder))})

    def models(self, dataset: str) -> list[str]:
        """Names of the models of which there are predictions, as far as files can have them."""
        return [unquote(path.name) for path in _inside(self.root / "prediction" / dataset)]

    def current(self, dataset: str) -> Path:
        """The result folder of the instance of a dataset that was used last.

        Raises DamagedError when it, or what points to it, is not as it was written.
        """
        pointer = self._current(dataset)
        splits = self.root / "dataset" / dataset / "splits"
        try:
            name = digests.read_bytes(pointer).decode("ascii").strip()
            if name not in [folder.name for folder in _inside(splits)]:
                raise ValueError("names no instance of the dataset")
        except FileNotFoundError:
            raise DamagedError(pointer, "is missing", splits / "current") from None
        except (OSError, ValueError) as error:
            raise DamagedError(pointer, f"is damaged ({error})", splits / "current") from None
        stored.verify(splits / name)
        return splits / name

    def _current(self, dataset: str) -> Path:
        return self.root / "dataset" / dataset / "current"


def _inside(folder: Path) -> list[Path]:
    """What is in a folder, sorted, but for hidden files and what file managers leave."""
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [p for p in found if not p.name.startswith(".") and p.name not in stored.LITTER]


def _written(path: Path) -> dict[str, Any]:
    """Size and digest of a file that was just written, which is on the disk after this."""
    _sync(path)
    return {"size": path.stat().st_size, "sha256": digests.of_file(path)}
