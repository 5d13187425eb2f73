"""How fast color features are read, against merely decoding the same files."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest

from harness.jobs.conditions import CLEAN
from harness.jobs.features import extract
from harness.system.threads import cpu_count
from harness_color import harness_models

sys.path.append(str(Path(__file__).parent))
from many_patches import peak_of_this_process, repeated

(FEATURES,) = {model.features for model in harness_models()}


def test_color_features_end_to_end(benchmark, tiffs, tmp_path):
    split = repeated(tiffs, 10)
    paths = [str(path) for path in tiffs.rglob("*.tif")] * 10

    def decode_only():
        with ThreadPoolExecutor(cpu_count()) as pool:
            for _ in pool.map(cv2.imread, paths):
                pass

    def features():
        shutil.rmtree(tmp_path, ignore_errors=True)
        tmp_path.mkdir()
        extract([(FEATURES, CLEAN)], split, tmp_path)

    decode_only()
    decoding = []
    for _ in range(3):
        started = time.perf_counter()
        decode_only()
        decoding.append(len(paths) / (time.perf_counter() - started))
    benchmark.pedantic(features, rounds=3, warmup_rounds=1)
    rate = len(split.labels) / benchmark.stats.stats.min
    benchmark.extra_info["patches per second"] = round(rate)
    benchmark.extra_info["cv2.imread per second"] = round(max(decoding))
    benchmark.extra_info["ratio"] = round(rate / max(decoding), 3)


def peak_memory(tiffs, folder):
    """MiB above the interpreter and its imports, and patches, of a pass over many files."""
    before = peak_of_this_process()
    split = repeated(tiffs, -(-100_000 // 218))
    extract([(FEATURES, CLEAN)], split, folder)
    return peak_of_this_process() - before, len(split.labels)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_color_features_of_100_000_patches_in_flat_memory(benchmark, tiffs, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from test_color_speed import Path, peak_memory\n"
        f"print(*peak_memory(Path({str(tiffs)!r}), Path({str(tmp_path)!r})))"
    )
    command = [sys.executable, "-c", code]
    done = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1
    )
    grown, patches = map(float, done.stdout.split())
    benchmark.extra_info["patches"] = int(patches)
    benchmark.extra_info["peak memory above the interpreter and its imports, MiB"] = round(grown)
    assert patches >= 100_000
    assert grown < 1024
