"""Files that prove themselves: checkpoints, and copies made of other files.

A plugin that keeps a checkpoint in ``FitContext.folder`` writes it with ``write`` and reads it back
only if ``damage`` finds none, so that a damaged checkpoint costs time and never a wrong result:

    write(folder / "checkpoint.npz", lambda path: np.savez(path, step=step, weights=weights))
    ...
    if not damage(folder / "checkpoint.npz"):
        with np.load(folder / "checkpoint.npz") as stored: ...

The digest is in a second file, ``<name>.sha256``, so the first can be of any format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.system import digests


def write(
    path: Path,
    fill: Callable[[Path], object],
    about: Mapping[str, Any] | None = None,
    draft: str | None = None,
) -> None:
    """Let ``fill(draft)`` write a file, which gets the name ``path`` when it is whole.

    ``about`` is JSON to keep with its digest, for ``note`` to return. ``draft`` is the name of the
    unfinished file, by default one of this process alone. A process that is killed at any moment
    leaves the earlier file or this one, and either proves itself.
    """
    name = draft or f"unfinished-{os.getpid()}-{path.name}"
    unfinished = path.with_name(name)
    beside = _beside(path)
    temporary = beside.with_name(f"unfinished-{os.getpid()}-{beside.name}")
    try:
        fill(unfinished)
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        new = {
            "size": unfinished.stat().st_size,
            "sha256": digests.of_file(unfinished),
            "about": dict(about or {}),
        }
        # Until the file has its new name, the earlier one is there and must prove itself too.
        versions = [*_versions(path)[-1:], new]
        temporary.write_text(json.dumps(digests.sealed({"versions": versions})) + "\n", "utf-8")
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(beside)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)


def damage(path: Path) -> str:
    """Why a file must not be used, in words such as "is damaged (...)"; "" when it proves itself.

    A file that is not there "is missing".
    """
    return _look(path)[0]


def note(path: Path) -> dict[str, Any]:
    """What ``write`` was told about a file that proves itself; {} for any other."""
    return _look(path)[1]


def remove(path: Path) -> None:
    """Remove a file and its digest, if they are there."""
    path.unlink(missing_ok=True)
    _beside(path).unlink(missing_ok=True)


def _look(path: Path) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        return "is missing", {}
    versions = _versions(path)
    why = f"has no readable {_beside(path).name} that would prove it"
    for version in versions:
        try:
            why = digests.mismatch(path, version["size"], version["sha256"])
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
        if not why:
            return "", version["about"]
    return why, {}


def _versions(path: Path) -> list[dict[str, Any]]:
    """The digests that a file may have, the latest last."""
    try:
        found: list[dict[str, Any]] = digests.unsealed(_beside(path).read_bytes())["versions"]
    except (OSError, ValueError, KeyError):
        return []
    return found


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
