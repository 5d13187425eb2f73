"""Fetch large files: resumed after a lost connection or a killed run, and checked by md5."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException, InvalidURL
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from harness import progress
from harness.errors import HarnessError
from harness.types import RemoteFile
from harness.verified import remember

WAITS = (1, 2, 5, 15, 45)
"""Seconds before a new try. As many failures in a row without a new byte are the end of it; the
sum outlasts the minute over which Zenodo counts requests."""
TIMEOUT = 60
"""Seconds of silence after which a connection counts as lost."""
MARGIN = 64 << 20
"""Bytes of the disk that are left free."""
CHUNK = 1 << 20

Say = Callable[[str], None]


def fetch(
    file: RemoteFile, folder: Path, *, say: Say = progress.say, mirror: str | None = None
) -> Path:
    """Download ``file`` into ``folder``, or go on where the last call stopped; return its path.

    What has arrived is kept in ``<name>.part`` and gets its final name only once size and md5 are
    right. ``mirror`` is a URL under which the same file names are found; it replaces all of
    ``file.url`` up to the file name. Progress is a bar on a terminal, lines for ``say`` elsewhere.

    Raises HarnessError when the server or the disk does not deliver, and when a file of that name
    is there already but is another one.
    """
    url = file.url
    if mirror is not None:
        url = f"{mirror.rstrip('/')}/{PurePosixPath(urlsplit(file.url).path).name}"
    target = folder / file.name
    part = folder / f"{file.name}.part"
    try:
        if target.exists():
            if problem := _problem(target, file, say):
                raise HarnessError(
                    f"{target}: {problem}; move or delete it, then run the same command again"
                )
            remember(target, file.md5)
            say(f"{target}: already there, md5 checked")
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, file, part, say)
        if problem := _problem(part, file, say):
            part.unlink()  # complete but wrong: nothing to resume
            raise HarnessError(
                f"{url}: what arrived {problem} and was removed; "
                "run the same command again or use another mirror"
            )
        with part.open("r+b") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
        remember(target, file.md5)
    except OSError as error:
        raise HarnessError(
            f"{error.filename or folder}: {error.strerror or error}; "
            "once that is mended, run the same command again to go on"
        ) from error
    say(f"{target}: downloaded, md5 checked")
    return target


def check_space(files: Sequence[RemoteFile], folder: Path) -> None:
    """Raise HarnessError unless the disk of ``folder`` can take what is still to fetch of files.

    Files of unknown size count as nothing here; ``fetch`` looks again once the server tells.
    """
    needed = 0
    for file in files:
        there = max(_size(folder / file.name), _size(folder / f"{file.name}.part"))
        needed += max(0, file.size - there)
    nearest = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(nearest).free
    if needed and needed + MARGIN > free:
        raise HarnessError(
            f"{folder}: {_bytes(needed + MARGIN)} more are needed and {_bytes(free)} are free; "
            "make room or choose another folder with --data"
        )


class _LostError(Exception):
    """Why a connection failed; ``again`` when a new try may end better."""

    def __init__(self, reason: object, again: bool = True) -> None:
        super().__init__(str(reason))
        self.again = again


def _download(url: str, file: RemoteFile, part: Path, say: Say) -> None:
    """Connect until ``part`` is complete or trying again is no use."""
    if 0 < file.size < _size(part):
        say(f"{part}: longer than the whole file; starting over")
        part.unlink()
    failures, opened = 0, False
    while not 0 < file.size == _size(part):
        start = _size(part)
        try:
            with _open(url, start) as response:
                opened = True
                total = _total(response, file, url)
                if response.status != 416:
                    _receive(response, start, total, file, part, say)
                elif file.size:
                    raise _LostError(response, again=False)
                return
        except _LostError as lost:
            there = _size(part)
            failures = 0 if there > start else failures + 1
            if not lost.again:
                raise HarnessError(f"{url}: {lost}; check the address or use a mirror") from lost
            kept = f"{_bytes(there)} are in {part}, " if there else ""
            # A server that never answered is not worth waiting for: no network or no such host.
            if not opened or failures == len(WAITS):
                raise HarnessError(
                    f"{url}: {lost}; {kept}run the same command again to go on"
                ) from lost
            say(f"{file.name}: {lost}; {kept}trying again in {WAITS[failures]} s")
            time.sleep(WAITS[failures])


def _open(url: str, start: int) -> Any:
    """Ask for everything from ``start`` on. A 416 is an answer too: there is no more."""
    headers = {"User-Agent": "histo-harness"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and start:
            return error
        raise _LostError(error, error.code in (408, 429) or error.code >= 500) from error
    except URLError as error:
        raise _LostError(error.reason) from error
    except (ValueError, InvalidURL) as error:
        raise _LostError(error, again=False) from error
    except (OSError, HTTPException) as error:
        raise _LostError(error) from error


def _total(response: Any, file: RemoteFile, url: str) -> int:
    """Size of the whole file, 0 when neither the server nor ``file`` tells."""
    name = "Content-Range" if response.status in (206, 416) else "Content-Length"
    text = response.headers.get(name, "").rpartition("/")[2]
    total = int(text) if text.isdecimal() else file.size
    if file.size and total != file.size:
        raise HarnessError(
            f"{url}: the server has {total:,} bytes where {file.size:,} are expected; "
            "check the address or use another mirror"
        )
    return total


def _receive(response: Any, start: int, total: int, file: RemoteFile, part: Path, say: Say) -> None:
    """Write one response into ``part``, of which ``start`` bytes are there already."""
    needed, free = total - start + MARGIN, shutil.disk_usage(part.parent).free
    if needed > free:
        raise HarnessError(
            f"{part.parent}: {file.name} needs {_bytes(needed)} more and {_bytes(free)} are free; "
            "make room or choose another folder"
        )
    at = start if response.status == 206 else 0
    if at and not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
        raise _LostError("sent another range than asked for", again=False)
    if start and not at:
        say(f"{file.name}: the server cannot resume; starting over")
    # Overwriting in place keeps what lies beyond this response should it be cut short.
    with part.open("r+b" if start else "wb") as out, _bar(total, file.name, at, say) as bar:
        out.seek(at)
        for chunk in iter(partial(_read, response), b""):
            out.write(chunk)
            bar.update(len(chunk))
            at += len(chunk)
            if at >= total > 0:
                break
        if at < total:
            raise _LostError("the connection was lost")
        out.truncate()


def _read(response: Any) -> bytes:
    """Whatever has arrived; b"" at the end."""
    try:
        chunk: bytes = response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise _LostError(error) from error
    return chunk


def _problem(path: Path, file: RemoteFile, say: Say) -> str:
    """What is wrong with a complete file; "" when nothing is."""
    size = _size(path)
    if file.size and size != file.size:
        return f"has {size:,} bytes instead of {file.size:,}"
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream, _bar(size, f"{file.name} (md5)", 0, say) as bar:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != file.md5:
        return f"has md5 {digest.hexdigest()} instead of {file.md5}"
    return ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _bytes(number: int) -> str:
    text: str = tqdm.format_sizeof(number, "B")
    return text


class _Lines:
    """A stream on which each state of a progress bar becomes a line."""

    def __init__(self, say: Say) -> None:
        self.say = say

    def write(self, text: str) -> None:
        if text := text.strip():
            self.say(text)

    def flush(self) -> None:
        pass


def _bar(total: int, label: str, start: int, say: Say) -> Any:
    """A tqdm of bytes; ``total`` is 0 when not known."""
    look: dict[str, Any] = {"unit": "B", "unit_scale": True, "leave": False}
    if not sys.stderr.isatty():
        look["file"], look["mininterval"] = _Lines(say), progress.LINE_EVERY
        look["bar_format"] = "{desc}: {percentage:.0f}% of {total_fmt}B at {rate_fmt}"
    return tqdm(total=total or None, initial=start, desc=label, miniters=1, **look)
