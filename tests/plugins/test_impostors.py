"""Every reader, given a file that is not what its name says: the error names it and what it is."""

import gzip
import os
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import harness_kather2016
import harness_medmnist
import harness_nct_crc
from harness import HarnessError
from harness.hooks.loader import load_plugins
from harness_checkpoint.description import describe
from harness_files import folder, table

PNG = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
IMPOSTORS = {
    "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "HTML page titled '404'": b"<!DOCTYPE html><html><head><title>404</title></head></html>",
    "XML document": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "JSON": b'{"error": "Repository not found"}',
    "gzip file": gzip.compress(b"data"),
    "PDF document": b"%PDF-1.7\n" + bytes(99),
}


def class_folders(path):
    for name in ("A", "B"):
        (path / name).mkdir(parents=True)
        for number in range(3):
            (path / name / f"{number}.png").write_bytes(PNG)
    return path


def zipped(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, PNG)
    return path


def used(datasets):
    """Read the first patches of a dataset."""
    (dataset,) = datasets
    if lacking := dataset.missing(Path("nowhere")):
        raise HarnessError(lacking)
    return dataset.load(Path("nowhere")).test.read([0, 1, 2, 3])


def table_of(place, path="patches.csv"):
    names = [f"{name}/{number}.png" for name in "AB" for number in range(3)]
    (place / path).write_text("path,label\n" + "".join(f"set/{n},{n[0]}\n" for n in names))
    return {"table": path}


def parquet_of(place):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = pa.table({"image": [PNG] * 6, "label": [0, 1] * 3})
    pyarrow.parquet.write_table(rows, place / "all.parquet")
    return {"files": "all.parquet"}


def reading_parquet(place):
    from harness_files import parquet

    return used(parquet.read(place / "mine.toml", {"kind": "parquet", "files": "all.parquet"}))


def npz_of(place):
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros((5, 28, 28, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(5, dtype=np.uint8)[:, None]
    np.savez(place / "pathmnist.npz", **arrays)


def described(place):
    (place / "model.py").write_text("class Net: pass\n")
    (place / "notes.txt").write_text("notes")
    (place / "w.pth").write_bytes(b"PK\3\4" + bytes(99))
    (place / "mine.toml").write_text(
        'kind = "torch-checkpoint"\nname = "mine"\nnetwork = "model:Net"\nclasses = ["a", "b"]\n'
        'trained_on = "unknown"\nfiles = ["notes.txt"]\n[weights]\nfile = "w.pth"\n'
    )


def reading_checkpoint(place):
    path = place / "mine.toml"
    return describe(path, tomllib.loads(path.read_text())).digests()


def reading_plugin(name):
    def read(place):
        path = place / name
        (plugin,) = (p for p in load_plugins(files=[path]).plugins if p.distribution == str(path))
        if plugin.status:
            raise HarnessError(plugin.status)

    return read


KATHER, NCT = harness_kather2016.NAME, (harness_nct_crc.TRAIN, harness_nct_crc.TEST)
READERS = {
    "image in a folder": (
        lambda place: class_folders(place / "set"),
        lambda place: used(folder.read(place / "mine.toml", {"kind": "folder", "folder": "set"})),
        "set/A/2.png",
    ),
    "zip of class folders": (
        lambda place: zipped(place / "set.zip", ["A/0.png", "A/1.png", "B/0.png", "B/1.png"]),
        lambda place: used(
            folder.read(place / "mine.toml", {"kind": "folder", "folder": "set.zip"})
        ),
        "set.zip",
    ),
    "table": (
        lambda place: [class_folders(place / "set"), table_of(place)],
        lambda place: used(
            table.read(place / "mine.toml", {"kind": "table", "table": "patches.csv"})
        ),
        "patches.csv",
    ),
    "image of a table": (
        lambda place: [class_folders(place / "set"), table_of(place)],
        lambda place: used(
            table.read(place / "mine.toml", {"kind": "table", "table": "patches.csv"})
        ),
        "set/B/0.png",
    ),
    "parquet": (parquet_of, reading_parquet, "all.parquet"),
    "npz": (npz_of, lambda place: harness_medmnist.load(28, place), "pathmnist.npz"),
    "zip of Kather 2016": (
        lambda place: zipped(place / f"{KATHER}.zip", ["01_TUMOR/0.png"]),
        harness_kather2016.load,
        f"{KATHER}.zip",
    ),
    "zip of NCT-CRC-HE": (
        lambda place: [zipped(place / f"{name}.zip", ["ADI/0.png"]) for name in NCT],
        lambda place: harness_nct_crc.load(NCT[0], place),
        f"{NCT[1]}.zip",
    ),
    "plugin": (
        lambda place: (place / "mine.py").write_text(
            "from harness import hookimpl\n@hookimpl\ndef harness_datasets():\n    return []\n"
        ),
        reading_plugin("mine.py"),
        "mine.py",
    ),
    "TOML file": (
        lambda place: [
            class_folders(place / "set"),
            (place / "mine.toml").write_text('kind = "folder"\nfolder = "set"\n'),
        ],
        reading_plugin("mine.toml"),
        "mine.toml",
    ),
    "weights": (described, reading_checkpoint, "w.pth"),
    "code of a network": (described, reading_checkpoint, "model.py"),
}

FILES = sorted(set(READERS) - {"code of a network"})
"""Without one of these nothing can be read."""


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", IMPOSTORS)
def test_a_file_that_is_not_what_its_name_says(tmp_path, reader, kind):
    make, read, name = READERS[reader]
    make(tmp_path)
    read(tmp_path)
    (tmp_path / name).write_bytes(IMPOSTORS[kind])
    with pytest.raises(HarnessError, match=kind) as caught:
        read(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    if "LFS" in kind:
        assert "git lfs pull" in str(caught.value)


@pytest.mark.parametrize("reader", [name for name in FILES if name != "plugin"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_file_that_is_empty_or_cut(tmp_path, reader, keep):
    """What is cut in half must be told by its reader, where that can tell."""
    make, read, name = READERS[reader]
    make(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    if reader == "weights" and keep:
        pytest.skip("torch tells")
    with pytest.raises(HarnessError) as caught:
        read(tmp_path)
    assert name.split("/")[0] in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("reader", FILES)
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path, reader):
    make, read, name = READERS[reader]
    make(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(HarnessError, match=r"is a named pipe, not a file|is no file") as caught:
        read(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize("reader", [name for name in FILES if "folder" not in name])
def test_a_folder_in_place_of_a_file(tmp_path, reader):
    make, read, name = READERS[reader]
    if reader.startswith("zip"):
        pytest.skip("class folders may be unpacked into a folder of any name")
    make(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(
        HarnessError, match=r"is a folder|is no file|lists no|No such file"
    ) as caught:
        read(tmp_path)
    assert name.split("/")[-1].split(".")[0] in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
@pytest.mark.parametrize("reader", FILES)
def test_a_link_to_nowhere_is_never_left_out(tmp_path, reader):
    make, read, name = READERS[reader]
    make(tmp_path)
    (tmp_path / name).rename(tmp_path / "kept")
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(HarnessError) as caught:
        read(tmp_path)
    assert name.split("/")[-1].split(".")[0] in str(caught.value)
    shutil.move(tmp_path / "kept", tmp_path / "gone")
    read(tmp_path)


def test_a_pointer_costs_a_user_one_line(command, tmp_path):
    class_folders(tmp_path / "set")
    (tmp_path / "set" / "A" / "0.png").write_bytes(IMPOSTORS["pointer of Git LFS"])
    path = tmp_path / "mine.toml"
    path.write_text('kind = "folder"\nfolder = "set"\n')
    arguments = ("--plugin", path, "--dataset", "mine", "--model", "rgb-means", "--no-probes")
    output = command("run", *arguments, code=2)
    says = "A/0.png: cannot be read as an image: it is a pointer of Git LFS; run git lfs pull"
    assert says in output
    assert "Traceback" not in output
