"""Run the command beside broken plugins, and compare what the others come to, bit by bit.

    python tests/simulations/broken_plugins.py

A run, and an audit, of the toy plugin and of the color models makes a store; then broken
plugins come along, those of a kind together, with all that they offer, to a store of its own. Every
array and every figure that the first store has must be in the other one, and be the same; those
that must fail must be named; and the command must end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TOY = Path(__file__).parents[1] / "toy"
MODELS = ("toy-mean", "toy-features", "rgb-means")

HEAD = """
import ctypes, multiprocessing, os, random, signal, subprocess, sys, threading, time, warnings
import numpy as np
from harness import (
    Dataset, DatasetProbe, Features, Estimate, Finding, Model, ModelProbe, Perturbation, Phantom,
    Splits, hookimpl,
)

class Fitted:
    def __init__(self, on_logits=lambda inputs: None):
        self.on_logits = on_logits
    def logits(self, inputs):
        self.on_logits(inputs)
        means = inputs.reshape(len(inputs), -1, 3).mean(axis=1)
        return means.astype(np.float32) / 10
    def save(self, folder):
        (folder / "saved").write_text("yes")

def nothing(*_):
    pass

def model(name, on_fit=nothing, on_logits=nothing, on_load=nothing, **more):
    def fit(train, validation, context):
        on_fit(train, validation, context)
        return Fitted(on_logits)
    def load(folder, settings):
        on_load(settings)
        return Fitted(on_logits)
    return Model(name=name, title=name, fit=fit, load=load, settings={"x": 1}, **more)

def means(images):
    return images.mean(axis=(1, 2)).astype(np.float32)

def in_place(values, *_):
    values[:] = 0

def opens_up(values, *_):
    values.setflags(write=True)
    values[:] = 0
"""

IN_PLACE = {
    "extract": """
def extract(images):
    images[:] = 255 - images
    return means(images)
MODELS = [model("aaa-bad", features=Features(name="aaa-bad", extract=extract))]
""",
    "extract, made writable": """
def extract(images):
    opens_up(images)
    return means(images)
MODELS = [model("aaa-bad", features=Features(name="aaa-bad", extract=extract))]
""",
    "logits": 'MODELS = [model("aaa-bad", on_logits=in_place)]\n',
    "logits, made writable": 'MODELS = [model("aaa-bad", on_logits=opens_up)]\n',
    "logits of features": """
features = Features(name="aaa-means", extract=means)
MODELS = [model("aaa-bad", on_logits=in_place, features=features)]
""",
    "labels in fit": """
MODELS = [model("aaa-bad", on_fit=lambda train, *_: in_place(train.labels))]
""",
    "labels in fit, made writable": """
MODELS = [model("aaa-bad", on_fit=lambda train, *_: opens_up(train.labels))]
""",
    "labels to select on": """
MODELS = [model("aaa-bad", on_fit=lambda _, held, *__: in_place(held.labels), selects=True)]
""",
    "settings in fit": """
def change(train, validation, context):
    context.settings["x"] = 2
MODELS = [model("aaa-bad", on_fit=change)]
""",
    "settings in load": """
def change(settings):
    settings["x"] = 2
MODELS = [model("aaa-bad", on_load=change)]
""",
    "apply": """
def apply(patch, level, rng):
    patch[:] = 0
    return patch
PERTURBATIONS = [Perturbation(name="aaa-change", title="T", levels=(1,), apply=apply)]
""",
    "apply, made writable": """
def apply(patch, level, rng):
    opens_up(patch)
    return patch
PERTURBATIONS = [Perturbation(name="aaa-change", title="T", levels=(1,), apply=apply)]
""",
    "the target of apply": """
def apply(patch, level, rng, target):
    target[:] = 0
    return patch
features = Features(name="aaa-means", extract=means)
PERTURBATIONS = [
    Perturbation(name="aaa-change", title="T", role="steering", learns=features, apply=apply)
]
""",
    "measure of a dataset, values": """
def measure(audit):
    in_place(audit.test.values["aaa-means"])
    return Finding(summary="x")
features = Features(name="aaa-means", extract=means)
PROBES = [DatasetProbe(name="aaa-probe", title="T", features=(features,), measure=measure)]
""",
    "measure of a dataset, labels": """
def measure(audit):
    opens_up(audit.test.labels)
    return Finding(summary="x")
PROBES = [DatasetProbe(name="aaa-probe", title="T", features=(), measure=measure)]
""",
    "measure of a model, logits": """
def measure(predictions):
    in_place(predictions.clean)
PROBES = [ModelProbe(name="aaa-probe", title="T", measure=measure)]
""",
    "measure of a model, labels": """
def measure(predictions):
    opens_up(predictions.labels)
PROBES = [ModelProbe(name="aaa-probe", title="T", measure=measure)]
""",
    "measure of a model, perturbations": """
def measure(predictions):
    predictions.perturbations.clear()
PROBES = [ModelProbe(name="aaa-probe", title="T", measure=measure)]
""",
    "needs of a probe": """
def needs(perturbations):
    perturbations.clear()
    return ()
PROBES = [ModelProbe(name="aaa-probe", title="T", measure=lambda _: None, needs=needs)]
""",
}
"""By what is written to. Each must fail."""

KEEPS = {
    "a dataset writes later into labels and patches that it returned": """
class Split:
    def __init__(self, name, n):
        self.labels = np.arange(n) % 3
        self.ids = [f"{name}/{i}" for i in range(n)]
        self.fingerprint = f"{name} {n}"
        self.images = np.zeros((n, 8, 8, 3), np.uint8)
    def read(self, indices):
        self.labels[:] = 0
        self.ids.reverse()
        indices.sort()
        return self.images
load = lambda folder: Splits(train=Split("train", 30), test=Split("test", 12))
DATASETS = [Dataset(name="aaa-data", title="T", classes=["a", "b", "c"], load=load)]
""",
    "a tracker changes what it is told": """
@hookimpl
def harness_run_started(jobs):
    for job in jobs:
        job["fields"].clear()
        job.clear()
@hookimpl
def harness_result_stored(record, folder, figures):
    record["key"].clear()
    record.clear()
    figures.clear()
@hookimpl
def harness_run_ended(failures):
    failures.clear()
""",
    "one buffer for all logits and features": """
buffer = np.zeros((4096, 3), np.float32)
def extract(images):
    buffer[:] = 0
    buffer[: len(images)] = means(images)
    return buffer[: len(images)]
class Buffered(Fitted):
    def logits(self, inputs):
        buffer[: len(inputs)] = super().logits(inputs)
        return buffer[: len(inputs)]
MODELS = [
    Model(
        name=name, title="T", fit=lambda *_: Buffered(), load=lambda *_: Buffered(),
        features=features,
    )
    for name, features in (
        ("aaa-bad", None), ("aaa-too", Features(name="aaa-means", extract=extract))
    )
]
""",
    "global state": """
def disturb(*_):
    np.random.seed(1)
    random.seed(1)
    np.seterr(all="raise")
    os.chdir(os.sep)
    os.environ.update(OMP_NUM_THREADS="3", HARNESS_DATA="/nowhere", HARNESS_WITHOUT="color")
    warnings.simplefilter("error")
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(7)
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
disturb()
def extract(images):
    disturb()
    return means(images)
def apply(patch, level, rng):
    disturb()
    return patch
def measure(given):
    disturb()
    return Finding(summary="x")
features = Features(name="aaa-means", extract=extract)
MODELS = [model("aaa-bad", disturb, disturb, disturb), model("aaa-too", features=features)]
PERTURBATIONS = [Perturbation(name="aaa-change", title="T", levels=(1,), apply=apply)]
PROBES = [
    DatasetProbe(name="aaa-asks", title="T", features=(features,), measure=measure),
    ModelProbe(name="aaa-probe", title="T", measure=measure),
]
@hookimpl
def harness_run_started(jobs):
    disturb()
@hookimpl
def harness_result_stored(record, folder):
    disturb()
""",
}
"""What writes into nothing that it is given, and must not reach others either."""

DESCRIPTORS = """
def write_everywhere(text):
    for number in range(3, 64):
        try:
            os.write(number, text)
        except OSError:
            pass
"""
PIPES = {
    "forks in fit": ("MODELS = [model('aaa-bad', lambda *_: os.fork())]\n", False),
    "forks in logits": ("MODELS = [model('aaa-bad', on_logits=lambda _: os.fork())]\n", False),
    "forks in load": ("MODELS = [model('aaa-bad', on_load=lambda _: os.fork())]\n", False),
    "forks in extract": (
        """
def extract(images):
    os.fork()
    return means(images)
MODELS = [model("aaa-bad", features=Features(name="aaa-bad", extract=extract))]
""",
        False,
    ),
    "forks, the parent half sleeps": (
        """
def half(*_):
    if os.fork():
        time.sleep(1)
MODELS = [model("aaa-bad", half)]
""",
        False,
    ),
    "forks, and a half raises": (
        """
def half(*_):
    if not os.fork():
        raise ValueError("in the copy")
MODELS = [model("aaa-bad", half)]
""",
        False,
    ),
    "a child that never ends": (
        """
def child(*_):
    if not os.fork():
        time.sleep(10000)
MODELS = [model("aaa-bad", child)]
""",
        False,
    ),
    "writes to every descriptor": (
        "MODELS = [model('aaa-bad', lambda *_: write_everywhere(b'garbage'))]\n",
        True,
    ),
    "writes lines to every descriptor": (
        "MODELS = [model('aaa-bad', lambda *_: write_everywhere(b'\\n5\\n\\xff\\n'))]\n",
        True,
    ),
    "pretends that all is done": (
        "MODELS = [model('aaa-bad', lambda *_: write_everywhere(b'{\"done\": true}\\n'))]\n",
        True,
    ),
    "writes without end": (
        """
def flood(*_):
    while True:
        write_everywhere(b"x" * 65536)
MODELS = [model("aaa-bad", flood)]
""",
        True,
    ),
    "writes in logits": (
        "MODELS = [model('aaa-bad', on_logits=lambda _: write_everywhere(b'x'))]\n",
        True,
    ),
    "writes in extract": (
        """
def extract(images):
    write_everywhere(b"x")
    return means(images)
MODELS = [model("aaa-bad", features=Features(name="aaa-bad", extract=extract))]
""",
        True,
    ),
    "a child writes": (
        """
def child(*_):
    write = "import os\\nfor n in range(3, 64):\\n try: os.write(n, b'x')\\n except OSError: pass"
    subprocess.run([sys.executable, "-c", write], close_fds=False)
MODELS = [model("aaa-bad", child)]
""",
        False,
    ),
    "closes descriptors": ("MODELS = [model('aaa-bad', lambda *_: os.closerange(3, 256))]\n", True),
    "closes all descriptors": (
        "MODELS = [model('aaa-bad', lambda *_: os.closerange(0, 256))]\n",
        True,
    ),
    "closes descriptors in logits": (
        "MODELS = [model('aaa-bad', on_logits=lambda _: os.closerange(3, 256))]\n",
        True,
    ),
    "closes descriptors and opens files": (
        """
files = []
def reopen(train, validation, context):
    os.closerange(3, 256)
    files.extend((context.folder / str(n)).open("wb") for n in range(32))
MODELS = [model("aaa-bad", reopen)]
""",
        True,
    ),
    "closes standard streams": (
        "MODELS = [model('aaa-bad', lambda *_: os.closerange(0, 3))]\n",
        False,
    ),
    "starts a process": (
        "MODELS = [model('aaa-bad', lambda *_: subprocess.run(['true']))]\n",
        False,
    ),
    "ends the process": ("MODELS = [model('aaa-bad', lambda *_: os._exit(0))]\n", True),
    "crashes": ("MODELS = [model('aaa-bad', lambda *_: ctypes.string_at(0))]\n", True),
    "forks in a dataset's list": (
        """
def load(folder):
    os.fork()
    raise ValueError("no data")
DATASETS = [Dataset(name="aaa-data", title="T", classes=("a", "b"), load=load)]
""",
        True,
    ),
    "forks in a tracker": (
        """
@hookimpl
def harness_result_stored(record, folder):
    os.fork()
""",
        False,
    ),
    "forks in a probe": (
        """
def measure(predictions):
    os.fork()
PROBES = [ModelProbe(name="aaa-probe", title="T", measure=measure)]
""",
        False,
    ),
}
"""By what is done: the source, and whether it must fail."""

LOADING = {
    "an import without end": ("while True:\n    pass\n", True),
    "an import that sleeps in C": ("ctypes.PyDLL(None).sleep(100000)\n", True),
    "a hook without end": (
        "@hookimpl\ndef harness_models():\n    while True:\n        pass\n",
        True,
    ),
    "os._exit at import": ("os._exit(0)\n", True),
    "os._exit in a hook": ("@hookimpl\ndef harness_models():\n    os._exit(3)\n", True),
    "a crash at import": ("ctypes.string_at(0)\n", True),
    "SIGKILL at import": ("os.kill(os.getpid(), signal.SIGKILL)\n", True),
    "writes at import": ("write_everywhere(b'{}\\n')\n", True),
    "closes at import": ("os.closerange(3, 256)\n", True),
    "forks at import": ("os.fork()\nMODELS = []\n", False),
    "an import that leaves": ("sys.exit(1)\n", True),
}
"""The same of what happens when a plugin is loaded."""

HOOKS = """
MODELS, PERTURBATIONS, PROBES, DATASETS = [], [], [], []
"""
OFFERS = """
@hookimpl
def harness_models():
    return MODELS
@hookimpl
def harness_perturbations():
    return PERTURBATIONS
@hookimpl
def harness_probes():
    return PROBES
@hookimpl
def harness_datasets():
    return DATASETS
"""


@dataclass(frozen=True)
class Broken:
    """A broken plugin: what it does, its code, and whether it must be said to have failed."""

    name: str
    body: str
    fails: bool
    number: int

    @property
    def stem(self) -> str:
        """The plugin's name."""
        return f"broken_{self.number}"

    def write(self, folder: Path) -> Path:
        """Write it as a file. What it offers has names that begin with its own."""
        offers = "" if "def harness_models" in self.body else OFFERS
        path = folder / f"{self.stem}.py"
        text = HEAD + DESCRIPTORS + HOOKS + self.body + offers
        path.write_text(text.replace("aaa-", f"x{self.number}-"))
        return path

    def asked(self, kinds: dict[str, tuple[str, ...]]) -> list[str]:
        """The words that ask for what it offers."""
        return [
            word
            for option, names in kinds.items()
            for name in names
            if f'"{name}"' in self.body or f"'{name}'" in self.body
            for word in (option, name.replace("aaa-", f"x{self.number}-"))
        ]

    def is_named(self, after: Ran) -> bool:
        """Whether a line of what was printed says that it, or what it offers, failed.

        Where several failed for one reason, a line names the first; each has a file.
        """
        words = ("failed", "FAILED", "left out")
        lines = [line for line in after.text.splitlines() if any(word in line for word in words)]
        lines += [path.name for path in (after.folder / "runs/errors").glob("*")]
        return any(
            f"x{self.number}-" in line or f"{self.stem} " in line or f"{self.stem}:" in line
            for line in lines
        )


ASKED = {
    "--model": ("aaa-bad", "aaa-too"),
    "--dataset": ("aaa-data",),
    "--perturbation": ("aaa-change",),
}


def campaign() -> dict[str, list[Broken]]:
    """Every broken plugin, by its kind."""
    kinds = {
        "in place": {name: (body, True) for name, body in IN_PLACE.items()},
        "keeps": {name: (body, False) for name, body in KEEPS.items()},
        "pipe": PIPES,
        "loading": LOADING,
    }
    found: dict[str, list[Broken]] = {}
    number = 100
    for kind, known in kinds.items():
        for name, (body, fails) in known.items():
            found.setdefault(kind, []).append(Broken(name, body, fails, number))
            number += 1
    return found


@dataclass(frozen=True)
class Ran:
    """What a run and an audit said, their exit codes, and the folder with all that they wrote."""

    folder: Path
    code: int
    text: str

    def arrays(self) -> dict[str, bytes]:
        """Every array and every finding of the store, by its path."""
        kept = [p for p in (self.folder / "runs").rglob("*") if p.suffix in (".npy", ".npz")]
        kept += (self.folder / "runs").rglob("finding.json")
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in sorted(kept)}

    def rows(self, dataset: str = "toy") -> dict[str, object]:
        """The measured rows, by model: their figures."""
        path = self.folder / f"reports/{dataset}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        return {
            row["model"]: {
                key: row[key] for key in ("accuracy", "brier", "macro_f1", "auroc") if key in row
            }
            for row in rows
            if row["result"] == "measured"
        }


def run(folder: Path, broken: Sequence[Broken] = (), minutes: float = 1.0) -> Ran:
    """Run and audit the toy dataset beside broken plugins, and all that these offer."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: text for name, text in os.environ.items() if not name.startswith("HARNESS_")}
    environment = {**own, "PYTHONPATH": str(TOY), "HARNESS_WITHOUT": "bias"}
    files = [word for one in broken for word in ("--plugin", str(one.write(folder)))]
    asked = [word for one in broken for word in one.asked(ASKED)]
    named = [word for name in MODELS for word in ("--model", name)]
    text, code = "", 0
    for words in (["run", "--dataset", "toy", *named, *asked], ["audit", "--dataset", "toy"]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words, *files, "--time-limit", str(minutes)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        text += done.stdout + done.stderr
        code = max(code, done.returncode)
    return Ran(folder, code, text)


def changed(before: Ran, after: Ran) -> list[str]:
    """What the first has and the other has not, or other bits of."""
    arrays, found = before.arrays(), after.arrays()
    wrong = [path for path, content in arrays.items() if found.get(path) != content]
    rows, there = before.rows(), after.rows()
    return wrong + [f"row of {model}" for model, row in rows.items() if there.get(model) != row]


def harm(before: Ran, after: Ran, broken: Sequence[Broken]) -> list[str]:
    """What broken plugins have done to others, and which of them are not named."""
    wrong = changed(before, after)
    if "Traceback" in after.text:
        wrong.append("a traceback in the terminal")
    unnamed = [one.name for one in broken if one.fails and not one.is_named(after)]
    wrong += [f"not said to have failed: {name}" for name in unnamed]
    if any(one.fails for one in broken) and after.code not in (1, 3):
        wrong.append(f"exit code {after.code}")
    return wrong


def report(kinds: Sequence[str], alone: bool) -> int:
    """Try plugins, those of a kind together or each alone; returns how much harm was done."""
    folder = Path(tempfile.mkdtemp(prefix="broken-plugins-"))
    bad = count = 0
    try:
        before = run(folder / "alone")
        assert before.code == 0, before.text
        for kind, broken in campaign().items():
            if kind not in kinds:
                continue
            for group in [[one] for one in broken] if alone else [broken]:
                after = run(folder / str(group[0].number), group)
                wrong = harm(before, after, group)
                bad, count = bad + len(wrong), count + len(group)
                names = "; ".join(one.name for one in group)
                print(f"{'HARM' if wrong else 'none':5} {kind}: {names}", flush=True)
                for line in wrong:
                    print(f"      {line}", flush=True)
                if wrong:
                    print(after.text[-6000:], file=sys.stderr)
        arrays, rows = len(before.arrays()), len(before.rows())
        print(f"{count} plugins beside {arrays} files and {rows} rows: {bad} changes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=list(campaign()))
    parser.add_argument("--alone", action="store_true", help="each in a run of its own; slow")
    options = parser.parse_args()
    sys.exit(1 if report(options.kinds, options.alone) else 0)
