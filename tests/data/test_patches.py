"""Patches in folders and zips, good and bad."""

import multiprocessing
import os
import struct
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from harness import HarnessError
from harness.data.patches import (
    FileSplit,
    decode,
    list_files,
    list_folder,
    list_zip,
    missing,
    place,
    shortfall,
)

CLASSES = ("A", "B")


@pytest.fixture
def folder(tmp_path):
    """Three patches in two class folders, as PackBits TIFF like the ones of Zenodo."""
    rng = np.random.default_rng(0)
    for name in ("A/one.tif", "A/two.tif", "B/three.tif"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (12, 10, 3)).astype(np.uint8)
        packbits = [cv2.IMWRITE_TIFF_COMPRESSION, 32773]
        assert cv2.imwrite(str(path), image, packbits)
    return tmp_path / "set"


@pytest.fixture
def archive(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__MACOSX/set/A/._one.tif", b"")
        for patch in sorted(folder.rglob("*.tif")):
            file.write(patch, Path("set") / patch.relative_to(folder))
    return path


def split(files):
    return FileSplit(files, CLASSES, (12, 10), "set")


def test_a_folder_reads_as_opencv_does_but_rgb(folder):
    patches = split(list_folder(folder))
    assert patches.ids == ["set/A/one", "set/A/two", "set/B/three"]
    assert patches.labels.tolist() == [0, 0, 1]
    assert patches.labels.dtype == np.int64
    images = patches.read([2, 0])
    assert images.dtype == np.uint8
    for image, name in zip(images, ("B/three.tif", "A/one.tif"), strict=True):
        assert (image == cv2.imread(str(folder / name))[..., ::-1]).all()


def test_a_zip_is_the_same_as_its_folder(folder, archive):
    unpacked, packed = split(list_folder(folder)), split(list_zip(archive))
    assert packed.ids == unpacked.ids
    assert packed.fingerprint == unpacked.fingerprint
    assert (packed.read([0, 1, 2]) == unpacked.read([0, 1, 2])).all()


def test_the_fingerprint_changes_with_content_names_and_number(folder):
    before = split(list_folder(folder)).fingerprint
    patch = folder / "A" / "one.tif"
    data = bytearray(patch.read_bytes())
    data[20] ^= 1
    patch.write_bytes(data)
    changed = split(list_folder(folder)).fingerprint
    patch.rename(folder / "A" / "uno.tif")
    renamed = split(list_folder(folder)).fingerprint
    (folder / "A" / "uno.tif").unlink()
    fewer = split(list_folder(folder)).fingerprint
    assert len({before, changed, renamed, fewer}) == 4


def test_a_missing_folder(tmp_path):
    with pytest.raises(HarnessError, match="nowhere: No such file"):
        list_folder(tmp_path / "nowhere")


def test_an_empty_class_folder(folder):
    (folder / "C").mkdir()
    with pytest.raises(HarnessError, match=r"C: this class folder is empty"):
        list_folder(folder)


def test_no_patches_at_all(tmp_path):
    with pytest.raises(HarnessError, match="holds no patches"):
        split(list_folder(tmp_path))


def test_a_folder_inside_a_class_folder(folder):
    (folder / "A" / "patient 1").mkdir()
    with pytest.raises(HarnessError, match=r"patient 1: is a folder inside a class folder; put"):
        list_folder(folder)


@pytest.mark.parametrize("name", [b"A/\xfcber.tif", b"A/two\nlines.tif", b"\xfcber/a.tif"])
@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_cannot_be_printed(folder, name):
    path = os.fsencode(folder) + b"/" + name
    Path(os.fsdecode(os.path.dirname(path))).mkdir(exist_ok=True)  # noqa: PTH120
    Path(os.fsdecode(path)).touch()
    with pytest.raises(HarnessError, match=r"set: the name '.*\.tif' cannot be printed; rename"):
        list_folder(folder)


def test_an_unknown_class_folder(folder):
    (folder / "B").rename(folder / "BLOB")
    with pytest.raises(HarnessError, match=r"unknown class folder 'BLOB'; the classes are A, B"):
        split(list_folder(folder))


def test_a_file_that_is_no_image_by_name(folder):
    (folder / "A" / "notes.txt").write_text("hello")
    with pytest.raises(HarnessError, match=r"A/notes\.txt: not an image file"):
        split(list_folder(folder))


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_is_no_image_by_content(folder, content, capfd):
    path = folder / "A" / "two.tif"
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    patches = split(list_folder(folder))
    assert patches.read([0]).shape == (1, 12, 10, 3)
    with pytest.raises(HarnessError, match=r"A/two\.tif: cannot be read as an image"):
        patches.read([0, 1])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_tiff_is_never_read_as_half_an_image(tmp_path, keep):
    """Also with the directory in front, where a reader could go on with what is left."""
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    tags = [(256, 224), (257, 224), (258, 8), (259, 1), (262, 2), (273, 8 + 2 + 9 * 12 + 4)]
    tags += [(277, 3), (278, 224), (279, image.size)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + directory + bytes(4) + image.tobytes()
    path = tmp_path / "A" / "x.tif"
    path.parent.mkdir()
    path.write_bytes(data)
    patches = FileSplit(list_folder(tmp_path), CLASSES, (224, 224), "x")
    assert (patches.read([0])[0] == image).all()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(HarnessError, match=r"x\.tif"):
        patches.read([0])


def test_a_patch_of_another_size(folder):
    cv2.imwrite(str(folder / "B" / "wide.tif"), np.zeros((12, 11, 3), np.uint8))
    patches = split(list_folder(folder))
    with pytest.raises(HarnessError, match=r"wide\.tif: is 11x12 pixels where 10x12"):
        patches.read([3])


def test_a_file_that_goes_away(folder):
    patches = split(list_folder(folder))
    (folder / "A" / "one.tif").unlink()
    with pytest.raises(HarnessError, match=r"one\.tif: No such file"):
        patches.read([0])


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_split_goes_to_other_processes(folder, archive, kind, method):
    """A zip that was open before a fork would be read at the places of the others."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    patches = split(list_files(archive if kind == "zip" else folder))
    expected = patches.read([0, 1, 2])
    with multiprocessing.get_context(method).Pool(3) as pool:
        found = pool.map(patches.read, [[number % 3] for number in range(60)], chunksize=1)
    for number, images in enumerate(found):
        assert (images[0] == expected[number % 3]).all()


def test_a_zip_cut_short(archive):
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(HarnessError, match=r"set\.zip: not a whole zip file"):
        list_zip(archive)


def test_a_zip_ignores_what_lies_beside_the_class_folders(folder, archive):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("set/readme.txt", "as in a folder")
        file.writestr("license.txt", "as in a folder")
    (folder / "readme.txt").write_text("not ours")
    assert split(list_zip(archive)).ids == split(list_folder(folder)).ids


def test_an_empty_class_folder_in_a_zip(archive):
    with zipfile.ZipFile(archive, "a") as file:
        file.mkdir("set/C")
    with pytest.raises(HarnessError, match=r"class folder set/C inside is empty"):
        list_zip(archive)


def test_a_zip_of_two_folders_is_refused(archive):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("other/A/one.tif", b"")
    with pytest.raises(HarnessError, match=r"set\.zip: holds several folders"):
        list_zip(archive)


def test_a_zip_with_a_damaged_member(archive):
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        start = file.getinfo("set/A/two.tif").header_offset
    data[start + 60 : start + 90] = bytes(30)
    archive.write_bytes(data)
    patches = split(list_zip(archive))
    with pytest.raises(HarnessError, match=r"set\.zip: A/two\.tif inside is damaged"):
        patches.read([1])


def encoded(image, suffix=".png"):
    return cv2.imencode(suffix, image)[1].tobytes()


GRAY = np.arange(120, dtype=np.uint8).reshape(12, 10)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_gray_image_has_three_equal_channels(suffix):
    image = decode(encoded(GRAY, suffix), "gray", (12, 10))
    assert image.shape == (12, 10, 3)
    assert (image == GRAY[..., None]).all()


def test_an_alpha_channel_is_left_out():
    color = np.stack([GRAY, GRAY + 40, GRAY + 80], axis=2)
    bgra = np.concatenate([color, np.zeros((12, 10, 1), np.uint8)], axis=2)
    image = decode(encoded(bgra), "transparent", (12, 10))
    assert (image == color[..., ::-1]).all()


@pytest.mark.parametrize(
    ("dtype", "suffix", "bits"), [("uint16", ".png", 16), ("uint16", ".tif", 16)]
)
def test_more_than_8_bits_are_refused(dtype, suffix, bits):
    for image in (GRAY.astype(dtype), np.dstack([GRAY] * 3).astype(dtype)):
        with pytest.raises(HarnessError, match=rf"deep: has {bits} bits a channel; convert it"):
            decode(encoded(image, suffix), "deep", (12, 10))


def test_resizing_averages_or_interpolates():
    blocks = np.kron(GRAY, np.ones((2, 2), np.uint8))
    smaller = decode(encoded(blocks), "blocks", (12, 10), resize=True)
    assert (smaller == GRAY[..., None]).all()
    ramp = np.repeat(np.arange(0, 100, 20, dtype=np.uint8)[None], 4, axis=0)
    larger = decode(encoded(ramp), "ramp", (8, 10), resize=True)[3, :, 0]
    assert larger.tolist() == [0, 5, 15, 25, 35, 45, 55, 65, 75, 80]
    with pytest.raises(HarnessError, match="ramp: is 5x4 pixels where 10x8"):
        decode(encoded(ramp), "ramp", (8, 10))


def test_the_first_patch_gives_the_size_when_none_is_named(folder):
    files = list_folder(folder)
    assert FileSplit(files, CLASSES, None, "set").shape == (12, 10)


def test_ids_keep_suffixes_where_names_would_be_the_same_without(folder):
    cv2.imwrite(str(folder / "A" / "one.png"), np.zeros((12, 10, 3), np.uint8))
    ids = split(list_folder(folder)).ids
    assert ids == ["set/A/one.png", "set/A/one.tif", "set/A/two.tif", "set/B/three.tif"]


def test_listed_files_need_no_class_folders_and_their_labels_are_in_the_fingerprint(folder):
    files = list_folder(folder)
    listed = [
        FileSplit(files, CLASSES, (12, 10), "set", labels={"B/three.tif": n, "A/one.tif": 1})
        for n in (0, 1)
    ]
    assert listed[0].ids == ["set/A/one", "set/B/three"]
    assert listed[0].labels.tolist() == [1, 0]
    assert listed[0].fingerprint != listed[1].fingerprint


def test_data_are_found_unpacked_or_zipped(folder, archive, tmp_path):
    assert place(tmp_path, "set") == folder
    assert place(tmp_path, "other") is None
    deeper = tmp_path / "set" / "set"
    deeper.mkdir()
    assert place(tmp_path, "set") == deeper
    deeper.rmdir()
    assert list_files(archive).sizes == list_files(folder).sizes
    for patch in folder.rglob("*.tif"):
        patch.unlink()
    folder.rename(tmp_path / "elsewhere")
    assert place(tmp_path, "set") == archive


def test_what_is_missing_and_how_to_get_it(folder, tmp_path):
    assert missing("mine", ["set"], tmp_path) == ""
    assert missing("mine", ["set", "a", "b"], tmp_path) == (
        f"no a and no b (folder or .zip) in {tmp_path}; harness data get mine, or point --data at "
        "the folder that holds them"
    )
    assert missing("mine", ["a.npz"], tmp_path, form="") == (
        f"no a.npz in {tmp_path}; harness data get mine, or point --data at the folder that holds "
        "it"
    )


def test_why_a_split_is_not_the_published_one():
    assert shortfall(np.array([700, 500]), (700, 500), "test patches") == ""
    assert shortfall([700, 499], (700, 500), "test patches") == "1,199 of 1,200 test patches"
    assert shortfall([701, 499], (700, 500), "test patches") == (
        "other counts a class than published"
    )
