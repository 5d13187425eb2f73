"""SHA-256 digests that tell whether files are still as they were written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.system.recent import Recent

SEAL = "sha256"
"""The field of a sealed JSON object that holds the digest of the rest."""

_known: Recent[dict[str, tuple[int, int, str]]] = Recent(50_000)
"""By folder and name: size, time of the last change in ns, and digest, of the files this process
has read. By folder, as whole folders are forgotten: looking through all files for each result that
is stored took longer than storing it, from 10,000 results on."""


def of_file(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits. Read once per process, unless the file changes.

    A change is told from the size and the time of the last change. Raises OSError.
    """
    status = path.stat()
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100
    _check_regular(path, status)
    state = status.st_size, status.st_mtime_ns
    known = _known.get(folder, {}).get(name)
    if known is None or known[:2] != state:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = (*state, digest)
        _known[folder] = {**_known.get(folder, {}), name: known}
    return known[2]


def read_bytes(path: Path) -> bytes:
    """What is in a regular file. Raises OSError."""
    _check_regular(path, path.stat())
    return path.read_bytes()


def _check_regular(path: Path, status: os.stat_result) -> None:
    """Raise OSError for what is no file of bytes, such as a pipe, from which reading never ends."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


def forget(folder: Path) -> None:
    """Read the files in a folder again when they are next asked for."""
    top = os.path.abspath(folder)  # noqa: PTH100
    _known.pop(top, None)
    for inner, _, _ in os.walk(top):
        _known.pop(inner, None)


def moved(folder: Path, target: Path) -> None:
    """A folder has another name now: its files need not be read again."""
    before, now = os.path.abspath(folder), os.path.abspath(target)  # noqa: PTH100
    for inner, _, _ in os.walk(now):
        known = _known.pop(before + inner.removeprefix(now), None)
        _known.pop(inner, None)
        if known is not None:
            _known[inner] = known


def of_json(content: Any) -> str:
    """SHA-256 of JSON content, however it is formatted and in whatever order its fields are."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its own digest in the field ``sha256``."""
    plain = json.loads(json.dumps(content))  # what will be read back: no tuples, keys are strings
    return {**plain, SEAL: of_json(plain)}


def unsealed(text: bytes) -> dict[str, Any]:
    """The JSON object that ``sealed`` made, its digest included. Raises ValueError if it is not."""
    content = json.loads(text.decode("utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    if SEAL not in content:
        raise ValueError("has no SHA-256 of itself")
    found = of_json({name: value for name, value in content.items() if name != SEAL})
    if found != content[SEAL]:
        written = str(content[SEAL])
        raise ValueError(f"its SHA-256 is {found[:12]}..., {written[:12]}... was written")
    return content


def mismatch(path: Path, size: int, digest: str) -> str:
    """How a file differs from what was written; "" when it is the same. Raises OSError."""
    if not path.is_file():
        return "is missing"
    found = path.stat().st_size
    if found != size:
        return f"is damaged ({found:,} bytes, {size:,} were written)"
    if (actual := of_file(path)) != digest:
        return f"is damaged (its SHA-256 is {actual[:12]}..., {digest[:12]}... was written)"
    return ""
