"""Tars are listed once and read at random, whole or in parts; what is damaged is said."""

import io
import pickle
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import HarnessError
from harness.data import tars

CONTENT = {f"set/{'ab'[i % 2]}/{i}.png": bytes([i]) * (200 * i + 1) for i in range(12)}


def written(path, content=CONTENT, kind=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=kind) as tar:
        tar.add(path.parent, "set", recursive=False)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def cut(path, size):
    """A file in parts, as split cuts it."""
    data = path.read_bytes()
    parts = []
    for number, start in enumerate(range(0, len(data), size)):
        parts.append(path.with_name(f"{path.name}.{number:02}"))
        parts[-1].write_bytes(data[start : start + size])
    path.unlink()
    return parts


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("size", [None, 20_480, 999, 512])
def test_files_are_read_in_any_order_also_in_another_process(tmp_path, kind, size):
    content = dict(CONTENT)
    if kind != tarfile.USTAR_FORMAT:
        content[f"set/{'long' * 60}/\N{GREEK SMALL LETTER MU}.png"] = b"x" * 700
    path = written(tmp_path / "a.tar", content | {"set/._a.png": b"of macOS"}, kind)
    tar = tars.opened([path] if size is None else cut(path, size))
    assert list(tar.members) == list(content)
    for name in reversed(content):
        assert tar.read(name) == content[name]
    sent = pickle.loads(pickle.dumps(tars.joined(tmp_path, {"x/a.tar": tar})))
    assert sent.read("x/a.tar/set/b/7.png") == content["set/b/7.png"]
    assert sent.sizes["x/a.tar/set/b/7.png"] == 1401
    assert dict(tar.read_all(list(content)[::-2])) == {n: content[n] for n in list(content)[::-2]}


def test_the_list_of_a_large_one_is_kept_until_it_changes(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tars, "LARGE", 10)
    scanned = []
    scan = tars._scan
    monkeypatch.setattr(tars, "_scan", lambda parts: scanned.append(parts) or scan(parts))
    path = written(tmp_path / "a.tar")
    for _ in range(3):
        assert tars.opened([path]).read("set/b/7.png") == CONTENT["set/b/7.png"]
    assert len(scanned) == 1
    written(path, {"set/a/other.png": b"other"})
    assert list(tars.opened([path]).members) == ["set/a/other.png"]
    assert len(scanned) == 2
    (tmp_path / "a.tar.index").write_text("[]")
    assert list(tars.opened([path]).members) == ["set/a/other.png"]
    assert len(scanned) == 3
    monkeypatch.setattr(tars.os, "access", lambda *_: False)  # as where nothing can be written
    assert list(tars.opened([path]).members) == ["set/a/other.png"]
    assert len(scanned) == 4


def damaged(path, at, with_=b"\xff" * 8):
    data = bytearray(path.read_bytes())
    data[at : at + len(with_)] = with_
    path.write_bytes(data)


def header(path, name):
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset


def linked(path):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("set/a/link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)


def twice(path):
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("./set/a/0.png"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:6000]), "is cut short; download it again"),
        (lambda p: p.write_bytes(p.read_bytes()[: header(p, "set/b/9.png")]), "is cut short; down"),
        (lambda p: p.write_bytes(p.read_bytes()[: header(p, "set/b/9.png") + 99]), "is cut short"),
        (lambda p: damaged(p, header(p, "set/b/9.png") + 150), "damaged header after set/a/8.png"),
        (lambda p: damaged(p, 150), "is damaged"),
        (lambda p: p.write_bytes(p.read_bytes() * 2), "goes on after its end, as when several"),
        (lambda p: p.write_bytes(b""), "not a tar file: it is empty; get it again"),
        (lambda p: p.write_bytes(b"\x1f\x8b\x08" + b"1" * 600), "not a tar file: it is a gzip"),
        (lambda p: p.write_bytes(b"<!DOCTYPE html><html>log in"), "not a tar file: it is an HTML"),
        (lambda p: written(p, {"../../a.png": b""}), "../../a.png inside leads out of the tar"),
        (lambda p: written(p, {"set/\x07.png": b""}), "cannot be printed; rename it"),
        (twice, "holds set/a/0.png twice; make the tar again"),
        (linked, "set/a/link.png inside is a link, a device or a sparse file"),
        (lambda p: (p.unlink(), p.symlink_to("none")), "is a link to none"),
    ],
)
def test_what_is_no_whole_tar_is_said_in_one_line(tmp_path, change, says):
    path = written(tmp_path / "a.tar")
    change(path)
    with pytest.raises(HarnessError) as raised:
        tars.opened([path])
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_part_that_is_lacking_is_said(tmp_path):
    parts = cut(written(tmp_path / "a.tar"), 5000)
    with pytest.raises(HarnessError, match=r"a\.tar\.00: and a\.tar\.03, the last of 4 parts"):
        tars.opened(parts[:4])
    with pytest.raises(HarnessError, match=r"a\.tar\.00: .*(damaged|cut short)"):
        tars.opened([parts[0], *parts[2:]])
    with pytest.raises(HarnessError, match=r"a\.tar\.01: not a tar file"):
        tars.opened(parts[1:])


def test_a_file_that_shrank_since_is_said(tmp_path):
    path = written(tmp_path / "a.tar")
    tar = tars.opened([path])
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(HarnessError, match=r"a\.tar: set/b/11\.png inside is cut short"):
        tar.read("set/b/11.png")


@settings(max_examples=200, deadline=None)
@given(
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), max_size=6),
    keep=st.floats(0.1, 1),
    kind=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_damage_is_an_error_in_one_line_or_none(tmp_path_factory, places, keep, kind):
    path = tmp_path_factory.mktemp("damaged") / "a.tar"
    content = dict(list(CONTENT.items())[:4]) | {f"set/{'long' * 60}.png": b"x"}
    data = bytearray(written(path, content, kind).read_bytes())
    for place, values in places:
        at = int(place * (len(data) - len(values)))
        data[at : at + len(values)] = values
    path.write_bytes(data[: int(keep * len(data))])
    try:
        tar = tars.opened([path])
        for name in tar.members:
            tar.read(name)
    except HarnessError as error:
        said = str(error)
    else:
        said = f"{path}: "
    assert said.startswith(f"{path}")
    assert "\n" not in said
