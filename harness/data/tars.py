"""Files in a tar, listed once and read at random; a tar may also be cut into parts.

The headers of a tar are spread over it, so that it takes long to list a large one: the list is kept
in a file beside it, ``<name>.index``, where one can be written.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from harness.data import files
from harness.data.class_folders import Files
from harness.data.copies import make_once
from harness.errors import HarnessError, one_line

DAMAGED_TAR = (
    *(tarfile.TarError, OSError, EOFError, ValueError, OverflowError),
    *(KeyError, IndexError, RecursionError, MemoryError),
)
"""What Python raises for damaged headers."""
LARGE = 1 << 28
"""Bytes of a tar whose list is kept."""
AGAIN = "download it again"


@dataclass(frozen=True)
class Tar:
    """A tar, or the parts that one was cut into, and where its files lie."""

    parts: tuple[Path, ...]
    members: Mapping[str, tuple[int, int]]
    """By name: the first byte of its content, counted over all parts, and how many there are."""

    @property
    def path(self) -> Path:
        """What errors call it."""
        return self.parts[0]

    def read(self, name: str) -> bytes:
        """The content of a file. Raises HarnessError."""
        ((_, data),) = self.read_all([name])
        return data

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Names and contents of files, in the order of the tar, which is opened once.

        Raises HarnessError.
        """
        with _Joined(self.parts) as stream:
            for name in sorted(names, key=lambda name: self.members[name]):
                start, size = self.members[name]
                files.check_size(f"{self.path}/{name}", size)
                stream.seek(start)
                data = stream.read(size)
                if len(data) < size:
                    raise HarnessError(f"{self.path}: {name} inside is cut short; {AGAIN}")
                yield name, data


def opened(parts: Sequence[Path]) -> Tar:
    """List a tar. Raises HarnessError for what is no whole tar or has links or devices in it.

    And when two files have one name, and when a name leads out of the tar or cannot be printed.
    """
    size = sum(files.check_file(part).st_size for part in parts)
    first = parts[0]
    if size < LARGE or not os.access(first.parent, os.W_OK):
        return Tar(tuple(parts), _scan(parts))
    kept = first.with_name(f"{first.name}.index")
    make_once(kept, size >> 10, partial(_write, parts), parts)
    listed = json.loads(kept.read_text(encoding="utf-8"))
    return Tar(tuple(parts), {name: (start, length) for name, start, length in listed})


def joined(folder: Path, tars: Mapping[str, Tar]) -> Files:
    """The files of tars below a folder, by their names in it: ``<tar>/<file>``."""
    sizes = {
        f"{name}/{member}": size
        for name, tar in tars.items()
        for member, (_, size) in tar.members.items()
    }
    return Files(folder, sizes, _Reader(tars))


class _Reader:
    """Reads files of tars, also in other processes, which open the tars themselves."""

    def __init__(self, tars: Mapping[str, Tar]) -> None:
        self.tars = tars

    def __call__(self, name: str) -> bytes:
        at = name.index("/")
        while name[:at] not in self.tars:
            at = name.index("/", at + 1)
        return self.tars[name[:at]].read(name[at + 1 :])


def _write(parts: Sequence[Path], out: BinaryIO) -> None:
    listed = [[name, *place] for name, place in _scan(parts).items()]
    out.write(json.dumps(listed).encode())


def _scan(parts: Sequence[Path]) -> dict[str, tuple[int, int]]:
    first = parts[0]
    start = files.head(first)
    if files.what_is(start).name != files.TAR:
        raise HarnessError(f"{first}: {files.is_not(start, 'a tar file')}")
    found: dict[str, tuple[int, int]] = {}
    try:
        with (
            io.BufferedReader(_Joined(parts), 1 << 12) as stream,
            tarfile.TarFile(fileobj=stream) as archive,
        ):
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all
                if (name := _name(first, info)) and name in found:
                    raise HarnessError(
                        f"{first}: holds {name} twice; make the tar again with each file once"
                    )
                if name:
                    found[name] = info.offset_data, info.size
            # tarfile takes any damaged header but the first for the end.
            stream.seek(archive.offset)
            end = stream.read(tarfile.BLOCKSIZE)
            if len(end) < tarfile.BLOCKSIZE:
                raise HarnessError(f"{first}: {_cut(parts)}")
            if end.strip(b"\0"):
                raise HarnessError(
                    f"{first}: has a damaged header after {next(reversed(found), 'its start')}; "
                    f"{AGAIN}"
                )
            while after := stream.read(1 << 20):
                if after.strip(b"\0"):
                    raise HarnessError(
                        f"{first}: goes on after its end, as when several tars are joined; keep "
                        "them apart, or unpack and pack them again"
                    )
    except tarfile.ReadError as error:
        if "unexpected end" not in str(error):
            raise HarnessError(f"{first}: {_said(error)}") from error
        raise HarnessError(f"{first}: {_cut(parts)}") from error
    except DAMAGED_TAR as error:
        raise HarnessError(f"{first}: {_said(error)}") from error
    return found


def _cut(parts: Sequence[Path]) -> str:
    if len(parts) > 1:
        return (
            f"and {parts[-1].name}, the last of {len(parts)} parts, are cut short; {AGAIN}, or "
            "get the parts that are lacking"
        )
    return f"is cut short; {AGAIN}"


def _said(error: Exception) -> str:
    return f"is damaged ({one_line(str(error) or type(error).__name__)[:200]}); {AGAIN}"


def _name(path: Path, info: tarfile.TarInfo) -> str:
    """The name of a file, "" for a folder and for what is hidden. Raises HarnessError."""
    parts = [part for part in info.name.split("/") if part not in ("", ".")]
    name = "/".join(parts)
    files.check_member(path, "tar", name, parts)
    if info.isdir() or not parts or any(part.startswith((".", "__MACOSX")) for part in parts):
        return ""
    if not info.isreg() or info.issparse():
        raise HarnessError(
            f"{path}: {name} inside is a link, a device or a sparse file; make the tar again with "
            "the file itself, as with tar --dereference"
        )
    return name


class _Joined(io.RawIOBase):
    """Files one after another, as if they were one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self.streams: list[Any] = []
        try:
            for part in parts:
                self.streams.append(part.open("rb", buffering=0))
        except OSError:
            self.close()
            raise
        sizes = [os.fstat(stream.fileno()).st_size for stream in self.streams]
        self.ends = list(accumulate(sizes))
        self.place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self.place, self.ends[-1])[whence]
        self.place = max(0, base + offset)
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        done = 0
        starts = [0, *self.ends]
        for stream, start, end in zip(self.streams, starts, self.ends, strict=False):
            while self.place < end and done < len(view):
                stream.seek(self.place - start)
                n = stream.readinto(view[done : done + end - self.place])
                if not n:
                    return done
                done += n
                self.place += n
        return done

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        super().close()
