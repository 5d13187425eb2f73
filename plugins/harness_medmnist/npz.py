"""A split of an ``.npz`` of MedMNIST whose images stay on disk."""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from harness import HarnessError
from harness.data import files, zips
from harness.data.copies import make_once
from harness.system.progress import progress

if TYPE_CHECKING:
    from harness.types.datasets import Indices

CHUNK = 1 << 22
_LOCK = Lock()
"""So that of several threads one makes the copy."""
_CHECKED: set[tuple[Path, str, int, int]] = set()
"""Arrays that match their checksum: file, array, the file's size and time of the last change."""


class NpzSplit:
    """The arrays ``<part>_images``, uint8 (N, H, W, 3), and ``<part>_labels``, (N, 1), of a file.

    Only the labels are read at once. Images that the file stores uncompressed are memory-mapped
    where they are; compressed ones, which cannot be read at random, are decompressed into an
    ``.npy`` beside the file when the first patch is read. Raises HarnessError when the file or one
    of the arrays is not as it should be.
    """

    def __init__(self, path: Path, part: str, shape: tuple[int, int], n_classes: int) -> None:
        self.path = path
        self.array = f"{part}_images"
        images, labels = self._member(self.array), self._member(f"{part}_labels")
        with self._open(labels) as file:
            self.labels = self._labels(file, f"{part}_labels", n_classes)
        wanted = (len(self.labels), *shape, 3)
        with self._open(images) as file:
            found, fortran, dtype = _header(file)
            self.start = file.tell()  # of the pixels within the member
        if (found, dtype) != (wanted, np.dtype(np.uint8)):
            raise HarnessError(
                f"{path}: the array {self.array} is {dtype} {found} where uint8 {wanted} is "
                "expected; download the file again"
            )
        self.shape = wanted
        self.order: Literal["C", "F"] = "F" if fortran else "C"  # F: of MATLAB and the like
        if images.file_size != self.start + int(np.prod(wanted)):
            raise self._damaged(self.array, "its length is wrong")
        self.images = images
        self.ids = [f"{part}/{number:06}" for number in range(len(self.labels))]
        parts = [f"{info.CRC:08x} {info.file_size}" for info in (images, labels)]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the images itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_mapped"}

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Some patches: uint8 RGB, shape (len(indices), H, W, 3)."""
        with _LOCK:
            mapped = self._mapped
        return np.array(mapped[np.asarray(indices, np.int64)], order="C")

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
            return np.memmap(path, np.uint8, "r", start + self.start, self.shape, self.order)
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
            raise self._damaged(self.array, "no header")
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
            raise self._damaged(self.array, "it is cut short" if left else found)
        _CHECKED.add(state)

    def _decompress(self, out: BinaryIO) -> None:
        total = -(-self.images.file_size // CHUNK)
        label = f"unpacking {self.array}, 4 MB each"
        for chunk in progress(self._chunks(), total=total, label=label):
            out.write(chunk)

    def _chunks(self) -> Iterator[bytes]:
        with self._open(self.images) as file:
            yield from iter(partial(file.read, CHUNK), b"")

    def _member(self, array: str) -> zipfile.ZipInfo:
        with zips.opened(self.path, ".npz file") as archive:
            members = zips.members(self.path, archive)
        if (f"{array}.npy",) not in members:
            raise HarnessError(f"{self.path}: has no array {array}; download the file again")
        return members[f"{array}.npy",]

    @contextmanager
    def _open(self, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        """A member to read from; what is wrong with it becomes a HarnessError."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                yield file
        except zips.DAMAGED_ZIP as error:
            raise self._damaged(member.filename.removesuffix(".npy"), error) from error

    def _labels(self, file: IO[bytes], array: str, n_classes: int) -> NDArray[np.int64]:
        shape, _, dtype = _header(file)
        if len(shape) != 2 or shape[1] != 1 or dtype.kind not in "iu" or not shape[0]:
            raise HarnessError(
                f"{self.path}: the array {array} is {dtype} {shape} where whole numbers (N, 1) are "
                "expected; download the file again"
            )
        size = shape[0] * dtype.itemsize
        files.check_size(f"{self.path}/{array}", size)
        content = file.read(size + 1)
        if len(content) != size:
            raise self._damaged(array, "its length is wrong")
        labels = np.frombuffer(content, dtype)
        if labels.min() < 0 or labels.max() >= n_classes:
            raise HarnessError(
                f"{self.path}: the array {array} has labels from {labels.min()} to {labels.max()} "
                f"where 0 to {n_classes - 1} are expected; download the file again"
            )
        return labels.astype(np.int64)

    def _damaged(self, array: str, why: object) -> HarnessError:
        return HarnessError(
            f"{self.path}: the array {array} is damaged ({why}); download the file again"
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype
