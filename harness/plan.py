"""The plan: which results a request needs, in an order in which they can be computed.

Building it lists files and finds initial weights, but fits and predicts nothing. A job's inputs
and output are store keys, so whoever runs the jobs needs nothing but the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness import jobs, settings
from harness.environment import cpu, provenance
from harness.errors import HarnessError
from harness.jobs import CLEAN, Condition, FitSpec, Record, without_view
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


@dataclass(frozen=True)
class Job:
    """One result to compute. ``compute(folder)`` writes it there and returns its record."""

    key: Key
    needs: tuple[Key, ...]
    label: str
    compute: Callable[[Path], Record]
    seconds: float = 0.0
    """Estimate, 0 where there is none."""
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
    """Jobs by digest, each after those it needs; and the warnings that go with them."""

    jobs: dict[str, Job] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    copies: list[Key] = field(default_factory=list)
    """The dataset results that this plan is about."""
    failures: dict[str, str] = field(default_factory=dict)
    """Datasets that could not be listed, and why."""

    def add(self, job: Job) -> Key:
        """Add a job unless it is there already."""
        self.jobs.setdefault(job.key.digest, job)
        return job.key

    def to_do(self, store: Store) -> list[Job]:
        """Jobs that the store does not hold, as far as something wanted still needs them.

        A fit whose predictions are all stored need not be there.
        """
        wanted: list[Job] = []
        seen: set[str] = set()

        def visit(job: Job) -> None:
            if job.key.digest in seen or job.key in store:
                return
            seen.add(job.key.digest)
            for need in job.needs:
                visit(self.jobs[need.digest])
            wanted.append(job)

        for job in sorted(self.jobs.values(), key=lambda job: job.seconds):
            if job.key.kind in ("dataset", "prediction"):
                visit(job)
        return wanted


def build(registry: Registry, store: Store, request: Request) -> Plan:
    """Plan a request. Raises HarnessError for what a user can mend before anything runs.

    One of several datasets that cannot be listed becomes a failure of the plan instead.
    """
    plan = Plan()
    for dataset in request.datasets:
        try:
            splits = dataset.load(request.data)
            planner = _DatasetPlanner(registry, store, request, plan, dataset, splits)
        except HarnessError as error:
            if len(request.datasets) == 1:
                raise
            plan.failures[f"dataset {dataset.name}"] = str(error)
            continue
        planner.plan_dataset()
        for condition in _conditions(request.perturbations):
            for model in request.models:
                planner.predict(model, condition)
    plan.warnings = list(dict.fromkeys(plan.warnings))
    return plan


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
        self.fingerprint = ":".join(part[:16] for part in parts) + f":{splits.folds}"

        self.weights: dict[str, InitialWeights | None] = {}
        self.fits: dict[str, list[Key]] = {}

    def key(self, kind: str, name: str, **fields: Any) -> Key:
        return Key(kind, self.dataset.name, name, {"data": self.fingerprint, **fields})

    def plan_dataset(self) -> None:
        def compute(folder: Path) -> Record:
            return jobs.dataset_record(self.dataset, self.splits, self.pairs, folder)

        key = self.key("dataset", "splits", classes=list(self.dataset.classes))
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
            self.fits[model.name] = [
                self.fit(
                    FitSpec(
                        *(self.dataset, model, resolved, weights),
                        *(self.request.seed, selected_on, fold),
                    )
                )
                for fold in range(len(self.pairs))
            ]
        weights, fits = self.weights[model.name], self.fits[model.name]
        features = None
        if model.features is not None:
            features = self.features(model.features, self.splits.test, "test", condition)
        key = self.key(
            "prediction", model.name, fits=[fit.digest for fit in fits], **condition.as_dict()
        )

        def compute(folder: Path) -> Record:
            store, test, extra = self.store, self.splits.test, 0.0
            inputs: Any = test
            if features is not None:
                inputs, seconds = jobs.load_features(store, test, features)
                extra = seconds * len(test.labels)
            fitted = [store.folder(fit) for fit in fits]
            folds = [(path, at) for path, (_, at) in zip(fitted, self.pairs, strict=True)]
            n_classes = len(self.dataset.classes)
            record = jobs.predict(
                model, resolved, folds, inputs, n_classes, condition, extra, folder
            )
            records = [store.record(fit) for fit in fits]
            return {
                **record,
                **self.describe(model, condition),
                "settings": {k: resolved[k] for k in model.settings},
                "deviations": settings.deviations(model, resolved),
                "initial_weights": weights.label if weights else "none",
                "selected_on": selected_on,
                "device": jobs.device_name(model, resolved),
                "fits": [_short(fit) for fit in records],
            }

        label = f"{self.dataset.name}: {model.name} predicts ({condition})"
        needs = (self.copy, *fits, *([features] if features else []))
        # The slow models come last: order predictions by what their fits will cost.
        seconds = sum(self.plan.jobs[fit.digest].seconds for fit in fits)
        return self.plan.add(Job(key, needs, label, compute, seconds))

    def derive(self, model: DerivedModel, condition: Condition) -> Key:
        """Plan a sum of logits."""
        members = []
        for name, view in model.terms:
            member = self.registry.models.find(name)
            members.append(
                self.predict(member, Condition(condition.perturbation, condition.level, view))
            )
        key = self.key(
            "prediction",
            model.name,
            sum=[member.digest for member in members],
            **without_view(condition).as_dict(),
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
        seconds = sum(self.plan.jobs[member.digest].seconds for member in members)
        return self.plan.add(Job(key, (self.copy, *members), label, compute, seconds))

    def describe(self, model: Model | DerivedModel, condition: Condition) -> Record:
        plugin = self.registry.models.plugin[model.name]
        return {
            "model": model.name,
            "title": model.title,
            "plugin": f"{plugin.distribution} {plugin.version}",
            "dataset": self.copy.digest,
            "derived": isinstance(model, DerivedModel),
            "seed": self.request.seed,
            **condition.as_dict(),
            **provenance(),
        }

    def fit(self, spec: FitSpec) -> Key:
        """Plan one fit, and the features it needs."""
        model, store = spec.model, self.store
        train, test_indices = self.pairs[spec.fold]
        keyed = {name: spec.settings[name] for name in model.settings}
        key = self.key(
            "fit",
            model.name,
            settings=keyed,
            weights=spec.weights.digest if spec.weights else "none",
            seed=spec.seed,
            selected_on=spec.selected_on,
            fold=spec.fold,
        )
        parts: dict[str, Split] = {"test": self.splits.test} if self.splits.folds else {}
        if self.splits.train is not None:
            parts["train"] = self.splits.train
        if spec.selected_on == "test":
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
            extra = 0.0
            if model.features is not None:
                stored = {}
                for name, feature_key in feature_keys.items():
                    part, seconds = jobs.load_features(store, parts[name], feature_key)
                    stored[part.fingerprint] = part
                    extra = seconds * len(train.labels)
                fold_train = jobs.with_features(train, stored)
                if spec.selected_on == "test":
                    fold_test = jobs.with_features(fold_test, stored)
            record = jobs.fit(spec, fold_train, fold_test, store, key, extra, folder)
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

        label = f"{self.dataset.name}: fit {model.name}"
        if self.splits.folds:
            label += f", fold {spec.fold + 1} of {self.splits.folds}"
        seconds = 0.0
        if model.estimate and key not in store:
            seconds = model.estimate(len(train.labels), spec.settings)
        needs = (self.copy, *feature_keys.values())
        return self.plan.add(Job(key, needs, label, compute, seconds, model.hint))

    def features(self, features: Features, split: Split, part: str, condition: Condition) -> Key:
        """Plan the features of a whole split."""
        key = Key(
            "features",
            self.dataset.name,
            f"{features.name}-{part}",
            {
                "data": split.fingerprint,
                "version": features.version,
                **condition.as_dict(),
            },
        )

        def compute(folder: Path) -> Record:
            record = jobs.extract(features, split, condition, folder)
            return {**record, "features": features.name, "device": cpu(), **provenance()}

        label = f"{self.dataset.name}: {features.name} features of {part} ({condition})"
        return self.plan.add(Job(key, (self.copy,), label, compute))


def _short(fit: Record) -> Record:
    return {name: fit[name] for name in ("digest", "seconds", "n", "n_selection")}
