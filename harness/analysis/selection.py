"""Selection audits: what choosing the epoch on the test patches adds to an accuracy."""

from __future__ import annotations

from collections.abc import Callable

from harness.analysis.leaderboard import Board
from harness.jobs.fit import EPOCHS
from harness.statistics.selection import SelectionAudit, Trajectory, audit
from harness.store.predictions import GroundTruth, Run, fit_folders
from harness.store.store import Store
from harness.store.stored import DamagedError, has, load_arrays


def audits(
    store: Store, board: Board, damaged: Callable[[DamagedError], object] | None = None
) -> dict[str, list[SelectionAudit]]:
    """By model, an audit for each seed whose fits kept what their epochs predict.

    A fit that is damaged is handed to ``damaged``, and its model is left out; without it,
    DamagedError is raised.
    """
    found: dict[str, list[SelectionAudit]] = {}
    for entry in board.entries:
        try:
            kept = [trajectories(store, board.truth, run) for run in entry.runs]
        except DamagedError as error:
            if damaged is None:
                raise
            damaged(error)
            continue
        if any(kept):
            effect = board.sampling.design_effect
            found[entry.name] = [audit(folds, effect) for folds in kept if folds]
    return found


def trajectories(store: Store, truth: GroundTruth, run: Run) -> list[Trajectory]:
    """The trainings of a run, one for each fold; none when they were not kept."""
    if "members" in run.record:
        return []
    folders = fit_folders(store, run.record)
    if not all(has(folder, EPOCHS) for folder in folders):
        return []
    found = []
    for number, folder in enumerate(folders):
        own = truth.folds == number
        labels, groups = truth.labels[own], None if truth.groups is None else truth.groups[own]
        kept = load_arrays(folder, EPOCHS)
        right = kept["logits"].argmax(axis=2) == labels
        found.append(Trajectory(right=right, scores=kept["scores"], groups=groups))
    return found
