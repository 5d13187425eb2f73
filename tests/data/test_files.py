"""What a file really is, by its first bytes, and whether it may be read."""

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness import HarnessError
from harness.data.files import (
    HEAD,
    check_file,
    check_text,
    check_weights,
    head,
    read_bytes,
    what_is,
)


def image(kind):
    out = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(out, kind)
    return out.getvalue()


def archive(kind):
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("a.txt", "a")
    else:
        with tarfile.open(fileobj=out, mode="w") as file:
            file.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


def npy():
    out = io.BytesIO()
    np.save(out, np.arange(3))
    return out.getvalue()


def database(folder):
    path = folder / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()
    return path.read_bytes()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
HTML = b"<!DOCTYPE html>\n<html lang='en'><head><title>Sign in\n</title></head><body></body></html>"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
KINDS = {
    LFS: ("a pointer of Git LFS", "pointer"),
    b"/annex/objects/MD5E-s12--d41d8cd98f00b204e9800998ecf8427e.png\n": (
        "a pointer of git-annex",
        "pointer",
    ),
    HTML: ("an HTML page titled 'Sign in'", "page"),
    b"\n\n  <HTML><BODY>Not here</BODY></HTML>": ("an HTML page", "page"),
    b"\xef\xbb\xbf<!-- x --><html></html>": ("an HTML page", "page"),
    b'<?xml version="1.0"?><!DOCTYPE html><html></html>': ("an HTML page", "page"),
    XML: ("an XML document", "page"),
    b"<Error><Code>NoSuchKey</Code></Error>": ("an XML document", "page"),
    b'{"error": "Invalid username or password."}': ('JSON (\'{"error": ', "page"),
    b'[{"message": "rate limit"}]': ("JSON (", "page"),
    b"404: Not Found": ("text ('404: Not Found')", "text"),
    "p\u00e4th,label\n".encode(): ("text (", "text"),
    b"[[patches]]\npath = 'x'\n": ("text (", "text"),
    "path,label\n".encode("utf-16"): ("UTF-16 text", "data"),
    b"": ("empty", "empty"),
    bytes(5000): ("full of zero bytes", "empty"),
    image("PNG"): ("a PNG image", "image"),
    image("JPEG"): ("a JPEG image", "image"),
    image("TIFF"): ("a TIFF image", "image"),
    image("WEBP"): ("a WebP image", "image"),
    image("BMP"): ("a BMP image", "image"),
    image("GIF"): ("a GIF image", "image"),
    image("JPEG2000"): ("a JPEG 2000 image", "image"),
    archive("zip"): ("a zip archive", "archive"),
    archive("tar"): ("a tar archive", "archive"),
    gzip.compress(b"a"): ("a gzip file", "archive"),
    bz2.compress(b"a"): ("a bzip2 file", "archive"),
    lzma.compress(b"a"): ("an xz file", "archive"),
    npy(): ("a NumPy .npy file", "data"),
    pickle.dumps([1]): ("a pickle file", "data"),
    b"\x08\0\0\0\0\0\0\0{}      ": ("a safetensors file", "data"),
    b"PAR1" + bytes(9): ("a Parquet file", "data"),
    b"%PDF-1.7\n": ("a PDF document", "data"),
    b"\x01\x02\x03\xff\xff\xff\xff\xff\x00\x99": ("of an unknown kind", "unknown"),
}


@pytest.mark.parametrize("content", KINDS, ids=[name for name, _ in KINDS.values()])
def test_a_file_is_known_by_how_it_begins(content):
    name, group = KINDS[content]
    kind = what_is(content[:HEAD])
    assert kind.name.startswith(name)
    assert kind.group == group
    assert kind.fix
    assert "\n" not in kind.name


def test_a_database_too(tmp_path):
    assert what_is(database(tmp_path)[:HEAD]).name == "an SQLite database"


@given(st.binary(max_size=300))
def test_whatever_a_file_begins_with_has_a_name_in_one_line(content):
    kind = what_is(content)
    assert kind.name.isprintable()
    assert kind.fix.isprintable()


@given(st.text(max_size=2000).filter(lambda text: text.isprintable()))
def test_text_of_any_letters_may_be_a_table(text):
    """Also where the first bytes end within a letter."""
    content = ("path,label\n" + text).encode()
    assert what_is(content[:HEAD]).group == "text"
    check_text("x.csv", content[:HEAD], "a table")


@pytest.mark.parametrize("content", KINDS, ids=[name for name, _ in KINDS.values()])
def test_what_is_no_text_is_no_table(content):
    group = KINDS[content][1]
    if group in ("text", "unknown", "empty"):
        check_text("x.csv", content[:HEAD], "a table")
    else:
        with pytest.raises(HarnessError, match=r"^x\.csv: not a table: it is .*; "):
            check_text("x.csv", content[:HEAD], "a table")


@pytest.mark.parametrize("content", KINDS, ids=[name for name, _ in KINDS.values()])
def test_what_cannot_be_weights(content):
    name, group = KINDS[content]
    known = ("a zip archive", "a tar archive", "a pickle file", "a safetensors file")
    if name in known or group in ("text", "unknown"):
        check_weights("w.pth", content[:HEAD])
    else:
        with pytest.raises(HarnessError, match=r"^w\.pth: cannot be read as weights: it is .*; "):
            check_weights("w.pth", content[:HEAD])


def test_the_limit_of_what_is_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_bytes(b"x" * 1_000_001)
    assert len(read_bytes(path)) == 1_000_001
    monkeypatch.setenv("HARNESS_MAX_MB", "1")
    with pytest.raises(
        HarnessError, match=r"x\.csv: is 2 MB, above the limit of 1 MB.*HARNESS_MAX_MB=2"
    ):
        read_bytes(path)
    assert len(head(path)) == HEAD


def test_what_is_not_there_or_is_a_folder(tmp_path):
    for function in (check_file, read_bytes, head):
        with pytest.raises(HarnessError, match="x: No such file or directory; check the path"):
            function(tmp_path / "x")
        with pytest.raises(HarnessError, match="is a folder, not a file"):
            function(tmp_path)
        with pytest.raises(HarnessError, match="embedded null"):
            function(tmp_path / "x\0")
