"""Runs side by side on one store, killed at random and started again: nothing is lost or doubled.

    python tests/simulations/shared_store.py --kills 20 --runs 2 --seed 0

Starts so many runs of the same command on one store, kills one of them at a random moment with
SIGKILL or SIGINT and starts it again, so many times; then lets all come to their end. At the end
their boards must be that of a single run, every stored result must prove itself and be the same,
byte for byte, and no claim and no unfinished work may be left. A result may be in two sweeps, where
a run was killed after another had planned the same; both must be the same, and are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.store.keys import SHARED
from harness.store.store import Store
from harness.store.stored import load_array

DATASET = "nct-crc-he-sample"
COMMAND = (
    *("run", "--dataset", DATASET, "--model", "rgb-means"),
    *("--model", "color-histogram", "--model", "rgb-means+flips"),
    *("--perturbation", "grayscale", "--perturbation", "jpeg"),
)
LONGEST = 1800.0
"""Seconds after which a run is taken to wait for nothing."""


def start(folder: Path, name: str, jobs: int) -> subprocess.Popen[bytes]:
    """A run with a board of its own."""
    log = (folder / f"{name}.txt").open("ab")
    more = ("--leaderboards", str(folder / name), "--jobs", str(jobs))
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *COMMAND, *more], cwd=folder, stdout=log, stderr=log
    )


def board(folder: Path, name: str) -> list[dict[str, object]]:
    """The measured rows of a board, less what a clock and the share of cores decide."""
    content = json.loads((folder / name / f"{DATASET}.json").read_text("utf-8"))
    rows = [row for row in content["rows"] if row["result"] == "measured"]
    return [{k: v for k, v in row.items() if k != "device" and "second" not in k} for row in rows]


def arrays(folder: Path) -> tuple[dict[str, bytes], int]:
    """The stored predictions and features, by digest; and how many of them are there twice.

    All that are there of one must be the same.
    """
    store, found, doubles = Store(folder / "runs"), {}, 0
    kept = [*store.each("prediction", DATASET), *store.each("features", SHARED)]
    for record, place in kept:
        name = "logits.npy" if record["key"]["kind"] == "prediction" else "values.npy"
        content = load_array(place, name).tobytes()
        doubles += record["digest"] in found
        assert found.setdefault(record["digest"], content) == content, place
    return found, doubles


def ended(run: subprocess.Popen[bytes], log: Path) -> int:
    """The exit code of a run, which must not wait forever."""
    try:
        return run.wait(LONGEST)
    except subprocess.TimeoutExpired:
        run.kill()
        raise AssertionError(f"a run does not end: {log.read_text()}") from None


def claims_of(pid: int, folder: Path) -> list[str]:
    """The claims of a process."""
    found = []
    for path in (folder / "runs/claims").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text())["pid"] == pid:
                found.append(path.name)
    return found


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> int:
    """Run the simulation and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=12.0, help="seconds between two kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        simulate(Path(temporary), options)
    return 0


def simulate(folder: Path, options: argparse.Namespace) -> None:
    """One run alone, then those that are killed. Raises AssertionError."""
    alone, shared = folder / "alone", folder / "shared"
    for place in (alone, shared):
        place.mkdir()
    before = time.monotonic()
    assert start(alone, "board", 1).wait() == 0, (alone / "board.txt").read_text()
    say(f"a run alone took {time.monotonic() - before:.0f} s")
    names = [f"board{number}" for number in range(options.runs)]
    runs = {name: start(shared, name, options.jobs) for name in names}
    try:
        told = kill_some(runs, shared, options)
    finally:
        for run in runs.values():
            run.kill()
            run.wait()
    expected, _ = arrays(alone)
    found, doubles = arrays(shared)
    assert found == expected
    for name in names:
        of_one, of_many = board(alone, "board"), board(shared, name)
        different = [
            f"{one['model']} {key}: {one[key]!r}, {other.get(key)!r} in {name}"
            for one, other in zip(of_one, of_many, strict=False)
            for key in one
            if one[key] != other.get(key)
        ]
        assert of_many == of_one, "\n".join(different) or [row["model"] for row in of_many]
    done = subprocess.run(
        [sys.executable, "-m", "harness", "results", "list"],
        cwd=shared,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "damaged" not in done.stdout.replace("not damaged", ""), done.stdout
    left = [*(shared / "runs/claims").iterdir(), *(shared / "runs/unfinished").iterdir()]
    say(
        f"{options.runs} runs, {told}: boards and {len(expected)} predictions and features as of "
        f"one run, {doubles} of them stored twice"
    )
    assert not left, f"left over: {[path.name for path in left]}"


def kill_some(
    runs: dict[str, subprocess.Popen[bytes]], folder: Path, options: argparse.Namespace
) -> str:
    """Kill runs and start them again, then let all come to their end; returns what was done."""
    rng = random.Random(options.seed)
    kills = came_to_end = 0
    while kills < options.kills:
        time.sleep(rng.uniform(0.2, options.longest))
        name = rng.choice([*runs])
        run, log = runs[name], folder / f"{name}.txt"
        if run.poll() is None:
            sent = rng.choice([signal.SIGKILL, signal.SIGINT])
            run.send_signal(sent)
            code = ended(run, log)
            kills += 1
            left = claims_of(run.pid, folder)
            say(f"{kills}. {name}: {sent.name}, exit code {code}, {len(left)} claims left")
            assert sent == signal.SIGKILL or not left, left
        else:
            assert run.returncode == 0, log.read_text()
            came_to_end += 1
            say(f"{name} had come to its end")
            if all(run.poll() is not None for run in runs.values()):
                break  # there is nothing left to be killed
        runs[name] = start(folder, name, options.jobs)
    for name, run in runs.items():
        log = folder / f"{name}.txt"
        assert ended(run, log) == 0, log.read_text()
        say(f"{name}: done")
    return f"{kills} killed, {came_to_end} found all done"


if __name__ == "__main__":
    sys.exit(main())
