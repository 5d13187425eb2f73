"""Image files of every format and variant: the same pixels from all, or an error that names one."""

import io
import json
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from harness import HarnessError
from harness.data.patches import decode

NAME = "set/A/one"
RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (24, 40, 3), np.uint8)
ALPHA = RNG.integers(0, 255, (24, 40), np.uint8)


def pillow(image, kind, **options):
    """A file of the pixels of an array, or of a Pillow image."""
    out = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(out, kind, **options)
    return out.getvalue()


def tiff(*pages, **options):
    """A TIFF with a page an array."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out, **options.pop("file", {})) as writer:
        for page in pages:
            writer.write(np.ascontiguousarray(page), **options)
    return out.getvalue()


def png(depth, color_type, rows, *chunks):
    """A PNG of rows of bytes, with further chunks before its pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    width = 8 * len(rows[0]) // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type])
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def read_or_said(data):
    """What is said, and the pixels or None."""
    try:
        return f"{NAME}: read", decode(data, NAME, None)
    except HarnessError as error:
        return str(error), None


def channels(color, alpha, mode):
    """The array that holds a mode, and the pixels that it should be read as."""
    gray = np.dstack([color[..., 0]] * 3)
    return {
        "L": (color[..., 0], gray),
        "RGB": (color, color),
        "LA": (np.dstack([color[..., 0], alpha]), gray),
        "RGBA": (np.dstack([color, alpha]), color),
    }[mode]


MODES = ("L", "RGB", "LA", "RGBA")
PILLOW = [
    *(("PNG", mode, {}) for mode in MODES),
    *(("WEBP", mode, {"lossless": True, "exact": True}) for mode in MODES),
    *(("BMP", mode, {}) for mode in ("L", "RGB", "RGBA")),
    *(
        ("TIFF", mode, {"compression": how})
        for mode in MODES
        for how in (None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
    ),
]
ORDERS = [{"byteorder": order, "bigtiff": big} for order in "<>" for big in (False, True)]
TIFFS = [
    {},
    {"rowsperstrip": 5},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"tile": (32, 32)},
    {"planarconfig": "separate"},
]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    variant=st.sampled_from(PILLOW),
)
def test_the_same_pixels_from_every_format_of_pillow(seed, size, variant):
    rng = np.random.default_rng(seed)
    kind, mode, options = variant
    color, alpha = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)
    stored, expected = channels(color, alpha, mode)
    found = decode(pillow(stored, kind, **options), NAME, size)
    assert found.dtype == np.uint8
    assert (found == expected).all()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(MODES),
    file=st.sampled_from(ORDERS),
    options=st.sampled_from(TIFFS),
    orientation=st.integers(1, 8),
    inverted=st.booleans(),
)
def test_the_same_pixels_from_every_tiff(seed, size, mode, file, options, orientation, inverted):
    """Whatever its byte order, layout, compression, alpha and orientation."""
    rng = np.random.default_rng(seed)
    color, alpha = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 256, size, np.uint8)
    stored, expected = channels(color, alpha, mode)
    options = {**options, "extratags": [(274, 3, 1, orientation, True)], "metadata": None}
    if mode == "L":
        options.pop("planarconfig", None)
    elif "planarconfig" in options:
        stored = np.moveaxis(stored, -1, 0)
    else:
        options["planarconfig"] = "contig"
    if mode in ("LA", "RGBA"):
        options["extrasamples"] = ["unassalpha"]
    photometric = "minisblack" if mode in ("L", "LA") else "rgb"
    if inverted and mode == "L":
        photometric, expected = "miniswhite", 255 - expected
    data = tiff(stored, file=file, photometric=photometric, **options)
    if mode == "LA" and "tile" in options:
        with pytest.raises(
            HarnessError, match=f"{NAME}: is a TIFF image in gray with alpha, in ti"
        ):
            decode(data, NAME, size)
    else:
        assert (decode(data, NAME, size) == expected).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    file=st.sampled_from(ORDERS),
    options=st.sampled_from([{}, {"rowsperstrip": 5}, {"tile": (32, 32)}]),
    orientation=st.integers(1, 8),
)
def test_the_same_pixels_from_tiffs_with_palettes_or_two_colors(
    seed, size, file, options, orientation
):
    rng = np.random.default_rng(seed)
    values, palette = rng.integers(0, 256, size, np.uint8), rng.integers(0, 256, (256, 3), np.uint8)
    options = {**options, "extratags": [(274, 3, 1, orientation, True)], "metadata": None}
    indexed = {"photometric": "palette", "colormap": palette.T.astype(np.uint16) * 257}
    found = decode(tiff(values, file=file, **indexed, **options), NAME, size)
    assert (found == palette[values]).all()
    bright = values > 127
    for photometric, white in (("minisblack", bright), ("miniswhite", ~bright)):
        data = tiff(bright, file=file, photometric=photometric, **options)
        said, found = read_or_said(data)
        assert said.startswith(f"{NAME}: ")
        if found is None:
            assert "tile" in options  # not in every version of OpenCV
        else:
            assert (found == (white * np.uint8(255))[..., None]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied_in_no_format(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    smooth = np.add.outer(np.arange(16), np.arange(24))[..., None] * np.array([2, 3, 4])
    smooth = smooth.astype(np.uint8)
    for kind, options in {
        "PNG": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 98, "subsampling": 0},
    }.items():
        data = pillow(smooth, kind, exif=exif, **options)
        assert data != pillow(smooth, kind, **options)
        found = decode(data, NAME, (16, 24))
        assert np.abs(found.astype(int) - smooth).max() <= (3 if kind == "JPEG" else 0), kind


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_an_icc_profile_is_ignored(kind):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    options = {"lossless": True} if kind == "WEBP" else {}
    plain, profiled = (
        pillow(COLOR, kind, **options, **more) for more in ({}, {"icc_profile": profile})
    )
    assert len(profiled) > len(plain)
    assert (decode(profiled, NAME, None) == decode(plain, NAME, None)).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("extra", [b"gAMA", b"sBIT", None])
def test_png_of_few_bits_with_palettes_transparent_colors_and_gamma(depth, transparent, extra):
    values = RNG.integers(0, 2**depth, (6, 16))
    bits = (values[..., None] >> np.arange(depth)[::-1] & 1).reshape(6, -1)
    rows = np.packbits(bits.astype(np.uint8), axis=1)
    palette = RNG.integers(0, 256, (2**depth, 3), np.uint8)
    more = (
        []
        if extra is None
        else [(extra, struct.pack(">I", 45455)[-4 if extra == b"gAMA" else -1 :])]
    )
    gray = [*more, *([(b"tRNS", b"\0\1")] if transparent else [])]
    found = decode(png(depth, 0, rows, *gray), NAME, (6, 16))
    assert (found == (values * (255 // (2**depth - 1)))[..., None]).all()
    indexed = [(b"PLTE", palette.tobytes()), *([(b"tRNS", b"\0\x40")] if transparent else [])]
    assert (decode(png(depth, 3, rows, *indexed), NAME, (6, 16)) == palette[values]).all()


def indexed_image():
    image = Image.fromarray(COLOR).quantize(16)
    return image, np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_palettes_and_black_and_white(kind):
    image, expected = indexed_image()
    assert (decode(pillow(image, kind), NAME, None) == expected).all()
    bilevel = COLOR[..., 0] > 127
    found = decode(pillow(bilevel, kind), NAME, None)
    assert (found == (bilevel * np.uint8(255))[..., None]).all()


def bitfields(*masks):
    """A BMP image of 32 bits a pixel whose masks say where red, green and blue are."""
    shifts = np.array([(mask & -mask).bit_length() - 1 for mask in masks], np.uint32)
    pixels = (COLOR[::-1].astype(np.uint32) << shifts).sum(axis=2, dtype=np.uint32).tobytes()
    height, width = COLOR.shape[:2]
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    start = struct.pack("<2sIHHI", b"BM", 66 + len(pixels), 0, 0, 66)
    return start + header + struct.pack("<III", *masks) + pixels


def test_channels_of_bmp_in_another_order_are_refused():
    """OpenCV takes them for blue, green and red."""
    usual = bitfields(0xFF0000, 0xFF00, 0xFF)
    assert (decode(usual, NAME, None) == COLOR).all()
    for masks in [(0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)]:
        with pytest.raises(HarnessError, match=r"set/A/one: .* channels in another order"):
            decode(bitfields(*masks), NAME, None)


@pytest.mark.parametrize("how", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressions(how):
    bilevel = COLOR[..., 0] > 127
    found = decode(pillow(bilevel, "TIFF", compression=how), NAME, None)
    assert (found == (bilevel * np.uint8(255))[..., None]).all()


def test_an_alpha_that_colors_are_multiplied_by_is_an_error_unless_it_is_opaque():
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
    with pytest.raises(HarnessError, match=r"set/A/one: .*multiplied by its alpha channel"):
        decode(tiff(np.dstack([COLOR, ALPHA]), **options), NAME, None)
    opaque = tiff(np.dstack([COLOR, np.full_like(ALPHA, 255)]), **options)
    assert (decode(opaque, NAME, None) == COLOR).all()


def frames(kind, **options):
    first, *others = (Image.fromarray(np.roll(COLOR, shift, 0)) for shift in range(3))
    return pillow(first, kind, save_all=True, append_images=others, **options)


def with_sub_page(first):
    """A page with a smaller one inside it, or a smaller one first."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        if first:
            writer.write(COLOR[::2, ::2].copy(), photometric="rgb", subfiletype=1)
            writer.write(COLOR, photometric="rgb")
        else:
            writer.write(COLOR, photometric="rgb", subifds=1)
            writer.write(COLOR[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    return out.getvalue()


PLANES = np.moveaxis(COLOR, -1, 0)
GRAY = {"photometric": "minisblack"}
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image>'
    '<Pixels SizeX="40" SizeY="24" SizeC="{c}" SizeZ="{z}" SizeT="1" Type="uint8">{channels}'
    "</Pixels></Image></OME>"
)


def ome(c, z, n_channels, **options):
    text = OME.format(c=c, z=z, channels="<Channel/>" * n_channels)
    return tiff(*options.pop("pages"), description=text, metadata=None, **options)


def several_pages():
    for order in ORDERS:
        name = f"{order['byteorder']}{order['bigtiff']}"
        yield f"pages {name}", tiff(PLANES, file=order, **GRAY), "3 pages .40x24 gray, 40x24 gray"
    yield "ome", tiff(PLANES, file={"ome": True}, metadata={"axes": "CYX"}, **GRAY), "3 pages"
    imagej = {"file": {"imagej": True}, "metadata": {"axes": "CYX"}, **GRAY}
    yield "imagej", tiff(PLANES, **imagej), "3 pages"
    one = "1 page that is one of 3 planes"
    yield "imagej, one page", tiff(PLANES, truncate=True, **imagej), one
    yield "tifffile, one page", tiff(PLANES, truncate=True, **GRAY), one
    yield "ome, a file a channel", ome(3, 1, 3, pages=[PLANES[0]], **GRAY), one
    yield "ome without channels", ome(3, 1, 0, pages=[PLANES[0]], **GRAY), one
    yield "ome, a file a slice", ome(3, 3, 1, pages=[COLOR], photometric="rgb"), one
    yield "volume", tiff(PLANES, volumetric=True, tile=(1, 16, 16), **GRAY), "planes"
    yield "metamorph", tiff(PLANES[0], extratags=[(33629, 5, 3, [1] * 6, True)], **GRAY), one
    yield "thumbnail first", with_sub_page(True), "2 pages .20x12 RGB, 40x24 RGB"
    yield "pyramid", with_sub_page(False), "1 more inside its page"
    yield "pillow", frames("TIFF"), "3 pages"
    yield "apng", frames("PNG"), "animated PNG"
    yield "apng with a still image", frames("PNG", default_image=True), "animated PNG"
    yield "webp", frames("WEBP", lossless=True), "animated WebP"
    yield "gif", frames("GIF"), "not a PNG, .* it is a GIF image"
    yield "mpo", frames("MPO"), "several images"


@pytest.mark.parametrize(
    ("data", "says"), [pytest.param(*rest, id=name) for name, *rest in several_pages()]
)
def test_never_the_first_of_several_pages(data, says):
    with pytest.raises(HarnessError, match=rf"^set/A/one: .*{says}"):
        decode(data, NAME, None)


def test_metadata_of_one_color_image_are_no_reason_to_refuse_it():
    for data in (
        tiff(COLOR, photometric="rgb"),
        tiff(COLOR, photometric="rgb", file={"imagej": True}),
        tiff(COLOR, photometric="rgb", file={"ome": True}),
        ome(3, 1, 1, pages=[COLOR], photometric="rgb"),
        tiff(COLOR, photometric="rgb", description='{"shape": "large"}', metadata=None),
        tiff(COLOR, photometric="rgb", description="An <OME is not here", metadata=None),
    ):
        assert (decode(data, NAME, None) == COLOR).all()


def other_numbers():
    for kind, says in (
        ("uint16", "16 bits a channel; convert it to 8 bits"),
        ("uint32", "32 bits a channel"),
        ("int8", "signed integers, 8 bits each"),
        ("int16", "signed integers, 16 bits each"),
        ("float16", "floating-point numbers, 16 bits"),
        ("float32", "floating-point numbers, 32 bits"),
        ("complex64", "complex"),
    ):
        yield f"gray {kind}", tiff(COLOR[..., 0].astype(kind), **GRAY), says
        if kind != "complex64":
            yield f"rgb {kind}", tiff(COLOR.astype(kind), photometric="rgb"), says
    deep = COLOR[..., 0].astype(np.uint16) * 257
    yield "png", pillow(deep, "PNG"), "16 bits a channel"
    yield "png rgb", cv2.imencode(".png", COLOR.astype(np.uint16))[1].tobytes(), "16 bits a channel"


def other_colors():
    color = Image.fromarray(COLOR)
    yield "cmyk jpeg", pillow(color.convert("CMYK"), "JPEG"), "CMYK"
    yield "cmyk tiff", pillow(color.convert("CMYK"), "TIFF"), "CMYK"
    yield "lab", pillow(color.convert("LAB"), "TIFF"), "Lab"
    yield "ycbcr", pillow(color.convert("YCbCr"), "TIFF"), "YCbCr"
    for photometric in ("cielab", "icclab", "separated"):
        data = np.dstack([COLOR, ALPHA]) if photometric == "separated" else COLOR
        yield photometric, tiff(data, photometric=photometric), "no one meaning in RGB"
    contiguous = {"planarconfig": "contig", **GRAY}
    yield "gray channels", tiff(COLOR, **contiguous), "gray of 3 channels"
    two = np.dstack([COLOR[..., 0], ALPHA])
    yield "two gray", tiff(two, extrasamples=["unspecified"], **contiguous), "gray of 2 channels"
    five = np.dstack([COLOR, ALPHA, ALPHA])
    yield "five", tiff(five, photometric="rgb", planarconfig="contig"), "RGB of 5 channels"


def other_kinds():
    yield "empty", b"", "it is empty"
    yield "text", b"Not found", "it is text .'Not found'"
    yield "pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"
    yield "zeros", bytes(3000), "full of zero bytes"
    yield "jpeg 2000", pillow(COLOR, "JPEG2000"), "not a PNG, .* it is a JPEG 2000 image"
    yield "ppm", pillow(COLOR, "PPM"), "unknown kind"
    data = bytearray(tiff(COLOR, photometric="rgb"))
    for code in (6, 33003, 34712, 34887, 34925, 34933, 50000, 50001, 50002):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            place = file.pages[0].tags["Compression"].valueoffset
        struct.pack_into("<H", data, place, code)
        yield f"compression {code}", bytes(data), rf"a compression .number {code}."


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(*rest, id=name)
        for name, *rest in (*other_numbers(), *other_colors(), *other_kinds())
    ],
)
def test_what_has_no_pixels_of_8_bits_in_rgb_says_what_it_is(data, says):
    with pytest.raises(HarnessError, match=rf"^set/A/one: .*{says}"):
        decode(data, NAME, None)


def test_no_message_contradicts_itself():
    """Signed integers of 8 bits were to be converted to 8 bits."""
    with pytest.raises(HarnessError) as caught:
        decode(tiff(COLOR[..., 0].astype(np.int8), **GRAY), NAME, None)
    assert "convert it to 8 bits" not in str(caught.value)


SMALL = COLOR[:9, :11]
WHOLE = {
    "png": pillow(SMALL, "PNG"),
    "bmp": pillow(SMALL, "BMP"),
    "webp": pillow(SMALL, "WEBP", lossless=True),
    "lossy webp": pillow(SMALL, "WEBP"),
    "jpeg": pillow(SMALL, "JPEG"),
    "progressive jpeg": pillow(SMALL, "JPEG", progressive=True),
    "gray jpeg": pillow(SMALL[..., 0], "JPEG"),
    "tiff": pillow(SMALL, "TIFF"),
    "lzw": pillow(SMALL, "TIFF", compression="tiff_lzw"),
    "tifffile": tiff(SMALL, photometric="rgb"),
    "bigtiff": tiff(SMALL, photometric="rgb", file={"bigtiff": True, "byteorder": ">"}),
    "rgba": tiff(np.dstack([SMALL, SMALL[..., 0]]), photometric="rgb", extrasamples=["unassalpha"]),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_is_never_read_as_half_an_image(kind):
    data = WHOLE[kind]
    whole = decode(data, NAME, (9, 11))
    for end in range(len(data)):
        said, found = read_or_said(data[:end])
        assert said.startswith(f"{NAME}: ")
        # What is cut off may be no part of the image.
        assert found is None or ((found == whole).all() and end > len(data) - 20)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    front=st.booleans(),
)
def test_any_damage_is_pixels_or_an_error_in_one_line(kind, places, front):
    data = bytearray(WHOLE[kind])
    for place, value in places:
        data[int(place * ((64 if front else len(data)) - 1))] = value
    said, found = read_or_said(bytes(data))
    assert said.startswith(f"{NAME}: ")
    assert "\n" not in said
    assert found is None or (found.dtype, found.ndim, found.shape[2]) == (np.uint8, 3, 3)


def huge():
    """Images that say they have 50,000 x 50,000 pixels, or as many as their format can."""
    yield (
        "png",
        png(8, 2, [bytes(30)])[:16] + struct.pack(">II", 50_000, 50_000) + WHOLE["png"][24:],
    )
    for kind in ("tifffile", "bigtiff"):
        data = bytearray(WHOLE[kind])
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            order = file.byteorder
            for tag in ("ImageWidth", "ImageLength"):
                found = file.pages[0].tags[tag]
                form = {3: "H", 4: "I", 16: "Q"}[int(found.dtype)]
                struct.pack_into(order + form, data, found.valueoffset, 50_000)
        yield kind, bytes(data)
    bmp = bytearray(WHOLE["bmp"])
    struct.pack_into("<ii", bmp, 18, 50_000, -50_000)
    yield "bmp", bytes(bmp)
    jpeg = bytearray(WHOLE["jpeg"])
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 50_000, 50_000)
    yield "jpeg", bytes(jpeg)
    webp = bytearray(WHOLE["webp"])
    struct.pack_into("<I", webp, 21, 16_382 | 16_382 << 14)
    yield "webp", bytes(webp)
    lossy = bytearray(WHOLE["lossy webp"])
    struct.pack_into("<HH", lossy, 26, 16_383, 16_383)
    yield "lossy webp", bytes(lossy)
    extended = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xfe\x3f\0" * 2
    yield "extended webp", extended


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in huge()])
def test_an_image_too_large_for_memory_is_not_decoded(data):
    with pytest.raises(
        HarnessError, match=r"^set/A/one: .* pixels, which take .*HARNESS_MAX_MB=\d"
    ):
        decode(data, NAME, None)


def test_the_limit_is_set_by_an_environment_variable(monkeypatch):
    large = pillow(np.zeros((1000, 1000, 3), np.uint8), "PNG")
    assert decode(large, NAME, None).shape == (1000, 1000, 3)
    monkeypatch.setenv("HARNESS_MAX_MB", "2")
    says = "is an image of 1000x1000 pixels, which take 3 MB, above the limit of 2 MB; .*MAX_MB=3"
    with pytest.raises(HarnessError, match=says):
        decode(large, NAME, None)
    monkeypatch.setenv("HARNESS_MAX_MB", "3")
    assert decode(large, NAME, None).shape == (1000, 1000, 3)
    for wrong in ("much", "0", "-1", "1.5"):
        monkeypatch.setenv("HARNESS_MAX_MB", wrong)
        with pytest.raises(HarnessError, match=f"HARNESS_MAX_MB={wrong}: must be a whole number"):
            decode(large, NAME, None)


def test_jpeg_in_a_tiff_and_with_text_before_and_after_its_pixels():
    smooth = cv2.GaussianBlur(COLOR, (0, 0), 3)
    expected = smooth.astype(int)
    for data in (
        pillow(smooth, "TIFF", compression="jpeg", quality=95),
        pillow(smooth, "JPEG", quality=95, subsampling=0, comment=b"\xff\xd9" * 9),
        pillow(smooth, "JPEG", quality=95, subsampling=0) + b"appended",
        pillow(smooth, "JPEG", quality=95, keep_rgb=True),
    ):
        assert np.abs(decode(data, NAME, None) - expected).max() < 12


def test_text_in_a_png_is_no_animation():
    text = PngImagePlugin.PngInfo()
    text.add_text("acTL", json.dumps({"frames": 3}))
    assert (decode(pillow(COLOR, "PNG", pnginfo=text), NAME, None) == COLOR).all()
