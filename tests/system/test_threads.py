"""Threads of libraries inside threads of ours: one each, whatever the environment says."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from harness.data.splits import stream
from harness.execution.local import shares
from harness.hooks.loader import load_plugins
from harness.system.threads import cpu_count, one_thread_each
from harness.types.probes import DatasetProbe

MANY = {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
START = """
import json, sys
import numpy as np
from threadpoolctl import ThreadpoolController, threadpool_info

ThreadpoolController().limit(limits=3)  # OpenBLAS itself would start no more than there are cores

def seen(api="blas"):
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == api]

class Numbers:
    labels = np.zeros(24, np.int64)
    ids = [str(i) for i in range(24)]
    fingerprint = "numbers"

    def read(self, indices):
        return np.zeros((len(indices), 32, 32, 3), np.uint8)

def told(**found):
    print(json.dumps(found))
"""


def run(code, **environment):
    """What a fresh process prints, a library of which would like to have three threads."""
    text = START + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, **MANY, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PASS = """
import scipy.linalg, sklearn.utils._openmp_helpers, cv2
from harness.data.splits import stream
before, during, inside = seen(), [], []
cv2.setNumThreads(3)

class Reading(Numbers):
    def read(self, indices):
        during.extend(seen())
        return super().read(indices)

def then(indices, images):
    during.extend(seen())
    inside.extend([*seen("openmp"), cv2.getNumThreads()])

for _ in stream(Reading(), 2, then=then, threads=THREADS):
    during.extend(seen())
told(before=before, during=during, inside=inside, after=seen(), opencv=cv2.getNumThreads())
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("environment", [{}, {"OPENBLAS_NUM_THREADS": "8"}])
def test_reading_threads_and_what_they_call_have_one_thread_each(threads, environment):
    found = run(PASS.replace("THREADS", str(threads)), **environment)
    assert max(found["before"]) > 1
    assert set(found["during"]) == set(found["inside"]) == {1}
    assert (found["after"], found["opencv"]) == (found["before"], 3)


def test_what_is_loaded_during_a_pass_is_limited_from_then_on_and_put_back():
    found = run(
        """
        import cv2
        import harness.system.threads
        harness.system.threads.LOADED_FIRST = ("cv2",)
        from harness.data.splits import stream
        ThreadpoolController().limit(limits=3)

        def by_file():
            return {found["filepath"]: found["num_threads"] for found in threadpool_info()}

        start, during = by_file(), []

        def then(indices, images):
            import scipy.linalg, sklearn.utils._openmp_helpers
            during.append(by_file())

        for _ in stream(Numbers(), 2, then=then, threads=2):
            pass
        told(start=start, first=during[0], last=during[-1], after=by_file())
        """
    )
    assert len(found["first"]) > len(found["start"]), "so that the test tests something"
    assert set(found["last"].values()) == {1}
    assert found["after"] == {**found["first"], **found["start"]}


def test_passes_that_overlap_and_passes_that_are_left_put_everything_back():
    found = run(
        """
        import scipy.linalg, cv2
        from harness.data.splits import stream
        ThreadpoolController().limit(limits=3)
        before = seen()
        a, b = stream(Numbers(), 2), stream(Numbers(), 2)
        next(a), next(b)
        a.close()
        between = seen()
        list(b)
        told(before=before, between=between, after=seen())
        """
    )
    assert max(found["before"]) == 3
    assert set(found["between"]) == {1}
    assert found["after"] == found["before"]
    found = run(
        """
        import scipy.linalg, cv2
        from harness.data.splits import stream
        ThreadpoolController().limit(limits=3)
        before = seen()
        def then(indices, images):
            raise ValueError("broken")
        try:
            list(stream(Numbers(), 2, then=then))
        except ValueError:
            pass
        next(stream(Numbers(), 2))
        told(before=before, after=seen())
        """
    )
    assert max(found["before"]) == 3
    assert found["after"] == found["before"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot bind to cores")
def test_each_of_several_processes_has_the_threads_of_its_share_of_cores():
    n = len(os.sched_getaffinity(0))
    assert shares(1) == [(None, {})]
    found = shares(n)
    assert sorted(core for cores, _ in found for core in cores) == sorted(os.sched_getaffinity(0))
    cores, environment = found[-1]
    code = f"""
import os; os.sched_setaffinity(0, {cores})
import json, numpy, scipy.linalg, sklearn.utils._openmp_helpers, cv2, joblib
from threadpoolctl import threadpool_info
from harness.system.threads import cpu_count
threads = [library["num_threads"] for library in threadpool_info()]
print(json.dumps([*threads, cv2.getNumThreads(), joblib.cpu_count(), cpu_count()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **MANY, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(json.loads(done.stdout)) == {1}


def test_torch_keeps_its_threads_where_it_consumes_and_has_one_where_we_read():
    pytest.importorskip("torch")
    found = run(
        """
        import torch
        from harness.data.splits import stream
        before, inside, outside = torch.get_num_threads(), [], []
        for _ in stream(Numbers(), 2, then=lambda *_: inside.append(torch.get_num_threads())):
            outside.append(torch.get_num_threads())
        told(before=before, inside=inside, outside=outside)
        """
    )
    assert set(found["inside"]) == {1}
    assert set(found["outside"]) == {found["before"]}


FEATURES = {
    features.name: features
    for probe in load_plugins().probes.values()
    if isinstance(probe, DatasetProbe)
    for features in probe.features
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_the_same_to_the_last_bit_with_one_thread_each(name):
    import harness_nct_crc

    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    some = np.arange(0, len(split.labels), 7)
    extract = FEATURES[name].extract
    with one_thread_each():  # with more, some CPUs add up in another order
        expected = extract(split.read(some))
        assert np.array_equal(extract(split.read(some)), expected)
    batches = stream(split, len(some), order=some, then=lambda _, images: extract(images))
    assert np.array_equal(next(batches)[1], expected)


PLUGIN = """
import json, os
import numpy as np
from harness import Features, Perturbation, estimator_model, hookimpl

def seen(where):
    import scipy.linalg
    from threadpoolctl import ThreadpoolController
    blas = ThreadpoolController().select(user_api="blas").info()
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps([where, max(one["num_threads"] for one in blas)]) + "\\n")

def extract(images):
    seen("extract")
    return images.mean(axis=(1, 2)).astype(np.float32)

def apply(patch, level, rng):
    seen("apply")
    return patch

def estimator(settings, seed):
    from sklearn.naive_bayes import GaussianNB
    return GaussianNB()

@hookimpl
def harness_models():
    features = Features(name="seen", extract=extract)
    return [estimator_model(name="seen", title="t", estimator=estimator, features=features)]

@hookimpl
def harness_perturbations():
    return [Perturbation(name="seen", title="t", apply=apply, levels=(1,), role="acquisition")]
"""


@pytest.mark.parametrize("environment", [{}, {"OPENBLAS_NUM_THREADS": "8", "OMP_NUM_THREADS": "8"}])
def test_what_a_plugin_calls_in_a_worker_has_one_thread(toy, tmp_path, environment, monkeypatch):
    for name in MANY:
        monkeypatch.delenv(name, raising=False)
    plugin, seen = tmp_path / "seen.py", tmp_path / "seen.txt"
    plugin.write_text(PLUGIN)
    asked = ("--dataset", "toy", "--model", "seen", "--perturbation", "seen", "--no-probes")
    toy("run", "--plugin", plugin, *asked, SEEN=str(seen), **environment)
    found = [json.loads(line) for line in seen.read_text().splitlines()]
    assert {where for where, _ in found} == {"extract", "apply"}
    assert {number for _, number in found} == {1}


@pytest.mark.parametrize(
    ("allowed", "expected"), [("1", 1), ("0", 1), ("100000", None), ("", None), ("two", None)]
)
def test_a_process_uses_no_more_cores_than_it_is_allowed(monkeypatch, allowed, expected):
    there = cpu_count()
    monkeypatch.setenv("HARNESS_CORES", allowed)
    assert cpu_count() == (expected or there)


def test_each_of_several_processes_is_told_its_share_of_cores(monkeypatch):
    monkeypatch.setenv("HARNESS_CORES", "")
    told = [int(environment["HARNESS_CORES"]) for _, environment in shares(2)]
    assert told == [max(1, cpu_count() // 2)] * 2
