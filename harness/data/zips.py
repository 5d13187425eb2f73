"""Members of a zip: their names as they were meant, each once, and never more than is said."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path

from harness.data import files
from harness.errors import HarnessError

DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
"""What Python raises for a damaged or encrypted zip or member, or for an unknown compression."""
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python reads others too, but a few bytes of bzip2 or LZMA may become any number, all at once."""
OTHERS = {9: " (Deflate64)", 12: " (bzip2)", 14: " (LZMA)", 93: " (Zstandard)", 95: " (xz)"}
UTF8_FLAG, ENCRYPTED_FLAG = 0x800, 1
UNICODE_PATH = 0x7075


def opened(path: Path, wanted: str = "zip file") -> zipfile.ZipFile:
    """A zip to read from. ``wanted`` is what errors call the file.

    Raises HarnessError naming it when it is not a whole zip.
    """
    files.check_file(path)
    try:
        return zipfile.ZipFile(path)
    except DAMAGED_ZIP as error:
        raise _not_a_zip(path, error, wanted) from error


def members(path: Path, archive: zipfile.ZipFile) -> dict[tuple[str, ...], zipfile.ZipInfo]:
    """The files and folders in a zip, by the parts of their names; hidden ones are left out.

    "/" and "\\" both separate the parts. Raises HarnessError naming the zip when it is one of
    several parts; when two members have one name; when a name has ".." in it or cannot be printed;
    and for members that are encrypted or not compressed by Deflate.
    """
    infos = archive.infolist()
    if any(info.volume for info in infos) or path.with_suffix(".z01").exists():
        raise HarnessError(f"{path}: {_SPLIT}")
    found: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    above: dict[str, tuple[str, ...]] = {"": ()}
    hidden: set[str] = set()
    for info in infos:  # of 100,000, whose folders are few
        name = _name(info)
        folder, _, last = name.replace("\\", "/").rstrip("/").rpartition("/")
        if folder not in above:
            above[folder] = tuple(part for part in folder.split("/") if part not in ("", "."))
            if any(map(_is_hidden, above[folder])):
                hidden.add(folder)
        parts = above[folder] if last in ("", ".") else (*above[folder], last)
        if not parts or folder in hidden or _is_hidden(last):
            continue
        _check(path, name, parts, info)
        if parts in found and not (is_folder(info) and is_folder(found[parts])):
            raise HarnessError(
                f"{path}: holds {'/'.join(parts)} twice; make the zip again with each file once"
            )
        found[parts] = info
    return found


def _is_hidden(part: str) -> bool:
    return part.startswith((".", "__MACOSX")) and part not in (".", "..")


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder."""
    return info.orig_filename.endswith(("/", "\\"))


def read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The content of a member. Raises one of ``DAMAGED_ZIP`` when it is not as the zip says."""
    with archive.open(info) as file:
        data = file.read(info.file_size)
    if len(data) < info.file_size:
        raise zipfile.BadZipFile(f"it ends {info.file_size - len(data):,} bytes early")
    return data


def _not_a_zip(path: Path, error: Exception, wanted: str) -> HarnessError:
    """What to raise for a file that cannot be opened as a zip because of ``error``."""
    start = files.head(path)
    if re.search(r"\.(zip\.\d+|z\d\d)$", path.name.lower()) or path.with_suffix(".z01").exists():
        return HarnessError(f"{path}: {_SPLIT}")
    if files.what_is(start).name == files.ZIP:
        return HarnessError(
            f"{path}: not a whole {wanted} ({error}); download it again or remove it"
        )
    return HarnessError(f"{path}: {files.is_not(start, 'a ' + wanted)}")


_SPLIT = (
    "is one of several parts of a zip; join them, as with zip -s 0 PARTS.zip --out WHOLE.zip or "
    "cat PARTS.zip.* > WHOLE.zip"
)


def _check(path: Path, name: str, parts: tuple[str, ...], info: zipfile.ZipInfo) -> None:
    files.check_member(path, "zip", name, parts)
    if is_folder(info):
        return
    if info.flag_bits & ENCRYPTED_FLAG:
        raise HarnessError(f"{path}: {name} inside is encrypted; make the zip without a password")
    if info.compress_type not in COMPRESSIONS:
        how = f"{info.compress_type}{OTHERS.get(info.compress_type, '')}"
        raise HarnessError(
            f"{path}: {name} inside is in a compression, number {how}, that is not supported; "
            "unpack the zip, or make it with Deflate"
        )


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member as its maker meant it.

    Without the flag that says UTF-8, the format means code page 437, for which Python takes it.
    Yet some programs write UTF-8 all the same, or write it into a field of its own.
    """
    name = info.orig_filename
    if info.flag_bits & UTF8_FLAG or (name.isascii() and not info.extra):
        return name
    raw = name.encode("cp437")
    place = 0
    while place + 4 <= len(info.extra):
        kind, length = struct.unpack_from("<HH", info.extra, place)
        value = info.extra[place + 4 : place + 4 + length]
        if kind == UNICODE_PATH and value[1:5] == struct.pack("<I", zlib.crc32(raw)):
            raw = value[5:]
        place += 4 + length
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return name
