"""Patches in files: class folders, or the same inside a zip, decoded only when asked for."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.types import Indices

SUFFIXES = {".tif", ".tiff", ".png", ".webp", ".jpg", ".jpeg", ".bmp"}
FINGERPRINT_FILES = 32


@dataclass(frozen=True)
class Files:
    """Files of one folder or zip: ``sizes`` maps a name (with "/") to bytes."""

    origin: Path
    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


def list_folder(folder: Path) -> Files:
    """List what lies in the class folders of ``folder``. An empty class folder is an error."""
    sizes: dict[str, int] = {}
    try:
        for class_folder in sorted(folder.iterdir()):
            if class_folder.name.startswith(".") or not class_folder.is_dir():
                continue
            found = [f for f in class_folder.iterdir() if not f.name.startswith(".")]
            if not found:
                raise HarnessError(
                    f"{class_folder}: this class folder is empty; "
                    "unpack its patches there or remove the folder"
                )
            sizes |= {f"{class_folder.name}/{f.name}": f.stat().st_size for f in found}
    except OSError as error:
        raise HarnessError(
            f"{error.filename or folder}: {error.strerror}; check the path given as data"
        ) from error
    return Files(folder, sizes, lambda name: (folder / name).read_bytes())


def list_zip(path: Path) -> Files:
    """List the patches in a zip without unpacking it; names keep their last two parts."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise HarnessError(
            f"{path}: not a whole zip file ({error}); download it again or remove it"
        ) from error
    found: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if parts and not any(part.startswith((".", "__MACOSX")) for part in parts):
            found[parts] = info
    # Patches lie deepest; what lies above them, beside the class folders, is not ours to read.
    depth = max((len(parts) for parts, info in found.items() if not info.is_dir()), default=0)
    members = {
        "/".join(parts[-2:]): info for parts, info in found.items() if len(parts) == depth > 1
    }
    filled = {parts[:-1] for parts in found if len(parts) == depth}
    if len({parts[:-1] for parts in filled}) > 1:
        raise HarnessError(f"{path}: holds several folders of class folders; make a zip of each")
    folders = {p for p, info in found.items() if info.is_dir() and len(p) == depth - 1}
    if empty := sorted(folders - filled):
        raise HarnessError(
            f"{path}: the class folder {'/'.join(empty[0])} inside is empty; "
            "make the zip again with its patches or without the folder"
        )

    def read(name: str) -> bytes:
        try:
            return archive.read(members[name])
        # RuntimeError: an encrypted member, or a compression that Python does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise HarnessError(
                f"{path}: {name} inside is damaged ({error}); download the zip again"
            ) from error

    return Files(path, {name: info.file_size for name, info in members.items()}, read)


def decode(data: bytes, name: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode one image file to uint8 RGB (H, W, 3).

    Raises HarnessError when OpenCV cannot read the bytes or the image is not of ``shape`` (H, W).
    """
    import cv2

    # OpenCV's own complaints do not name the file; ours does. OpenCV 5 moved the function.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_log_level(0)
    buffer = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if len(buffer) else None
    if image is None:
        raise HarnessError(
            f"{name}: cannot be read as an image (truncated, or no image at all); "
            "replace or remove the file and run again"
        )
    if image.shape[:2] != shape:
        raise HarnessError(
            f"{name}: is {image.shape[1]}x{image.shape[0]} pixels where {shape[1]}x{shape[0]} "
            "are expected; remove the file and run again"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class FileSplit:
    """A Split over files named ``<CLASS>/<file>``.

    ``shape`` is the (H, W) that every patch must have. An id is ``prefix``, the class and
    the file's name without its suffix. Raises HarnessError for an unknown class folder, a file
    that is no image by its suffix, or when there is no patch at all.
    """

    def __init__(
        self, files: Files, classes: Sequence[str], shape: tuple[int, int], prefix: str
    ) -> None:
        number = {name: label for label, name in enumerate(classes)}
        for name in files.sizes:
            class_name, _, file = name.partition("/")
            if class_name not in number:
                raise HarnessError(
                    f"{files.origin}: unknown class folder {class_name!r}; "
                    f"the classes are {', '.join(classes)}; remove or rename the folder"
                )
            if PurePosixPath(file).suffix.lower() not in SUFFIXES:
                raise HarnessError(
                    f"{files.origin}/{name}: not an image file; remove it and run again"
                )
        if not files.sizes:
            raise HarnessError(
                f"{files.origin}: holds no patches in class folders; unpack it again"
            )
        self.files = files
        self.shape = shape
        self.names = sorted(files.sizes)
        self.ids = [f"{prefix}/{PurePosixPath(name).with_suffix('')}" for name in self.names]
        self.labels = np.array([number[name.split("/")[0]] for name in self.names], np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every name and size, and of the content of 32 files spread over the list.

        Reading all of 12 GB for it would cost minutes at every start. A folder and a zip of the
        same files have the same fingerprint.
        """
        digest = hashlib.sha256()
        for id_, name in zip(self.ids, self.names, strict=True):
            digest.update(f"{id_}\0{name}\0{self.files.sizes[name]}\n".encode())
        spread = np.linspace(0, len(self.names) - 1, FINGERPRINT_FILES).astype(int)
        for index in np.unique(spread):
            digest.update(self._bytes(int(index)))
        return digest.hexdigest()

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Decode some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        images = np.empty((len(indices), *self.shape, 3), np.uint8)
        for row, index in enumerate(indices):
            name = f"{self.files.origin}/{self.names[index]}"
            images[row] = decode(self._bytes(index), name, self.shape)
        return images

    def _bytes(self, index: int | np.int64) -> bytes:
        try:
            return self.files.read(self.names[index])
        except OSError as error:
            raise HarnessError(
                f"{self.files.origin}/{self.names[index]}: {error.strerror}; "
                "check the disk or remove the file"
            ) from error
