"""The plan: which results a request needs, in an order in which they can be computed.

Building it lists files and finds initial weights, but fits and predicts nothing. A job's inputs
and output are store keys, so whoever runs the jobs needs nothing but the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness import jobs, settings
from harness.environment import cpu, provenance
from harness.errors import HarnessError
from harness.jobs import CLEAN, Condition, FitSpec, Record
from harness.plugins import Registry
from harness.splits import Subset, fold_pairs
from harness.store import Key, Store
from harness.types import (
    Dataset,
    DerivedModel,
    Features,
    InitialWeights,
    Model,
    Perturbation,
    Setting,
    Split,
    Splits,
)
from harness.views import compose


@dataclass(frozen=True)
class Job:
    """One result to compute. ``compute(folder)`` writes it there and returns its record."""

    key: Key
    needs: tuple[Key, ...]
    label: str
    compute: Callable[[Path], Record]
    estimate: Callable[[], float] | None = None
    """Seconds it takes on this device, roughly."""
    hint: str = ""
    """How to make it shorter."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    datasets: Sequence[Dataset]
    models: Sequence[Model | DerivedModel]
    perturbations: Sequence[Perturbation] = ()
    data: Path = Path("data")
    seed: int = 0
    protocol: Literal["held-out", "published"] = "held-out"
    given: dict[str, dict[str, Setting]] = field(default_factory=dict)
    """Settings by model name, as ``settings.parse`` returns them."""


@dataclass
class Plan:
    """Jobs by digest, each after those it needs; and what there is to say about them."""

    jobs: dict[str, Job] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    copies: list[Key] = field(default_factory=list)
    """The dataset results that this plan is about."""
    failures: dict[str, str] = field(default_factory=dict)
    """What could not be planned, and why."""

    def add(self, job: Job) -> Key:
        """Add a job unless it is there already."""
        self.jobs.setdefault(job.key.digest, job)
        return job.key

    def to_do(self, store: Store) -> list[Job]:
        """Jobs that the store does not hold and that a wanted result needs, the quick ones first.

        A fit whose predictions are all stored need not be there.
        """

        def lacking(job: Job, found: dict[str, Job]) -> dict[str, Job]:
            if job.key.digest not in found and job.key not in store:
                for need in job.needs:
                    lacking(self.jobs[need.digest], found)
                found[job.key.digest] = job
            return found

        results = [job for job in self.jobs.values() if job.key.kind in ("dataset", "prediction")]
        branches = [lacking(job, {}) for job in results]
        branches.sort(key=lambda branch: sum(seconds(job) or 0.0 for job in branch.values()))
        ordered: dict[str, Job] = {}
        for branch in branches:
            ordered |= branch  # what is there already keeps its place
        return list(ordered.values())


def seconds(job: Job) -> float | None:
    """Estimate for a job, None where there is none. One that fails is none."""
    try:
        return job.estimate() if job.estimate else None
    except Exception:  # the fit itself will fail in the same way, and say so
        return None


def build(registry: Registry, store: Store, request: Request) -> Plan:
    """Plan a request. Raises HarnessError when its only dataset cannot be listed.

    What else cannot be planned, a dataset or a model on it, becomes a failure of the plan and
    costs the others nothing.
    """
    plan = Plan()
    for dataset in request.datasets:
        try:
            splits = dataset.load(request.data)
            planner = _DatasetPlanner(registry, store, request, plan, dataset, splits)
        except Exception as error:
            if len(request.datasets) == 1 and isinstance(error, HarnessError):
                raise
            plan.failures[f"dataset {dataset.name}"] = _reason(error)
            continue
        planner.plan_dataset()
        for model in request.models:
            try:
                for condition in _conditions(request.perturbations):
                    planner.predict(model, condition)
            except Exception as error:
                plan.failures[f"{dataset.name}: {model.name}"] = _reason(error)
    plan.warnings = list(dict.fromkeys(plan.warnings))
    return plan


def _reason(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    return f"{type(error).__name__}: {error}; report it to the plugin's author"


def _conditions(perturbations: Iterable[Perturbation]) -> list[Condition]:
    changed = [Condition(p, float(level)) for p in perturbations for level in p.levels]
    return [CLEAN, *changed]


class _DatasetPlanner:
    """Adds to a plan what one dataset needs."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        request: Request,
        plan: Plan,
        dataset: Dataset,
        splits: Splits,
    ) -> None:
        self.registry = registry
        self.store = store
        self.request = request
        self.plan = plan
        self.dataset = dataset
        self.splits = splits
        self.pairs = fold_pairs(splits, dataset.classes)
        parts = [part.fingerprint for part in (splits.train, splits.test) if part is not None]
        identity = "\n".join([*dataset.classes, *parts, str(splits.folds)])
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.weights: dict[str, InitialWeights | None] = {}
        self.fits: dict[str, list[Key]] = {}

    def key(self, kind: str, name: str, **fields: Any) -> Key:
        return Key(kind, self.dataset.name, name, {"data": self.fingerprint, **fields})

    def plan_dataset(self) -> None:
        described = jobs.describe_dataset(self.dataset, self.splits, self.pairs)

        def compute(folder: Path) -> Record:
            return jobs.store_dataset(described, self.splits, folder)

        key = self.key("dataset", "splits", description=described)
        self.copy = self.plan.add(Job(key, (), f"{self.dataset.name}: list patches", compute))
        self.plan.copies.append(self.copy)

    def predict(self, model: Model | DerivedModel, condition: Condition) -> Key:
        """Plan the logits of a model, and all that they need."""
        if isinstance(model, DerivedModel):
            return self.derive(model, condition)
        resolved = settings.resolve(
            model, self.dataset.demo, self.request.given.get(model.name, {})
        )
        selected_on = "none"
        if model.selects:
            selected_on = "test" if self.request.protocol == "published" else "held-out"
        if model.name not in self.fits:
            weights = model.initial_weights(resolved) if model.initial_weights else None
            if weights and weights.warning:
                self.plan.warnings.append(weights.warning)
            self.weights[model.name] = weights
            common = (self.dataset, model, resolved, weights, self.request.seed, selected_on)
            self.fits[model.name] = [
                self.fit(FitSpec(*common, fold)) for fold in range(len(self.pairs))
            ]
        weights, fits = self.weights[model.name], self.fits[model.name]
        features, fitted_on = None, []
        if model.features is not None:
            features = self.features(model.features, self.splits.test, "test", condition)
            needs = [need for fit in fits for need in self.plan.jobs[fit.digest].needs]
            fitted_on = list({n.digest: n for n in needs if n.kind == "features"}.values())
        key = self.key(
            "prediction", model.name, fits=[fit.digest for fit in fits], **condition.as_dict()
        )

        def compute(folder: Path) -> Record:
            store, test = self.store, self.splits.test
            inputs = jobs.load_features(store, test, features) if features else test
            fitted = [store.folder(fit) for fit in fits]
            folds = [(path, at) for path, (_, at) in zip(fitted, self.pairs, strict=True)]
            n_classes = len(self.dataset.classes)
            record = jobs.predict(model, resolved, folds, inputs, n_classes, condition, folder)
            if features:
                record["seconds"] += store.record(features)["seconds"]
            return {
                **record,
                **self.describe(model, condition),
                "settings": {k: resolved[k] for k in model.settings},
                "deviations": settings.deviations(model, resolved),
                "initial_weights": weights.label if weights else "none",
                "selected_on": selected_on,
                "device": jobs.device_name(model, resolved),
                "fits": [_short(store.record(fit)) for fit in fits],
                "features": [_short(store.record(part)) for part in fitted_on],
            }

        label = f"{self.dataset.name}: {model.name} predicts ({condition})"
        inputs = (self.copy, *fits, *fitted_on, *([features] if features else []))
        return self.plan.add(Job(key, inputs, label, compute))

    def derive(self, model: DerivedModel, condition: Condition) -> Key:
        """Plan a sum of logits."""
        members = []
        for name, view in model.terms:
            changed = Condition(
                condition.perturbation, condition.level, compose(view, condition.view)
            )
            members.append(self.predict(self.registry.models.find(name), changed))
        key = self.key(
            "prediction",
            model.name,
            sum=[member.digest for member in members],
            **condition.as_dict(),
        )

        def compute(folder: Path) -> Record:
            folders = [self.store.folder(member) for member in members]
            records = [self.store.record(member) for member in members]
            return {
                **jobs.derive(folders, records, folder),
                **self.describe(model, condition),
                "derived_from": [list(term) for term in model.terms],
            }

        label = f"{self.dataset.name}: {model.name} sums logits ({condition})"
        return self.plan.add(Job(key, (self.copy, *members), label, compute))

    def describe(self, model: Model | DerivedModel, condition: Condition) -> Record:
        plugin = self.registry.models.plugin[model.name]
        return {
            "model": model.name,
            "title": model.title,
            "plugin": f"{plugin.distribution} {plugin.version}",
            "data": self.fingerprint,
            "derived": isinstance(model, DerivedModel),
            "seed": self.request.seed,
            **condition.as_dict(),
            **provenance(),
        }

    def fit(self, spec: FitSpec) -> Key:
        """Plan one fit, and the features it needs."""
        model, store = spec.model, self.store
        train, test_indices = self.pairs[spec.fold]
        key = self.key(
            "fit",
            model.name,
            version=model.version,
            settings={name: spec.settings[name] for name in model.settings},
            weights=spec.weights.digest if spec.weights else "none",
            seed=spec.seed,
            selected_on=spec.selected_on,
            fold=spec.fold,
        )
        parts: dict[str, Split] = {}
        if self.splits.train is not None:
            parts["train"] = self.splits.train
        if self.splits.folds or spec.selected_on == "test":
            parts["test"] = self.splits.test
        feature_keys = {}
        if model.features is not None:
            feature_keys = {
                name: self.features(model.features, part, name, CLEAN)
                for name, part in parts.items()
            }

        def compute(folder: Path) -> Record:
            fold_train: Any = train
            fold_test: Any = Subset(self.splits.test, test_indices)
            if model.features is not None:
                stored = {
                    parts[name].fingerprint: jobs.load_features(store, parts[name], feature_key)
                    for name, feature_key in feature_keys.items()
                }
                fold_train = jobs.with_features(train, stored)
                if spec.selected_on == "test":
                    fold_test = jobs.with_features(fold_test, stored)
            record = jobs.fit(spec, fold_train, fold_test, store, key, folder)
            return {
                **record,
                "model": model.name,
                "settings": dict(spec.settings),
                "seed": spec.seed,
                "selected_on": spec.selected_on,
                "initial_weights": spec.weights.label if spec.weights else "none",
                "fold": spec.fold,
                **provenance(),
            }

        def estimate() -> float:
            assert model.estimate is not None
            return model.estimate(len(train.labels), spec.settings)

        label = f"{self.dataset.name}: fit {model.name}"
        if self.splits.folds:
            label += f", fold {spec.fold + 1} of {self.splits.folds}"
        needs = (self.copy, *feature_keys.values())
        known = estimate if model.estimate else None
        return self.plan.add(Job(key, needs, label, compute, known, model.hint))

    def features(self, features: Features, split: Split, part: str, condition: Condition) -> Key:
        """Plan the features of a whole split."""
        key = Key(
            "features",
            self.dataset.name,
            f"{features.name}-{part}",
            {"data": split.fingerprint, "version": features.version, **condition.as_dict()},
        )

        def compute(folder: Path) -> Record:
            record = jobs.extract(features, split, condition, folder)
            return {**record, "features": features.name, "device": cpu(), **provenance()}

        label = f"{self.dataset.name}: {features.name} features of {part} ({condition})"
        return self.plan.add(Job(key, (self.copy,), label, compute))


def _short(record: Record) -> Record:
    return {name: record[name] for name in ("digest", "seconds", "n")}
