"""Which module computes which kind of job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.jobs import calibration, dataset, features, finding, fit, planted, predict, sums
from harness.jobs.helpers import Batch
from harness.jobs.passes import Finish
from harness.jobs.session import OpenSession
from harness.jobs.spec import JobSpec

KINDS: Mapping[str, Callable[[Sequence[JobSpec], OpenSession, Path], Sequence[Finish]]] = {
    "dataset": dataset.compute,
    "features": features.compute,
    "fit": fit.compute,
    "prediction": predict.compute,
    "sum": sums.compute,
    "finding": finding.compute,
    "calibration": calibration.compute,
    "check": calibration.check,
    "planted": planted.compute,
}
"""By kind of job, what computes jobs of one group: a function for each that writes its result."""
HELPED: Mapping[str, Callable[[Sequence[JobSpec], OpenSession], Callable[[Batch], Any]]] = {
    "features": features.helping,
    "finding": finding.helping,
}
"""By kind of job, what returns a function that computes a batch of them in a helper, as JSON."""


def dispatch(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> Sequence[Finish]:
    """Compute jobs of one group, which are of one kind; ``workspace`` survives a killed run.

    Returns for each job a function that writes its result into an empty folder and returns the
    record, or raises what went wrong with that job alone.
    """
    if specs[0].kind not in HELPED and session.helpers is not None:
        session.helpers.stop()
    return KINDS[specs[0].kind](specs, session, workspace)
