"""What digests cost a whole process: the same commands with two versions of the harness.

    git worktree add ../before REVISION
    python tests/benchmarks/digests_cost.py --before ../before [--all]

Each version makes a store of its own. Then each command runs in turn with the one and the other, as
often as asked, and the medians are printed. ``--all`` takes every model on the sample, about 860
results; without it, the color models. Last, a result of one large file is stored with digests and
without, in this process. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from tabulate import tabulate

AFTER = Path(__file__).parents[2]
COLOR = ("--model", "rgb-means", "--model", "color-histogram")


def seconds(source: Path, folder: Path, arguments: list[str]) -> float:
    """How long a command takes with the harness of a source tree."""
    path = os.pathsep.join([str(source), str(source / "plugins")])
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def commands(before: Path, times: int, everything: bool) -> list[list[object]]:
    """Medians of each command: before, after, and their ratio."""
    chosen = ["--all"] if everything else ["--dataset", "nct-crc-he-sample", *COLOR]
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        places = {}
        for name, source in (("before", before), ("after", AFTER)):
            places[source] = Path(folder) / name
            places[source].mkdir()
        first = [seconds(source, place, ["run", *chosen]) for source, place in places.items()]
        rows.append(["run, everything to compute (once)", *first])
        for title, arguments in (
            ("run, nothing to compute", ["run", *chosen]),
            ("leaderboard", ["leaderboard"]),
            ("leaderboard --temperature", ["leaderboard", "--temperature"]),
            ("compare", ["compare", "rgb-means", "color-histogram"]),
        ):
            found: dict[Path, list[float]] = {source: [] for source in places}
            for _ in range(times):
                for source, place in places.items():
                    found[source].append(seconds(source, place, arguments))
            rows.append([title, *(statistics.median(taken) for taken in found.values())])
    return rows


def large(times: int, megabytes: int) -> list[object]:
    """Medians of storing a result of one large file: without digests, and with."""
    from harness.store.store import Key, Store

    values = np.random.default_rng(0).random((megabytes, 2**17)).view(np.float64)
    taken: dict[bool, list[float]] = {False: [], True: []}
    for number in range(times):
        for hashed in taken:
            with tempfile.TemporaryDirectory() as folder:
                store = Store(Path(folder))
                patch = mock.patch("harness.system.digests.of_file", return_value="")
                started = time.perf_counter()
                if not hashed:
                    patch.start()
                with store.write(Key("features", "d", "f", {"number": number})) as (place, _):
                    np.save(place / "values.npy", values)
                if not hashed:
                    patch.stop()
                taken[hashed].append(time.perf_counter() - started)
    title = f"storing features of {megabytes:,} MB"
    return [title, *(statistics.median(one) for one in taken.values())]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="another source tree")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--megabytes", type=int, default=512)
    options = parser.parse_args()
    rows = commands(options.before.absolute(), options.times, options.all)
    rows.append(large(options.times, options.megabytes))
    for row in rows:
        row.append(f"{100 * (float(str(row[2])) / float(str(row[1])) - 1):+.1f} %")
    print(tabulate(rows, ["seconds", "before", "after", "difference"], floatfmt=".3f"))


if __name__ == "__main__":
    main()
