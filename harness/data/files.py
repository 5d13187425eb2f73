"""Files before they are read: what they really are, and whether they are too large to read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, one_line

LIMIT = "HARNESS_MAX_MB"
"""The environment variable that changes the limit of ``most_bytes``."""
DEFAULT_MB = 256
HEAD = 1024
"""Bytes from the start of a file that tell what it is."""


def most_bytes() -> int:
    """How many bytes one file, or one decoded image, may take in memory.

    256 MB, or as many megabytes (of 10^6 bytes) as ``$HARNESS_MAX_MB`` says. Raises HarnessError
    when that is no number.
    """
    text = os.environ.get(LIMIT) or str(DEFAULT_MB)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise HarnessError(f"{LIMIT}={text}: must be a whole number of megabytes, at least 1")
    return int(text) * 10**6


def check_size(name: str | Path, size: int, what: str = "is") -> None:
    """Raise HarnessError when so many bytes are more than may be read into memory at once."""
    if size > (limit := most_bytes()):
        needed = -(-size // 10**6)
        raise HarnessError(
            f"{name}: {what} {needed:,} MB, above the limit of {limit // 10**6:,} MB; if that is "
            f"right, set the environment variable {LIMIT}={needed}"
        )


def check_file(path: str | Path) -> os.stat_result:
    """The status of a regular file that may be read.

    Raises HarnessError for all else, without opening it: what is missing, links to nowhere,
    folders, pipes, sockets, devices, and files without permission to read.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  (of a text, a Path takes longer than the system)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        if os.path.islink(path):  # noqa: PTH114  (the method raises ValueError)
            target = os.readlink(path)  # noqa: PTH115  (as it is written)
            fix = "run git annex get" if "annex/objects" in target else "restore what it links to"
            raise HarnessError(f"{path}: is a link to {target} ({why}); {fix}") from error
        raise HarnessError(f"{path}: {why}; check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "a special file")
        raise HarnessError(f"{path}: is {kind}, not a file; remove it or correct the path")
    if status.st_mode & 0o444 != 0o444 and not os.access(path, os.R_OK):
        raise HarnessError(f"{path}: may not be read; change its permissions")
    return status


_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_member(path: Path, kind: str, name: str, parts: Iterable[str]) -> None:
    """Check the name of a member of an archive of a kind, such as "zip", and its parts.

    Raises HarnessError when it cannot be printed or leads out of the archive.
    """
    if not name.isprintable():
        raise HarnessError(f"{path}: the name {name!a} inside cannot be printed; rename it")
    if ".." in parts:
        raise HarnessError(
            f"{path}: the name {name} inside leads out of the {kind}; make the {kind} again "
            "without it"
        )


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises HarnessError when it cannot be read or is too large."""
    check_size(path, check_file(path).st_size)
    try:
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; check the disk") from error


def head(path: Path) -> bytes:
    """The bytes that a regular file begins with. Raises HarnessError when it cannot be read."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; check the disk") from error


@dataclass(frozen=True)
class Kind:
    """What a file is: its name with an article, and a group of such kinds.

    Groups are image, archive, data, text, pointer (a text that stands for the file), page (what a
    server sends in place of a file), empty and unknown.
    """

    name: str
    group: str

    @property
    def fix(self) -> str:
        """What to do when another kind is expected."""
        return _FIXES.get(self.name) or _FIXES.get(self.group, "replace it with the right file")


LFS, ANNEX, UTF16 = "a pointer of Git LFS", "a pointer of git-annex", "UTF-16 text"
TAR, PICKLE, SAFETENSORS = "a tar archive", "a pickle file", "a safetensors file"
ZIP, SPLIT_ZIP = "a zip archive", "the first part of a zip archive in several parts"
_FIXES = {
    LFS: "run git lfs pull",
    ANNEX: "run git annex get",
    UTF16: "save it as UTF-8",
    SPLIT_ZIP: "join the parts, as with zip -s 0 PARTS.zip --out WHOLE.zip",
    "archive": "unpack it",
    "page": "download it again; open the address in a browser to see what the server says",
    "empty": "get it again",
}
_BEGINNINGS = (
    (b"version https://git-lfs.github.com/spec/", LFS, "pointer"),
    (b"/annex/objects/", ANNEX, "pointer"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", "image"),
    (b"\xff\xd8\xff", "a JPEG image", "image"),
    *((start, "a TIFF image", "image") for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"GIF8", "a GIF image", "image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", "image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image", "image"),
    (b"8BPS", "a Photoshop image", "image"),
    (b"PK\x03\x04", ZIP, "archive"),
    (b"PK\x05\x06", "an empty zip archive", "archive"),
    (b"PK\x07\x08", SPLIT_ZIP, "archive"),
    (b"\x1f\x8b", "a gzip file", "archive"),
    (b"BZh", "a bzip2 file", "archive"),
    (b"\xfd7zXZ\0", "an xz file", "archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "archive"),
    (b"Rar!\x1a\x07", "a RAR archive", "archive"),
    (b"PAR1", "a Parquet file", "data"),
    (b"ARROW1", "an Arrow file", "data"),
    (b"FEA1", "a Feather file", "data"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "data"),
    (b"\x93NUMPY", "a NumPy .npy file", "data"),
    (b"MATLAB 5.0", "a MATLAB file", "data"),
    (b"SQLite format 3\0", "an SQLite database", "data"),
    (b"%PDF-", "a PDF document", "data"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document", "data"),
    (b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut", "data"),
    *((bytes([128, version]), PICKLE, "data") for version in range(2, 6)),
    (b"\xff\xfe", UTF16, "data"),
    (b"\xfe\xff", UTF16, "data"),
)


def what_is(start: bytes) -> Kind:
    """What a file is, by the bytes that it begins with; the first ``HEAD`` of them are enough."""
    if not start:
        return Kind("empty", "empty")
    for beginning, name, group in _BEGINNINGS:
        if start.startswith(beginning):
            return Kind(name, group)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return Kind("a WebP image", "image")
    if start[:2] == b"BM" and start[6:10] == bytes(4):
        return Kind("a BMP image", "image")
    if start[4:8] == b"ftyp":
        return Kind("an AVIF, HEIC or MP4 file", "image")
    if start[128:132] == b"DICM":
        return Kind("a DICOM file", "image")
    if start[257:262] == b"ustar":
        return Kind(TAR, "archive")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 10**9:
        return Kind(SAFETENSORS, "data")
    if not start[:HEAD].strip(b"\0"):
        return Kind("full of zero bytes (a copy or download that was cut)", "empty")
    return _text(start[:HEAD]) or Kind(
        f"of an unknown kind (it begins with the bytes {start[:4].hex(' ')})", "unknown"
    )


_PRINTABLE = re.compile(rb"[\t\n\r\x0c\x20-\x7e\x80-\xff]+")


def _text(start: bytes) -> Kind | None:
    """Which kind of text it is, or None if it is none."""
    if not _PRINTABLE.fullmatch(start):
        return None
    text = start.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "ignore").strip()
    lower, quoted = text.lower(), repr(one_line(text)[:60])
    tags = ("<!doctype html", "<html", "<head", "<body")
    if lower.startswith(tags) or (lower.startswith("<") and "<html" in lower):
        title = re.search(r"<title[^>]*>(.*?)</title", text, re.IGNORECASE | re.DOTALL)
        titled = f" titled {one_line(title[1])[:60]!r}" if title and title[1].strip() else ""
        return Kind(f"an HTML page{titled}", "page")
    if lower.startswith(("<?xml", "<error")):
        return Kind(f"an XML document ({quoted})", "page")
    if re.match(r'\{\s*["}]|\[\s*\{', text):
        return Kind(f"JSON ({quoted})", "page")
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not cut within a letter, so perhaps no text at all
            return None
    return Kind(f"text ({quoted})", "text")


def is_not(start: bytes, wanted: str) -> str:
    """What to say of a file that begins so where another is ``wanted``, such as "a zip file"."""
    kind = what_is(start)
    return f"not {wanted}: it is {kind.name}; {kind.fix}"


def check_text(name: str | Path, start: bytes, wanted: str) -> None:
    """Raise HarnessError for what cannot be the text that is ``wanted``, such as "a table".

    What may be text of another encoding passes: the reader has more to say about it.
    """
    if what_is(start).group not in ("text", "empty", "unknown"):
        raise HarnessError(f"{name}: {is_not(start, wanted)}")


_WEIGHTS = {ZIP, TAR, PICKLE, SAFETENSORS}


def check_weights(name: str | Path, start: bytes) -> None:
    """Raise HarnessError for what cannot be the weights of a network, by torch or safetensors.

    What is of no known kind passes, and so does plain text: the reader has more to say about it.
    """
    kind = what_is(start)
    if kind.name not in _WEIGHTS and kind.group not in ("unknown", "text"):
        raise HarnessError(f"{name}: cannot be read as weights: it is {kind.name}; {kind.fix}")
