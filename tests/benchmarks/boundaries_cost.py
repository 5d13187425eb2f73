"""What read-only boundaries cost a whole process: the same commands with them, and without.

    python tests/benchmarks/boundaries_cost.py [--times 7] [--only TEXT] [--all]

Without them, arrays are handed on as they are, patches are not copied, and what plugins set for the
process stays. Each command starts with an empty store and runs in turn with the one and the other,
as often as asked; medians are printed, and of the processor's time as well, which says more on a
busy machine. Last, one pass over many large patches, in this process, and a plugin that is not
built in, whose import is tried in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

WITHOUT = """
import contextlib
from harness.data import handover
from harness.hooks import guard

for name in ("frozen", "kept", "lent", "received"):
    setattr(handover, name, lambda value: value)
guard.contained = lambda **_: contextlib.nullcontext()
"""
WITH = "from harness.hooks import guard\n"
PASS = """
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.data.handover import received
from harness.jobs.conditions import CLEAN
from harness.hooks.loader import load_plugins
from harness.data.splits import Concat
from harness.jobs.features import extract

known = load_plugins()
splits = received(known.datasets["nct-crc-he-sample"]).load(Path())
split = Concat(*[splits.train] * 8)
features = known.models["rgb-means"].features
with TemporaryDirectory() as folder:
    extract([(features, CLEAN)], split, Path(folder))
"""
PLUGIN = "from harness import hookimpl\n@hookimpl\ndef harness_models():\n    return []\n"
COLOR = ["--model", "rgb-means", "--model", "color-histogram"]
SAMPLE = ["run", "--dataset", "nct-crc-he-sample", "--leaderboards", "l"]


def seconds(words: list[str], code: str) -> tuple[float, float]:
    """How long a command takes, and the processor's time, after ``code`` in each process."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(code)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        took = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, busy


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--only", default="", help="part of the names of the commands to run")
    parser.add_argument("--all", action="store_true", help="all models on the sample as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "own.py"
        plugin.write_text(PLUGIN)
        run = ["-m", "harness", *SAMPLE, *COLOR]
        commands: dict[str, tuple[list[str], list[str]]] = {
            "run, color models": ([*run, "--no-probes"],) * 2,
            "run, color models, with probes": (run, run),
            "one pass over 1,744 patches": (["-c", PASS],) * 2,
            "list": (["-m", "harness", "list"],) * 2,
            "list, with a plugin of the user's (*)": (
                ["-m", "harness", "list"],
                ["-m", "harness", "list", "--plugin", str(plugin)],
            ),
        }
        if options.all:
            commands["run --all"] = (["-m", "harness", "run", "--all"],) * 2
        headings = ["", "s without", "s with", "", "cpu s without", "cpu s with", ""]
        for title, words in commands.items():
            if options.only not in title:
                continue
            found: list[list[tuple[float, float]]] = [[], []]
            for _ in range(options.times):
                for taken, command, code in zip(found, words, (WITHOUT, WITH), strict=True):
                    taken.append(seconds(command, code))
            row: list[object] = [title]
            for column in (0, 1):
                without, with_ = (statistics.median(t[column] for t in taken) for taken in found)
                row += [without, with_, f"{100 * (with_ / without - 1):+.1f} %"]
            print(tabulate([row], headings, floatfmt=".3f"), flush=True)
    print("(*) without the plugin, and with it")


if __name__ == "__main__":
    main()
