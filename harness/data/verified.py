"""Whether a file is the published one, by its MD5 digest: computed once and then remembered.

What was computed is kept in a hidden file beside the file, or in a cache folder of the user where
that cannot be written. It counts only as long as path, size and time of the file are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from harness.system.atomic import write_atomically
from harness.system.progress import progress
from harness.types.datasets import RemoteFile

AT_ONCE = 2 << 30
"""Bytes of the largest file that is read to compute its digest when a dataset is listed. What is
larger is verified by ``harness data get``."""
CHUNK = 1 << 22

State = Literal["same", "other md5", "other size", "not read"]


@dataclass(frozen=True)
class Known:
    """Whether the patches of a split are the published ones; for the fields of ``Splits``."""

    shortfall: str
    """Why they are not; "" if they are."""
    identity: str
    """How that is known."""
    warnings: tuple[str, ...] = ()


def known(path: Path, file: RemoteFile, shortfall: str, otherwise: str) -> Known:
    """What is known of a split whose patches lie in ``path``, perhaps the published ``file``.

    ``shortfall`` is why they cannot be all published patches, and ``otherwise`` how they are
    known to be, where ``path`` is a folder, a file of another size, or too large to be read now
    and not verified before.
    """
    if shortfall or not path.is_file():
        return Known(shortfall, "" if shortfall else otherwise)
    state = compared(path, file)
    if state == "same":
        return Known("", f"md5 of {path.name} verified")
    if state == "other md5":
        problem = f"{path.name} has another md5 than the published file"
        return Known(problem, "", (warning(path, problem),))
    return Known("", otherwise)


def warning(path: Path, problem: str) -> str:
    """What to say loudly of a file that is not the published one."""
    return (
        f"{problem}, so what is measured on it is not compared with published results; move {path} "
        "away and download it again with harness data get"
    )


def compared(path: Path, file: RemoteFile) -> State:
    """Compare a file with the published one; ``file.size`` may be 0, not known."""
    size = path.stat().st_size
    if file.size and size != file.size:
        return "other size"
    digest = remembered(path)
    if digest is None:
        if size > AT_ONCE:
            return "not read"
        digest = _md5(path)
        remember(path, digest)
    return "same" if digest == file.md5 else "other md5"


def remembered(path: Path) -> str | None:
    """The MD5 digest that was computed of a file as it is; None if none was."""
    for place in _places(path):
        try:
            content = json.loads(place.read_text(encoding="utf-8"))
            digest = content.pop("md5")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # there is none, or it was cut short
        if content == _state(path) and isinstance(digest, str):
            return digest
    return None


def remember(path: Path, digest: str) -> None:
    """Keep the MD5 digest of a file as it is. Where nothing can be written it is not kept."""
    text = json.dumps({**_state(path), "md5": digest}) + "\n"
    for place in _places(path):
        try:
            write_atomically(place, text)
        except OSError:
            continue
        return


def _state(path: Path) -> dict[str, str | int]:
    status = path.stat()
    return {
        "path": str(path.resolve()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def _places(path: Path) -> tuple[Path, Path]:
    """Where the digest of a file is kept: beside it, or else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return path.with_name(f".{path.name}.md5.json"), cache / "histo-harness" / f"{name}.json"


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        total = -(-path.stat().st_size // CHUNK)
        label = f"md5 of {path.name}, 4 MB each, once"
        for chunk in progress(iter(partial(stream.read, CHUNK), b""), total=total, label=label):
            digest.update(chunk)
    return digest.hexdigest()
