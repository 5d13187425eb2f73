"""A file made once of data that cannot be read at random, such as a compressed archive."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError
from harness.progress import say
from harness.store import disk_error


def make_once(path: Path, size: int, write: Callable[[BinaryIO], None]) -> Path:
    """Let ``write`` fill the file ``path`` of about ``size`` bytes, unless it is there already.

    The file gets its name only when it is whole; ``write`` must raise when it is not. Of several
    processes that want it, one makes it and the others wait. Raises HarnessError when the disk
    has no room for it or the folder cannot be written to.
    """
    if path.exists():
        return path
    try:
        with _locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                _make(path, size, write)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise HarnessError(
                f"{path}: cannot be written ({error.strerror}), where it would be made once; make "
                "a folder that you can write to, link the data into it, and point --data at that "
                "(a TOML file is copied there and given as --plugin)"
            ) from error
        raise disk_error(error, path.parent) from error
    return path


def _make(path: Path, size: int, write: Callable[[BinaryIO], None]) -> None:
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise HarnessError(
            f"{path}: needs {size / 1e9:.1f} GB where {free / 1e9:.1f} GB are free; "
            "make room and run again"
        )
    say(f"{path}: written once, {size / 1e9:.2f} GB, so that patches can be read at random")
    temporary = path.with_name(f".{path.name}.tmp")  # one that a killed run left is overwritten
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for other processes. The system lets go of the lock however a process ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield
        return
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
