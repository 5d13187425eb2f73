"""The described model as a Classifier, and the process that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import FitContext, HarnessError, Setting, Split
from harness_checkpoint.description import Description
from harness_checkpoint.process import Worker
from harness_checkpoint.verification import loaded

SAVED = "checkpoint.json"


def fit(
    description: Description, train: Split, validation: Split | None, context: FitContext
) -> CheckpointClassifier:
    """Load the model, so that what is wrong with it shows before anything is predicted.

    Reads no patch. Raises HarnessError when the dataset has other classes.
    """
    order = description.order(context.classes)
    classifier = CheckpointClassifier(description, context.settings, order)
    what, doubts = loaded(description, context.settings)
    for warning in (*description.warnings, *doubts):
        context.say(f"WARNING: {description.path}: {warning}")
    told = (what, description.source, description.license and f"license: {description.license}")
    if said := "; ".join(filter(None, told)):
        context.say(f"{description.name}: {said}")
    return classifier


def load(
    description: Description, folder: Path, settings: Mapping[str, Setting]
) -> CheckpointClassifier:
    """What ``save`` left in a folder, run from the files that the description names.

    Raises HarnessError when any of them is no longer as it was then.
    """
    path = folder / SAVED
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        order, weights, before = saved["order"], saved["weights"], saved["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path}: cannot be read ({error}); remove its folder and run again"
        ) from error
    now = description.digests()
    if description.digest(now) != weights:
        changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
        raise HarnessError(
            f"{changed[0] if changed else description.path}: has changed since {folder} was "
            "written; run again, without changing it meanwhile"
        )
    return CheckpointClassifier(description, settings, order)


class CheckpointClassifier:
    """A described model; a ``harness.Classifier``. ``order`` has the output of each class.

    Its process starts when it is first needed and ends with this object, or with ours.
    """

    def __init__(
        self, description: Description, settings: Mapping[str, Setting], order: Sequence[int]
    ) -> None:
        self.description = description
        self.settings = dict(settings)
        self.order = list(order)
        self._worker: Worker | None = None

    def worker(self) -> Worker:
        """The process, started if there is none."""
        if self._worker is None:
            self._worker = Worker(self.description, self.settings)
        return self._worker

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of uint8 RGB patches (B, H, W, 3) with any B.

        Raises HarnessError when the model fails; the next call starts it anew.
        """
        worker = self.worker()
        try:
            return worker.logits(inputs)[:, self.order]
        except BaseException:  # also when interrupted: an answer may be half read
            worker.close()
            self._worker = None
            raise

    def save(self, folder: Path) -> None:
        """Write ``checkpoint.json``: which files the model is made of, and their digests."""
        files = self.description.digests()
        content = {
            "description": str(self.description.path),
            "source": self.description.source,
            "license": self.description.license,
            "order": self.order,
            "weights": self.description.digest(files),
            "files": files,
        }
        (folder / SAVED).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
