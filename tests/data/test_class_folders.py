"""Class folders on disk and in zips of every make: all that is in them is listed, or an error."""

import os
import socket
import struct
import sys
import tracemalloc
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import HarnessError
from harness.data.patches import FileSplit, list_files

PNG = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def packed(path, members, **options):
    """A zip of members, in order: pairs of a name, as it stands in the zip, and content."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # its maker would replace some separators
            info.compress_type = archive.compression
            archive.writestr(info, content)
    return path


def patched(path, place, form, value, header=CENTRAL):
    """Overwrite a field in all headers of one kind in a zip."""
    data, start = bytearray(path.read_bytes()), 0
    while (start := data.find(header, start)) >= 0:
        struct.pack_into(form, data, start + place, value)
        start += 1
    path.write_bytes(data)
    return path


def fails(path, says):
    with pytest.raises(HarnessError, match=says) as caught:
        list_files(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


TREE = ["A/0.png", "A/1.png", "B/0.png"]
MAKERS = {
    "posix": lambda name: name,
    ".NET": lambda name: name.replace("/", "\\"),
    "mixed": lambda name: "set/" + name.replace("/", "\\"),
    "with dots": lambda name: f"./set/./{name}",
    "absolute": lambda name: f"/home/set/{name}",
    "Windows absolute": lambda name: "C:\\data\\" + name.replace("/", "\\"),
    "network share": lambda name: "\\\\server\\share\\" + name.replace("/", "\\"),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("folders", [False, True])
def test_zips_of_every_make_hold_the_same(tmp_path, maker, folders):
    name_of = MAKERS[maker]
    inside = [(name_of(f"{name}/"), b"") for name in "AB"] if folders else []
    path = packed(tmp_path / "x.zip", [*inside, *((name_of(name), PNG) for name in TREE)])
    found = list_files(path)
    assert sorted(found.sizes) == TREE
    split = FileSplit(found, ("A", "B"), None, "x")
    assert split.labels.tolist() == [0, 0, 1]
    assert (split.read(range(3)) == 0).all()


def test_an_empty_class_folder_with_backslashes(tmp_path):
    fails(packed(tmp_path / "x.zip", [("A\\0.png", PNG), ("B\\", b"")]), "folder B inside is empty")


@settings(max_examples=60, deadline=None)
@given(
    names=st.sets(
        st.tuples(
            st.sampled_from(["A", "\u80bf\u7624", "c d"]),
            st.from_regex(r"[a-z0-9]{1,6}\.png", fullmatch=True),
        ),
        min_size=1,
        max_size=8,
    ),
    seed=st.integers(0, 2**16),
)
def test_any_mix_of_separators_is_the_same_as_the_folder(tmp_path_factory, names, seed):
    rng = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("mix")
    members = []
    for number, (folder, file) in enumerate(sorted(names)):
        (root / "set" / folder).mkdir(parents=True, exist_ok=True)
        (root / "set" / folder / file).write_bytes(bytes([number]))
        one, two = rng.choice(["/", "\\", "//", "/./"], 2)
        members.append((f"set{one}{folder}{two}{file}", bytes([number])))
    unpacked, found = list_files(root / "set"), list_files(packed(root / "x.zip", members))
    assert found.sizes == unpacked.sizes
    assert all(found.read(name) == unpacked.read(name) for name in found.sizes)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (["A/0.png", "A/1.png", "A/0.png"], "holds A/0.png twice"),
        (["A/0.png", "A\\0.png"], "holds A/0.png twice"),
        (["A/0.png", "./A/0.png", "B/1.png"], "holds A/0.png twice"),
        (["A/0.png", "../A/1.png"], r"the name \.\./A/1\.png inside leads out of the zip"),
        (["A/0.png", "A\\..\\..\\1.png"], "leads out of the zip"),
        (["A/0.png", "a/1.png"], "class folders A and a, which differ only in case"),
        (["\u00c9/0.png", "E\u0301/1.png"], "differ only in case or Unicode form"),
        (["A/0.png", "A/x\ny.png"], r"the name 'A/x\\ny\.png' inside cannot be printed"),
        (["A/sub/0.png", "B/1.png"], "holds images at several depths, such as B/1.png"),
        (["x/A/sub/0.png", "x/B/1.png", "C/2.png"], "holds images at several depths"),
        (["x/A/0.png", "y/A/1.png"], "holds several folders of class folders"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_do_not_say_what_is_in_them(tmp_path, members, says):
    fails(packed(tmp_path / "x.zip", [(name, PNG) for name in members]), says)


def test_files_beside_the_class_folders_and_hidden_ones_are_left_out(tmp_path):
    members = [*TREE, "overview.png", "readme.txt", ".ipynb_checkpoints/0.png"]
    members += ["A/.ipynb_checkpoints/0.png", "__MACOSX/A/._0.png", "A\\.DS_Store"]
    path = packed(tmp_path / "x.zip", [(name, PNG) for name in members])
    assert sorted(list_files(path).sizes) == TREE


def test_files_that_differ_in_case_alone_are_two(tmp_path):
    path = packed(tmp_path / "x.zip", [("A/a.png", PNG), ("A/A.png", PNG)])
    assert len(list_files(path).sizes) == 2


CJK = "\u80bf\u7624"


def without_flag(path, raw):
    """A zip whose first name is in raw bytes, without the flag that says UTF-8."""
    stand_in = "x" * len(raw)
    packed(path, [(stand_in, PNG)])
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), raw))
    return path


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"{CJK}/0.png".encode(), f"{CJK}/0.png"),  # as macOS writes it
        ("\u00e9/0.png".encode("cp437"), "\u00e9/0.png"),  # as the format says
        (f"{CJK}/0.png".encode("gbk"), f"{CJK}/0.png".encode("gbk").decode("cp437")),
        (f"{CJK}\\0.png".encode(), f"{CJK}/0.png"),
    ],
)
def test_names_without_the_flag_of_utf8(tmp_path, raw, expected):
    found = list_files(without_flag(tmp_path / "x.zip", raw))
    assert list(found.sizes) == [expected]
    assert found.read(expected) == PNG


def test_names_with_the_flag_of_utf8(tmp_path):
    found = list_files(packed(tmp_path / "x.zip", [(f"{CJK}/{CJK}.png", PNG)]))
    assert list(found.sizes) == [f"{CJK}/{CJK}.png"]


def test_names_in_a_field_of_their_own(tmp_path):
    """Info-ZIP keeps an escaped name for old programs."""
    path, name = tmp_path / "x.zip", f"{CJK}/0.png"
    info = zipfile.ZipInfo("#U80bf#U7624/0.png")
    value = b"\1" + struct.pack("<I", zlib.crc32(info.filename.encode())) + name.encode()
    info.extra = struct.pack("<HH", 0x7075, len(value)) + value
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, PNG)
    assert list(list_files(path).sizes) == [name]


def test_members_that_cannot_be_read_are_told_when_listed(tmp_path):
    def fresh():
        return packed(tmp_path / "x.zip", [("A/0.png", PNG)])

    fails(patched(fresh(), 8, "<H", 1), r"A/0\.png inside is encrypted")
    fails(patched(fresh(), 10, "<H", 9), r"in a compression, number 9 \(Deflate64\)")
    fails(patched(fresh(), 10, "<H", 98), "in a compression, number 98, that is not supported")
    for how, name in ((zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")):
        path = packed(tmp_path / "x.zip", [("A/0.png", PNG)], compression=how)
        fails(path, rf"number {how} \({name}\), that is not supported; unpack the zip")


def test_zips_in_several_parts(tmp_path):
    says = "is one of several parts of a zip; join them"
    fails(patched(packed(tmp_path / "a.zip", [("A/0.png", PNG)]), 34, "<H", 2), says)
    path = packed(tmp_path / "b.zip", [("A/0.png", PNG), ("B/0.png", PNG)])
    data = path.read_bytes()
    (tmp_path / "c.zip.001").write_bytes(data[:100])
    fails(tmp_path / "c.zip.001", says)
    (tmp_path / "b.z01").write_bytes(data[:100])
    for content in (data, data[100:]):
        path.write_bytes(content)
        fails(path, says)
    (tmp_path / "d.zip").write_bytes(b"PK\7\x08" + data[:100])
    fails(tmp_path / "d.zip", "first part of a zip archive in several parts.*join the parts")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a zip file: it is empty; get it again"),
        (b"\x1f\x8b\x08" + bytes(99), "not a zip file: it is a gzip file; unpack it"),
        (
            b"<!DOCTYPE html><title>404 Not Found</title>",
            "it is an HTML page titled '404 Not Found'; down",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS.*git lfs pull"),
        (LOCAL + bytes(200), "not a whole zip file"),
    ],
)
def test_what_is_no_zip_says_what_it_is(tmp_path, content, says):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    fails(path, says)


@pytest.mark.parametrize("suffix", ["", ".tar", ".7z"])
def test_what_is_neither_a_folder_nor_a_zip(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    fails(path, "Not a directory of class folders, nor a zip file: it is a 7z archive; unpack it")
    packed(path, [(name, PNG) for name in TREE])
    assert sorted(list_files(path).sizes) == TREE  # a zip under another name
    fails(tmp_path / "nowhere.zip", "No such file")


@pytest.mark.parametrize("claimed", [10, 5000, 400_000_000])
def test_a_member_that_is_longer_than_it_says_takes_no_memory(tmp_path, claimed):
    """As a bomb does: 200 MB of zeros in a few kilobytes."""
    zeros = bytes(200_000_000)
    path = packed(tmp_path / "x.zip", [("A/0.png", zeros)], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 300_000
    patched(path, 24, "<I", claimed)
    if claimed > 256_000_000:
        fails(path, r"A/0\.png: is 400 MB, above the limit of 256 MB; .*HARNESS_MAX_MB=400")
        return
    found = list_files(path)
    tracemalloc.start()
    with pytest.raises(HarnessError, match=r"x\.zip: A/0\.png inside is damaged"):
        found.read("A/0.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_member_that_is_shorter_than_it_says(tmp_path):
    path = packed(tmp_path / "x.zip", [("A/0.png", PNG)], compression=zipfile.ZIP_DEFLATED)
    patched(path, 24, "<I", len(PNG) + 5)
    with pytest.raises(HarnessError, match=r"A/0\.png inside is damaged \(it ends 5 bytes early"):
        list_files(path).read("A/0.png")


@pytest.fixture
def folder(tmp_path):
    for name in TREE:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return tmp_path / "set"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_what_is_no_file_is_named_when_listed(folder, monkeypatch):
    path = folder / "A" / "x.png"
    os.mkfifo(path)
    fails(folder, r"A/x\.png: is a named pipe, not a file")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(path.parent)  # addresses are short
        server.bind("x.png")
        fails(folder, r"A/x\.png: is a socket, not a file")
    path.unlink()
    for target, says in (
        ("/dev/zero", "is a device, not a file"),
        ("nowhere.png", "is a link to nowhere.png .No such file or directory.; restore what it"),
        (".git/annex/objects/x", "run git annex get"),
        ("x.png", "Too many levels of symbolic links"),
    ):
        path.symlink_to(target)
        fails(folder, rf"A/x\.png: {says}" if "annex" not in says else says)
        path.unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_class_folder_that_links_to_nowhere_is_not_left_out(folder):
    (folder / "C").symlink_to(folder / "gone")
    fails(folder, r"set/C: is a link to .*gone \(No such file")
    (folder / "gone").mkdir()
    (folder / "gone" / "0.png").write_bytes(PNG)
    assert "C/0.png" in list_files(folder).sizes


@pytest.mark.parametrize("place", ["A/0.png", "A"])
def test_files_and_folders_without_permission(folder, place):
    path = folder / place
    path.chmod(0)
    try:
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        fails(folder, rf"{place}: (may not be read; change its permissions|Permission denied)")
    finally:
        path.chmod(0o755)


def test_a_file_too_large_for_memory_is_named_when_listed(folder, monkeypatch):
    path = folder / "B" / "slide.tif"
    with path.open("wb") as file:
        file.truncate(20_000_000_000)  # takes no room on most disks
    fails(folder, r"slide\.tif: is 20,000 MB, above the limit of 256 MB; .*HARNESS_MAX_MB=20000")
    monkeypatch.setenv("HARNESS_MAX_MB", "20000")
    assert list_files(folder).sizes["B/slide.tif"] == 20_000_000_000


def test_a_file_that_grows_after_it_was_listed(folder):
    found = list_files(folder)
    with (folder / "A" / "0.png").open("r+b") as file:
        file.truncate(300_000_000)
    with pytest.raises(HarnessError, match=r"A/0\.png: is 300 MB, above the limit"):
        found.read("A/0.png")


def test_class_folders_that_differ_in_case(folder):
    (folder / "a").mkdir(exist_ok=True)
    (folder / "a" / "2.png").write_bytes(PNG)
    if len(list(folder.iterdir())) < 3:
        pytest.skip("names that differ in case are one here")
    fails(folder, "holds the class folders A and a, which differ only in case")
