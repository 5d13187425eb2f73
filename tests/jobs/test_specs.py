"""A job is data: what a process of its own makes of its JSON is what any other makes of it."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness import HarnessError
from harness.execution.execute import execute
from harness.execution.local import LocalProcesses
from harness.hooks.loader import load_plugins
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec
from harness.planning import planner
from harness.planning.plan import Request
from harness.store.store import Key, Store
from harness.store.stored import Part, load_array, names
from harness.types.probes import DatasetProbe

pytestmark = pytest.mark.once

TOY = Path(__file__).parents[1] / "toy"
MODELS = ("toy-features", "toy-mean+flips", "rgb-means")
VARY = ("sha256", "seconds", "created", "fits", "features", "files")
"""What records say of the time that a job took."""
TOGETHER = ("needs", "position")
"""What they say of the sweeps that hold results, here one for each and there one for all."""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A function of a folder: a plan of all kinds of jobs, its session, registry and store."""
    monkeypatch.syspath_prepend(TOY)
    monkeypatch.setenv("PYTHONPATH", str(TOY))

    def made(folder, **more):
        registry, store = load_plugins(), Store(folder)
        request = Request(
            datasets=[registry.datasets.find("toy-folds")],
            models=[registry.models.find(name) for name in MODELS],
            perturbations=[registry.perturbations.find("toy-toward")],
            perturbed=["toy-features"],
            probes=[p for p in registry.probes.values() if isinstance(p, DatasetProbe)][:2],
            data=tmp_path,
            **more,
        )
        session = SessionSpec(store=str(store.root.absolute()), data=str(tmp_path))
        return planner.build(registry, store, request), session, registry, store

    return made


def content(store, job):
    """The files of a result, and its record without what depends on the clock."""
    record = {name: value for name, value in store.record(job.key).items() if name not in VARY}
    place = store.place(job.key)
    if isinstance(place, Part):
        name = "values.npy" if job.kind == "features" else "logits.npy"
        about = {name: value for name, value in record.items() if name not in TOGETHER}
        return load_array(place, name).tobytes(), about
    return {name: bytes_of(place / name) for name in names(place)}, record


def bytes_of(path):
    """The bytes of a file; of a model that skops saved, of its arrays, which have random names."""
    if path.suffix != ".skops":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return sorted(archive.read(name) for name in archive.namelist() if name.endswith(".npy"))


def test_each_job_through_json_and_a_fresh_process_gives_the_same_bytes(plan, tmp_path):
    whole, session, registry, store = plan(tmp_path / "together")
    assert execute(whole, store, registry, LocalProcesses(session, store)) == {}
    alone, session, _, other = plan(tmp_path / "alone")
    assert alone.jobs.keys() == whole.jobs.keys()
    assert {job.kind for job in alone.jobs.values()} == {
        *("dataset", "features", "fit", "prediction", "sum", "finding")
    }
    for job in alone.to_do(other):
        text = json.dumps(job.as_json(), allow_nan=False)
        assert JobSpec.from_json(json.loads(text)) == job
        done = subprocess.run(
            [sys.executable, "-P", "-c", ONE_JOB],
            input=json.dumps([session.as_json(), json.loads(text)]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert content(other, job) == content(store, job), job.label


ONE_JOB = """
import json, sys
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec, SessionSpec
from harness.execution.worker import compute
session, job = json.load(sys.stdin)
session = OpenSession.open(SessionSpec.from_json(session))
for _, error in compute([JobSpec.from_json(job)], session):
    if error:
        raise error
"""


def test_a_session_is_plain_json():
    session = SessionSpec("runs", "data", {"a.py": "1"}, ("bias",), {"bad": "it hangs"})
    assert SessionSpec.from_json(json.loads(json.dumps(session.as_json()))) == session


def test_what_has_changed_since_the_plan_is_not_computed_under_its_key(plan, tmp_path, monkeypatch):
    made, session, _, _ = plan(tmp_path / "runs")
    jobs = {job.kind: job for job in made.jobs.values()}
    opened = OpenSession.open(session)
    fit, features = jobs["fit"], jobs["features"]
    for job, find, says in (
        (replace(fit, data="other"), opened.instance, "dataset toy-folds: has changed"),
        (replace(fit, weights={"digest": "x"}), opened.weights, "initial weights have changed"),
        (with_version(fit, 99), opened.model, "has changed since the run began; run the command"),
        (
            with_version(features, 99),
            opened.features,
            "features .* has changed since",
        ),
    ):
        with pytest.raises(HarnessError, match=says):
            find(job)
    file = tmp_path / "mine.py"
    file.write_text("")
    edited = OpenSession.open(replace(session, plugins={str(file): "00000000"}))
    edited.check(fit)  # does not run its code
    with pytest.raises(HarnessError, match=r"mine\.py: has changed since the run began"):
        edited.check(replace(fit, guests=("mine",)))
    prediction = next(job for job in made.jobs.values() if job.condition.perturbation)
    fields = {**prediction.key.fields, "perturbation_version": 99}
    other = replace(prediction, key=replace(prediction.key, fields=fields))
    with pytest.raises(HarnessError, match="perturbation toy-toward: has changed"):
        opened.condition(other)
    prediction = next(job for job in made.jobs.values() if job.fits)
    inputs = {**prediction.inputs, "fits": tuple(with_version(f, 99) for f in prediction.fits)}
    with pytest.raises(HarnessError, match=r"model .* has changed since"):
        opened.model(replace(prediction, inputs=inputs))
    finding = jobs["finding"]
    with pytest.raises(HarnessError, match=r"probe .* has changed since"):
        opened.probe(finding.key.name, 99)


def with_version(item, version):
    """A job, or a key, that is about another version."""
    if isinstance(item, Key):
        return replace(item, fields={**item.fields, "version": version})
    return replace(item, key=with_version(item.key, version))
