"""The files of class folders, listed in a folder or in a zip and read one by one."""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from harness.data import files, zips
from harness.errors import HarnessError

SUFFIXES = {".tif", ".tiff", ".png", ".webp", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True)
class Files:
    """Files of one folder or zip: ``sizes`` maps a name (with "/") to bytes."""

    origin: Path
    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


def list_files(path: Path) -> Files:
    """List the patches in the class folders of a folder or of a zip."""
    if path.is_dir():
        return list_folder(path)
    kind = files.what_is(files.head(path))
    if path.suffix.lower() != ".zip" and kind.name != files.ZIP:
        raise HarnessError(
            f"{path}: Not a directory of class folders, nor a zip file: it is {kind.name}; "
            f"{kind.fix}"
        )
    return list_zip(path)


def list_folder(folder: Path) -> Files:
    """List what lies in the class folders of ``folder``.

    Raises HarnessError for an empty class folder, and for what is no file that may be read or is
    too large (``harness.data.files``).
    """
    sizes: dict[str, int] = {}
    limit = files.most_bytes()
    try:
        for class_folder in sorted(folder.iterdir()):
            if class_folder.name.startswith("."):
                continue
            if not class_folder.is_dir():
                if class_folder.is_symlink():  # to a class folder, if it leads nowhere
                    files.check_file(class_folder)
                continue
            with os.scandir(class_folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
            if not found:
                raise HarnessError(
                    f"{class_folder}: this class folder is empty; "
                    "unpack its patches there or remove the folder"
                )
            class_name = class_folder.name
            for entry in found:  # of 100,000: no Path for each
                name = f"{class_name}/{entry.name}"
                if not name.isprintable():  # such as bytes that are no UTF-8
                    raise HarnessError(f"{folder}: the name {name!a} cannot be printed; rename it")
                if entry.is_dir():
                    raise HarnessError(
                        f"{entry.path}: is a folder inside a class folder; put its images directly "
                        'into the class folder, or list them with kind = "table"'
                    )
                size = sizes[name] = files.check_file(entry.path).st_size
                if size > limit:
                    files.check_size(entry.path, size)
    except OSError as error:
        raise HarnessError(
            f"{error.filename or folder}: {error.strerror}; check the path given as data"
        ) from error
    _check_alike(folder, sizes)
    return Files(folder, sizes, partial(read_file, folder))


def read_file(folder: Path, name: str) -> bytes:
    """The content of a file below ``folder``: the ``read`` of Files that lie there."""
    path = folder / name
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            files.check_file(path)
        files.check_size(path, status.st_size)
        return file.read()


def list_zip(path: Path) -> Files:
    """List the patches in a zip without unpacking it; names keep their last two parts.

    Raises HarnessError as ``opened`` and ``members`` of ``harness.data.zips`` do, for an empty
    class folder, for images that lie at several depths, and for a file that is too large.
    """
    archive = zips.opened(path)
    found = zips.members(path, archive)
    # Patches lie deepest; what lies above them, beside the class folders, is not ours to read.
    depth = max((len(p) for p, info in found.items() if not zips.is_folder(info)), default=0)
    members = {"/".join(p[-2:]): info for p, info in found.items() if len(p) == depth > 1}
    filled = {parts[:-1] for parts in found if len(parts) == depth}
    parents = {parts[:-1] for parts in filled}
    if len(parents) > 1:
        raise HarnessError(f"{path}: holds several folders of class folders; make a zip of each")
    for parts in (p for p in found if len(p) < depth):
        above = parts[:-1]
        image = PurePosixPath(parts[-1]).suffix.lower() in SUFFIXES
        if image and not any(p[: len(above)] == above for p in parents):
            deepest = next(p for p in found if len(p) == depth)
            raise HarnessError(
                f"{path}: holds images at several depths, such as {'/'.join(parts)} and "
                f"{'/'.join(deepest)}; put each directly into a class folder"
            )
    folders = {p for p, info in found.items() if zips.is_folder(info) and len(p) == depth - 1}
    if empty := sorted(folders - filled):
        raise HarnessError(
            f"{path}: the class folder {'/'.join(empty[0])} inside is empty; "
            "make the zip again with its patches or without the folder"
        )
    sizes = {name: info.file_size for name, info in members.items()}
    limit = files.most_bytes()
    for name, size in sizes.items():
        if size > limit:
            files.check_size(f"{path}/{name}", size)
    _check_alike(path, sizes)
    return Files(path, sizes, _Zip(path, members, archive))


def _check_alike(origin: Path, names: Iterable[str]) -> None:
    """Raise HarnessError for two class folders that are one on some systems."""
    seen: dict[str, str] = {}
    for folder in sorted({name.partition("/")[0] for name in names}):
        same = unicodedata.normalize("NFC", folder).casefold()
        if other := seen.get(same):
            raise HarnessError(
                f"{origin}: holds the class folders {other} and {folder}, which differ only in "
                "case or Unicode form; rename one of them, or join them"
            )
        seen[same] = folder


class _Zip:
    """Reads members of a zip, also in other processes that it is sent to or inherited by.

    Each process opens the zip itself: one that several share has one position in all of them.
    """

    def __init__(
        self,
        path: Path,
        members: Mapping[str, zipfile.ZipInfo],
        archive: zipfile.ZipFile | None = None,
    ) -> None:
        self.path = path
        self.members = members
        self.archives = {} if archive is None else {os.getpid(): archive}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Zip, (self.path, self.members)

    def __call__(self, name: str) -> bytes:
        process = os.getpid()
        try:
            if process not in self.archives:
                self.archives[process] = zipfile.ZipFile(self.path)
            return zips.read(self.archives[process], self.members[name])
        except zips.DAMAGED_ZIP as error:
            raise HarnessError(
                f"{self.path}: {name} inside is damaged ({error}); download the zip again"
            ) from error
