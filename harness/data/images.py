"""One image file to pixels: the same in every format, or an error that says what is different."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import files, tiff
from harness.errors import HarnessError

WANTED = "a PNG, JPEG, TIFF, WebP or BMP image"
DECODED = 2
"""Raise it when files decode to other pixels than before, so that results are computed anew."""

JPEG_DAMAGE = re.compile(
    r"Corrupt JPEG data(?!: \d+ extraneous bytes before marker 0xd9)[^\n]*"
    r"|Premature end of JPEG file"
)
"""What libjpeg prints of data that it decodes all the same, to gray or to wrong colors. It does not
say in which file. Bytes after the last pixel (before 0xd9) do no harm."""


def decode(
    data: bytes,
    name: str,
    shape: tuple[int, int] | None,
    resize: bool = False,
    advice: str = "remove the file and run again",
) -> NDArray[np.uint8]:
    """Decode one image file (PNG, JPEG, TIFF, WebP or BMP) to uint8 RGB (H, W, 3).

    Pixels are taken as they are stored: an orientation (of EXIF or TIFF) is not applied, nor is an
    ICC profile or a gamma; an alpha channel is left out, so that a transparent pixel has the color
    stored under it. A gray image gets three equal channels. Raises HarnessError, which names
    ``name``, for what has no such pixels or is cut short: more than 8 bits a channel, signed or
    floating-point numbers, CMYK or Lab colors, colors multiplied by alpha, several pages or frames;
    for what would take more memory than ``harness.data.files.most_bytes``; and for an image that is
    not of ``shape`` (H, W). With ``resize`` it is brought to that shape instead: by averaging where
    it shrinks in both directions, else by bilinear interpolation. ``advice`` is what to do about an
    image of another shape.
    """
    import cv2

    kind = files.what_is(data[: files.HEAD])
    check = _CHECKS.get(kind.name)
    if check is None:
        if kind.group == "image":
            raise HarnessError(f"{name}: not {WANTED}: it is {kind.name}; convert it to PNG")
        raise HarnessError(f"{name}: cannot be read as an image: it is {kind.name}; {kind.fix}")
    try:
        width, height, data, darkened = check(data)
    except ValueError as error:
        raise HarnessError(f"{name}: {error}") from error
    except (struct.error, IndexError):  # it ends within its header
        width, height, darkened = 0, 0, False
    taken = f"is an image of {width}x{height} pixels, which take"
    files.check_size(name, 3 * width * height, taken)
    image = _decode(data, cv2.IMREAD_COLOR) if width and height else None
    if image is None or image.shape != (height, width, 3) or image.dtype != np.uint8:
        raise HarnessError(
            f"{name}: cannot be read as an image (cut short, damaged, or of a rare kind); replace "
            "or remove the file and run again"
        )
    if darkened and not _opaque(_decode(data, cv2.IMREAD_UNCHANGED)):
        raise HarnessError(
            f"{name}: has colors that are multiplied by its alpha channel (associated alpha), so "
            "the colors themselves are not known; save it without alpha"
        )
    if shape is not None and (height, width) != shape:
        if not resize:
            raise HarnessError(
                f"{name}: is {width}x{height} pixels where {shape[1]}x{shape[0]} are expected; "
                f"{advice}"
            )
        image = resized(image, shape)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def resized(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """An image (H, W, 3) brought to a shape (H, W): by averaging where it shrinks in both
    directions, else by bilinear interpolation."""
    import cv2

    shrinks = image.shape[0] >= shape[0] and image.shape[1] >= shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=how))


def _decode(data: bytes, color: int) -> NDArray[Any] | None:
    """Decode by OpenCV to BGR or gray, as the pixels are stored; None if it cannot."""
    import cv2

    # OpenCV's own complaints do not name the file; ours does. OpenCV 5 moved the function.
    set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_log_level(0)
    flags = color | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return image


def _opaque(image: NDArray[Any] | None) -> bool:
    """Whether an image has an alpha channel that is 255 everywhere."""
    return (
        image is not None
        and image.ndim == 3
        and image.shape[2] == 4
        and bool((image[..., 3] == 255).all())
    )


Checked = tuple[int, int, bytes, bool]
"""Width, height, the bytes to decode, and whether colors are multiplied by an alpha channel."""


def _png(data: bytes) -> Checked:
    width, height, depth = struct.unpack_from(">IIB", data, 16)
    _check_depth(depth)
    place, kind = 8, b""
    while kind != b"IDAT":
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"acTL":
            raise ValueError("is an animated PNG image; save one of its frames")
        place += 12 + length
    return width, height, data, False


def _jpeg(data: bytes) -> Checked:
    place, marker, width, height = 2, 0, 0, 0
    while marker != 0xDA:  # where the pixels begin
        if (place := data.find(b"\xff", place)) < 0:
            raise IndexError
        while (marker := data[place]) == 0xFF:
            place += 1
        place += 1
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            depth, height, width, channels = struct.unpack_from(">BHHB", data, place + 2)
            _check_depth(depth)
            if channels not in (1, 3):
                colors = "CMYK" if channels == 4 else f"{channels} channels"
                raise ValueError(
                    f"is a JPEG image in {colors}, which has no one meaning in RGB; convert it to "
                    "RGB"
                )
        if marker == 0xE2 and data[place + 2 : place + 6] == b"MPF\0":
            raise ValueError("is a JPEG file of several images (MPO); save one of them")
        if marker > 1 and marker not in range(0xD0, 0xD9):  # those have no length
            place += struct.unpack_from(">H", data, place)[0]
    if data.rfind(b"\xff\xd9", place) < 0:
        raise ValueError("cannot be read as an image: the JPEG file is cut short; get it again")
    return width, height, data, False


def _webp(data: bytes) -> Checked:
    kind, flags = data[12:16], data[20]
    if kind == b"VP8X":
        if flags & 2:
            raise ValueError("is an animated WebP image; save one of its frames")
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width, height, data, False


def _bmp(data: bytes) -> Checked:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    if size >= 40:
        bits, compression = struct.unpack_from("<HI", data, 28)
        # OpenCV takes masks of 32 bits for those of blue, green and red if the header is short.
        taken = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
        if (bits, compression) == (32, 3) and size < 108 and data[54:66] != taken:
            raise ValueError(
                "is a BMP image with channels in another order than blue, green, red; convert it "
                "to PNG"
            )
    return width, abs(height), data, False  # negative where the first row is the top one


def _tiff(data: bytes) -> Checked:
    found = tiff.check(data)
    return found.width, found.height, found.data, found.darkened


def _check_depth(bits: int) -> None:
    if bits > 8:
        raise ValueError(f"has {bits} bits a channel; convert it to 8 bits and run again")


_CHECKS: dict[str, Callable[[bytes], Checked]] = {
    "a PNG image": _png,
    "a JPEG image": _jpeg,
    "a TIFF image": _tiff,
    "a WebP image": _webp,
    "a BMP image": _bmp,
}
