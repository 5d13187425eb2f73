"""Folds that a store remembers are those that scikit-learn cuts, and it need not be loaded."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.data import folds
from harness.hooks.loader import load_plugins
from harness.jobs.dataset import load
from harness.store.store import Store
from harness.store.stored import DamagedError

SAMPLE = "nct-crc-he-sample"
LOADED = """
import sys
from pathlib import Path
from harness.hooks.loader import load_plugins
from harness.jobs.dataset import load
from harness.store.store import Store
dataset = load_plugins().datasets["nct-crc-he-sample"]
print(load(dataset, Path(), "", Store(Path(sys.argv[1]))).fingerprint, "sklearn" in sys.modules)
"""


@pytest.fixture(scope="module")
def dataset():
    return load_plugins().datasets[SAMPLE]


def cuts(instance):
    return [predicted.tolist() for _, predicted in instance.pairs]


def test_folds_are_cut_once(dataset, tmp_path, monkeypatch):
    expected = load(dataset, Path(), "")
    first = load(dataset, Path(), "", Store(tmp_path))
    monkeypatch.setattr(folds, "cut", None)
    second = load(dataset, Path(), "", Store(tmp_path))
    assert cuts(expected) == cuts(first) == cuts(second)
    assert expected.fingerprint == first.fingerprint == second.fingerprint


def test_what_remembers_them_does_not_load_scikit_learn(dataset, tmp_path):
    fingerprint = load(dataset, Path(), "", Store(tmp_path)).fingerprint
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.split() == [fingerprint, "False"]


def test_damaged_folds_are_cut_again(dataset, tmp_path):
    expected = cuts(load(dataset, Path(), "", Store(tmp_path)))
    (path,) = tmp_path.glob("folds/*/*/*/folds.npy")
    whole = path.read_bytes()
    path.unlink()
    np.save(path, np.zeros(111, np.int64))
    assert cuts(load(dataset, Path(), "", Store(tmp_path))) == expected
    assert path.read_bytes() == whole


def test_a_dry_run_remembers_nothing(dataset, tmp_path):
    store = Store(tmp_path)
    store.is_written = False
    load(dataset, Path(), "", store)
    assert not [*tmp_path.glob("folds/*")]


def test_folds_that_cannot_be_read_are_cut_again(dataset, tmp_path, monkeypatch):
    """Such as when they are removed at that moment."""
    expected = load(dataset, Path(), "", Store(tmp_path)).fingerprint

    def gone(*_):
        raise DamagedError(tmp_path, "gone", tmp_path)

    monkeypatch.setattr("harness.jobs.dataset.load_array", gone)
    assert load(dataset, Path(), "", Store(tmp_path)).fingerprint == expected


def test_a_dataset_that_changes_the_working_folder_gets_no_store_there(
    dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def wander(folder):
        os.chdir(elsewhere)
        return dataset.load(folder)

    load(replace(dataset, load=wander), tmp_path, "", Store(Path("runs")))
    assert not [*elsewhere.iterdir()]
    assert len([*tmp_path.glob("runs/folds/*/*/*/folds.npy")]) == 1
