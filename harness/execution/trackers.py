"""Telling trackers how a run goes. One that fails costs neither the run nor the other trackers."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Registry
from harness.jobs.spec import JobSpec
from harness.statistics import metrics
from harness.statistics.auroc import macro_auroc
from harness.store.failures import Failure, keep_error
from harness.store.predictions import Run
from harness.store.store import Store
from harness.store.stored import Part, load_array, names, read_record

log = logging.getLogger(__name__)


class Trackers:
    """The plugins that implement lifecycle hooks."""

    def __init__(
        self, registry: Registry, store: Store, problems: dict[str, Failure], minutes: float | None
    ) -> None:
        self.manager = registry.manager
        self.store = store
        self.problems = problems
        """Gets the first failure of each plugin and hook."""
        self.minutes = minutes
        self.idle: set[object] = set()
        """Plugins that track nothing of this run."""

    def tell(self, hook: str, **facts: Any) -> None:
        """Call a lifecycle hook of each plugin."""
        plugins = self.manager.get_plugins()
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            name = implementation.plugin_name
            if implementation.plugin in self.idle:
                continue
            others = plugins - {implementation.plugin}
            try:
                with (
                    limited(self.minutes),
                    contained(),
                    contextlib.redirect_stdout(sys.stderr),
                ):
                    said = self.manager.subset_hook_caller(hook, others)(**copy.deepcopy(facts))
                if hook == "harness_run_started" and any(answer is False for answer in said):
                    self.idle.add(implementation.plugin)
                if "folder" in facts:
                    _take_away(facts["folder"])
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                label = f"{hook} of the plugin {name}"
                if label not in self.problems:
                    self.problems[label] = keep_error(self.store, f"tracker-{name}", error)
                    log.warning(f"{label} failed: {self.problems[label]}")

    def tell_stored(self, job: JobSpec) -> None:
        """Tell that a result was stored; of a prediction, also what it comes to."""
        listening = self.manager.hook.harness_result_stored.get_hookimpls()
        if all(implementation.plugin in self.idle for implementation in listening):
            return
        place = self.store.place(job.key)
        folder = place.folder if isinstance(place, Part) else place
        figures: dict[str, float] = {}
        try:
            record = self.store.record(job.key)
            if job.key.kind == "prediction":
                (listing,) = (need for need in job.needs if need.kind == "dataset")
                labels = load_array(self.store.folder(listing), "labels.npy")
                figures = _figures(labels, Run(record, place))
        except HarnessError as error:  # damaged meanwhile: the tables will say so, too
            self.problems.setdefault(f"{job.label}: not told to trackers", Failure(str(error)))
            return
        self.tell("harness_result_stored", record=record, folder=folder, figures=figures)


def _take_away(folder: Path) -> None:
    """Remove what a tracker wrote into the folder of a result. Raises HarnessError if it did."""
    added = sorted({*names(folder)} - {*read_record(folder)["files"]})
    for name in added:
        (folder / name).unlink()
    if added:
        raise HarnessError(
            f"it wrote {added[0]} into {folder}, where nothing but the result may be, so that is "
            "removed; write into a folder of your own"
        )


def _figures(labels: NDArray[np.int64], run: Run) -> dict[str, float]:
    logits = run.logits()
    confusion = metrics.confusion_matrix(labels, logits.argmax(axis=1), logits.shape[1])
    values = metrics.of_confusion(confusion).tolist()
    found = dict(zip(metrics.OF_CONFUSION, values, strict=True))
    found["macro_auroc"] = macro_auroc(labels, run.scores()).value
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}
