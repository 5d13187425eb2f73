"""Stored predictions as model probes see them: one run of a model, clean and perturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import frozen, kept
from harness.statistics.metrics import probabilities
from harness.store.keys import CONDITIONS, SHARED
from harness.store.store import Store
from harness.store.stored import (
    DamagedError,
    Part,
    Place,
    Record,
    file_name,
    has,
    load_array,
    load_json,
    read_record,
    verify,
)
from harness.types.perturbations import Perturbation
from harness.types.probes import Predictions

SETUP = (
    *("model", "settings", "deviations"),
    *("selected_on", "initial_weights", "initial_weights_digest"),
)
"""Fields of a record that say how a model was set up; runs differ in their seed otherwise."""


@dataclass(frozen=True)
class GroundTruth:
    """What is known of the test patches of the instance of a dataset that was used last."""

    described: Record
    labels: NDArray[np.int64]
    ids: Sequence[str]
    folds: NDArray[np.int64]
    """Number of the fit that predicts each patch, 0 without folds."""
    groups: NDArray[np.int64] | None
    """Number of the patient or slide of each patch, from 0 without gaps; None if not known."""
    group_names: Sequence[str] = ()
    """The name behind each number."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.described["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.described["classes"])


def trained_on(record: Record, described: Record) -> str:
    """What a model was trained on: the dataset's patches, or those of a pretrained one."""
    return str(record.get("trained_on") or described["trained_on"])


def ground_truth(store: Store, dataset: str) -> GroundTruth:
    """The test patches that stored predictions are about. Raises DamagedError."""
    folder = store.current(dataset)
    groups, group_names = None, np.array([], str)
    if has(folder, "groups.json"):
        stored = load_json(folder, "groups.json")
        group_names, groups = np.unique(stored, return_inverse=True)
    return GroundTruth(
        described=verify(folder),
        labels=frozen(load_array(folder, "labels.npy")),
        folds=frozen(load_array(folder, "folds.npy")),
        ids=tuple(load_json(folder, "ids.json")),
        groups=groups,
        group_names=tuple(map(str, group_names)),
    )


@dataclass(frozen=True)
class Run:
    """A fitted model, or a sum of some, and where its logits for the test patches are stored."""

    record: Record
    """Of the logits for clean patches."""
    clean: Place
    perturbed: dict[tuple[str, float], Place] = field(default_factory=dict)
    temperatures: NDArray[np.float32] | None = None
    """What the mean logits of each patch are divided by, (N,); None for 1."""

    @property
    def terms(self) -> int:
        """How many logits were summed for a patch: 8 for two models under four views, else 1."""
        return int(self.record.get("terms", 1))

    @property
    def doubt(self) -> str:
        """Why what is stored is probably neither logits nor scores; "" where nothing says so."""
        return str(self.record.get("outputs_doubt", ""))

    @property
    def no_probabilities(self) -> str:
        """Why the softmax of ``mean_logits`` is no probability; "" if it is.

        Scores have a scale once they are divided by a temperature.
        """
        if not self.doubt and self.record.get("outputs") == "scores" and self.temperatures is None:
            return "its outputs are scores, not probabilities on any scale"
        return self.doubt

    def logits(self) -> NDArray[np.float32]:
        """What is stored for clean patches, float32 (N, C): logits, their sum, or scores."""
        return _load(self.clean)

    def mean_logits(self) -> NDArray[np.float32]:
        """Logits for clean patches, float32 (N, C), on the scale of one model.

        The mean over the terms of a sum, divided by temperatures if there are any. Its softmax is
        what all figures are computed from that need probabilities, unless ``no_probabilities``.
        """
        values = self.logits() / np.float32(self.terms)
        return values if self.temperatures is None else values / self.temperatures[:, None]

    def scores(self) -> NDArray[np.float64]:
        """What ranks patches for AUROC, float64 (N, C), a class a column.

        Probabilities; where there are none, the model's own values.
        """
        if self.no_probabilities:
            return self.logits().astype(np.float64)
        return probabilities(self.mean_logits())

    def accuracy(self, labels: NDArray[np.int64], perturbation: str, level: float) -> float | None:
        """Accuracy on perturbed patches; None if their logits are not stored."""
        place = self.perturbed.get((perturbation, float(level)))
        return float((_load(place).argmax(axis=1) == labels).mean()) if place else None


def _load(place: Place) -> NDArray[np.float32]:
    values: NDArray[np.float32] = load_array(place, "logits.npy")
    return values


def runs(
    store: Store,
    dataset: str,
    perturbations: Mapping[str, Perturbation],
    damaged: Callable[[DamagedError], None] | None = None,
) -> list[Run]:
    """Every run on the instance of a dataset that was used last.

    Logits under a perturbation that is no longer registered, or in another version, are left out.
    What is damaged is handed to ``damaged``, and all runs of its model are left out: half of them
    would give other figures. Without it, DamagedError is raised.
    """
    lost: set[str] = set()

    def leave_out(error: DamagedError) -> None:
        if damaged is None:
            raise error
        lost.add(error.folder.parent.name)
        damaged(error)

    data = read_record(store.current(dataset))["key"]["fields"]["data"]
    found: dict[Any, Run] = {}
    changed: list[tuple[Any, tuple[str, float], str, Place]] = []
    for path, record in store.records("prediction", dataset, leave_out):
        places = [
            (place, condition)
            for place, condition in _conditions(path, record)
            if condition["view"] == "identity" and _is_current(condition, perturbations)
        ]
        if record["data"] != data or not places:
            continue
        try:
            verify(path)
        except DamagedError as error:
            leave_out(error)
            continue
        # The same fits answer for a run's clean and its perturbed patches.
        identity = (record["model"], *(fit["digest"] for fit in record["fits"]))
        for place, condition in places:
            name = condition["perturbation"]
            if name == "clean":
                found[identity] = Run(record, place)
            else:
                changed.append((identity, (name, condition["level"]), record["created"], place))
    for identity, under, _, place in sorted(changed, key=lambda item: item[2]):
        if identity in found:
            found[identity].perturbed[under] = place  # of what was learned twice, the latest
    return [run for run in found.values() if file_name(run.record["model"]) not in lost]


def _conditions(folder: Path, record: Record) -> list[tuple[Place, Record]]:
    """The conditions of a stored prediction, or of each of a sweep, and where it is."""
    swept = record["key"]["fields"].get(CONDITIONS)
    if swept is None:
        return [(folder, record)]
    return [(Part(folder, number), condition) for number, condition in enumerate(swept)]


def _is_current(condition: Record, perturbations: Mapping[str, Perturbation]) -> bool:
    """Whether a condition is clean, or a perturbation that is registered in this version."""
    name = condition["perturbation"]
    return name == "clean" or (
        name in perturbations and condition["perturbation_version"] == perturbations[name].version
    )


def fit_folders(store: Store, record: Mapping[str, Any]) -> list[Path]:
    """Where the fits behind the predictions of a model are, one for each fold."""
    places = [
        store.results("fit", dataset, record["model"])
        for dataset in (record["key"]["dataset"], SHARED)
    ]
    found = []
    for fit in record["fits"]:
        own, shared = (place / fit["digest"] for place in places)
        found.append(own if own.exists() else shared)
    return found


def trainings(
    known: Sequence[Run], versions: Mapping[str, int] = MappingProxyType({})
) -> list[list[Run]]:
    """Runs that differ only in their seed, together, in the order of their seeds.

    Those of another version of the model do not count: ``versions`` has the version of each model
    that is installed; where it has none, or nothing is stored of it, the latest counts.
    """
    by_setup: dict[str, list[Run]] = {}
    for run in sorted(known, key=lambda run: str(run.record["created"])):
        setup = json.dumps([run.record.get(field) for field in SETUP], sort_keys=True)
        by_setup.setdefault(setup, []).append(run)
    return [_of_one_version(runs, versions) for runs in by_setup.values()]


def _of_one_version(runs: Sequence[Run], versions: Mapping[str, int]) -> list[Run]:
    """Runs of a setup, the latest last, by seed: those of the installed, or the latest version."""
    stored = [str(run.record.get("version")) for run in runs]
    installed = str(versions.get(runs[0].record["model"]))
    wanted = installed if installed in stored else stored[-1]
    pairs = zip(runs, stored, strict=True)
    by_seed = {run.record["seed"]: run for run, version in pairs if version == wanted}
    return [by_seed[seed] for seed in sorted(by_seed)]


def views(
    truth: GroundTruth,
    known: Sequence[Run],
    perturbations: Mapping[str, Perturbation],
    design_effect: float = 1.0,
) -> list[Predictions]:
    """What probes see of runs."""

    def view(run: Run) -> Predictions:
        def under(perturbation: str, level: float) -> NDArray[np.float32] | None:
            place = run.perturbed.get((perturbation, float(level)))
            return frozen(_load(place) / np.float32(run.terms)) if place else None

        def of(model: str) -> Predictions | None:
            same = [other for other in known if other.record["model"] == model]
            same.sort(key=lambda other: other.record["seed"] != run.record["seed"])
            return view(same[0]) if same else None

        return Predictions(
            model=run.record["model"],
            classes=truth.classes,
            labels=kept(truth.labels),
            ids=truth.ids,
            clean=frozen(run.mean_logits()),
            perturbations=MappingProxyType(dict(perturbations)),
            under=under,
            of=of,
            groups=None if truth.groups is None else kept(truth.groups),
            design_effect=design_effect,
        )

    return [view(run) for run in known]
