"""How fast a dataset is audited and patches are perturbed, and in how much memory."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from harness import Measured
from harness.data.splits import Subset
from harness.hooks.loader import load_plugins
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import extract
from harness.types.probes import DatasetProbe
from harness_bias.measure import keypoints, leakage, matches, overlap
from harness_color import harness_models

sys.path.append(str(Path(__file__).parent))
from many_patches import peak_of_this_process, repeated

REGISTRY = load_plugins()
FEATURES = {
    features.name: features
    for probe in REGISTRY.probes.values()
    if isinstance(probe, DatasetProbe)
    for features in probe.features
}


@pytest.mark.parametrize("names", [("bias-color",), tuple(FEATURES)], ids=["color", "all probes"])
def test_an_audit_reads_and_measures(benchmark, tiffs, tmp_path, names):
    split = repeated(tiffs, 10)
    wanted = [(FEATURES[name], CLEAN) for name in names]

    def afresh():  # a pass goes on where one in the same folder left off
        return (wanted, split, Path(tempfile.mkdtemp(dir=tmp_path))), {}

    benchmark.pedantic(extract, setup=afresh, rounds=3, warmup_rounds=1)
    rate = len(split.labels) / benchmark.stats.stats.min
    benchmark.extra_info["patches per second"] = round(rate)


def test_duplicates_are_searched_among_as_many_patches_as_nct_crc_he_has(benchmark, tiffs):
    """Shapes of 107,180 patches with the mean and covariance of real ones; 2 % are copies."""
    split = repeated(tiffs, 1)
    real = FEATURES["bias-leakage"].extract(split.read(range(len(split.labels))))
    shapes = real[:, leakage.SHAPE].astype(np.float64)
    rng = np.random.default_rng(0)
    n, copies = 107_180, 2_144
    values = np.empty((n, real.shape[1]), np.float32)
    values[:, leakage.DIGESTS] = rng.integers(0, 2**24, (n, 3))
    values[:, leakage.STRUCTURE] = 10
    normal = rng.multivariate_normal(shapes.mean(axis=0), np.cov(shapes.T), n)
    values[:, leakage.SHAPE] = np.maximum(normal, 0)
    values[-copies:, leakage.SHAPE] = values[:copies, leakage.SHAPE]
    values[:, leakage.SHAPE] /= np.linalg.norm(values[:, leakage.SHAPE], axis=1, keepdims=True)
    many = repeated(tiffs, -(-n // len(real)))
    part = Measured(split=Subset(many, np.arange(n)), values={"bias-leakage": values})
    benchmark.pedantic(lambda: leakage.find({"train": part}, "bias-leakage"), rounds=1)
    benchmark.extra_info["patches"] = n
    benchmark.extra_info["candidates"] = len(leakage._close(values[:, leakage.SHAPE], untold))


def test_overlaps_are_searched_among_as_many_patches_as_nct_crc_he_has(benchmark, tiffs):
    """Keypoints of 107,180 patches with the mean and covariance of real ones. The last 2 % have
    half of those of the first, displaced; their pixels differ, so all are compared and none found.
    """
    split = repeated(tiffs, 1)
    found = keypoints.unpack(
        FEATURES["bias-keypoints"].extract(split.read(range(len(split.labels))))
    )
    real = matches.unit(found.vector).astype(np.float64)
    rng = np.random.default_rng(0)
    n, copies, half = 107_180, 2_144, keypoints.KEYPOINTS // 2
    values = np.empty((n, keypoints.KEYPOINTS, keypoints.FLOATS), np.float32)
    for rows in [*np.array_split(values[:-copies], 100), values[-copies:]]:
        m = len(rows) * keypoints.KEYPOINTS
        vectors = rng.multivariate_normal(real.mean(axis=0), np.cov(real.T), m)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        place, angle = rng.uniform(30, 80, (m, 2)), rng.uniform(-np.pi, np.pi, m)
        rows[:] = keypoints.pack(place, angle, vectors).reshape(rows.shape)
    displaced = values[:copies, :half].copy()
    displaced[..., 0] += 20 * keypoints.SUBPIXELS
    values[-copies:, :half] = displaced
    values = values.reshape(n, -1)
    many = repeated(tiffs, -(-n // len(split.labels)))
    part = Measured(split=Subset(many, np.arange(n)), values={"bias-keypoints": values})
    benchmark.pedantic(lambda: overlap.find({"train": part}, (), "bias-keypoints"), rounds=1)
    benchmark.extra_info["patches"] = n


def untold(items, **_):
    return items


def test_phantoms_are_rendered(benchmark):
    phantom = REGISTRY.phantoms.find("phantom")
    splits = phantom.make(0)({})
    benchmark.pedantic(lambda: splits.train.read(range(54)), rounds=1)
    benchmark.extra_info["patches per minute, one thread"] = round(
        54 / benchmark.stats.stats.min * 60
    )


def test_a_robustness_run_perturbs(benchmark, tiffs, tmp_path):
    """All changes of staining, scanning and storage, patches read once; color features of each."""
    split = repeated(tiffs, 1)
    (color,) = {model.features for model in harness_models()}
    known = REGISTRY.perturbations.values()
    changes = [p for p in known if p.role == "acquisition" and not p.on_request]
    wanted = [(color, Condition(p, level)) for p in changes for level in p.levels]
    benchmark.pedantic(lambda: extract(wanted, split, tmp_path), rounds=1)
    rate = len(split.labels) * len(wanted) / benchmark.stats.stats.min
    benchmark.extra_info["conditions"] = len(wanted)
    benchmark.extra_info["perturbed patches per second"] = round(rate)


def peak_memory(tiffs, folder, times):
    """MiB above the interpreter and its imports of a pass for all probes."""
    before = peak_of_this_process()
    extract([(features, CLEAN) for features in FEATURES.values()], repeated(tiffs, times), folder)
    return peak_of_this_process() - before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_an_audit_of_ten_times_the_patches_takes_no_more_memory(benchmark, tiffs, tmp_path):
    def peak(times):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from test_audit_speed import Path, peak_memory\n"
            f"print(peak_memory(Path({str(tiffs)!r}), Path({str(tmp_path)!r}), {times}))"
        )
        command = [sys.executable, "-c", code]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few = peak(2)
    many = benchmark.pedantic(lambda: peak(20), rounds=1)
    benchmark.extra_info["peak MiB, 436 patches"] = round(few)
    benchmark.extra_info["peak MiB, 4,360 patches"] = round(many)
    assert many < few + 100
