"""What the tags of a TIFF say of its pixels. OpenCV alone would read some TIFFs as other pixels.

The tags are those of TIFF 6.0 (Adobe, 1992) and its supplements, and of BigTIFF.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass, field

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
ORIENTATION, SAMPLES, TILE_WIDTH, SUB_IFDS, EXTRA, FORMAT = 274, 277, 322, 330, 338, 339
DEPTH, STACK = 32997, 33629
TAGS = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION}
TAGS |= {ORIENTATION, SAMPLES, TILE_WIDTH, SUB_IFDS, EXTRA, FORMAT, DEPTH, STACK}
GRAY, RGB, PALETTE, YCBCR = (0, 1), 2, 3, 6
ASSOCIATED, UNASSOCIATED = 1, 2

MOST_PAGES, MOST_VALUES, LONGEST = 1000, 64, 1 << 20
JPEG = 7
COMPRESSIONS = {1, 5, JPEG, 8, 32773, 32946}
"""None, LZW, JPEG, Deflate and PackBits, which every OpenCV decodes. Of some others it makes an
image of nothing."""
FAX = {2, 3, 4}
"""Compressions of black and white images."""
COLORS = {
    **{0: "gray", 1: "gray", RGB: "RGB", PALETTE: "palette", 4: "mask", 5: "CMYK", YCBCR: "YCbCr"},
    **{8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "color filter array", 34892: "raw"},
}
NUMBERS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers", 6: "complex"}
CHANNELS = {0: 1, 1: 1, RGB: 3, PALETTE: 1, YCBCR: 3}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_SINGLE = {3: 16, 4: 32}
"""Bits of the types SHORT and LONG, which most tags have."""


def _layout(order: str, *codes: str) -> tuple[str, struct.Struct, struct.Struct, struct.Struct]:
    offset, count, entry = (struct.Struct(order + code) for code in codes)
    return order, offset, count, entry


_LAYOUTS = {
    b"II*\0": _layout("<", "I", "H", "HHII"),
    b"MM\0*": _layout(">", "I", "H", "HHII"),
    b"II+\0": _layout("<", "Q", "Q", "HHQQ"),
    b"MM\0+": _layout(">", "Q", "Q", "HHQQ"),
}
"""By the first bytes: the byte order, and how an offset, a number of tags and a tag are packed."""


@dataclass
class Page:
    """The tags of one page, and of each where its value lies and its code for ``struct``."""

    values: dict[int, tuple[int, ...]] = field(default_factory=dict)
    places: dict[int, tuple[int, str]] = field(default_factory=dict)
    description: str = ""

    def get(self, tag: int, default: int = 0) -> int:
        """The first value of a tag, most often the only one."""
        return self.values.get(tag, (default,))[0]

    @property
    def colors(self) -> str:
        """What its channels are."""
        photometric = self.get(PHOTOMETRIC, -1)
        return COLORS.get(photometric, f"photometric interpretation {photometric}")


@dataclass(frozen=True)
class Tiff:
    """A TIFF of one page: its size, and the bytes from which OpenCV decodes the pixels as stored.

    ``darkened`` tells that it has an alpha channel by which its colors are multiplied.
    """

    width: int
    height: int
    data: bytes
    darkened: bool


def check(data: bytes) -> Tiff:
    """Check that a TIFF is one page of 8 bits a channel, gray, RGB or with a palette.

    Raises ValueError, whose message says what it is instead and what to do.
    """
    try:
        order, pages = _pages(data)
    except struct.error as error:
        raise ValueError(
            "cannot be read as an image: the TIFF is cut short or damaged; get it again"
        ) from error
    page = pages[0]
    _check_pages(pages)
    _check_channels(page)
    changes = {}
    if page.get(ORIENTATION, 1) != 1:  # pixels are read as they are stored, in every format
        changes[ORIENTATION] = 1
    if page.get(EXTRA) == UNASSOCIATED:  # OpenCV would multiply the colors by it
        changes[EXTRA] = ASSOCIATED
    if changes:
        changed = bytearray(data)
        for tag, value in changes.items():
            place, code = page.places[tag]
            struct.pack_into(order + code, changed, place, value)
        data = bytes(changed)
    return Tiff(page.get(WIDTH), page.get(HEIGHT), data, page.get(EXTRA) == ASSOCIATED)


def _pages(data: bytes) -> tuple[str, list[Page]]:
    """The byte order, and the pages of a file in order. Raises struct.error where it ends early."""
    if (layout := _LAYOUTS.get(data[:4])) is None:
        raise struct.error("no TIFF")
    order, number, count, entry = layout
    (start,) = number.unpack_from(data, number.size)
    seen: set[int] = set()
    pages: list[Page] = []
    while start and start not in seen and len(pages) < MOST_PAGES:
        seen.add(start)
        (n,) = count.unpack_from(data, start)
        first = start + count.size
        end = first + n * entry.size
        if end > len(data):
            raise struct.error("the tags go beyond the end")
        pages.append(page := Page())
        values, place = page.values, first - number.size
        for tag, kind, many, value in entry.iter_unpack(data[first:end]):
            place += entry.size
            if tag not in TAGS or tag in values:
                continue
            if many == 1 and (bits := _SINGLE.get(kind)):  # it stands here, at the left
                values[tag] = (
                    value & (1 << bits) - 1 if order == "<" else value >> 8 * number.size - bits,
                )
                page.places[tag] = place, _CODES[kind]
            else:
                _read(page, data, order, (tag, kind, many), place, number)
        (start,) = number.unpack_from(data, end)
    if not pages:
        raise struct.error("no page")
    return order, pages


def _read(
    page: Page,
    data: bytes,
    order: str,
    entry: tuple[int, int, int],
    place: int,
    number: struct.Struct,
) -> None:
    """Read the value of one tag, which lies at ``place`` or, if it is long, where that points."""
    tag, kind, many = entry
    if tag == STACK:  # of MetaMorph: as many images as values
        page.values[tag] = (many,)
        return
    code = "s" if tag == DESCRIPTION else _CODES.get(kind)
    if code is None or not many:
        return
    form = f"{order}{min(many, LONGEST if code == 's' else MOST_VALUES)}{code}"
    if many * struct.calcsize(f"={code}") > number.size:
        (place,) = number.unpack_from(data, place)
    value = struct.unpack_from(form, data, place)
    if code == "s":
        page.description = value[0].split(b"\0")[0].decode("utf-8", "replace")
        value = ()
    page.values[tag] = value
    page.places[tag] = place, code


def _check_pages(pages: list[Page]) -> None:
    """Raise ValueError where there is more than one image."""
    fix = "save each patch as one page with all channels in it"
    if len(pages) > 1:
        n = f"{len(pages)} or more" if len(pages) == MOST_PAGES else len(pages)
        shown = [f"{p.get(WIDTH)}x{p.get(HEIGHT)} {p.colors}" for p in pages[:5]]
        more = ", ..." if len(pages) > 5 else ""
        raise ValueError(f"is a TIFF image of {n} pages ({', '.join(shown)}{more}); {fix}")
    page = pages[0]
    if inside := len(page.values.get(SUB_IFDS, ())):
        raise ValueError(
            f"is a TIFF image with {inside} more inside its page, as pyramids have (SubIFDs); {fix}"
        )
    planes = max(page.get(DEPTH, 1), page.get(STACK, 1), _planes(page))
    if planes > 1:
        raise ValueError(
            f"is a TIFF image of 1 page that is one of {planes:,} planes or channels, as its "
            f"metadata say; {fix}"
        )


def _planes(page: Page) -> int:
    """How many planes an image has by the description that programs leave in its first page.

    Those of ImageJ, tifffile and OME need not each have a page of their own in this file.
    """
    text = page.description
    if text.startswith("ImageJ="):
        found = re.search(r"^images=(\d{1,9})", text, re.MULTILINE)
        return int(found[1]) if found else 1
    if text.startswith('{"shape"'):
        try:
            shape = [int(n) for n in json.loads(text)["shape"]]
        except (ValueError, KeyError, TypeError):
            return 1
        own = page.get(WIDTH) * page.get(HEIGHT) * page.get(SAMPLES, 1)
        return math.prod(shape) // max(1, own)
    if "<OME" not in text and ":OME" not in text:
        return 1
    planes = 0
    for pixels in re.split(r"<(?:\w+:)?Pixels\b", text)[1:]:
        sizes = {axis: int(n) for axis, n in re.findall(r'\bSize([CZT])\s*=\s*"(\d{1,9})"', pixels)}
        channels = len(re.findall(r"<(?:\w+:)?Channel\b", pixels)) or -(
            -sizes.get("C", 1) // max(1, page.get(SAMPLES, 1))
        )
        planes += channels * sizes.get("Z", 1) * sizes.get("T", 1)
    return planes


def _check_channels(page: Page) -> None:
    """Raise ValueError for what OpenCV reads otherwise than meant, or not in every version."""
    numbers, bits = page.values.get(FORMAT, (1,)), page.values.get(BITS, (1,))
    photometric, samples = page.get(PHOTOMETRIC, -1), page.get(SAMPLES, 1)
    compression = page.get(COMPRESSION, 1)
    for number in numbers:
        if number not in (1, 4):  # 4: not known, as it was before there was this tag
            raise ValueError(
                f"is a TIFF image of {NUMBERS.get(number, 'unknown numbers')}, {max(bits)} bits "
                "each, where unsigned integers of 8 bits (0 to 255) are expected; convert it"
            )
    bilevel = max(bits) == 1 and photometric in GRAY and samples == 1
    if not bilevel and (max(bits) != 8 or min(bits) != 8):
        raise ValueError(f"has {max(bits)} bits a channel; convert it to 8 bits and run again")
    own = CHANNELS.get(photometric)
    if own is None or (photometric == YCBCR and compression != JPEG):
        raise ValueError(
            f"is a TIFF image in {page.colors}, which has no one meaning in RGB; convert it to RGB"
        )
    alpha = samples == own + 1 and (
        photometric == RGB or page.get(EXTRA) in (ASSOCIATED, UNASSOCIATED)
    )
    if samples != own and (not alpha or photometric == PALETTE):
        raise ValueError(
            f"is a TIFF image in {page.colors} of {samples} channels, where {own} (or one more for "
            "alpha) can be read; convert it to RGB"
        )
    if alpha and photometric in GRAY and page.get(TILE_WIDTH):  # which libtiff mixes up
        raise ValueError(
            "is a TIFF image in gray with alpha, in tiles, which cannot be read; save it without "
            "alpha or tiles"
        )
    if compression not in (FAX | COMPRESSIONS if bilevel else COMPRESSIONS):
        raise ValueError(
            f"is a TIFF image in a compression (number {compression}) that cannot be read; save it "
            "with LZW, Deflate or none"
        )
