"""Files made once: whole or not at all, by one process at a time."""

import errno
import subprocess
import sys

import pytest

from harness import HarnessError
from harness.copies import make_once


def leftovers(folder):
    return [path.name for path in sorted(folder.iterdir()) if not path.name.endswith(".lock")]


def test_a_file_is_made_once(tmp_path, capsys):
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


READ_ONLY = """
import os, sys
from pathlib import Path
from harness.copies import make_once
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
import sys, time
from pathlib import Path
from harness.copies import make_once
def write(file):
    for number in range(20):
        file.write(b"x" * 100)
        file.flush()
        time.sleep(0.02)
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
