"""Perturbed patches that passes of a run keep for each other: same results, and nothing stays."""

import json
import re
from dataclasses import replace

import pytest

from harness.execution.kept_patches import FOLDER, remove_caches, with_cache
from harness.hooks.loader import load_plugins
from harness.jobs.spec import ConditionSpec, JobSpec
from harness.store.claims import Claims
from harness.store.store import Key, Store

PLUGIN = """
import numpy as np
from harness import Model, hookimpl


class Brightness:
    def __init__(self, means):
        self.means = means

    def save(self, folder):
        np.save(folder / "means.npy", self.means)

    def logits(self, images):
        values = np.asarray(images)[:, ::8, ::8].mean(axis=(1, 2, 3))
        return -np.abs(values[:, None] - self.means).astype(np.float32)


def fit(train, validation, context):
    values = train.read(range(len(train.labels)))[:, ::8, ::8].mean(axis=(1, 2, 3))
    labels = range(len(context.classes))
    return Brightness(np.array([values[train.labels == label].mean() for label in labels]))


def load(folder, settings):
    return Brightness(np.load(folder / "means.npy"))


@hookimpl
def harness_models():
    return [Model(name="brightness", title="Mean brightness", fit=fit, load=load)]
"""
RUN = (
    *("run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means", "--model", "brightness"),
    *("--no-probes", "--perturbation", "macenko", "--perturbation", "color-transfer"),
    *("--plugin", "mine.py"),
)


def stored(folder):
    """By digest of the result, the digests of its files."""
    found = {}
    for path in folder.rglob("record.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"]["kind"] in ("features", "prediction"):
            found[path.parent.name] = {n: f["sha256"] for n, f in content["files"].items()}
    return found


@pytest.mark.once
def test_results_are_the_same_with_and_without(command):
    (command.folder / "mine.py").write_text(PLUGIN, encoding="utf-8")
    output = command(*RUN)
    assert re.search(r"Perturbed patches took .* MB in runs/perturbed while the run", output)
    assert not (command.folder / "runs" / FOLDER).exists()
    output = command(*RUN, "--store", "without", "--perturbed-cache", "0")
    assert "Perturbed patches took" not in output
    command(*RUN, "--store", "two", "--jobs", "2")
    with_it, without, two = (stored(command.folder / n) for n in ("runs", "without", "two"))
    assert with_it == without == two
    assert len(with_it) >= 7


def test_how_much_is_kept_is_checked(toy):
    output = toy("run", "--all", "--perturbed-cache", "-1", code=2)
    assert "'-1' is not a number of gigabytes, 0 or more" in output


def job(group, kind="prediction", perturbation="gaussian-noise", guests=(), **inputs):
    fields = {"perturbation": perturbation or "clean", "for": group}
    return JobSpec(
        kind=kind,
        key=Key(kind, "toy", group, fields),
        label=group,
        condition=ConditionSpec(perturbation, 1.0),
        group=group,
        guests=guests,
        inputs=inputs,
    )


def test_jobs_that_perturb_the_same_patches_have_a_cache_and_writers_come_first(tmp_path):
    guest = job("a guest's", guests=("mine",))
    clean = job("clean", perturbation="")
    fitted = job("on features", features=(Key("features", "toy", "f", {}),))
    own, other = job("built in"), job("blurred", perturbation="gaussian-blur")
    features = job("features", kind="features")
    train = replace(job("features of train", kind="features"), part="train")
    with Claims(tmp_path) as claims:
        to_do = [clean, guest, fitted, own, other, features, train]
        marked = with_cache(to_do, claims, load_plugins())
        kept = {job.label for job in marked if job.kept_in}
        assert kept == {"a guest's", "built in", "features"}
        assert {job.kept_in for job in marked if job.kept_in} == {f"{FOLDER}/{claims.run}"}
    assert [job.label for job in marked[:3]] == ["clean", "features", "built in"]
    assert len(marked) == 7


def test_where_only_guests_perturb_nothing_is_kept(tmp_path):
    """They might have changed what perturbations compute; only that of their own is theirs."""
    to_do = [job("one", guests=("one",)), job("two", guests=("two",))]
    registry = load_plugins()
    with Claims(tmp_path) as claims:
        assert with_cache(to_do, claims, registry) == to_do
        of_perturbation = job("probe", kind="features", guests=("perturbations",))
        marked = with_cache([*to_do, of_perturbation], claims, registry)
    assert all(job.kept_in for job in marked)
    assert [job.label for job in marked] == ["probe", "one", "two"]


def test_caches_of_runs_that_are_gone_are_removed_and_those_at_work_stay(tmp_path):
    store = Store(tmp_path)
    with Claims(tmp_path) as mine, Claims(tmp_path) as other:
        for run in (mine.run, other.run, "run-of-a-process-that-was-killed"):
            folder = tmp_path / FOLDER / run
            folder.mkdir(parents=True)
            (folder / "x.patches").write_bytes(b"1")
        remove_caches(store, mine)
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [other.run]
        remove_caches(store, other)
    assert not (tmp_path / FOLDER).exists()
