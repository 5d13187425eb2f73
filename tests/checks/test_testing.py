"""What authors get: the contract in one line of their tests, and fixtures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import HarnessError
from harness.testing import contract

pytestmark = pytest.mark.once
KIT = Path(__file__).parents[1] / "checks" / "kit.py"
LINE = "from harness.testing import contract\n\ntest_contract = contract({})\n"


@pytest.fixture
def run_pytest(tmp_path):
    """Run pytest on a module of a stranger's; returns its output."""

    def run(source: str, *arguments: str, path: Path | None = None, code: int = 0) -> str:
        folder = tmp_path / "author"
        folder.mkdir()
        (folder / "test_mine.py").write_text(source)
        (folder / "conftest.py").write_text('pytest_plugins = ["harness.testing"]\n')
        own = {name: text for name, text in os.environ.items() if not name.startswith("HARNESS_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments],
            cwd=folder,
            env={**own, "PYTHONPATH": str(path or "")},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_an_author_tests_an_installed_plugin_in_one_line(run_pytest, make_distribution):
    path = make_distribution("kit-dist", {"kit": KIT.read_text()})
    output = run_pytest(LINE.format('"kit"'), "-v", path=path)
    assert "test_contract[model:kit-nearest:any-batch] PASSED" in output
    assert "test_contract[model:kit-nearest:fresh-process] PASSED" in output
    assert "test_contract[dataset:kit-files:loads] SKIPPED" in output
    assert "no kit in data; make it" in output


def test_a_broken_promise_fails_an_authors_test_and_says_which(run_pytest, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(KIT.read_text().replace("        logits = -np", "        logits = np.nan * np"))
    source = LINE.format(f'"mine", plugin_file={str(file)!r}')
    output = run_pytest(source, "-k", "kit-nearest and (fits or logits or saves)", code=1)
    assert "BROKEN   model:kit-nearest:logits" in output
    assert "Logits are finite floats: a row for each patch" in output
    assert "243 of 243 logits are NaN or infinite" in output
    assert "1 failed, 1 passed, 1 skipped" in output  # what was saved cannot be compared


def test_fixtures(run_pytest):
    source = """
def test_patches(patches):
    images = patches.train.read([0, 1])
    assert images.dtype == "uint8" and images.shape == (2, 224, 224, 3)
    parts = [set(part.ids) for part in (patches.train, patches.validation, patches.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 9 * (6 + 2 + 3)
    assert {id_.split("/")[0] for id_ in set.union(*parts)} == {"NCT-CRC-HE-100K", "CRC-VAL-HE-7K"}
    assert set(patches.train.labels) == set(patches.test.labels) == set(range(9))


def test_run(run_harness, tmp_path):
    assert "rgb-means" in run_harness("list")
    assert "no model named" in run_harness("run", "--model", "rgb", code=2)
"""
    assert "2 passed" in run_pytest(source)


def test_what_is_not_there_is_said_at_once():
    with pytest.raises(HarnessError, match="nothing of one, named 'rgb-meens'; did you mean rgb-m"):
        contract("rgb-meens")
    with pytest.raises(HarnessError, match="no chosen model has the setting 'tree'"):
        contract("color", settings=["tree=3"])


def test_without_the_data_of_its_dataset_the_test_is_skipped(run_pytest):
    source = LINE.format('"rgb-means", dataset="nct-crc-he", data="/nowhere"')
    output = run_pytest(source)
    assert "1 skipped" in output
    assert "dataset nct-crc-he: no NCT-CRC-HE-100K" in output
    with pytest.raises(HarnessError, match="no dataset named 'nct-crc'"):
        contract("rgb-means", dataset="nct-crc")


def test_a_member_of_a_family_or_a_sum_over_flips_has_a_contract(command):
    output = command("check", "kit:7", "rgb-means+flips", "--plugin", KIT)
    assert "ok       derived-model:kit:7:members" in output
    assert "ok       derived-model:rgb-means+flips:members" in output


def test_a_plugin_that_another_reads_from_toml_is_checked(command, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('kind = "kit-folder"\nfolder = "nowhere"\n')
    output = command("check", "mine", "--plugin", KIT, "--plugin", file, code=1)
    assert "ok       plugin:mine:loads" in output
    assert "BROKEN   dataset:mine:loads" in output
    assert "train has no patches" in output


FATAL = """
import ctypes, itertools, os, time
from pathlib import Path
from harness import HarnessError, Model, Perturbation, hookimpl

def sleep(images, level, rng):
    Path("process.txt").write_text(str(os.getpid()))
    time.sleep(600)

def spin(images, level, rng):
    return sum(itertools.repeat(0))

def end(images, level, rng):
    os._exit(0)

def crash(images, level, rng):
    ctypes.string_at(0)

def leave(images, level, rng):
    raise GeneratorExit

@hookimpl
def harness_perturbations():
    return [
        Perturbation(name=apply.__name__, title="Ends all", levels=(1,), apply=apply)
        for apply in (sleep, spin, end, crash, leave)
    ]

def fit(train, validation, context):
    os._exit(0)

@hookimpl
def harness_models():
    return [Model(name="ends", title="Ends all", fit=fit, load=None)]
"""


def line_of(code: str) -> int:
    return 1 + FATAL.splitlines().index(f"    {code}")


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("sleep", "time.sleep(600)", "took longer than the 0.05 min of --time-limit"),
        ("spin", "return sum(itertools.repeat(0))", "took longer than the 0.05 min"),
        ("end", "", "ended the process with exit code 0; return"),
        ("crash", "ctypes.string_at(0)", "crashed with SIGSEGV (Segmentation fault)"),
        ("leave", "raise GeneratorExit", "raised GeneratorExit"),
    ],
)
def test_what_ends_the_process_breaks_its_promise_and_the_next_is_checked(
    name, code, why, command, tmp_path
):
    file = tmp_path / "fatal.py"
    file.write_text(FATAL)
    limit = ("--time-limit", "0.05") if "0.05" in why else ()
    output = command("check", name, "--plugin", file, *limit, code=1)
    assert f"BROKEN   perturbation:{name}:same-shape" in output
    assert f"BROKEN   perturbation:{name}:inputs-unchanged" in output
    assert why in output
    assert not code or f"({file}:{line_of(code)})" in output
    assert limit or "6 promises: 4 broken, 2 skipped; patches of nct-crc-he-sample" in output


def test_a_fit_that_ends_the_process_is_tried_once(command, tmp_path):
    file = tmp_path / "fatal.py"
    file.write_text(FATAL)
    output = command("check", "ends", "--plugin", file, code=1)
    assert "BROKEN   model:ends:fits" in output
    assert "19 promises: 1 broken, 18 skipped" in output


def test_a_plugin_that_ends_the_process_as_it_loads(command, tmp_path):
    file = tmp_path / "fatal.py"
    file.write_text("import os\nos._exit(0)\n")
    output = command("check", "fatal", "--plugin", file, code=1)
    assert "ended the process with exit code 0 when it was loaded" in output


def test_ctrl_c_ends_everything(command, tmp_path):
    file = tmp_path / "fatal.py"
    file.write_text(FATAL)
    process = command.start("check", "sleep", "--plugin", file)
    other = tmp_path / "process.txt"
    while not (other.exists() and other.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.communicate()
    with pytest.raises(ProcessLookupError):
        os.kill(int(other.read_text()), 0)
