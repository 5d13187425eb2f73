"""Fetch large files: resumed after a lost connection or a killed run, and checked by md5."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from tqdm import tqdm

from harness.data.connection import SLOWEST, LostError, ask, explained
from harness.data.verified import remember
from harness.errors import HarnessError, printable
from harness.system import progress
from harness.types.datasets import RemoteFile

WAITS = (1, 2, 5, 15, 45)
"""Seconds before a new try. As many failures in a row are the end of it; the sum outlasts the
minute over which Zenodo counts requests. A try that brings less than SLOWEST bytes a second is a
failure too."""
LONGEST_WAIT = 300
"""Seconds to wait at most when a server asks for it."""
MARGIN = 64 << 20
"""Bytes of the disk that are left free."""
UNANNOUNCED = 64 << 30
"""Bytes of a file of which neither the server nor the dataset tells the size, at most."""
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
        resumed = part.exists()
        _download(url, file, part, say)
        if problem := _problem(part, file, say):
            part.unlink()  # complete but wrong: nothing to resume
            what = "run the same command again to start over" if resumed else _instead(file, part)
            raise HarnessError(f"{url}: what arrived {problem} and was removed; {what}")
        with part.open("r+b") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
        remember(target, file.md5)
    except OSError as error:
        raise HarnessError(
            f"{error.filename or folder}: {error.strerror or error}; "
            "once that is fixed, run the same command again to go on"
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


def _download(url: str, file: RemoteFile, part: Path, say: Say) -> None:
    """Connect until ``part`` is complete or trying again is no use."""
    if 0 < file.size < _size(part):
        say(f"{part}: longer than the whole file; starting over")
        part.unlink()
    failures, opened = 0, False
    while not 0 < file.size == _size(part):
        start, began = _size(part), monotonic()
        try:
            with _open(url, file, start) as response:
                opened = True
                total = _total(response, file)
                if response.status == 416 and file.size:
                    raise LostError("the server has no more than that", again=False)
                if response.status != 416:
                    _receive(response, url, start, total, file, part, say)
                return
        except LostError as lost:
            there = _size(part)
            enough = there - start >= SLOWEST * max(1.0, monotonic() - began)
            failures = 0 if enough else failures + 1
            kept = f"{_bytes(there)} are in {part}, " if there else ""
            if not lost.again:
                raise HarnessError(f"{url}: {lost}; {_instead(file, part, lost.advice)}") from lost
            if lost.wait is not None and lost.wait > LONGEST_WAIT:
                raise HarnessError(
                    f"{url}: {lost}; {kept}run the same command again in "
                    f"{progress.duration(lost.wait)}, as the server asks, or use another --mirror"
                ) from lost
            # A server that never answered is not worth waiting for: no network or no such host.
            if (not opened and lost.wait is None) or failures == len(WAITS):
                how = "" if opened or lost.wait is not None else "check the network, then "
                raise HarnessError(
                    f"{url}: {lost}; {kept}{how}run the same command again to go on, or use "
                    "another --mirror"
                ) from lost
            seconds = max(WAITS[failures], lost.wait or 0)
            asked = "" if lost.wait is None else ", as the server asks"
            say(f"{file.name}: {lost}; {kept}trying again in {seconds:.0f} s{asked}")
            sleep(seconds)


def _instead(file: RemoteFile, part: Path, advice: str = "") -> str:
    """What to do where trying again is no use."""
    target = part.with_name(file.name)
    md5 = f" (md5 {file.md5})" if file.md5 else ""
    first = f"{advice}; or " if advice else ""
    return (
        f"{first}use another --mirror, or get {file.name} with a browser and put it at "
        f"{target}{md5}"
    )


def _open(url: str, file: RemoteFile, start: int) -> Any:
    """Ask for everything from ``start`` on. A 416 is an answer too: there is no more."""
    headers = {"User-Agent": "histo-harness"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response = ask(url, headers)
    except HTTPError as error:
        if error.code == 416 and start:
            return error
        raise explained(error, url) from error
    # None is the answer of another protocol than http.
    if response.status not in (None, 200, 206):
        response.close()
        raise LostError(f"the server answered {response.status}", again=False)
    kind = response.headers.get_content_type()
    if kind == "text/html" and PurePosixPath(file.name).suffix not in (".html", ".htm"):
        response.close()
        raise LostError(
            "a web page came where the file is expected, as of a network to log in to", again=False
        )
    return response


def _total(response: Any, file: RemoteFile) -> int:
    """Size of the whole file, 0 when neither the server nor ``file`` tells."""
    name = "Content-Range" if response.status in (206, 416) else "Content-Length"
    text = response.headers.get(name, "").rpartition("/")[2]
    total = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else file.size
    if file.size and total != file.size:
        raise LostError(
            f"the server has {total:,} bytes where {file.size:,} are expected", again=False
        )
    return total


def _receive(
    response: Any, url: str, start: int, total: int, file: RemoteFile, part: Path, say: Say
) -> None:
    """Write one response into ``part``, of which ``start`` bytes are there already."""
    at = start if response.status == 206 else 0
    if at and not response.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
        raise LostError("sent another range than asked for", again=False)
    free = shutil.disk_usage(part.parent).free
    if total - start + MARGIN > free:
        raise HarnessError(
            f"{part.parent}: {file.name} needs {_bytes(total - start + MARGIN)} more and "
            f"{_bytes(free)} are free; make room or choose another folder"
        )
    room = start + free - MARGIN
    if start and not at:
        say(f"{file.name}: the server cannot resume; starting over")
    # Overwriting in place keeps what lies beyond this response should it be cut short.
    with part.open("r+b" if start else "wb") as out, _bar(total, file.name, at, say) as bar:
        out.seek(at)
        for chunk in iter(partial(_read, response, url), b""):
            out.write(chunk)
            bar.update(len(chunk))
            at += len(chunk)
            if at >= total > 0 or at > UNANNOUNCED:
                break
            if at > room:
                raise HarnessError(
                    f"{part.parent}: the disk is full but for {_bytes(MARGIN)}, and the server of "
                    f"{file.name} does not say how much there is; make room or choose another "
                    f"folder (if {_bytes(at)} are too much already, delete {part})"
                )
        if at < total:
            raise LostError("the connection was lost")
        out.truncate()
    if not total and at > UNANNOUNCED:
        part.unlink()
        raise LostError(f"sent {_bytes(at)} without saying how much there is", again=False)


def _read(response: Any, url: str) -> bytes:
    """Whatever has arrived; b"" at the end."""
    try:
        chunk: bytes = response.read1(CHUNK)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: what its chunks are worth
        raise explained(error, url) from error
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
    file = progress.terminal()
    if progress.draws(file):
        look["file"] = file
    else:
        look["file"], look["mininterval"] = _Lines(say), progress.LINE_EVERY
        look["bar_format"] = "{desc}: {percentage:.0f}% of {total_fmt}B at {rate_fmt}"
    return tqdm(total=total or None, initial=start, desc=printable(label), miniters=1, **look)
