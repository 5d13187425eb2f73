"""Temperature scaling: mean logits divided by what makes the held-out part best calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.jobs.fit import HELD_OUT
from harness.statistics.reliability import fit_temperature
from harness.store.predictions import GroundTruth, Run, fit_folders
from harness.store.store import Store
from harness.store.stored import has, load_arrays

HeldOut = list[tuple[NDArray[np.float32], NDArray[np.int64]]]


def scaled(store: Store, truth: GroundTruth, run: Run, known: Mapping[str, Run]) -> Run | None:
    """A run with a temperature for each of its fits, fitted on that one's held-out patches.

    ``known`` has runs by the digest of their result. None where no held-out logits are stored: the
    model selects on nothing or on the test patches, or its sum takes flipped views. None also where
    what the model gave is doubted to be logits.
    """
    parts = None if run.doubt else _held_out(store, run, known)
    if not parts:
        return None
    temperatures = np.array(
        [fit_temperature(labels, logits / np.float32(run.terms)) for logits, labels in parts]
    )
    return replace(run, temperatures=temperatures[truth.folds].astype(np.float32))


def _held_out(store: Store, run: Run, known: Mapping[str, Run]) -> HeldOut | None:
    """Logits, summed as those of the run, and labels of the held-out patches of each fit."""
    record = run.record
    if "members" not in record:
        return _of_fits(store, record)
    members = [known.get(digest) for digest in record["members"]]
    parts = [_held_out(store, member, known) if member else None for member in members]
    total: HeldOut = []
    for folds in zip(*(part or [] for part in parts), strict=False):
        labels = folds[0][1]
        if not all(np.array_equal(labels, other) for _, other in folds):
            return None
        total.append((np.sum([logits for logits, _ in folds], axis=0), labels))
    return total


def _of_fits(store: Store, record: Mapping[str, Any]) -> HeldOut | None:
    found: HeldOut = []
    for folder in fit_folders(store, record):
        if not has(folder, HELD_OUT):
            return None
        kept = load_arrays(folder, HELD_OUT)
        found.append((kept["logits"], kept["labels"]))
    return found
