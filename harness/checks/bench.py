"""The bench: patches, settings, folders, fits and fresh processes that promises share."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.checks.fakes import Held, few
from harness.checks.outcome import Broken, Skipped
from harness.checks.watching import home as home_of_user
from harness.errors import HarnessError, UnavailableError, one_line
from harness.hooks import settings as settings_
from harness.hooks.guard import is_read_only
from harness.hooks.registry import Plugin, Registry
from harness.types.datasets import Dataset, Split, Splits
from harness.types.models import Classifier, Features, FitContext, Model, Setting

T = TypeVar("T")
TOLERANCE = 1e-3
"""How far two answers that ought to be the same may be apart, as a share of the spread of the
logits. Batches of other sizes are added up in another order, which moves float32 by a millionth
and half precision by less than a thousandth; patches that see each other move by tenths."""
FIT_TOLERANCE = 1e-2
"""The same for two fits, where each step of training makes the difference of the last one grow."""
TIME_LIMIT = 900
"""Seconds after which a fresh process is taken to hang."""


@dataclass
class Bench:
    """What promises are checked with. Everything is made when it is first needed, and kept."""

    registry: Registry
    data: Path = Path("data")
    dataset_name: str | None = None
    without: Sequence[str] = ()
    files: Sequence[Path] = ()
    given: dict[str, dict[str, Setting]] = field(default_factory=dict)
    """Settings that the user gave, by model."""
    made: dict[Any, Any] = field(default_factory=dict, repr=False)
    making: list[str] = field(default_factory=list)
    """What is being made for several promises, the last in the course of those before."""
    told: Callable[[Sequence[str]], None] = lambda making: None
    """Called when ``making`` has changed, as the process may end of it."""
    lost: Sequence[str] = ()
    """What was being made when processes before this one ended or hung."""

    @cached_property
    def folder(self) -> Path:
        """A temporary folder, removed when Python ends."""
        self._temporary = tempfile.TemporaryDirectory(prefix="harness-check-")
        return Path(self._temporary.name).resolve()

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` returns, made once. What failed is not tried again: Skipped."""
        failure = "what it needs failed, as another promise tells"
        if repr(key) in self.lost:
            raise Skipped(failure)
        if key not in self.made:
            self.making.append(repr(key))
            self.told(self.making)
            try:
                self.made[key] = make(), ""
            except (Skipped, UnavailableError) as error:
                self.made[key] = None, str(error)
                raise
            except BaseException:
                self.made[key] = None, failure
                raise
            finally:
                self.making.pop()
                self.told(self.making)
        value, failed = self.made[key]
        if failed:
            raise Skipped(failed)
        made: T = value
        return made

    def code_of(self, plugin: Plugin | None) -> Path | None:
        """The file of a plugin's module, or the folder of its package; None where it has none."""
        module = plugin and self.registry.manager.get_plugin(plugin.name)
        file = getattr(module, "__file__", None)
        path = Path(file) if file else None
        return path.parent if path and path.name == "__init__.py" else path

    @cached_property
    def source(self) -> tuple[Dataset, Splits]:
        """The dataset whose patches are used, and a few of them, in memory.

        The named dataset, or the first demo dataset that can be read. Raises HarnessError when the
        named one cannot be used, and Skipped when there is none.
        """
        if self.dataset_name is not None:
            dataset = self.registry.datasets.find(self.dataset_name)
            if lack := dataset.missing(self.data):
                raise HarnessError(f"dataset {dataset.name}: {lack}")
            return dataset, few(dataset.load(self.data), dataset.classes)
        for dataset in self.registry.datasets.values():
            if not dataset.demo:
                continue
            try:
                if not dataset.missing(self.data):
                    return dataset, few(dataset.load(self.data), dataset.classes)
            except Exception:  # its own promises tell
                continue
        raise Skipped("no demo dataset gives patches to check with; name one with --dataset")

    @property
    def looked(self) -> bool:
        """Whether patches were needed, and there are some."""
        return "source" in vars(self)

    @property
    def dataset(self) -> Dataset:
        """The dataset whose patches are used."""
        return self.source[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of that dataset."""
        return self.dataset.classes

    @cached_property
    def patches(self) -> Splits:
        """A few patches of each class, in memory."""
        return self.source[1]

    @property
    def test(self) -> Held:
        """The few test patches."""
        split = self.patches.test
        assert isinstance(split, Held)
        return split

    def settings(self, model: Model) -> Mapping[str, Setting]:
        """Demo settings, as the patches are few, and what the user gave."""
        return settings_.resolve(model, True, self.given.get(model.name, {}))

    def inputs(self, model: Model) -> Splits:
        """What a model is fitted on: the few patches, or its features of them."""
        features = model.features_with(self.settings(model))
        return self.patches if features is None else self.featured(features)

    def featured(self, features: Features) -> Splits:
        """The few patches' features."""

        def make() -> Splits:
            parts = (self.patches.train, self.patches.validation, self.patches.test)
            train, validation, test = (
                part.features(features) for part in parts if isinstance(part, Held)
            )
            return Splits(train=train, validation=validation, test=test)

        return self.once(("featured", features.name, features.version), make)

    def fit(
        self,
        model: Model,
        *,
        train: Split | None = None,
        validation: Split | None = None,
        folder: Path | None = None,
        settings: Mapping[str, Setting] | None = None,
        after_epoch: Callable[[int, Classifier, float], None] | None = None,
    ) -> Classifier:
        """Fit a model on the few patches as a run would, or on the splits given."""
        inputs = self.inputs(model)
        settings = self.settings(model) if settings is None else settings
        weights = model.initial_weights(settings) if model.initial_weights else None
        selects = model.selects and not model.trained_on
        context = FitContext(
            seed=0,
            classes=self.classes,
            settings=settings,
            folder=self.new_folder("fit") if folder is None else folder,
            initial_weights=weights,
            after_epoch=after_epoch,
        )
        chosen = inputs.train if train is None else train
        assert chosen is not None
        return model.fit(chosen, (validation or inputs.validation) if selects else None, context)

    def task(self, kind: str, name: str) -> tuple[dict[str, Any], Path]:
        """A task for a fresh process, and its folder with the few patches in it."""
        folder = self.new_folder(kind)
        for part in ("train", "validation", "test"):
            getattr(self.patches, part).save(folder / f"{part}.npz")
        given = self.given.get(name, {})
        return {"kind": kind, "name": name, "dataset": self.dataset.name, "given": given}, folder

    def in_fresh_process(
        self, task: Mapping[str, Any], folder: Path, plugin: Plugin | None = None
    ) -> dict[str, Any]:
        """Do a task of ``harness.checks.fresh`` in a process of its own; its answer.

        ``plugin`` is the one whose folder ought to stay as it is. Raises Broken when the task
        raised there, and UnavailableError as it does.
        """
        work, scratch, home = folder / "work", folder / "tmp", folder / "home"
        work.mkdir()
        scratch.mkdir()
        home.mkdir()
        with suppress(OSError):  # what is there can be read; what is new or changed is seen
            for path in home_of_user().iterdir():
                (home / path.name).symlink_to(path)
        content = {
            **task,
            "without": list(self.without),
            "files": [str(path.absolute()) for path in self.files],
            "refused": self.registry.refused,
            "data": str(self.data.absolute()),
            "home": str(home_of_user()),
            "own": str(self.code_of(plugin) or work),
        }
        (folder / "task.json").write_text(json.dumps(content), encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(Path(part).absolute()) for part in sys.path if part),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "random",  # as for any user, whatever it is here
            "TMPDIR": str(scratch),
            "HOME": str(home),
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),  # as harness.cli says
        }
        with (folder / "output.txt").open("w", encoding="utf-8") as output:
            try:
                code = subprocess.run(
                    [sys.executable, "-m", "harness.checks.fresh", str(folder)],
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=TIME_LIMIT,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                raise Broken(
                    f"a fresh process was not done after {TIME_LIMIT} seconds",
                    "find out where it hangs",
                ) from None
        answer_file = folder / "answer.json"
        if not answer_file.exists():
            if code == task.get("killed_with"):
                return {}
            printed = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
            raise Broken(
                f"a fresh process ended with code {code} and no answer",
                "see what it printed, with --traceback",
                printed,
            )
        answer: dict[str, Any] = json.loads(answer_file.read_text(encoding="utf-8"))
        if answer.get("unavailable"):
            raise UnavailableError(answer["error"])
        if "error" in answer:
            fix = "it works in this process: look for state that only this one has"
            raise Broken(f"in a fresh process: {answer['error']}", fix, answer["traceback"])
        return answer


def apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference between two arrays, as a share of the spread of the first."""
    if one.shape != other.shape:
        return float("inf")
    difference = np.abs(one.astype(np.float64) - other).max(initial=0)
    return float(difference / (np.ptp(one) or np.abs(one).max(initial=0) or 1))


def compare(
    one: NDArray[Any], other: NDArray[Any], what: str, fix: str, tolerance: float = TOLERANCE
) -> None:
    """Raise Broken when two arrays of logits or features differ by more than rounding."""
    difference = apart(one, other)
    if not difference <= tolerance:  # NaN is not alike either
        raise Broken(f"{what} differ by {difference:.2g} of their spread", fix)


@contextmanager
def unchanged(what: str, *given: NDArray[Any]) -> Iterator[None]:
    """Around a call that gets read-only arrays, as in a run. Raises Broken if it writes to them.

    Also if it writes past numpy, which raises nothing.
    """
    before = [values.tobytes() for values in given]
    fix = "work on a copy: what a run gives is read-only"
    try:
        yield
    except (ValueError, TypeError) as error:
        if not is_read_only(error):
            raise
        raise Broken(f"{what} ({one_line(str(error))})", fix) from error
    if [values.tobytes() for values in given] != before:
        raise Broken(what, fix)


def scramble() -> None:
    """Give the global generators of random, numpy and, where it is loaded, torch another state.

    One that they have not had: a test before may have left any that is fixed.
    """
    seed = secrets.randbits(32)
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def shaped(array: Any) -> str:
    """What an object is, as a message says it: "float64 (4, 9)"."""
    if isinstance(array, np.ndarray):
        return f"{array.dtype} {array.shape}"
    return f"a {type(array).__name__}"
