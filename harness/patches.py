"""Patches in files: folders, or the same inside a zip, decoded only when asked for."""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.names import alike, quoted

if TYPE_CHECKING:
    from harness.types import Indices

SUFFIXES = {".tif", ".tiff", ".png", ".webp", ".jpg", ".jpeg", ".bmp"}
FINGERPRINT_FILES = 32
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError),
    *(EOFError, ValueError, RuntimeError),
)
"""What Python raises for a damaged or encrypted zip or member, or for an unknown compression."""


@dataclass(frozen=True)
class Files:
    """Files of one folder or zip: ``sizes`` maps a name (with "/") to bytes."""

    origin: Path
    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


def place(folder: Path, name: str) -> Path | None:
    """Where data of this name lie below ``folder``: unpacked, or as a zip; None if nowhere.

    Some programs unpack a zip into a folder of its name, and so one level deeper.
    """
    for path in (folder / name / name, folder / name, folder / f"{name}.zip"):
        if path.exists():
            return path
    return None


def missing(
    dataset: str, names: Sequence[str], folder: Path, form: str = " (folder or .zip)"
) -> str:
    """What data of these names are not below ``folder``, and how to get them; "" if none.

    ``form`` says after the names in which form they are looked for.
    """
    lacking = [name for name in names if place(folder, name) is None]
    if not lacking:
        return ""
    return (
        f"no {' and no '.join(lacking)}{form} in {folder}; harness data get {dataset}, or point "
        f"--data at the folder that holds {'them' if len(names) > 1 else 'it'}"
    )


def shortfall(counts: Iterable[int], whole: Sequence[int], patches: str) -> str:
    """Why a split is not the whole published one, by its patches of each class; "" if it is.

    ``patches`` is what to call them, such as "test patches".
    """
    found = list(map(int, counts))
    if sum(found) != sum(whole):
        return f"{sum(found):,} of {sum(whole):,} {patches}"
    return "" if found == list(whole) else "other counts a class than published"


def list_files(path: Path) -> Files:
    """List the patches in the class folders of a folder, or of a zip by its suffix."""
    is_zip = path.suffix.lower() == ".zip" and not path.is_dir()
    return list_zip(path) if is_zip else list_folder(path)


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
            for file in found:
                name = f"{class_folder.name}/{file.name}"
                if not name.isprintable():  # such as bytes that are no UTF-8
                    raise HarnessError(f"{folder}: the name {name!a} cannot be printed; rename it")
                status = file.stat()
                if stat.S_ISDIR(status.st_mode):
                    raise HarnessError(
                        f"{file}: is a folder inside a class folder; put its images directly into "
                        'the class folder, or list them with kind = "table"'
                    )
                sizes[name] = status.st_size
    except OSError as error:
        raise HarnessError(
            f"{error.filename or folder}: {error.strerror}; check the path given as data"
        ) from error
    return Files(folder, sizes, partial(read_file, folder))


def read_file(folder: Path, name: str) -> bytes:
    """The content of a file below ``folder``: the ``read`` of Files that lie there."""
    return (folder / name).read_bytes()


def list_zip(path: Path) -> Files:
    """List the patches in a zip without unpacking it; names keep their last two parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except DAMAGED_ZIP as error:
        raise HarnessError(
            f"{path}: not a whole zip file ({error}); download it again or remove it"
        ) from error
    found: dict[tuple[str, ...], zipfile.ZipInfo] = {}
    for info in infos:
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

    return Files(
        path, {name: info.file_size for name, info in members.items()}, _Zip(path, members)
    )


class _Zip:
    """Reads members of a zip, also in other processes that it is sent to or inherited by.

    Each process opens the zip itself: one that several share has one position in all of them.
    """

    def __init__(self, path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self.path = path
        self.members = members
        self.archives: dict[int, zipfile.ZipFile] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _Zip, (self.path, self.members)

    def __call__(self, name: str) -> bytes:
        process = os.getpid()
        try:
            if process not in self.archives:
                self.archives[process] = zipfile.ZipFile(self.path)
            return self.archives[process].read(self.members[name])
        except DAMAGED_ZIP as error:
            raise HarnessError(
                f"{self.path}: {name} inside is damaged ({error}); download the zip again"
            ) from error


def decode(
    data: bytes,
    name: str,
    shape: tuple[int, int] | None,
    resize: bool = False,
    advice: str = "remove the file and run again",
) -> NDArray[np.uint8]:
    """Decode one image file to uint8 RGB (H, W, 3).

    A gray image gets three equal channels; an alpha channel is left out, so that a transparent
    pixel has the color stored under it. Raises HarnessError when OpenCV cannot read the bytes, when
    the image has more than 8 bits a channel (how many of them are used is not known), or when it
    is not of ``shape`` (H, W). With ``resize`` it is brought to that shape instead: by averaging
    where it shrinks in both directions, else by bilinear interpolation. ``advice`` is what to do
    about an image of another shape.
    """
    import cv2

    # OpenCV's own complaints do not name the file; ours does. OpenCV 5 moved the function.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_log_level(0)
    buffer = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if data else None
    except cv2.error:  # such as more pixels than OpenCV reads
        image = None
    if image is None:
        raise HarnessError(
            f"{name}: cannot be read as an image (truncated, not of 8 bits a channel, or no "
            "image at all); replace or remove the file and run again"
        )
    if image.dtype != np.uint8:
        raise HarnessError(
            f"{name}: has {8 * image.itemsize} bits a channel; convert it to 8 bits and run again"
        )
    if shape is not None and image.shape[:2] != shape:
        if not resize:
            raise HarnessError(
                f"{name}: is {image.shape[1]}x{image.shape[0]} pixels where {shape[1]}x{shape[0]} "
                f"are expected; {advice}"
            )
        shrinks = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, shape[::-1], interpolation=how)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class FileSplit:
    """A Split over files named ``<CLASS>/<file>``, or over those that ``labels`` names.

    ``shape`` is the (H, W) that every patch must have, that of the first if None; with ``resize``
    patches are brought to it. An id is ``prefix`` and the file's name, without its suffix where
    that leaves no two the same. ``labels`` maps names in ``files`` to indices into ``classes``, for
    files that do not lie in class folders. ``advice`` is what to do about a patch of another shape.
    Raises HarnessError for an unknown class folder, a file that is no image by its suffix, or when
    there is no patch at all.
    """

    def __init__(
        self,
        files: Files,
        classes: Sequence[str],
        shape: tuple[int, int] | None,
        prefix: str,
        *,
        resize: bool = False,
        labels: Mapping[str, int] | None = None,
        advice: str = "remove the file and run again",
    ) -> None:
        self.files = files
        self.resize = resize
        self.advice = advice
        self.listed = labels is not None
        numbers = _class_folders(files, classes) if labels is None else labels
        if not numbers:
            raise HarnessError(
                f"{files.origin}: holds no patches in class folders; unpack it again"
            )
        self.names = sorted(numbers)
        self.labels = np.array([numbers[name] for name in self.names], np.int64)
        bare = [str(PurePosixPath(name).with_suffix("")) for name in self.names]
        own = bare if len(set(bare)) == len(bare) else self.names
        self.ids = [f"{prefix}/{name}" for name in own]
        if shape is None:
            first = decode(self._bytes(0), f"{files.origin}/{self.names[0]}", None)
            shape = (first.shape[0], first.shape[1])
        self.shape = shape

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every name and size, and of the content of 32 files spread over the list.

        Reading all of 12 GB for it would cost minutes at every start. A folder and a zip of the
        same files have the same fingerprint.
        """
        digest = hashlib.sha256()
        for id_, name, label in zip(self.ids, self.names, self.labels, strict=True):
            listed = f"\0{label}" if self.listed else ""
            digest.update(f"{id_}\0{name}\0{self.files.sizes[name]}{listed}\n".encode())
        if self.resize:
            digest.update(f"resized to {self.shape}\n".encode())
        spread = np.linspace(0, len(self.names) - 1, FINGERPRINT_FILES).astype(int)
        for index in np.unique(spread):
            digest.update(self._bytes(int(index)))
        return digest.hexdigest()

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Decode some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        images = np.empty((len(indices), *self.shape, 3), np.uint8)
        for row, index in enumerate(indices):
            name = f"{self.files.origin}/{self.names[index]}"
            images[row] = decode(self._bytes(index), name, self.shape, self.resize, self.advice)
        return images

    def _bytes(self, index: int | np.int64) -> bytes:
        try:
            return self.files.read(self.names[index])
        except OSError as error:
            raise HarnessError(
                f"{self.files.origin}/{self.names[index]}: {error.strerror}; "
                "check the disk or remove the file"
            ) from error


def _class_folders(files: Files, classes: Sequence[str]) -> dict[str, int]:
    """The label of each file by its class folder."""
    number = {name: label for label, name in enumerate(classes)}
    labels = {}
    for name in files.sizes:
        class_name = name.partition("/")[0]
        if class_name not in number:
            near = alike(class_name, classes)
            meant = f"did you mean {quoted(near[0], [class_name])}? " if near else ""
            raise HarnessError(
                f"{files.origin}: unknown class folder {class_name!r}; "
                f"the classes are {', '.join(classes)}; {meant}remove or rename the folder"
            )
        check_suffix(f"{files.origin}/{name}")
        labels[name] = number[class_name]
    return labels


def check_suffix(name: str) -> None:
    """Raise HarnessError when a file's name is not one of an image."""
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        raise HarnessError(f"{name}: not an image file; remove it and run again")
