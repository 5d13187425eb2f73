"""A split of an ``.npz`` in the layout of MedMNIST, whose images stay on disk."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from harness.data import files, zips
from harness.data.copies import make_once
from harness.data.images import resized
from harness.errors import HarnessError, one_line
from harness.system.progress import progress

if TYPE_CHECKING:
    from harness.types.datasets import Indices

CHUNK = 1 << 22
AGAIN = "download the file again"
TEXTS = "iuUS"
"""Kinds of arrays of numpy that hold whole numbers or texts."""
_LOCK = Lock()
"""So that of several threads one makes the copy."""
_CHECKED: set[tuple[Path, str, int, int]] = set()
"""Arrays that match their checksum: file, array, the file's size and time of the last change."""


class NpzSplit:
    """The arrays ``<part>_images``, uint8 (N, H, W, 3), and ``<part>_labels``, (N,) or (N, 1).

    Only the labels are read at once. Images that the file stores uncompressed are memory-mapped
    where they are; compressed ones, which cannot be read at random, are decompressed into an
    ``.npy`` beside the file when the first patch is read. ``shape`` is the (H, W) that patches must
    have, any if None; with ``resize`` they are brought to it. ``arrays`` are the names of the two
    arrays, if they are others. Patches are called ``<part>/`` and what ``names`` says, by default
    their number. ``fix`` is what to do about a file that is not right, and ``advice``, if another,
    about patches of another shape. Raises HarnessError when the file or one of the arrays is not as
    it should be.
    """

    def __init__(
        self,
        path: Path,
        part: str,
        shape: tuple[int, int] | None,
        n_classes: int,
        *,
        resize: bool = False,
        arrays: tuple[str, str] | None = None,
        names: Sequence[str] | None = None,
        fix: str = AGAIN,
        advice: str = "",
    ) -> None:
        self.path = path
        self.fix = fix
        self.array, named = arrays or (f"{part}_images", f"{part}_labels")
        images, labels = member(path, self.array, fix), member(path, named, fix)
        self.labels = whole_numbers(path, named, fix)
        if self.labels.min() < 0 or self.labels.max() >= n_classes:
            raise HarnessError(
                f"{path}: the array {named} has labels from {self.labels.min()} to "
                f"{self.labels.max()} where 0 to {n_classes - 1} are expected; {fix}"
            )
        with _open(path, images, fix) as file:
            found, fortran, dtype = _header(file)
            self.start = file.tell()  # of the pixels within the member
        own = found[1:3] if len(found) == 4 and 0 not in found else None
        sides = own if shape is None or resize else shape
        wanted = (len(self.labels), *(sides or ()), 3)
        if (found, dtype) != (wanted, np.dtype(np.uint8)):
            alike = len(found) == 4 and (found[0], found[3]) == (wanted[0], 3)
            sizes_alone = dtype == np.uint8 and alike
            expected = str(wanted) if sides else f"({len(self.labels)}, height, width, 3)"
            raise HarnessError(
                f"{path}: the array {self.array} is {dtype} {found} where uint8 {expected} is "
                f"expected; {advice if sizes_alone and advice else fix}"
            )
        self.stored = wanted
        self.shape = (len(self.labels), *(shape or wanted[1:3]), 3)
        self.order: Literal["C", "F"] = "F" if fortran else "C"  # F: of MATLAB and the like
        if images.file_size != self.start + int(np.prod(wanted)):
            raise _damaged(path, self.array, "its length is wrong", fix)
        files.check_size(f"{path}/{self.array}", int(np.prod(self.shape[1:])), "has patches of")
        self.images = images
        called = names or [f"{number:06}" for number in range(len(self.labels))]
        self.ids = [f"{part}/{name}" for name in called]
        parts = [f"{info.CRC:08x} {info.file_size}" for info in (images, labels)]
        parts += names or ()
        if self.shape != self.stored:
            parts.append(f"resized to {self.shape[1:3]}")
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the images itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        with _LOCK:
            mapped = self._mapped
        chosen = np.asarray(indices, np.int64)
        if self.shape == self.stored:
            return np.array(mapped[chosen], order="C")
        images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for row, index in zip(images, chosen, strict=True):
            row[:] = resized(np.array(mapped[index], order="C"), row.shape[:2])
        return images

    @cached_property
    def _mapped(self) -> NDArray[np.uint8]:
        path, start = self.path, 0
        if self.images.compress_type == zipfile.ZIP_STORED:
            start = self._offset()
            self._check(path, start)
        else:
            # The checksum in its name ties the copy to this very array.
            path = self.path.with_name(f"{self.path.stem}.{self.array}.{self.images.CRC:08x}.npy")
            make_once(path, self.images.file_size, self._decompress)
        try:
            return np.memmap(path, np.uint8, "r", start + self.start, self.stored, self.order)
        except (OSError, ValueError) as error:
            raise HarnessError(
                f"{path}: cannot be read as the array {self.array} ({error}); remove it and run "
                "again"
            ) from error

    def _offset(self) -> int:
        """Where a member that is stored as it is begins: after its own header in the file."""
        with self.path.open("rb") as file:
            file.seek(self.images.header_offset)
            header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise _damaged(self.path, self.array, "no header", self.fix)
        name, extra = struct.unpack("<HH", header[26:30])
        return self.images.header_offset + 30 + int(name) + int(extra)

    def _check(self, path: Path, start: int) -> None:
        """Compare an array that is stored as it is with the checksum that the zip has of it.

        Nobody else does: a map reads past the zip. The whole array is read, once in each process.
        """
        status = path.stat()
        state = path.absolute(), self.array, status.st_size, status.st_mtime_ns
        if state in _CHECKED:
            return
        total = -(-self.images.file_size // CHUNK)
        crc, left = 0, self.images.file_size
        with path.open("rb") as file:
            file.seek(start)
            for _ in progress(range(total), total=total, label=f"checking {self.array}, 4 MB each"):
                chunk = file.read(min(CHUNK, left))
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
        if left or crc != self.images.CRC:
            found = f"its checksum is {crc:08x}, {self.images.CRC:08x} is expected"
            why = "it is cut short" if left else found
            raise _damaged(self.path, self.array, why, self.fix)
        _CHECKED.add(state)

    def _decompress(self, out: BinaryIO) -> None:
        total = -(-self.images.file_size // CHUNK)
        label = f"unpacking {self.array}, 4 MB each"
        for chunk in progress(self._chunks(), total=total, label=label):
            out.write(chunk)

    def _chunks(self) -> Iterator[bytes]:
        with _open(self.path, self.images, self.fix) as file:
            yield from iter(partial(file.read, CHUNK), b"")


def arrays_in(path: Path) -> list[str]:
    """The names of the arrays in a file. Raises HarnessError when it is no ``.npz``."""
    with zips.opened(path, ".npz file") as archive:
        found = zips.members(path, archive)
    names = [parts[0] for parts in found if len(parts) == 1]
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def member(path: Path, array: str, fix: str = AGAIN) -> zipfile.ZipInfo:
    """An array in a file. Raises HarnessError when it is not there."""
    with zips.opened(path, ".npz file") as archive:
        members = zips.members(path, archive)
    if (f"{array}.npy",) not in members:
        raise HarnessError(f"{path}: has no array {array}; {fix}")
    return members[f"{array}.npy",]


def whole_numbers(path: Path, array: str, fix: str = AGAIN) -> NDArray[np.int64]:
    """An array of labels, (N,) or (N, 1), as int64 (N,). Raises HarnessError."""
    values = _small(path, array, "iu", "whole numbers", fix)
    if values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
        raise HarnessError(f"{path}: the array {array} has the label {values.max()}; {fix}")
    return values.astype(np.int64)


def texts(path: Path, array: str, fix: str = AGAIN) -> list[str]:
    """An array of names, texts or whole numbers, (N,) or (N, 1). Raises HarnessError."""
    values = _small(path, array, TEXTS, "texts or whole numbers", fix)
    if values.dtype.kind != "S":
        return list(map(str, values.tolist()))
    try:
        return [text.decode("utf-8") for text in values.tolist()]
    except UnicodeDecodeError as error:
        raise HarnessError(
            f"{path}: the array {array} has bytes that are no UTF-8; {fix}"
        ) from error


def _small(path: Path, array: str, kinds: str, wanted: str, fix: str) -> NDArray[Any]:
    """A whole array of one of some kinds, (N,). No pickle is loaded."""
    info = member(path, array, fix)
    with _open(path, info, fix) as file:
        shape, _, dtype = _header(file)
        if shape[1:] not in ((), (1,)) or dtype.kind not in kinds or not (shape and shape[0]):
            raise HarnessError(
                f"{path}: the array {array} is {dtype} {shape} where {wanted} (N,) or (N, 1) are "
                f"expected; {fix}"
            )
        size = shape[0] * dtype.itemsize
        if not size:  # texts that are all empty
            return np.zeros(shape[0], dtype)
        files.check_size(f"{path}/{array}", size)
        content = file.read(size + 1)
    if len(content) != size:
        raise _damaged(path, array, "its length is wrong", fix)
    if dtype.kind == "U" and not _are_letters(content, dtype):
        raise _damaged(path, array, "it holds no letters", fix)
    return np.frombuffer(content, dtype)


def _are_letters(content: bytes, dtype: np.dtype[Any]) -> bool:
    """Whether texts as numpy stores them, four bytes a letter, are of letters that exist."""
    codes = np.frombuffer(content, np.dtype("u4").newbyteorder(dtype.byteorder))
    return bool(((codes < 0xD800) | ((codes > 0xDFFF) & (codes < 0x110000))).all())


@contextmanager
def _open(path: Path, info: zipfile.ZipInfo, fix: str) -> Iterator[IO[bytes]]:
    """A member to read from; what is wrong with it becomes a HarnessError."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            yield file
    except zips.DAMAGED_ZIP as error:
        raise _damaged(path, info.filename.removesuffix(".npy"), error, fix) from error


def _damaged(path: Path, array: str, why: object, fix: str) -> HarnessError:
    return HarnessError(f"{path}: the array {array} is damaged ({one_line(str(why))}); {fix}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype
