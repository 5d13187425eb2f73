"""Fits and training features serve every dataset with the same training patches, and no other."""

import json
import re

import pytest

from harness.store.stored import DamagedError, look

PLUGIN = """
import os
import numpy as np
from harness import Dataset, Features, Model, Splits, hookimpl

class Cohort:
    def __init__(self, name, n, shift=0):
        rng = np.random.default_rng(len(name) + n)
        self.labels = np.arange(n) % 3
        self.images = rng.integers(0, 200, (n, 8, 8, 3)) + 20 * self.labels[:, None, None, None]
        self.images += shift
        self.ids = [f"{name}/{i}" for i in range(n)]
        self.fingerprint = f"version 1 of {name} with {n}"

    def read(self, indices):
        return self.images[np.asarray(indices)].astype(np.uint8)

def log(what):
    with open("shared.log", "a", encoding="utf-8") as file:
        file.write(what + "\\n")

def extract(images):
    log(f"extract {len(images)}")
    return images.mean(axis=(1, 2)).astype(np.float32)

class Nearest:
    def __init__(self, means):
        self.means = means

    def logits(self, inputs):
        values = inputs if inputs.ndim == 2 else inputs.mean(axis=(1, 2))
        return -np.linalg.norm(values[:, None] - self.means[None], axis=2).astype(np.float32)

    def save(self, folder):
        np.save(folder / "means.npy", self.means)

def fit(train, validation, context):
    log(f"fit on {len(train.labels)}")
    values = train.read(np.arange(len(train.labels))).astype(np.float32)
    values = values if values.ndim == 2 else values.mean(axis=(1, 2))
    return Nearest(np.stack([values[train.labels == k].mean(axis=0) for k in range(3)]))

def load(folder, settings):
    return Nearest(np.load(folder / "means.npy"))

def dataset(name, shift=0):
    test = Cohort(f"test of {name}", 30)
    return Dataset(
        name=name, title=name, classes=("A", "B", "C"),
        load=lambda folder: Splits(train=Cohort("train", 60, shift), test=test),
    )

@hookimpl
def harness_datasets():
    return [dataset("first"), dataset("second"), dataset("forged", shift=1)]

@hookimpl
def harness_models():
    means = Features(name="means", extract=extract)
    return [
        Model(name="patches", title="Patches", fit=fit, load=load),
        Model(name="selected", title="Selected", fit=fit, load=load, selects=True),
        Model(name="by-features", title="Features", fit=fit, load=load, features=means),
    ]
"""
MODELS = ("--model", "patches", "--model", "selected", "--model", "by-features")
VARY = re.compile("seconds|created|digest|per_second|revision")


@pytest.fixture
def run(command):
    (command.folder / "mine.py").write_text(PLUGIN)
    command.without = "bias"

    def run(*arguments, **more):
        return command("run", *arguments, *MODELS, "--plugin", "mine.py", "--no-probes", **more)

    return run


def log(command):
    path = command.folder / "shared.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def board(command, folder, name):
    def plain(content):
        if isinstance(content, dict):
            return {k: plain(v) for k, v in content.items() if not VARY.search(k)}
        return [plain(one) for one in content] if isinstance(content, list) else content

    return plain(json.loads((command.folder / folder / f"{name}.json").read_text()))


def names(command, kind):
    return sorted(p.parent.name for p in (command.folder / "runs" / kind).glob("*/*/*/"))


@pytest.mark.once
@pytest.mark.parametrize("together", [False, True])
def test_datasets_with_the_same_training_patches_share_fits_and_features(run, command, together):
    for name in ("first", "second"):
        run("--dataset", name, "--store", f"runs-{name}", "--leaderboards", f"boards-{name}")
    alone = log(command)
    if together:
        run("--dataset", "first", "--dataset", "second")
    else:
        run("--dataset", "first")
        run("--dataset", "second")
    shared = log(command)
    assert (alone.count("fit on 60"), shared.count("fit on 60")) == (4, 2)
    assert (alone.count("fit on 54"), shared.count("fit on 54")) == (2, 1)
    # One of the training patches and one of each test set, where there were two of each.
    assert (alone.count("extract 60"), shared.count("extract 60")) == (2, 1)
    assert (alone.count("extract 30"), shared.count("extract 30")) == (2, 2)
    for name in ("first", "second"):
        mine = board(command, "reports", name)
        assert mine == board(command, f"boards-{name}", name)
        measured = [row for row in mine["rows"] if row["result"] == "measured"]
        assert len(measured) == 3
    # What serves another dataset stays when one is removed.
    command("results", "remove", "--dataset", "first", "--yes")
    assert names(command, "fit") == ["by-features", "patches", "selected"]
    assert names(command, "features") == ["means-test", "means-train"]
    assert not (command.folder / "runs/dataset/first").exists()
    command("leaderboard", "--plugin", "mine.py")
    assert board(command, "reports", "second") == board(command, "boards-second", "second")
    output = command("results", "remove", "--dataset", "second", "--yes")
    assert "Nothing is stored of second any more" in output
    assert names(command, "fit") == names(command, "features") == []


@pytest.mark.once
def test_fits_that_may_see_test_patches_are_not_shared(run, command):
    for option in (("--protocol", "published"), ("--audit-selection",)):
        run("--dataset", "first", *option)
        run("--dataset", "second", *option)
    # The one that selects sees the test patches; nothing here can be audited.
    found = {path.parent.parent.name for path in (command.folder / "runs/fit").glob("*/selected/*")}
    assert found == {"first", "second", "_shared"}


@pytest.mark.once
def test_a_fingerprint_that_says_nothing_of_the_patches_is_named(run, command):
    run("--dataset", "first")
    output = run("--dataset", "forged", code=1)
    assert (
        "dataset forged: its train patches have the same fingerprint, ids and labels as those of "
        "first, from which patches was computed, but they are others; let the fingerprint of the "
        "split depend on what is in the patches" in output
    )
    rows = board(command, "reports", "forged")["rows"]
    assert {row["result"] for row in rows} == {"failed"}
    assert "Everything is in the store" in run("--dataset", "first")


@pytest.mark.once
def test_a_damaged_fit_that_is_shared_is_named_with_a_command_that_computes_it_again(run, command):
    run("--dataset", "first")
    (path,) = (command.folder / "runs/fit/_shared/patches").glob("*/means.npy")
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    name = path.relative_to(command.folder)
    assert f"damaged: {name}" in command("results", "list", "--dataset", "first")
    with pytest.raises(DamagedError, match="`harness run --dataset first --model patches --store"):
        look(path.parent)
    for folder in (command.folder / "runs/prediction/first/patches").iterdir():
        (folder / "record.json").unlink()
    output = run("--dataset", "first")
    assert f"WARNING: {name}: is damaged" in output
    assert path.read_bytes() == before
