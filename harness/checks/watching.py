"""Seeing which files are written, and which ought not to be."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.checks.outcome import Broken

CHANGING = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
}
"""Audit events, besides "open", of which the last path is one that is changed."""


class Watching:
    """Sees which files are written and read between ``begin`` and ``end``.

    What Python code opens is seen wherever it is. What compiled code writes by itself, such as
    ``torch.save`` and ``cv2.imwrite``, raises no event: it is found only in the folders ``listed``,
    and in those below them; beside a single file that is listed, only in its own folder. What
    other processes write is found there alone as well.
    """

    def __init__(
        self,
        allowed: Sequence[Path] = (),
        listed: Sequence[Path] = (),
        homes: Sequence[Path] = (),
    ) -> None:
        self.allowed = [*map(str, allowed)]
        self.listed = listed
        self.homes = [*map(str, homes)]
        """Folders whose hidden folders are libraries' own, for caches and settings."""
        self.on = False
        self.written: set[str] = set()
        self.read: set[str] = set()
        sys.addaudithook(self.see)  # until the process ends

    def begin(self) -> None:
        """From here on; forget what was before."""
        self.written.clear()
        self.read.clear()
        self.before = self.listing()
        self.on = True

    def end(self) -> list[str]:
        """Stop; paths that should not have been written."""
        self.on = False
        changed = {path for path, _ in self.listing().items() - self.before.items()}
        return sorted(path for path in changed | self.written if not self.may(path))

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: note the paths of files."""
        if not self.on:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, mode, flags = os.fsdecode(arguments[0]), arguments[1] or "", arguments[2] or 0
            writes = any(letter in str(mode) for letter in "wax+") or flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            (self.written if writes else self.read).add(os.path.abspath(path))  # noqa: PTH100
        elif event in CHANGING:
            paths = [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
            self.written |= {os.path.abspath(os.fsdecode(path)) for path in paths[-1:]}  # noqa: PTH100

    def listing(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file that is listed."""
        found = {}
        for place in self.listed:
            for path in place.rglob("*") if place.is_dir() else place.parent.glob("*"):
                if path.is_file():
                    status = path.stat()
                    found[str(path)] = status.st_size, status.st_mtime_ns
        return found

    def may(self, path: str) -> bool:
        """Whether a file may be written."""
        if any(below(path, folder) for folder in self.allowed) or "__pycache__" in path:
            return True
        listed = any(
            below(path, str(place)) if place.is_dir() else Path(path).parent == place.parent
            for place in self.listed
            if str(place) not in self.homes
        )
        return not listed and any(path.startswith(f"{home}{os.sep}.") for home in self.homes)


def below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def home() -> Path:
    """The user's home; a folder that is not there for a user who has none, as in containers."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.sep, "nonexistent")


def caches() -> list[Path]:
    """Folders where libraries keep what they download or compute, and devices."""
    names = (
        "XDG_CACHE_HOME",
        "HF_HOME",
        "TORCH_HOME",
        "MPLCONFIGDIR",
        "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
    )
    named = [Path(os.environ[name]).absolute() for name in names if os.environ.get(name)]
    usual = [home() / part for part in ("Library/Caches", "AppData")]
    return [*named, *usual, Path("/dev"), Path("/proc")]


def none_outside(written: Sequence[str], folder: Path, fix: str) -> None:
    """Raise Broken if a fresh process whose folder this is has written what it ought not to."""
    if written:
        first = Path(written[0])
        named = first.relative_to(folder) if first.is_relative_to(folder) else first
        more = f" and {len(written) - 1} more" if written[1:] else ""
        raise Broken(f"wrote {named}{more}", fix)
