"""Making the plan: what each dataset, model, condition and probe of a request needs.

It lists files and finds initial weights, but fits and predicts nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import choose, classes, comparability, jobs, settings, sweeps
from harness.boundary import contained
from harness.conditions import CLEAN, Condition, Learned
from harness.environment import cpu, provenance
from harness.errors import HarnessError, UnavailableError
from harness.failures import keep_error
from harness.features import load_features, with_features
from harness.jobs import FitSpec
from harness.limit import limited
from harness.plan import Job, Plan, Request, Sweep
from harness.probes import DatasetProbe
from harness.progress import say
from harness.registry import Plugin, Registry
from harness.splits import Subset, check_splits, fold_pairs
from harness.store import Key, Store
from harness.stored import Record, where
from harness.sweeps import Finish
from harness.types import (
    Dataset,
    DerivedModel,
    Features,
    Model,
    Perturbation,
    Split,
    Splits,
)
from harness.views import compose


def build(registry: Registry, store: Store, request: Request) -> Plan:
    """Plan a request. Raises HarnessError when its only dataset cannot be listed.

    What else cannot be planned, a dataset or a model on it, becomes a failure of the plan and
    costs the others nothing.
    """
    plan = Plan()
    for dataset in request.datasets:
        try:
            # What a plugin prints is not what a command prints.
            with (
                limited(request.minutes),
                contained(),
                contextlib.redirect_stdout(sys.stderr),
            ):
                splits = dataset.load(request.data)
                check_splits(dataset, splits)
            planners = [
                _DatasetPlanner(registry, store, request, plan, dataset, splits, seed)
                for seed in request.seeds
            ]
            for planner in planners:
                planner.plan_dataset()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(request.datasets) == 1 and isinstance(error, HarnessError):
                raise
            plan.left_out.append(dataset.name)
            plan.failures[f"dataset {dataset.name}"] = keep_error(
                store, f"dataset-{dataset.name}", error
            )
            continue
        first = planners[0]
        for planner in planners:
            for model in request.models:
                try:
                    with limited(request.minutes), contained():
                        planner.predict(model, CLEAN)
                    if planner is first and model.name in request.perturbed:
                        for condition in planner.conditions():
                            planner.predict(model, condition)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    about = (dataset.name, planner.fingerprint, model.name)
                    failure = keep_error(store, "plan-" + "-".join(about), error)
                    found = plan.failures
                    if isinstance(error, UnavailableError):
                        found = plan.unavailable
                    found[f"{dataset.name}: {model.name}"] = replace(failure, model=about)
        for probe in request.probes:
            plan.findings[dataset.name, probe.name] = first.ask(probe)
    plan.warnings = list(dict.fromkeys(plan.warnings))
    return plan


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
        seed: int,
    ) -> None:
        self.registry = registry
        self.store = store
        self.request = request
        self.plan = plan
        self.dataset = dataset
        self.splits = splits
        self.seed = seed
        # A dataset that no model can be fitted on can still be audited.
        try:
            self.pairs = fold_pairs(splits, dataset.classes)
        except HarnessError as error:
            if request.models:
                raise HarnessError(f"dataset {dataset.name}: {error}") from error
            self.pairs = []
        splits_there = (splits.train, splits.test, splits.validation)
        parts = [part.fingerprint for part in splits_there if part is not None]
        groups = [] if splits.groups is None else ["groups", *splits.groups]
        # Another version of scikit-learn may cut other folds, and fits of the two must not mix.
        cut = [predicted.tobytes().hex() for _, predicted in self.pairs] if splits.folds else []
        identity = "\n".join([*dataset.classes, *parts, str(splits.folds), *groups, *cut])
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:32]
        self.described = jobs.describe_dataset(dataset, splits, self.pairs, self.described_by())
        self.warn(splits.warnings)
        self.warn(classes.group_warnings(self.described))
        self.warn(comparability.misspelled(dataset, [result for result, _ in registry.published]))
        self.check_classes()
        self.fitted: dict[str, tuple[FitSpec, Features | None, list[Key]]] = {}
        self.sweeps: dict[tuple[str, ...], Sweep] = {}
        self.learned: dict[str, Learned] = {}

    def key(self, kind: str, name: str, **fields: Any) -> Key:
        return Key(kind, self.dataset.name, name, {"data": self.fingerprint, **fields})

    @property
    def plugin(self) -> Plugin | None:
        """The plugin that the dataset is of."""
        return self.registry.datasets.plugin.get(self.dataset.name.removesuffix("-common"))

    def guests(self, *plugins: Plugin | None) -> tuple[str, ...]:
        """Those of some plugins, and of the dataset's, that are not built in."""
        names = {plugin.name for plugin in (self.plugin, *plugins) if plugin}
        return tuple(sorted(names & self.registry.guests))

    def described_by(self) -> str:
        """The file or the plugin that says what the dataset is."""
        plugin = self.plugin
        if plugin is None:
            return "its plugin"
        path = Path(plugin.distribution)
        is_file = path.suffix in (".py", ".toml")
        return path.name if is_file else f"the plugin {plugin.name}"

    def check_classes(self) -> None:
        """Say what is tested and never fitted. Raises HarnessError where that can be helped."""
        fitted_here = [
            model
            for model in choose.fitted(self.registry, self.request.models)
            if not model.trained_on
        ]
        if fitted_here:
            classes.check(self.dataset, self.splits, self.described)
        if fitted_here or not self.request.models:
            self.warn(classes.warnings(self.described))

    def warn(self, warnings: Sequence[str]) -> None:
        """Say something loudly before the run."""
        self.plan.warnings += [f"dataset {self.dataset.name}: {text}" for text in warnings]

    def plan_dataset(self) -> None:
        described = self.described

        def compute(folder: Path) -> Record:
            return jobs.store_dataset(described, self.splits, self.pairs, folder)

        key = self.key("dataset", "splits", description=described)
        self.check_listing(key)
        label = f"{self.dataset.name}: list patches"
        self.copy = self.plan.add(Job(key, (), label, compute, guests=self.guests()))
        self.plan.copies.append(self.copy)

    def check_listing(self, key: Key) -> None:
        """Raise HarnessError if patches were listed otherwise for the store.

        What is stored of them would be that of others, if their order is not always the same.
        """
        if key not in self.store:
            return
        stored = self.store.record(key).get("listing", {})
        now = jobs.listing(self.splits)
        if other := [part for part, digest in stored.items() if now.get(part) != digest]:
            raise HarnessError(
                f"dataset {self.dataset.name}: its {other[0]} patches are not the same, or not in "
                f"the same order, as when they were listed for {self.store.root}, although its "
                "fingerprint is; sort them in the dataset's load and let the fingerprint depend on "
                "ids and labels, or, if they are right now, remove what is stored with `harness "
                f"results remove --dataset {self.dataset.name} --yes{where(self.store.root)}`"
            )

    def conditions(self) -> list[Condition]:
        """The requested perturbations at all their levels."""
        found = []
        for perturbation in self.request.perturbations:
            learned = self.learn(perturbation) if perturbation.learns else None
            for level in perturbation.levels_for(self.dataset.classes):
                if learned is None or level in learned.labels:
                    found.append(Condition(perturbation, float(level), learned=learned))
        return found

    def changer(self, condition: Condition) -> Plugin | None:
        """The plugin that changes patches under a condition."""
        if condition.perturbation is None:
            return None
        return self.registry.perturbations.plugin[condition.perturbation.name]

    def learn(self, perturbation: Perturbation) -> Learned:
        """Plan what is learned of the classes, from all patches that models are fitted on."""
        assert perturbation.learns is not None
        if perturbation.name not in self.learned:
            parts = self.fitted_on()
            owner = self.registry.perturbations.plugin[perturbation.name]
            keys = [
                self.features(owner, perturbation.learns, part, name, CLEAN)
                for name, part in parts.items()
            ]
            labels = [part.labels for part in parts.values()]
            n_classes = len(self.dataset.classes)
            learned = Learned(perturbation, self.store, keys, labels, n_classes)
            self.learned[perturbation.name] = learned
        return self.learned[perturbation.name]

    def fitted_on(self, selected_on: str = "none", audited: bool = False) -> dict[str, Split]:
        """The parts of the dataset that fits, their selection and its audit read."""
        parts: dict[str, Split] = {}
        if self.splits.train is not None:
            parts["train"] = self.splits.train
        if selected_on == "validation" and self.splits.validation is not None:
            parts["validation"] = self.splits.validation
        if self.splits.folds or selected_on == "test" or audited:
            parts["test"] = self.splits.test
        return parts

    def ask(self, probe: DatasetProbe) -> Key:
        """Plan what a probe finds in the dataset."""
        parts = {"test": self.splits.test}
        if self.splits.train is not None:
            parts["train"] = self.splits.train
        owner = self.registry.probes.plugin[probe.name]
        needs = {
            name: {f.name: self.features(owner, f, part, name, CLEAN) for f in probe.features}
            for name, part in parts.items()
        }
        keys = [key for by_name in needs.values() for key in by_name.values()]
        key = self.key(
            "finding", probe.name, version=probe.version, features=[key.digest for key in keys]
        )

        def compute(folder: Path) -> Record:
            stored = {
                part: {name: self.store.folder(key) for name, key in by_name.items()}
                for part, by_name in needs.items()
            }
            record = jobs.ask(probe, self.dataset, self.splits, self.pairs, stored, folder)
            return {**record, "probe": probe.name, "data": self.fingerprint, **provenance()}

        label = f"{self.dataset.name}: {probe.name} probe"
        guests = self.guests(owner)
        return self.plan.add(Job(key, (self.copy, *keys), label, compute, guests=guests))

    def predict(self, model: Model | DerivedModel, condition: Condition) -> Key:
        """Plan the logits of a model, and all that they need."""
        if isinstance(model, DerivedModel):
            return self.derive(model, condition)
        if model.classes is not None and set(model.classes) != set(self.dataset.classes):
            raise UnavailableError(
                f"{model.name} knows the classes {', '.join(model.classes)}, but those of "
                f"{self.dataset.name} are {', '.join(self.dataset.classes)}"
                + classes.spelling(model.classes, self.dataset.classes)
            )
        if model.name not in self.fitted:
            self.fitted[model.name] = self.fit_folds(model)
        spec, used, fits = self.fitted[model.name]
        resolved, weights = spec.settings, spec.weights
        once = list({fit.digest: fit for fit in fits}.values())
        features, fitted_on = None, []
        if used is not None:
            owner = self.registry.models.plugin[model.name]
            features = self.features(owner, used, self.splits.test, "test", condition)
            needs = [need for fit in fits for need in self.plan.jobs[fit.digest].needs]
            fitted_on = list({n.digest: n for n in needs if n.kind == "features"}.values())
        key = self.key(
            "prediction", model.name, fits=[fit.digest for fit in fits], **condition.as_dict()
        )

        needed = condition.learned.keys if condition.learned else ()
        needed += (features,) if features else ()

        def run(parts: Sequence[Any], workspace: Path) -> list[Finish]:
            store, test = self.store, self.splits.test
            by_fit: dict[Path, list[Any]] = {}
            for fit, (_, indices) in zip(fits, self.pairs, strict=True):
                by_fit.setdefault(store.folder(fit), []).append(indices)
            folds = [(path, np.sort(np.concatenate(found))) for path, found in by_fit.items()]
            wanted = [(one, at and load_features(store, test, at)) for one, at in parts]
            n_classes = len(self.dataset.classes)
            common = (test, n_classes, workspace)
            return [
                described(finish, *part)
                for finish, part in zip(
                    sweeps.predict(model, resolved, folds, wanted, *common), parts, strict=True
                )
            ]

        def described(finish: Finish, condition: Condition, features: Key | None) -> Finish:
            def compute(folder: Path) -> Record:
                record = finish(folder)
                if features:
                    record["seconds"] += self.store.record(features)["seconds"]
                if record["outputs_doubt"] and condition == CLEAN:
                    say(f"WARNING: {self.dataset.name}: {model.name}: {record['outputs_doubt']}")
                return {
                    **record,
                    **self.describe(model, condition),
                    "settings": {k: resolved[k] for k in model.settings},
                    "deviations": settings.deviations(model, resolved),
                    "initial_weights": weights.label if weights else "none",
                    "initial_weights_digest": weights.digest if weights else "none",
                    "initial_weights_fallback": bool(weights and weights.warning),
                    "version": model.version,
                    "trained_on": model.trained_on,
                    "classes_declared": not model.trained_on or model.classes is not None,
                    "selected_on": spec.selected_on,
                    "device": jobs.device_name(model, resolved),
                    "fits": [_short(self.store.record(fit)) for fit in once],
                    "features": [_short(self.store.record(part)) for part in fitted_on],
                }

            return compute

        clean = condition.perturbation is None
        name = f"{self.dataset.name}: {model.name}"
        guests = self.guests(self.registry.models.plugin[model.name], self.changer(condition))
        sweep = self.sweeps.setdefault(
            ("predict", model.name, str(clean), *guests),
            Sweep(f"{name} predicts" + ("" if clean else " perturbed patches"), run),
        )
        clean_key = self.key(
            "prediction", model.name, fits=[fit.digest for fit in fits], **CLEAN.as_dict()
        )

        def estimate() -> float:
            return float(self.store.record(clean_key)["seconds"])  # known once it is stored

        return self.plan.add(
            Job(
                key,
                (self.copy, *fits, *fitted_on, *needed),
                f"{name} predicts ({condition})",
                sweep=sweep,
                part=(condition, features),
                estimate=None if clean or features else estimate,
                guests=guests,
            )
        )

    def derive(self, model: DerivedModel, condition: Condition) -> Key:
        """Plan a sum of logits."""
        members = []
        for name, view in model.terms:
            changed = replace(condition, view=compose(view, condition.view))
            members.append(self.predict(self.registry.models.find(name), changed))
        key = self.key(
            "prediction",
            model.name,
            sum=[member.digest for member in members],
            version=jobs.SUM_VERSION,
            **condition.as_dict(),
        )

        def compute(folder: Path) -> Record:
            folders = [self.store.folder(member) for member in members]
            records = [self.store.record(member) for member in members]
            return {
                **jobs.derive(folders, records, folder),
                **self.describe(model, condition),
                "settings": _settings(records),
                "derived_from": [list(term) for term in model.terms],
            }

        name = f"{self.dataset.name}: {model.name} sums logits"
        clean = condition.perturbation is None
        sweep = self.sweeps.setdefault(
            ("sum", model.name, str(clean)),
            Sweep(name + ("" if clean else " of perturbed patches"), lambda parts, _: parts),
        )
        label = f"{name} ({condition})"
        return self.plan.add(Job(key, (self.copy, *members), label, sweep=sweep, part=compute))

    def describe(self, model: Model | DerivedModel, condition: Condition) -> Record:
        plugin = self.registry.models.plugin[model.name]
        return {
            "model": model.name,
            "title": model.title,
            "plugin": f"{plugin.distribution} {plugin.version}",
            "data": self.fingerprint,
            "derived": isinstance(model, DerivedModel),
            "seed": self.seed,
            **condition.as_dict(),
            **provenance(),
        }

    def fit_folds(self, model: Model) -> tuple[FitSpec, Features | None, list[Key]]:
        """Plan the fits of a model, one a fold; how they are made, and on which features."""
        given = self.request.given.get(model.name, {})
        resolved = settings.resolve(model, self.dataset.demo, given)
        used = model.features_with(resolved)
        weights = used.weights if used else None
        if model.initial_weights:
            weights = model.initial_weights(resolved)
        if weights and weights.warning:
            self.plan.warnings.append(weights.warning)
        audited = self.request.audit_selection and model.reports_epochs
        selected_on = self.selected_on(model)
        spec = FitSpec(self.dataset, model, resolved, weights, self.seed, selected_on, 0, audited)
        folds = [0] * len(self.pairs) if model.trained_on else range(len(self.pairs))
        return spec, used, [self.fit(replace(spec, fold=fold), used) for fold in folds]

    def fit(self, spec: FitSpec, features_used: Features | None) -> Key:
        """Plan one fit, and the features it needs."""
        model, store = spec.model, self.store
        train, test_indices = self.pairs[spec.fold]
        fields = {
            "version": model.version,
            "settings": {name: spec.settings[name] for name in model.settings},
            "weights": spec.weights.digest if spec.weights else "none",
            "seed": spec.seed,
            "selected_on": spec.selected_on,
            "fold": spec.fold,
        }
        if isinstance(model.outputs, str) and model.outputs != "logits":
            fields["outputs"] = model.outputs  # what is stored depends on it
        key = self.key("fit", model.name, **fields)
        audited = self.key("fit", model.name, **fields, audited=True)
        # The same fit with more kept of it: where it is there, nothing is fitted again.
        if spec.audited or (store.exists(audited) and not store.exists(key)):
            key = audited
        # What the authors of a model that comes fitted selected on is not read here.
        selected_on = "none" if model.trained_on else spec.selected_on
        parts = self.fitted_on(selected_on, spec.audited)
        feature_keys = {}
        if features_used is not None:
            owner = self.registry.models.plugin[model.name]
            feature_keys = {
                name: self.features(owner, features_used, part, name, CLEAN)
                for name, part in parts.items()
            }

        def compute(folder: Path) -> Record:
            fold_train: Any = train
            fold_test: Any = Subset(self.splits.test, test_indices)
            validation: Any = self.splits.validation
            if features_used is not None:
                stored = {
                    parts[name].fingerprint: load_features(store, parts[name], feature_key)
                    for name, feature_key in feature_keys.items()
                }
                fold_train = with_features(train, stored)
                if spec.audited or selected_on == "test":
                    fold_test = with_features(fold_test, stored)
                if selected_on == "validation":
                    validation = with_features(validation, stored)
            record = jobs.fit(spec, fold_train, fold_test, validation, store, key, folder)
            return {
                **record,
                "model": model.name,
                "settings": dict(spec.settings),
                "deviations": settings.deviations(model, spec.settings),
                "seed": spec.seed,
                "selected_on": spec.selected_on,
                "initial_weights": spec.weights.label if spec.weights else "none",
                "fold": spec.fold,
                **provenance(),
            }

        def estimate() -> float:
            assert model.estimate is not None
            return model.estimate(len(train.labels), spec.settings)

        label = f"{self.dataset.name}: {'load' if model.trained_on else 'fit'} {model.name}"
        if len(self.request.seeds) > 1:
            label += f", seed {spec.seed}"
        if self.splits.folds and not model.trained_on:
            label += f", fold {spec.fold + 1} of {self.splits.folds}"
        needs = (self.copy, *feature_keys.values())
        guests = self.guests(self.registry.models.plugin[model.name])
        known = estimate if model.estimate else None
        return self.plan.add(
            Job(key, needs, label, compute, estimate=known, hint=model.hint, guests=guests)
        )

    def selected_on(self, model: Model) -> str:
        """The split that chooses the checkpoint of a model."""
        if model.trained_on:
            return model.selected_on
        if not model.selects:
            return "none"
        if self.request.protocol == "published":
            return "test"
        return "held-out" if self.splits.validation is None else "validation"

    def features(
        self, owner: Plugin, features: Features, split: Split, part: str, condition: Condition
    ) -> Key:
        """Plan the features of a whole split; those of another plugin may have the same name."""
        key = Key(
            "features",
            self.dataset.name,
            f"{features.name}-{part}",
            {
                "data": split.fingerprint,
                "plugin": owner.name,
                "version": features.version,
                **({"weights": features.weights.digest} if features.weights else {}),
                **condition.as_dict(),
            },
        )

        def run(parts: Sequence[Any], workspace: Path) -> list[Finish]:
            finishes = sweeps.extract(parts, split, workspace)
            return [
                described(finish, wanted)
                for finish, (wanted, _) in zip(finishes, parts, strict=True)
            ]

        def described(finish: Finish, wanted: Features) -> Finish:
            return lambda folder: {
                **finish(folder),
                "features": wanted.name,
                "initial_weights": wanted.weights.label if wanted.weights else "none",
                "device": (wanted.device() if wanted.device else "") or cpu(),
                **provenance(),
            }

        clean = condition.perturbation is None
        guests = self.guests(owner, self.changer(condition))
        sweep = self.sweeps.setdefault(
            ("features", part, str(clean), *guests),
            Sweep(f"{self.dataset.name}: features of {'' if clean else 'perturbed '}{part}", run),
        )
        learned = condition.learned.keys if condition.learned else ()
        label = f"{self.dataset.name}: {features.name} features of {part} ({condition})"
        return self.plan.add(
            Job(
                key,
                (self.copy, *learned),
                label,
                sweep=sweep,
                part=(features, condition),
                guests=guests,
            )
        )


def _settings(members: Sequence[Record]) -> dict[str, Any]:
    """Settings of the members of a sum, as "MODEL.KEY"."""
    found: dict[str, Any] = {}
    for member in members:
        prefix = "" if member["derived"] else f"{member['model']}."
        found |= {f"{prefix}{key}": value for key, value in member["settings"].items()}
    return found


def _short(record: Record) -> Record:
    known = ("digest", "seconds", "n", "n_selection")
    return {name: record[name] for name in known if name in record}
