"""Damage one file of a store at a time, and see what every command makes of it.

    python tests/simulations/store_faults.py --trials 2000

A real run makes the store: color models, sums, perturbations, probes, folds, features, an audit
of selection, a temperature, a model that fails, findings of an audit. In each trial a file of it
gets a bit flipped, a range zeroed, an end cut off, or is deleted. Then ``leaderboard`` and
``compare`` must give what they gave before, or name the file and exit with 2; and after ``run``
(and ``audit``) all must be as before, but for times. Commands run in this process, and with them
the jobs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from harness.cli import main
from harness.hooks.loader import load_plugins
from harness.jobs.compute import answer, compute, problem_in
from harness.jobs.session import OpenSession
from harness.jobs.spec import SessionSpec

TOY = Path(__file__).parents[1] / "toy"
BROKEN = """
from harness import Model, hookimpl


def fit(train, validation, context):
    raise RuntimeError("fails in every run")


@hookimpl
def harness_models():
    return [Model(name="broken", title="Fails", fit=fit, load=fit)]
"""
DATASETS = ("toy-folds", "toy")
MODELS = ("rgb-means", "color-histogram", "toy-mean", "toy-features", "toy-mean+flips", "broken")
DAMAGES = ("flip", "zero", "cut", "empty", "delete")
CLOCK = ("fit_seconds", "patches_per_second", "created")


@dataclass(frozen=True)
class Said:
    """What a command printed, its exit code and the figures that it wrote."""

    code: int
    text: str
    estimates: object


def command(folder: Path, name: str, *more: str) -> Said:
    """Run a command on the store ``folder/runs``; pages go to a new folder."""
    pages = Path(tempfile.mkdtemp(dir=folder))
    arguments = [name, *more, "--store", str(folder / "runs")]
    if name in ("run", "audit", "leaderboard"):
        arguments += ["--leaderboards", str(pages)]
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(arguments)
    text = out.getvalue() + errors.getvalue()

    def plain(text: str) -> str:  # failures name files
        return text.replace(str(folder), "FOLDER")

    found = {path.name: plain(path.read_text()) for path in sorted(pages.glob("*.json"))}
    estimates: object = {file: without_clock(json.loads(text)) for file, text in found.items()}
    return Said(code, plain(text), estimates if name != "compare" else plain(out.getvalue()))


def without_clock(content: object) -> object:
    """JSON less what a clock decides."""
    if isinstance(content, dict):
        return {k: without_clock(v) for k, v in content.items() if k not in CLOCK}
    return [without_clock(item) for item in content] if isinstance(content, list) else content


class AtOnce:
    """Stands in for the thread that waits for that process: what it is given is done at once.

    So nothing runs beside what a command prints and imports.
    """

    def __init__(self, threads: int) -> None:
        pass

    def submit(self, work: Callable[..., None], *given: object) -> None:
        work(*given)

    def shutdown(self, **options: bool) -> None:
        pass


class InProcess:
    """Stands in for the process that computes: the same code, in this one."""

    def __init__(self, session: SessionSpec, store, *_, **options) -> None:
        self.store, self.spec = store, session
        self.session: OpenSession | None = None

    def stop(self, politely: bool) -> None:
        pass

    def cost(self, job) -> int:
        return 0

    def estimate(self, job) -> float:
        return 0.0

    def compute(self, group) -> Iterator:
        self.session = self.session or OpenSession.open(self.spec)
        for job, error in compute(group, self.session):
            if error is None:
                yield job, None
            else:
                said = answer(job, error, self.store.root)
                yield job, problem_in(self.store, said, said["traceback"])


class Faults:
    """A store in ``folder/sound``, what commands say of it, and copies of it that get damaged."""

    def __init__(self, folder: Path, datasets: Sequence[str] = DATASETS) -> None:
        self.folder = folder
        self.sound = folder / "sound"
        self.sound.mkdir()
        plugin = folder / "broken.py"
        plugin.write_text(BROKEN)
        self.models = [word for name in MODELS for word in ("--model", name)]
        self.datasets = [word for name in datasets for word in ("--dataset", name)]
        self.plugin = ["--plugin", str(plugin)]
        self.asked = {
            "run": [
                *(*self.datasets, *self.models, *self.plugin, "--temperature", "--audit-selection"),
                *("--perturbation", "toy-toward"),
            ],
            "audit": [*self.datasets, *self.plugin],
            "leaderboard": ["--temperature", *self.plugin],
            "compare": ["rgb-means", "toy-mean", "--dataset", datasets[0], "--json", *self.plugin],
        }
        with _alone():
            for name in ("run", "audit"):  # with a process of its own, as for a user
                self.ask(self.sound, name)
            registry = load_plugins(["bias"], [plugin])
        self.patches = (
            mock.patch("harness.hooks.trial.load", return_value=registry),
            mock.patch("harness.jobs.session.load_plugins", return_value=registry),
            mock.patch("harness.execution.local.Worker", InProcess),
            mock.patch("harness.execution.local.ThreadPoolExecutor", AtOnce),
            mock.patch("harness.reports.drawing.write", return_value=[]),
        )
        with self.patched():
            self.before = {name: self.ask(self.sound, name) for name in self.asked}
        codes = {name: said.code for name, said in self.before.items()}
        assert codes == {"run": 1, "audit": 0, "leaderboard": 0, "compare": 0}, codes
        files = [path for path in sorted(self.sound.rglob("*")) if path.is_file()]
        self.files: dict[tuple[str, str], list[Path]] = {}
        for path in (path.relative_to(self.sound) for path in files if "runs" in path.parts):
            self.files.setdefault((path.parts[1], path.name), []).append(path)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Plugins are loaded once, jobs computed in this process, pictures not drawn."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_alone())
            for patch in self.patches:
                stack.enter_context(patch)
            yield

    def ask(self, folder: Path, name: str) -> Said:
        return command(folder, name, *self.asked[name])

    def trial(self, seed: int) -> dict[str, str]:
        """Damage a file; what came of it, and under ``wrong`` what must not have come of it."""
        rng = np.random.default_rng(seed)
        kinds = sorted(self.files)
        kind = kinds[rng.integers(len(kinds))]
        path = self.files[kind][rng.integers(len(self.files[kind]))]
        damage = DAMAGES[rng.integers(len(DAMAGES))]
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            shutil.copytree(self.sound / "runs", folder / "runs", copy_function=os.link)
            changed = harm(folder / path, damage, rng)
            found = {"file": "/".join(kind), "damage": damage, "path": str(path)}
            # What is computed from fits and features is stored, so that nobody reads them any more.
            needed = kind[0] in ("fit", "features") and bool(rng.integers(2))
            if needed:
                model = path.parts[3] if kind[0] == "fit" else "*"
                for predicted in folder.glob(f"runs/prediction/*/{model}"):
                    shutil.rmtree(predicted)
            if not changed:
                return found | {"outcome": "no change"}
            return found | self.judge(folder, path, needed)
        finally:
            shutil.rmtree(folder)

    def judge(self, folder: Path, path: Path, needed: bool) -> dict[str, str]:
        """What commands make of a damaged store; with ``needed``, a run must read the file."""
        wrong, refused = [], False
        with self.patched():
            for name in () if needed else ("leaderboard", "compare"):
                said = self.ask(folder, name)
                same = said.estimates == self.before[name].estimates
                if said.code == 0 and not same:
                    wrong.append(f"{name}: silently different")
                elif said.code != 0:
                    refused = True
                    if said.code != 2 or str(path) not in said.text:
                        wrong.append(f"{name}: exit {said.code}, file not named: {said.text}")
            healing = ["run"]
            if path.parts[1] in ("finding", "features", "dataset", "store.json"):
                healing.append("audit")
            named = False
            for name in healing:
                said, before = self.ask(folder, name), self.before[name]
                named = named or str(path) in said.text
                if said.code != before.code or failed(said) != failed(before):
                    wrong.append(f"{name}: exit {said.code}: {said.text}")
                if said.estimates != before.estimates:
                    wrong.append(f"{name}: different: {said.text}")
            if (refused or needed) and not named:
                wrong.append(f"run: {path} not named")
            said = self.ask(folder, "leaderboard") if refused else self.before["leaderboard"]
            if (said.code, said.estimates) != (0, self.before["leaderboard"].estimates):
                wrong.append(f"leaderboard after run: exit {said.code}: {said.text}")
        outcome = "same figures, not needed"
        if named:
            outcome = "same figures, named by run"
        if refused or needed:
            outcome = f"{'needed' if needed else 'refused'}, then computed again"
        return {"outcome": outcome} | ({"wrong": "; ".join(wrong)} if wrong else {})


def harm(path: Path, damage: str, rng: np.random.Generator) -> bool:
    """Damage a file, a new one in its place; returns whether anything changed."""
    data = bytearray(path.read_bytes())
    before = bytes(data)
    path.unlink()
    if damage == "delete":
        return True
    if damage == "flip" and data:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    if damage == "zero" and data:
        start = int(rng.integers(len(data)))
        end = start + 1 + int(rng.integers(len(data) - start))
        data[start:end] = bytes(end - start)
    if damage == "cut" and data:
        del data[int(rng.integers(len(data))) :]
    if damage == "empty":
        data.clear()
    path.write_bytes(data)
    return bytes(data) != before


def failed(said: Said) -> list[str]:
    """The lines about failures."""
    return [line.partition(" (details")[0] for line in said.text.splitlines() if "failed: " in line]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The toy plugin is installed; no probes but its own; results do not depend on the user.

    No HTML report is written: it also reads findings, which ``run`` does not need.
    """
    own = {name: "" for name in os.environ if name.startswith("HARNESS_")}
    own |= {"HARNESS_WITHOUT": "bias", "HARNESS_NO_REPORT": "1"}
    with mock.patch.dict(os.environ, own):
        sys.path.insert(0, str(TOY))
        try:
            yield
        finally:
            sys.path.remove(str(TOY))


def report(first: int, trials: int, datasets: Sequence[str]) -> int:
    """Print the outcomes of many trials; returns how many must not be."""
    counts: Counter[tuple[str, str]] = Counter()
    bad = []
    with tempfile.TemporaryDirectory(prefix="store-faults-") as folder:
        faults = Faults(Path(folder), datasets)
        for kind, name in sorted(faults.files):
            print(f"may be damaged: {kind}/{name}")
        for number in range(trials):
            found = faults.trial(first + number)
            counts[found["damage"], found["outcome"]] += 1
            if "wrong" in found:
                bad.append(found)
                print(first + number, json.dumps(found), flush=True)
            if (number + 1) % 100 == 0:
                print(f"{number + 1} trials, {len(bad)} wrong", file=sys.stderr, flush=True)
    for (damage, outcome), n in sorted(counts.items()):
        print(f"{damage:8} {outcome:36} {n:5}")
    print(f"{trials} trials, {len(bad)} wrong")
    return len(bad)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--dataset", action="append", default=[])
    options = parser.parse_args()
    wrong = report(options.first, options.trials, options.dataset or DATASETS)
    sys.exit(1 if wrong else 0)
