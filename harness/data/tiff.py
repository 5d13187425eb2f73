"""What the tags of a TIFF say of its pixels. OpenCV alone would read some TIFFs as other pixels.

The tags are those of TIFF 6.0 (Adobe, 1992) and its supplements; tifffile reads them.
"""

from __future__ import annotations

import io
import json
import logging
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 258, 259, 262, 274
EXTRA, FORMAT, STACK = 338, 339, 33629
GRAY, RGB, PALETTE, YCBCR = (0, 1), 2, 3, 6
ASSOCIATED, UNASSOCIATED = 1, 2

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


@dataclass(frozen=True)
class Tiff:
    """A TIFF of one page: its size, and the bytes from which OpenCV decodes the pixels as stored.

    ``darkened`` tells that it has an alpha channel by which its colors are multiplied.
    """

    width: int
    height: int
    data: bytes
    darkened: bool


@dataclass(frozen=True)
class _Page:
    """What the tags of one page say."""

    width: int
    height: int
    photometric: int
    compression: int
    orientation: int
    extra: int
    """What the first channel is that is none of color."""
    channels: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    tiled: bool
    inside: int
    """Images inside this page."""
    planes: int
    """How many planes or channels the whole image has, of which this page may be one."""
    places: dict[int, int]
    """Where the values of ORIENTATION and EXTRA lie."""

    @property
    def colors(self) -> str:
        """What its channels are."""
        return COLORS.get(self.photometric, f"photometric interpretation {self.photometric}")


def check(data: bytes) -> Tiff:
    """Check that a TIFF is one page of 8 bits a channel, gray, RGB or with a palette.

    Raises ValueError, whose message says what it is instead and what to do.
    """
    from tifffile import TiffFile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its complaints name no file
    try:
        with TiffFile(io.BytesIO(data)) as file:
            order, pages = file.byteorder, [_page(page) for page in file.pages]
        page = pages[0]
    except Exception as error:  # of many types, by where the damage is
        raise ValueError(
            "cannot be read as an image: the TIFF is cut short or damaged; get it again"
        ) from error
    _check_pages(pages)
    _check_channels(page)
    changes = {}
    if page.orientation != 1:  # pixels are read as they are stored, in every format
        changes[ORIENTATION] = 1
    if page.extra == UNASSOCIATED:  # OpenCV would multiply the colors by it
        changes[EXTRA] = ASSOCIATED
    if changes:
        changed = bytearray(data)
        for tag, value in changes.items():
            struct.pack_into(f"{order}H", changed, page.places[tag], value)
        data = bytes(changed)
    return Tiff(page.width, page.height, data, page.extra == ASSOCIATED)


def _page(page: Any) -> _Page:
    """What matters of a TiffPage. Where tags are damaged, any exception."""
    tags = page.tags

    def every(tag: int, default: int) -> tuple[int, ...]:
        value = tags[tag].value if tag in tags else default
        return tuple(map(int, value if isinstance(value, tuple) else (value,)))

    return _Page(
        width=int(page.imagewidth),
        height=int(page.imagelength),
        photometric=every(PHOTOMETRIC, -1)[0],
        compression=every(COMPRESSION, 1)[0],
        orientation=every(ORIENTATION, 1)[0],
        extra=every(EXTRA, 0)[0],
        channels=int(page.samplesperpixel),
        bits=every(BITS, 1),
        formats=every(FORMAT, 1),
        tiled=bool(page.is_tiled),
        inside=len(page.subifds or ()),
        planes=max(
            int(page.imagedepth),
            tags[STACK].count if STACK in tags else 1,  # of MetaMorph: as many images as values
            _planes(page),
        ),
        places={tag: tags[tag].valueoffset for tag in (ORIENTATION, EXTRA) if tag in tags},
    )


def _planes(page: Any) -> int:
    """How many planes an image has by the description that programs leave in its first page.

    Those of ImageJ, tifffile and OME need not each have a page of their own in this file.
    """
    text = str(page.description)
    if text.startswith("ImageJ="):
        found = re.search(r"^images=(\d{1,9})", text, re.MULTILINE)
        return int(found[1]) if found else 1
    if page.is_shaped:
        try:
            shape = [int(n) for n in json.loads(text)["shape"]]
        except (ValueError, KeyError, TypeError):
            return 1
        own: int = page.imagewidth * page.imagelength * page.samplesperpixel
        return math.prod(shape) // max(1, own)
    if "<OME" not in text and ":OME" not in text:
        return 1
    planes = 0
    for pixels in re.split(r"<(?:\w+:)?Pixels\b", text)[1:]:
        sizes = {axis: int(n) for axis, n in re.findall(r'\bSize([CZT])\s*=\s*"(\d{1,9})"', pixels)}
        channels = len(re.findall(r"<(?:\w+:)?Channel\b", pixels)) or -(
            -sizes.get("C", 1) // max(1, page.samplesperpixel)
        )
        planes += channels * sizes.get("Z", 1) * sizes.get("T", 1)
    return planes


def _check_pages(pages: list[_Page]) -> None:
    """Raise ValueError where there is more than one image."""
    fix = "save each patch as one page with all channels in it"
    if len(pages) > 1:
        shown = [f"{page.width}x{page.height} {page.colors}" for page in pages[:5]]
        more = ", ..." if len(pages) > 5 else ""
        raise ValueError(f"is a TIFF image of {len(pages)} pages ({', '.join(shown)}{more}); {fix}")
    page = pages[0]
    if page.inside:
        raise ValueError(
            f"is a TIFF image with {page.inside} more inside its page, as pyramids have "
            f"(SubIFDs); {fix}"
        )
    if page.planes > 1:
        raise ValueError(
            f"is a TIFF image of 1 page that is one of {page.planes:,} planes or channels, as its "
            f"metadata say; {fix}"
        )


def _check_channels(page: _Page) -> None:
    """Raise ValueError for what OpenCV reads otherwise than meant, or not in every version."""
    bits, photometric, colors = page.bits, page.photometric, page.colors
    channels, compression = page.channels, page.compression
    for number in page.formats:
        if number not in (1, 4):  # 4: not known, as it was before there was this tag
            raise ValueError(
                f"is a TIFF image of {NUMBERS.get(number, 'unknown numbers')}, {max(bits)} bits "
                "each, where unsigned integers of 8 bits (0 to 255) are expected; convert it"
            )
    bilevel = max(bits) == 1 and photometric in GRAY and channels == 1
    if not bilevel and (max(bits) != 8 or min(bits) != 8):
        raise ValueError(f"has {max(bits)} bits a channel; convert it to 8 bits and run again")
    own = CHANNELS.get(photometric)
    if own is None or (photometric == YCBCR and compression != JPEG):
        raise ValueError(
            f"is a TIFF image in {colors}, which has no one meaning in RGB; convert it to RGB"
        )
    alpha = channels == own + 1 and (photometric == RGB or page.extra in (ASSOCIATED, UNASSOCIATED))
    if channels != own and (not alpha or photometric == PALETTE):
        raise ValueError(
            f"is a TIFF image in {colors} of {channels} channels, where {own} (or one more for "
            "alpha) can be read; convert it to RGB"
        )
    if alpha and photometric in GRAY and page.tiled:  # which libtiff mixes up
        raise ValueError(
            "is a TIFF image in gray with alpha, in tiles, which cannot be read; save it without "
            "alpha or tiles"
        )
    if compression not in (FAX | COMPRESSIONS if bilevel else COMPRESSIONS):
        raise ValueError(
            f"is a TIFF image in a compression (number {compression}) that cannot be read; save it "
            "with LZW, Deflate or none"
        )
