"""What a fresh process does for the contract: ``python -m harness.contract.fresh FOLDER``.

``FOLDER/task.json`` says what; the answer, or what was raised, is written to ``answer.json`` there.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract.bench import Bench, scramble
from harness.contract.held import Held, Repeated, Watched
from harness.errors import HarnessError, UnavailableError
from harness.plugins import load_plugins
from harness.registry import Registry
from harness.types import Model, Splits

CHANGING = {
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"),
}
"""Audit events, besides "open", of which the last path is one that is changed."""
HEAVY = ("torch", "timm", "torchvision", "tensorflow", "jax", "sklearn", "skimage", "cv2", "pandas")
"""Packages that take long to import."""


def main(folder: Path) -> None:
    """Do the task and write the answer."""
    task = json.loads((folder / "task.json").read_text())
    try:
        registry = load_plugins(task["without"], [Path(path) for path in task["files"]])
        answer = TASKS[task["kind"]](registry, task, folder)
    except (Exception, SystemExit) as error:
        answer = {
            "error": " ".join(f"{type(error).__name__}: {error}".split()),
            "unavailable": isinstance(error, UnavailableError),
            "traceback": traceback.format_exc(),
        }
        if isinstance(error, HarnessError):
            answer["error"] = str(error)
    temporary = folder / "answer.tmp"
    temporary.write_text(json.dumps(answer))
    temporary.replace(folder / "answer.json")


def opened(registry: Registry, task: dict[str, Any], folder: Path) -> tuple[Model, Bench, Splits]:
    """The model, a bench with the task's patches and settings, and what the model is fitted on."""
    model = registry.models.find(task["name"])
    assert isinstance(model, Model)
    bench = Bench(registry, Path(task["data"]), task["dataset"], given={model.name: task["given"]})
    train, validation, test = (
        Held.load(folder / f"{part}.npz") for part in ("train", "validation", "test")
    )
    bench.patches = Splits(train=train, validation=validation, test=test)
    return model, bench, bench.inputs(model)


def fit(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fit a model, save it, and load what another process saved; tell what it wrote where."""
    model, bench, inputs = opened(registry, task, folder)
    assert isinstance(inputs.test, Held)
    for name in task["modules"]:
        __import__(name)
    scramble(int(time.time_ns() % 2**32))
    allowed = [*caches(), folder / "tmp", folder / "fit", folder / "saved"]
    (folder / "fit").mkdir()
    (folder / "saved").mkdir()
    with Watching(allowed, [Path.cwd(), *map(Path, task["own"])]) as watching:
        classifier = bench.fit(model, folder=folder / "fit")
        logits = classifier.logits(inputs.test.values.copy())
        classifier.save(folder / "saved")
        loaded = model.load(Path(task["saved"]), bench.settings(model))
        again = loaded.logits(inputs.test.values.copy())
    np.save(folder / "logits.npy", logits)
    np.save(folder / "again.npy", again)
    return {"written": watching.found()}


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
    """By how many bytes the peak of memory rises from fitting some patches to fitting many."""
    model, bench, inputs = opened(registry, task, folder)
    assert inputs.train is not None
    bench.fit(model, train=Repeated(inputs.train, task["some"]))
    gc.collect()
    before = peak()
    bench.fit(model, train=Repeated(inputs.train, task["many"]))
    return {"grown": peak() - before}


def features(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Extract features of a model, a probe or a perturbation."""
    from harness.contract.cases import features_of

    owner = registry.offers[task["offer"]].find(task["owner"])
    bench = Bench(registry, given={task["owner"]: task["given"]})
    (found,) = (part for part in features_of(bench, owner) if part.name == task["name"])
    np.save(folder / "values.npy", found.extract(Held.load(folder / "test.npz").values))
    return {}


def dataset(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """List a dataset: fingerprints, and how much was read for the list."""
    import cv2

    cv2.imdecode(np.zeros(1, np.uint8), cv2.IMREAD_COLOR)  # what decoding loads is not the list's
    found = registry.datasets.find(task["name"])
    gc.collect()
    before = peak()
    with Watching([], []) as watching:
        splits = found.load(Path(task["data"]))
        parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        there = {name: split for name, split in parts.items() if split is not None}
        for split in there.values():
            _ = split.labels, split.ids
    grown = peak() - before
    return {
        "fingerprints": {name: split.fingerprint for name, split in there.items()},
        "opened": len(watching.read),
        "grown": grown,
    }


def heavy(registry: Registry, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Which slow packages were imported by loading the plugins, which has just happened."""
    return {"imported": sorted({name.partition(".")[0] for name in sys.modules} & set(HEAVY))}


TASKS: dict[str, Callable[[Registry, dict[str, Any], Path], dict[str, Any]]] = {
    task.__name__: task for task in (fit, killed, memory, features, dataset, heavy)
}


class Watching:
    """Sees which files are written and read. An audit hook stays until the process ends."""

    def __init__(self, allowed: Iterable[Path], forbidden: Iterable[Path]) -> None:
        self.allowed = [*map(str, allowed)]
        self.forbidden = [*map(str, forbidden)]
        """Folders of which files that are new or changed are found, whatever wrote them."""
        self.on = False
        self.written: set[str] = set()
        self.read: set[str] = set()
        sys.addaudithook(self.see)

    def __enter__(self) -> Watching:
        self.before = self.listing()
        self.on = True
        return self

    def __exit__(self, *_: object) -> None:
        self.on = False

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: note the paths of files."""
        if not self.on:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, mode, flags = os.fsdecode(arguments[0]), arguments[1] or "", arguments[2] or 0
            writes = any(letter in str(mode) for letter in "wax+") or flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            (self.written if writes else self.read).add(os.path.abspath(path))  # noqa: PTH100
        elif event in CHANGING:
            paths = [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
            self.written |= {os.path.abspath(os.fsdecode(path)) for path in paths[-1:]}  # noqa: PTH100

    def listing(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file in the forbidden folders."""
        found = {}
        for folder in self.forbidden:
            for path in Path(folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    status = path.stat()
                    found[str(path)] = status.st_size, status.st_mtime_ns
        return found

    def found(self) -> list[str]:
        """Paths that should not have been written."""
        changed = {path for path, status in self.listing().items() - self.before.items()}
        strange = {p for p in self.written if not any(below(p, a) for a in self.allowed)}
        return sorted(changed | strange)


def below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def caches() -> list[Path]:
    """Folders where libraries keep what they download or compute, and devices."""
    names = (
        "XDG_CACHE_HOME",
        "HF_HOME",
        "TORCH_HOME",
        "MPLCONFIGDIR",
        "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
    )
    named = [Path(os.environ[name]).absolute() for name in names if os.environ.get(name)]
    usual = [Path.home() / part for part in (".cache", ".config", "Library/Caches", "AppData")]
    return [*named, *usual, Path("/dev"), Path("/proc")]


def peak() -> int:
    """The most memory that this process has had so far, in bytes.

    Linux hands ``ru_maxrss`` on from a parent process, so there /proc is asked.
    """
    try:
        status = Path("/proc/self/status").read_text()
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
