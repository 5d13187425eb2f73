"""Files made once: whole or not at all, by one process at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import HarnessError
from harness.data.copies import make_once
from harness.system import checkpoints


def leftovers(folder):
    return [path.name for path in sorted(folder.iterdir()) if not path.name.endswith(".lock")]


def test_a_file_is_made_once(tmp_path, capsys, console):
    path = tmp_path / "copy.bin"
    assert make_once(path, 3, lambda file: file.write(b"one")) == path
    make_once(path, 3, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"one"
    assert capsys.readouterr().err.count("written once") == 1
    assert leftovers(tmp_path) == ["copy.bin", "copy.bin.sha256"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("damaged")])
def test_what_fails_leaves_nothing_behind(tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        make_once(tmp_path / "copy.bin", 8, write)
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_an_error_in_words(tmp_path):
    def write(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HarnessError, match="no space left on the disk"):
        make_once(tmp_path / "copy.bin", 8, write)
    with pytest.raises(HarnessError, match=r"copy\.bin: needs 1000000000\.0 GB where"):
        make_once(tmp_path / "copy.bin", 10**18, write)
    assert leftovers(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path):
    with pytest.raises(HarnessError, match=r"No such file or directory; check the folder"):
        make_once(tmp_path / "none" / "copy.bin", 1, lambda file: None)


def flip(data):
    return data[:1] + bytes([data[1] ^ 1]) + data[2:]


DAMAGES = {
    "flipped": flip,
    "zeroed": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"x",
    "gone": None,
}


@pytest.mark.parametrize("name", ["copy.bin", "copy.bin.sha256"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_copy_that_does_not_prove_itself_is_made_anew(name, damage, tmp_path, capsys, console):
    path = make_once(tmp_path / "copy.bin", 3, lambda file: file.write(b"one"))
    make_once(path, 3, lambda file: file.write(b"two"))
    capsys.readouterr()
    if damage is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    make_once(path, 3, lambda file: file.write(b"two"))
    said = capsys.readouterr().err
    assert path.read_bytes() == b"two"
    if (name, damage) != ("copy.bin", None):
        assert f"{path}: " in said
        assert "made again" in said
    make_once(path, 3, lambda file: pytest.fail("it is there"))
    assert leftovers(tmp_path) == ["copy.bin", "copy.bin.sha256"]


def test_a_copy_of_files_that_have_changed_is_made_anew(tmp_path, capsys, console):
    source = tmp_path / "source"
    source.write_bytes(b"first")

    def copy(file):
        file.write(source.read_bytes())

    path = make_once(tmp_path / "copy.bin", 5, copy, [source])
    make_once(path, 5, lambda file: pytest.fail("it is there"), [source])
    source.write_bytes(b"other")
    later = source.stat().st_mtime_ns + 10**9
    os.utime(source, ns=(later, later))
    make_once(path, 5, copy, [source])
    assert path.read_bytes() == b"other"
    assert "copy.bin: the files that it was made of have changed" in capsys.readouterr().err


def test_a_run_that_was_killed_between_two_versions_leaves_one_of_them(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    checkpoints.write(path, lambda draft: draft.write_text("one"), {"number": 1})
    real = Path.replace

    def replace(self, target):
        if target == path:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(path, lambda draft: draft.write_text("two"), {"number": 2})
    assert (path.read_text(), checkpoints.damage(path)) == ("one", "")
    assert checkpoints.note(path) == {"number": 1}
    monkeypatch.undo()
    checkpoints.write(path, lambda draft: draft.write_text("three"), {"number": 3})
    assert (path.read_text(), checkpoints.damage(path)) == ("three", "")
    assert checkpoints.note(path) == {"number": 3}
    checkpoints.remove(path)
    assert list(tmp_path.iterdir()) == []
    assert checkpoints.damage(path) == "is missing"


NO_LOCKS = ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL")


def without_locks(name):
    def flock(file, how):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return flock


@pytest.mark.skipif(sys.platform == "win32", reason="has no such lock")
@pytest.mark.parametrize("name", NO_LOCKS)
def test_without_locks_it_is_made_with_a_warning(name, tmp_path, monkeypatch, capsys, console):
    monkeypatch.setattr("fcntl.flock", without_locks(name))
    (tmp_path / ".copy.bin.tmp").write_bytes(b"of another run")
    path = make_once(tmp_path / "copy.bin", 3, lambda file: file.write(b"one"))
    make_once(tmp_path / "more.bin", 3, lambda file: file.write(b"one"))
    assert path.read_bytes() == b"one"
    assert (tmp_path / ".copy.bin.tmp").read_bytes() == b"of another run"
    said = capsys.readouterr().err
    assert said.count("WARNING") == 1
    assert f"WARNING: {tmp_path}: this file system has no file locks (" in said
    assert "do not start two runs that make copy.bin at once" in said


READ_ONLY = """
import os, sys
from pathlib import Path
from harness.data.copies import make_once
import fcntl
os.chdir(sys.argv[1])  # what lies above may be for its owner alone
if os.geteuid() == 0:  # whom no permission stops
    os.seteuid(65534)
try:
    make_once(Path("copy.bin"), 1, lambda file: None)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such permissions")
def test_a_folder_that_cannot_be_written_to_says_what_to_do(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("HarnessError: copy.bin: cannot be written")
    assert "link the data into it, and point --data at that" in done.stdout


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    (tmp_path / ".copy.bin.tmp").write_bytes(b"of a run that was killed, and longer")
    path = make_once(tmp_path / "copy.bin", 1, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


ONE_OF_TWO = """
import logging, sys, time
from pathlib import Path
from harness.data.copies import make_once
def write(file):
    for number in range(20):
        file.write(b"x" * 100)
        file.flush()
        time.sleep(0.02)
logging.basicConfig(level=logging.INFO)
make_once(Path(sys.argv[1]), 2000, write)
print(len(Path(sys.argv[1]).read_bytes()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such lock")
def test_two_processes_make_it_once(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, tmp_path / "copy.bin"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [out.strip() for out, _ in outputs] == ["2000", "2000"]
    assert sum(err.count("written once") for _, err in outputs) == 1
