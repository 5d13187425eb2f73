"""Patches in files: folders, or the same inside a zip, decoded only when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.data.class_folders import (
    SUFFIXES,
    Files,
    list_files,
    list_folder,
    list_zip,
    read_file,
)
from harness.data.images import DECODED, decode
from harness.errors import HarnessError
from harness.text.names import alike, quoted

if TYPE_CHECKING:
    from harness.types.datasets import Indices

__all__ = [
    "DECODED",
    "FileSplit",
    "Files",
    "check_suffix",
    "decode",
    "list_files",
    "list_folder",
    "list_zip",
    "missing",
    "place",
    "read_file",
    "shortfall",
]
FINGERPRINT_FILES = 32


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
        if self.listed:  # names as somebody wrote them, such as a//b.png
            bare = [str(PurePosixPath(name).with_suffix("")) for name in self.names]
        else:
            bare = [name.rpartition(".")[0] for name in self.names]
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
        digest = hashlib.sha256(f"decoded {DECODED}\n".encode())
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

    def file(self, index: int) -> tuple[str, bytes]:
        """Name and content of a patch's file."""
        return self.names[index], self._bytes(index)

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
    labels, where = {}, f"{files.origin}/"
    for name in files.sizes:
        class_name = name.partition("/")[0]
        if class_name not in number:
            near = alike(class_name, classes)
            meant = f"did you mean {quoted(near[0], [class_name])}? " if near else ""
            raise HarnessError(
                f"{files.origin}: unknown class folder {class_name!r}; "
                f"the classes are {', '.join(classes)}; {meant}remove or rename the folder"
            )
        check_suffix(name, where)
        labels[name] = number[class_name]
    return labels


def check_suffix(name: str, where: str) -> None:
    """Raise HarnessError when a file's name is not one of an image; ``where`` goes before it."""
    if "." + name.rpartition(".")[2].lower() not in SUFFIXES:
        raise HarnessError(f"{where}{name}: not an image file; remove it and run again")
