"""The plan: which results a request needs, in an order in which they can be computed.

A job's inputs and output are store keys, so whoever runs the jobs needs nothing but the store. Jobs
of one sweep are computed together. ``harness.planning.planner`` makes the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.jobs.dataset import Instance
from harness.jobs.fit import EPOCHS, HELD_OUT
from harness.jobs.spec import JobSpec
from harness.store.failures import Failure
from harness.store.store import Key, Store
from harness.store.stored import DamagedError, look, prove
from harness.types.datasets import Dataset
from harness.types.models import DerivedModel, Model, Setting
from harness.types.perturbations import Perturbation
from harness.types.probes import DatasetProbe

WANTED = ("dataset", "prediction", "finding", "calibration", "check", "planted")
"""Kinds of results that are wanted for their own sake."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    datasets: Sequence[Dataset]
    models: Sequence[Model | DerivedModel]
    perturbations: Sequence[Perturbation] = ()
    """Under which the models named in ``perturbed`` also predict."""
    perturbed: Collection[str] = ()
    probes: Sequence[DatasetProbe] = ()
    features_of: Sequence[Model] = ()
    """Models of which only the features are wanted, of the patches to fit on and to test."""
    data: Path = Path("data")
    seeds: Sequence[int] = (0,)
    """Each model is trained with each. Perturbed patches are predicted with the first alone."""
    protocol: Literal["held-out", "published"] = "held-out"
    audit_selection: bool = False
    """Keep what each epoch of a fit predicts, where a model reports its epochs."""
    given: dict[str, dict[str, Setting]] = field(default_factory=dict)
    """Settings by model name, as ``settings.parse`` returns them."""
    minutes: float | None = None
    """How long listing a dataset may take."""


@dataclass(frozen=True)
class PlannedFeatures:
    """The features of a model on a dataset, wanted for their own sake."""

    instance: Instance
    settings: Mapping[str, Setting]
    weights: str
    """Label of the weights of the network that extracts them, "none" without."""
    keys: Mapping[str, Key]
    """By part of the dataset."""


@dataclass
class Plan:
    """Jobs by digest, each after those it needs; and what there is to say about them."""

    jobs: dict[str, JobSpec] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    copies: list[Key] = field(default_factory=list)
    """The dataset results that this plan is about."""
    findings: dict[tuple[str, str], Key] = field(default_factory=dict)
    """By dataset and probe."""
    features: dict[tuple[str, str], PlannedFeatures] = field(default_factory=dict)
    """By dataset and model, of those of which only these are wanted."""
    instances: dict[str, Instance] = field(default_factory=dict)
    """The datasets as they are here, by name."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """What could not be planned, and why."""
    unavailable: dict[str, Failure] = field(default_factory=dict)
    """What needs something that cannot be obtained on this machine."""

    def add(self, job: JobSpec) -> Key:
        """Add a job unless it is there already."""
        self.jobs.setdefault(job.key.digest, job)
        return job.key

    def to_do(
        self, store: Store, seconds: Callable[[JobSpec], float | None] = lambda job: None
    ) -> list[JobSpec]:
        """Jobs that the store does not hold and that a wanted result needs, the quick ones first.

        A fit whose predictions are all stored need not be there; if it is, the tables may read what
        it kept of held-out patches and epochs, so one that is damaged is to do. Predictions of
        clean patches come before those of perturbed ones. ``seconds`` estimates how long a job
        takes.
        """
        features = {key.digest for found in self.features.values() for key in found.keys.values()}
        results = [
            job
            for digest, job in self.jobs.items()
            if job.key.kind in WANTED
            or digest in features
            or (job.key.kind == "fit" and _is_damaged(job.key, store))
        ]
        branches = [(job, self.lacking(job, store)) for job in results]
        estimates = {job.key.digest: seconds(job) or 0.0 for _, b in branches for job in b.values()}

        def urgency(branch: tuple[JobSpec, dict[str, JobSpec]]) -> tuple[bool, float]:
            wanted, jobs = branch
            return is_late(wanted), sum(estimates[digest] for digest in jobs)

        ordered: dict[str, JobSpec] = {}
        for _, branch in sorted(branches, key=urgency):
            ordered |= branch  # what is there already keeps its place
        return list(ordered.values())

    def lacking(
        self, job: JobSpec, store: Store, found: dict[str, JobSpec] | None = None
    ) -> dict[str, JobSpec]:
        """A job and all that it needs, as far as the store does not hold them, in order."""
        found = {} if found is None else found
        if job.key.digest not in found and job.key not in store:
            for need in job.needs:
                self.lacking(self.jobs[need.digest], store, found)
            found[job.key.digest] = job
        return found


def _is_damaged(fit: Key, store: Store) -> bool:
    """Whether what the tables read of a fit is there and damaged; the model itself is not read."""
    if not store.exists(fit):
        return False
    try:
        folder = store.folder(fit)
        record = look(folder)
        for name in (HELD_OUT, EPOCHS):
            if name in record["files"]:
                prove(folder, name, record)
    except DamagedError:
        return fit not in store  # which keeps the reason
    return False


def is_late(job: JobSpec) -> bool:
    """Whether a job is about perturbed patches, whose turn comes last."""
    return bool(job.key.fields.get("perturbation", "clean") != "clean")


def together(to_do: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """The jobs in groups that are computed together, each group after all that its jobs need."""
    groups: dict[object, list[JobSpec]] = {}
    for job in to_do:
        groups.setdefault(job.group or job.key.digest, []).append(job)
    group_of = {job.key.digest: name for name, jobs in groups.items() for job in jobs}
    ordered: dict[object, list[JobSpec]] = {}

    def place(name: object) -> None:
        if name in ordered:
            return
        for job in groups[name]:
            for need in job.needs:
                if need.digest in group_of:
                    place(group_of[need.digest])
        ordered[name] = groups[name]

    for name in groups:
        place(name)
    return list(ordered.values())


def title(group: Sequence[JobSpec]) -> str:
    """What a group that is computed together is called."""
    names = list(dict.fromkeys(job.key.name for job in group))
    if group[0].kind == "prediction" and names[1:]:
        who = ", ".join(names) if len(names) <= 4 else f"{len(names)} models"
        return f"{group[0].about}: {who} predict perturbed patches"
    return group[0].title if group[0].group and group[1:] else group[0].label
