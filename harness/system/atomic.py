"""Files that are written whole or not at all, and what a full disk says."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, a text as UTF-8, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        else:
            temporary.write_text(content, encoding="utf-8")
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def disk_error(error: OSError, folder: Path) -> HarnessError:
    """An OSError from writing below ``folder``, in words for the user."""
    if error.errno == errno.ENOSPC:
        return HarnessError(
            f"{folder}: no space left on the disk; make room or choose another folder, then run "
            "the same command again (finished results are kept)"
        )
    where = error.filename or folder
    return HarnessError(f"{where}: {error.strerror}; check the folder, then run again")


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """While files are written below ``folder``: an OSError is raised as ``disk_error``."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, folder) from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
