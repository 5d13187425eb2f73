"""What a fresh process does for the contract: ``python -m harness.checks.fresh FOLDER``.

``FOLDER/task.json`` says what; the answer, or what was raised, is written to ``answer.json`` there.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.checks.bench import Bench, scramble
from harness.checks.datasets import some
from harness.checks.fakes import Held, Repeated, Watched
from harness.checks.watching import Watching, caches, home
from harness.errors import HarnessError, UnavailableError
from harness.hooks.loader import load_plugins
from harness.hooks.registry import Registry
from harness.types.datasets import Split, Splits
from harness.types.models import Model

READ = 32 * 2**20
"""Bytes of patches to read, to see whether they are kept."""
BATCH = 16
SECONDS = 5.0
"""Where reading so many takes longer, they are not read."""
HEAVY = ("torch", "timm", "torchvision", "tensorflow", "jax", "sklearn", "skimage", "cv2", "pandas")
"""Packages that take long to import."""


def main(folder: Path) -> None:
    """Do the task and write the answer, with the files that were written and ought not to be."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    allowed = [folder / name for name in ("tmp", "fit", "saved", "results")]
    allowed += map(Path, task.get("allowed", []))
    homes = [home(), Path(task["home"])]
    watching = Watching([*allowed, *caches()], [Path.cwd(), home(), Path(task["own"])], homes)
    (folder / "results").mkdir()
    try:
        watching.begin()
        files, refused = [Path(path) for path in task["files"]], task["refused"]
        registry = load_plugins(task["without"], files, why_not=lambda n: refused.get(n, ""))
        if task["kind"] != "heavy":  # other plugins are loaded as well
            watching.begin()
        answer = TASKS[task["kind"]](registry, task, folder)
        answer["written"] = watching.end()
    except (Exception, SystemExit) as error:
        answer = {
            "error": " ".join(f"{type(error).__name__}: {error}".split()),
            "unavailable": isinstance(error, UnavailableError),
            "traceback": traceback.format_exc(),
        }
        if isinstance(error, HarnessError):
            answer["error"] = str(error)
    temporary = folder / "answer.tmp"
    temporary.write_text(json.dumps(answer), encoding="utf-8")
    temporary.replace(folder / "answer.json")


def bench_of(registry: Registry, task: dict[str, Any], folder: Path) -> Bench:
    """A bench with the task's patches and settings."""
    given = {task["name"]: task["given"]}
    bench = Bench(registry, Path(task["data"]), task["dataset"], given=given)
    train, validation, test = (
        Held.load(folder / f"{part}.npz") for part in ("train", "validation", "test")
    )
    patches = Splits(train=train, validation=validation, test=test)
    bench.source = registry.datasets.find(task["dataset"]), patches
    return bench


def opened(registry: Registry, task: dict[str, Any], folder: Path) -> tuple[Model, Bench, Splits]:
    """The model, a bench, and what the model is fitted on."""
    model = registry.models.find(task["name"])
    assert isinstance(model, Model)
    bench = bench_of(registry, task, folder)
    return model, bench, bench.inputs(model)


def fit(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fit a model, save it, and load what another process saved."""
    model, bench, inputs = opened(registry, task, folder)
    assert isinstance(inputs.test, Held)
    for name in task["modules"]:
        __import__(name)
    scramble()
    (folder / "fit").mkdir()
    (folder / "saved").mkdir()
    classifier = bench.fit(model, folder=folder / "fit")
    logits = classifier.logits(inputs.test.values.copy())
    classifier.save(folder / "saved")
    loaded = model.load(Path(task["saved"]), bench.settings(model))
    again = loaded.logits(inputs.test.values.copy())
    np.save(folder / "results" / "logits.npy", logits)
    np.save(folder / "results" / "again.npy", again)
    return {}


def use(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Use a contribution: apply a perturbation, or measure with a probe."""
    from harness.checks import uses

    about = registry.offers[task["offer"]].find(task["name"])
    uses.use(about, bench_of(registry, task, folder))
    return {}


def killed(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fit a model and die, without a farewell, before the n-th time that it reads patches."""
    model, bench, inputs = opened(registry, task, folder)
    assert inputs.train is not None

    def die(count: int) -> None:
        if count >= task["read"]:
            os._exit(task["killed_with"])

    bench.fit(model, train=Watched(inputs.train, die), folder=Path(task["workspace"]))
    return {}


def memory(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """By how many bytes the peak of memory rises from fitting some patches to fitting many.

    And how many bytes more are held after predicting ``some`` patches.
    """
    model, bench, inputs = opened(registry, task, folder)
    assert inputs.train is not None
    assert inputs.test is not None
    bench.fit(model, train=Repeated(inputs.train, task["some"]))
    gc.collect()
    before = peak()
    classifier = bench.fit(model, train=Repeated(inputs.train, task["many"]))
    grown = peak() - before
    batch = np.arange(task["some"] // 8)

    def predict(times: int) -> None:
        for _ in range(times):
            classifier.logits(Repeated(inputs.test, len(batch)).read(batch))

    predict(2)  # what it needs for a batch may be held
    before = held()
    predict(8)
    return {"grown": grown, "held": held() - before}


def features(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Extract features of a model, a probe or a perturbation."""
    from harness.checks.cases import features_of

    owner = registry.offers[task["offer"]].find(task["owner"])
    bench = Bench(registry, given={task["owner"]: task["given"]})
    (found,) = (part for part in features_of(bench, owner) if part.name == task["name"])
    patches = Held.load(folder / "test.npz").values.copy()
    np.save(folder / "results" / "values.npy", found.extract(patches))
    return {}


def dataset(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """List a dataset: fingerprints, and how much was read for the list. Then read some of it."""
    import cv2

    cv2.imdecode(np.zeros(1, np.uint8), cv2.IMREAD_COLOR)  # what decoding loads is not the list's
    found = registry.datasets.find(task["name"])
    gc.collect()
    before = peak()
    listing = Watching()
    listing.begin()
    splits = found.load(Path(task["data"]))
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    there = {name: split for name, split in parts.items() if split is not None}
    for split in there.values():
        _ = split.labels, split.ids
    listing.end()
    grown = peak() - before
    return {
        "fingerprints": {name: split.fingerprint for name, split in there.items()},
        "opened": len(listing.read),
        "grown": grown,
        **reading(list(there.values())),
    }


def reading(splits: Sequence[Split]) -> dict[str, Any]:
    """Read patches in batches: how many bytes of them, and how many are held afterwards.

    Some of each split, and more where this takes but seconds.
    """
    for split in splits:
        split.read(some(split))
    split = splits[-1]
    started = time.monotonic()
    one = split.read(some(split))
    wanted = READ // one[:1].nbytes
    read, before = 0, held()
    if (time.monotonic() - started) / len(one) * wanted < SECONDS:
        for split in splits:
            for start in range(0, min(len(split.labels), wanted), BATCH):
                rows = np.arange(start, min(start + BATCH, len(split.labels)))
                read += split.read(rows).nbytes
    return {"read": read, "held": held() - before}


def heavy(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Which slow packages were imported by loading the plugins, which has just happened."""
    return {"imported": sorted({name.partition(".")[0] for name in sys.modules} & set(HEAVY))}


TASKS: dict[str, Callable[[Registry, dict[str, Any], Path], dict[str, Any]]] = {
    task.__name__: task for task in (fit, killed, memory, features, dataset, use, heavy)
}


def held() -> int:
    """The memory that this process has at the moment, in bytes; without files that are mapped."""
    gc.collect()
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return 0  # not to be told on this system


def peak() -> int:
    """The most memory that this process has had so far, in bytes.

    Linux hands ``ru_maxrss`` on from a parent process, so there /proc is asked.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            raise UnavailableError("memory cannot be told on this system") from None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    main(Path(sys.argv[1]))
