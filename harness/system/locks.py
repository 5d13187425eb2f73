"""A lock on a file, so that two processes do not do the same work, or write to the same place."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


NO_LOCKS = frozenset(
    (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)
)
"""What ``flock`` fails with on file systems without locks: NFS and Lustre mounts, some of FUSE."""
_warned: set[Path] = set()


@contextmanager
def locked(path: Path, *, protects: str) -> Iterator[bool]:
    """Hold a lock on the file ``path``, which is created; yields whether it is held.

    Another process that holds it is waited for.
    On a file system without locks the work goes on without: a warning names the folder, once, and
    says what is not safe there, in the words of ``protects`` ("two runs that ... at once"). The
    system releases the lock when the process ends, however it ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        yield False
        return
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _warn(path.parent, error, protects)
            held = False
        else:
            held = True
        yield held


def _warn(folder: Path, error: OSError, protects: str) -> None:
    if folder.absolute() in _warned:
        return
    _warned.add(folder.absolute())
    log.warning(
        f"{folder}: this file system has no file locks ({error.strerror}); going on "
        f"without, so do not start {protects}"
    )
