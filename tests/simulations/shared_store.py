"""Runs side by side on one store, killed at random and started again: nothing is lost or doubled.

    python tests/simulations/shared_store.py --kills 20 --runs 2 --seed 0

Starts so many runs of the same command on one store, kills one of them at a random moment with
SIGKILL or SIGINT and starts it again, so many times; then lets all come to their end. At the end
their boards must be that of a single run, every stored result must prove itself and be the same,
byte for byte, and no claim and no unfinished work may be left.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.store.store import Store
from harness.store.stored import load_array

COMMAND = (
    *("run", "--dataset", "nct-crc-he-sample", "--model", "rgb-means"),
    *("--model", "color-histogram", "--model", "rgb-means+flips"),
    *("--perturbation", "grayscale", "--perturbation", "jpeg"),
)


def start(folder: Path, name: str, jobs: int) -> subprocess.Popen[bytes]:
    """A run with a board of its own."""
    log = (folder / f"{name}.txt").open("ab")
    more = ("--leaderboards", str(folder / name), "--jobs", str(jobs))
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *COMMAND, *more], cwd=folder, stdout=log, stderr=log
    )


def board(folder: Path, name: str) -> list[dict[str, object]]:
    """The measured rows of a board, less what a clock decides."""
    content = json.loads((folder / name / "nct-crc-he-sample.json").read_text("utf-8"))
    rows = [row for row in content["rows"] if row["result"] == "measured"]
    return [{k: v for k, v in row.items() if "second" not in k} for row in rows]


def logits(folder: Path) -> dict[str, bytes]:
    """The stored predictions, by digest."""
    found = Store(folder / "runs").each("prediction", "nct-crc-he-sample")
    return {record["digest"]: load_array(place, "logits.npy").tobytes() for record, place in found}


def main() -> int:
    """Run the simulation and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=12.0, help="seconds between two kills")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        alone, shared = Path(temporary) / "alone", Path(temporary) / "shared"
        for folder in (alone, shared):
            folder.mkdir()
        assert start(alone, "board", 1).wait() == 0, (alone / "board.txt").read_text()
        names = [f"board{number}" for number in range(options.runs)]
        runs = {name: start(shared, name, options.jobs) for name in names}
        kills = ended = 0
        while kills < options.kills:
            time.sleep(rng.uniform(0.2, options.longest))
            name = rng.choice(names)
            if runs[name].poll() is None:
                runs[name].send_signal(rng.choice([signal.SIGKILL, signal.SIGINT]))
                kills += 1
            else:
                assert runs[name].returncode == 0, (shared / f"{name}.txt").read_text()
                ended += 1
                if all(run.poll() is not None for run in runs.values()):
                    break  # there is nothing left to be killed
            runs[name].wait()
            runs[name] = start(shared, name, options.jobs)
        for name, run in runs.items():
            assert run.wait() == 0, (shared / f"{name}.txt").read_text()
        assert logits(shared) == logits(alone)
        for name in names:
            assert board(shared, name) == board(alone, "board")
        left = [*(shared / "runs/claims").iterdir(), *(shared / "runs/unfinished").iterdir()]
        done = subprocess.run(
            [sys.executable, "-m", "harness", "results", "list"],
            cwd=shared,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "damaged" not in done.stdout.replace("not damaged", ""), done.stdout
        print(
            f"{options.runs} runs, {kills} killed, {ended} found all done: boards and "
            f"{len(logits(alone))} predictions as of one run; left over: {len(left)} "
            f"{[path.name for path in left]}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
