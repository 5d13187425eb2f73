"""A file made once of data that cannot be read at random, such as a compressed archive."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import HarnessError
from harness.system import checkpoints
from harness.system.atomic import disk_error
from harness.system.locks import locked

log = logging.getLogger(__name__)


def make_once(
    path: Path, size: int, write: Callable[[BinaryIO], None], sources: Sequence[Path] = ()
) -> Path:
    """Let ``write`` fill the file ``path`` of about ``size`` bytes, unless it is there already.

    A file that is there is used if it matches the SHA-256 that was kept beside it, and if none of
    ``sources``, the files that it is made of, has changed since (in size or time of change). It is
    read whole for that once in each process, at the speed of the disk. Otherwise a line says what
    is wrong with it, and it is made anew.

    The file gets its name only when it is whole; ``write`` must raise when it is not. Of several
    processes that want it, one makes it and the others wait. Raises HarnessError when the disk
    has no room for it or the folder cannot be written to.
    """
    made_of = [_state(source) for source in sources]
    if not _fault(path, made_of):
        return path
    try:
        lock = path.with_name(f".{path.name}.lock")
        protects = f"two runs that make {path.name} at once"
        with locked(lock, protects=protects) as alone:
            if why := _fault(path, made_of):
                if path.exists():
                    log.info(f"{path}: {why}; it is made again")
                _make(path, size, write, made_of, alone)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise HarnessError(
                f"{path}: cannot be written ({error.strerror}), where it would be made once; make "
                "a folder that you can write to, link the data into it, and point --data at that "
                "(a TOML file is copied there and given as --plugin)"
            ) from error
        raise disk_error(error, path.parent) from error
    return path


def _state(source: Path) -> list[Any]:
    """What tells that a file has changed, but for its content."""
    status = source.stat()
    return [source.name, status.st_size, status.st_mtime_ns]


def _fault(path: Path, made_of: Sequence[list[Any]]) -> str:
    """Why a copy cannot be used; "" if it can."""
    why = checkpoints.damage(path)
    if not why and checkpoints.note(path) != {"sources": list(made_of)}:
        return "the files that it was made of have changed since"
    return why


def _make(
    path: Path,
    size: int,
    write: Callable[[BinaryIO], None],
    made_of: Sequence[list[Any]],
    alone: bool,
) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise HarnessError(
            f"{path}: needs {size / 1e9:.1f} GB where {free / 1e9:.1f} GB are free; "
            "make room and run again"
        )
    log.info(f"{path}: written once, {size / 1e9:.2f} GB, so that patches can be read at random")

    def fill(draft: Path) -> None:
        with draft.open("wb") as file:
            write(file)

    # One that a killed run left is overwritten, if it is sure that no other run is writing to it.
    draft = f".{path.name}.tmp" if alone else f".{path.name}.{os.getpid()}.tmp"
    checkpoints.write(path, fill, {"sources": list(made_of)}, draft)
