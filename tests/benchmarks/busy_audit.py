"""How much longer an audit takes beside a busy process, and with how many BLAS threads.

``python tests/benchmarks/busy_audit.py [patches]`` audits JPEG patches with the ``harness`` of the
PATH four times: alone and beside one process that never rests, each as the environment is and with
one BLAS thread. Where threads do not multiply, the last two columns of a row are alike.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

import harness_nct_crc

DESCRIPTION = """\
kind = "folder"
name = "jpegs"
folder = "patches"
"""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def write_patches(folder, n):
    """Blends of two real patches each as JPEG files, by class, and the file that describes them.

    No two of them overlap: of rolled patches, each would overlap with four others, and most of the
    time would go into comparing those.
    """
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TRAIN)
    rng = np.random.default_rng(0)
    for number in range(n):
        index = number % len(split.labels)
        two = split.read([index, int(rng.choice(len(split.labels)))])
        patch = np.rint(two.mean(axis=0)).astype(np.uint8)
        path = folder / "patches" / str(split.labels[index]) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        cv2.imwrite(str(path), patch[..., ::-1], quality)
    description = folder / "jpegs.toml"
    description.write_text(DESCRIPTION)
    return description


@contextmanager
def busy():
    """A process that never rests."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(description, environment):
    """How long the audit takes, from the start of its process to its end."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["harness", "audit", "--plugin", str(description), "--dataset", "jpegs"]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--store", f"{folder}/runs", "--leaderboards", f"{folder}/boards"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    return took


def main(n):
    """Measure and print."""
    plain = {name: value for name, value in os.environ.items() if name not in THREADS}
    with tempfile.TemporaryDirectory() as folder:
        description = write_patches(Path(folder), n)
        print(f"{n} patches, {os.cpu_count()} cores; seconds of the whole process")
        print(f"{'':14}{'default':>10}{'one BLAS thread':>18}")
        for name, beside in (("alone", False), ("beside a busy process", True)):
            times = []
            for environment in (plain, {**plain, **dict.fromkeys(THREADS, "1")}):
                if beside:
                    with busy():
                        times.append(seconds(description, environment))
                else:
                    times.append(seconds(description, environment))
            print(f"{name:22}{times[0]:10.1f}{times[1]:10.1f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_500)
