"""Making the plan: what each dataset, model, condition and probe of a request needs.

It lists files and finds initial weights, but fits and predicts nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from harness.data import classes, cohorts, comparability
from harness.data.views import compose
from harness.errors import HarnessError, UnavailableError
from harness.hooks import settings
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Plugin, Registry
from harness.jobs.conditions import CLEAN, Condition, Learned
from harness.jobs.dataset import Instance, check_listing, load
from harness.jobs.fit import weights_of
from harness.jobs.spec import FeaturesSpec, JobSpec
from harness.jobs.sums import SUM_VERSION
from harness.planning import choose
from harness.planning.plan import Plan, PlannedFeatures, Request
from harness.store.failures import keep_error
from harness.store.keys import SHARED
from harness.store.store import Key, Store
from harness.types.models import DerivedModel, Features, Model, Setting
from harness.types.perturbations import Perturbation
from harness.types.probes import DatasetProbe


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
                described_by = registry.described_by(dataset.name)
                instance = load(dataset, request.data, described_by, store)
            plan.instances[dataset.name] = instance
            if (request.models or request.features_of) and instance.unfit:
                raise instance.unfit
            planners = [
                _DatasetPlanner(registry, store, request, plan, instance, seed)
                for seed in request.seeds
            ]
            planners[0].plan_dataset()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if len(request.datasets) == 1 and isinstance(error, HarnessError):
                raise
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
                            if is_given(model, condition):
                                planner.predict(model, condition)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    about = (dataset.name, instance.fingerprint, model.name)
                    failure = keep_error(store, "plan-" + "-".join(about), error)
                    found = plan.failures
                    if isinstance(error, UnavailableError):
                        found = plan.unavailable
                    found[f"{dataset.name}: {model.name}"] = replace(failure, model=about)
        for wanted in request.features_of:
            try:
                with limited(request.minutes), contained():
                    plan.features[dataset.name, wanted.name] = first.features_of(wanted)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                name = f"plan-features-{dataset.name}-{wanted.name}"
                plan.failures[f"{dataset.name}: {wanted.name}"] = keep_error(store, name, error)
        for probe in request.probes:
            plan.findings[dataset.name, probe.name] = first.ask(probe)
    plan.warnings = list(dict.fromkeys(plan.warnings))
    return plan


def is_given(model: Model | DerivedModel, condition: Condition) -> bool:
    """Whether a model can be asked under a condition, which what was brought along may lack."""
    if isinstance(model, DerivedModel) or model.given is None or condition.perturbation is None:
        return True
    return (condition.perturbation.name, condition.level) in model.given.conditions


@dataclass(frozen=True)
class _Fitted:
    """The fits of a model on a dataset, one a fold, and what is the same for all of them."""

    keys: tuple[Key, ...]
    settings: dict[str, Setting]
    weights: dict[str, str]
    selected_on: str
    features: Features | None
    features_keys: tuple[Key, ...]
    """Those of the patches that fits read."""


class _DatasetPlanner:
    """Adds to a plan what one dataset needs, for one seed."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        request: Request,
        plan: Plan,
        instance: Instance,
        seed: int,
    ) -> None:
        self.registry = registry
        self.store = store
        self.request = request
        self.plan = plan
        self.instance = instance
        self.dataset, self.splits = instance.dataset, instance.splits
        self.seed = seed
        self.copy = self.key("dataset", "splits", description=instance.described)
        self.fitted: dict[str, _Fitted] = {}
        self.learned: dict[str, Learned] = {}

    def key(self, kind: str, name: str, **fields: Any) -> Key:
        data = {"data": self.instance.fingerprint, **fields}
        return Key(kind, self.dataset.name, name, data)

    def guests(self, *plugins: Plugin | None) -> tuple[str, ...]:
        """Those of some plugins, and of the dataset's, or both of its, that are not built in."""
        known, name = self.registry.datasets, self.dataset.name
        return self.registry.guests_of(known.plugin.get(name), known.second.get(name), *plugins)

    def plan_dataset(self) -> None:
        """Plan what is stored of the dataset, and say what there is to say about it."""
        self.warn(self.splits.warnings)
        self.warn(classes.group_warnings(self.instance.described))
        published = [result for result, _ in self.registry.published]
        self.warn(comparability.misspelled(self.dataset, published))
        self.check_classes()
        check_listing(self.instance, self.copy, self.store)
        self.plan.add(
            JobSpec(
                kind="dataset",
                key=self.copy,
                label=f"{self.dataset.name}: list patches",
                data=self.instance.fingerprint,
                guests=self.guests(),
            )
        )
        self.plan.copies.append(self.copy)

    def check_classes(self) -> None:
        """Say what is tested and never fitted. Raises HarnessError where that can be helped."""
        fitted_here = [
            model
            for model in choose.fitted(self.registry, self.request.models)
            if not model.trained_on
        ]
        if fitted_here:
            classes.check(self.dataset, self.splits, self.instance.described)
        if fitted_here or not self.request.models:
            self.warn(classes.warnings(self.instance.described))

    def warn(self, warnings: Sequence[str]) -> None:
        """Say something loudly before the run."""
        self.plan.warnings += [f"dataset {self.dataset.name}: {text}" for text in warnings]

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
            source = FeaturesSpec("perturbation", perturbation.name, perturbation.learns.name)
            owner = self.registry.perturbations.plugin[perturbation.name]
            keys = {
                part: self.features(source, owner, perturbation.learns, part, CLEAN)
                for part in self.instance.fitted_on()
            }
            learned = Learned(perturbation, self.store, keys, lambda: self.instance)
            self.learned[perturbation.name] = learned
        return self.learned[perturbation.name]

    def ask(self, probe: DatasetProbe) -> Key:
        """Plan what a probe finds in the dataset."""
        parts = ["test"] if self.splits.train is None else ["test", "train"]
        owner = self.registry.probes.plugin[probe.name]
        inputs = {
            f"{part}: {features.name}": (
                self.features(
                    *(FeaturesSpec("probe", probe.name, features.name), owner, features),
                    *(part, CLEAN),
                ),
            )
            for part in parts
            for features in probe.features
        }
        digests = [key.digest for keys in inputs.values() for key in keys]
        return self.plan.add(
            JobSpec(
                kind="finding",
                key=self.key("finding", probe.name, version=probe.version, features=digests),
                label=f"{self.dataset.name}: {probe.name} probe",
                data=self.instance.fingerprint,
                inputs={"dataset": (self.copy,), **inputs},
                group=self.group("finding", self.guests(owner)),
                title=f"{self.dataset.name}: probes",
                guests=self.guests(owner),
            )
        )

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
        if model.given is not None:
            self.check_given(model, condition)
        if model.name not in self.fitted:
            self.fitted[model.name] = self.fit_folds(model)
        fitted = self.fitted[model.name]
        owner = self.registry.models.plugin[model.name]
        brought = self.brought(model)
        features: tuple[Key, ...] = ()
        if fitted.features is not None:
            source = FeaturesSpec("model", model.name, fitted.features.name)
            features = (
                self.features(
                    *(source, owner, fitted.features, "test", condition, fitted.settings), brought
                ),
            )
        fits = [fit.digest for fit in fitted.keys]
        key = self.key("prediction", model.name, fits=fits, **condition.as_dict(), **brought)
        clean = condition.perturbation is None
        name = f"{self.dataset.name}: {model.name}"
        guests = self.guests(owner, self.changer(condition))
        clean_key = self.key("prediction", model.name, fits=fits, **CLEAN.as_dict(), **brought)
        together = (
            [owner.name] if model.features is None and not clean else [owner.name, model.name]
        )
        return self.plan.add(
            JobSpec(
                kind="prediction",
                key=key,
                label=f"{name} predicts ({condition})",
                data=self.instance.fingerprint,
                inputs={
                    "dataset": (self.copy,),
                    "fits": fitted.keys,
                    "fitted on": fitted.features_keys,
                    "learned": condition.needs,
                    "features": features,
                },
                settings=fitted.settings,
                weights=fitted.weights,
                seed=self.seed,
                selected_on=fitted.selected_on,
                condition=condition.spec,
                network=model.device is not None and not features,
                # Patches are perturbed once for all models of a plugin.
                group=self.group("prediction", *together, self.seed, clean, guests),
                title=f"{name} predicts" + ("" if clean else " perturbed patches"),
                as_long_as=None if clean or features else clean_key,  # known once it is stored
                owner=owner.name,
                guests=guests,
            )
        )

    def check_given(self, model: Model, condition: Condition) -> None:
        """Raise UnavailableError for predictions or embeddings that were not brought along."""
        assert model.given is not None
        what = "predictions" if model.features is None else "embeddings"
        if cohorts.brought_for(model.given, self.dataset.name) is None:
            others = ", ".join(model.given.cohorts)
            raise UnavailableError(
                f"{model.name} has {what} for {model.given.dataset}"
                f"{f' (and, with harness transfer, for {others})' if others else ''}, not for "
                f"{self.dataset.name}"
            )
        if condition.view != "identity":
            raise UnavailableError(
                f"{model.name} has {what} for patches as they are, not for flipped ones"
            )
        if not is_given(model, condition):
            raise UnavailableError(f"{model.name} has no {what} under {condition}")

    def brought(self, model: Model) -> dict[str, str]:
        """What the keys say of what was brought along for the cohort that is tested on."""
        cohort = model.given and cohorts.brought_for(model.given, self.dataset.name)
        return {"brought": model.given.cohorts[cohort]()} if model.given and cohort else {}

    def group(self, *parts: Any) -> str:
        """The name of jobs that one pass over the patches computes."""
        return " ".join(map(str, (self.dataset.name, self.instance.fingerprint, *parts)))

    def derive(self, model: DerivedModel, condition: Condition) -> Key:
        """Plan a sum of logits."""
        members = []
        for name, view in model.terms:
            seen = replace(condition, view=compose(view, condition.view))
            members.append(self.predict(self.registry.models.find(name), seen))
        clean = condition.perturbation is None
        name = f"{self.dataset.name}: {model.name} sums logits"
        return self.plan.add(
            JobSpec(
                kind="sum",
                key=self.key(
                    "prediction",
                    model.name,
                    sum=[member.digest for member in members],
                    version=SUM_VERSION,
                    **condition.as_dict(),
                ),
                label=f"{name} ({condition})",
                data=self.instance.fingerprint,
                inputs={
                    "dataset": (self.copy,),
                    "members": tuple(members),
                    "learned": condition.needs,
                },
                seed=self.seed,
                condition=condition.spec,
                group=self.group("sum", model.name, self.seed, clean),
                title=name + ("" if clean else " of perturbed patches"),
            )
        )

    def features_of(self, model: Model) -> PlannedFeatures:
        """Plan the features of a model, of the patches that fits read and of the test patches."""
        if model.given is not None:
            self.check_given(model, CLEAN)
        resolved = settings.resolve(
            model, self.dataset.demo, self.request.given.get(model.name, {})
        )
        used = model.features_with(resolved)
        if used is None:
            raise HarnessError(f"{model.name} has no features with these settings")
        if used.weights and used.weights.warning:
            self.plan.warnings.append(used.weights.warning)
        source = FeaturesSpec("model", model.name, used.name)
        owner = self.registry.models.plugin[model.name]
        return PlannedFeatures(
            instance=self.instance,
            settings=dict(resolved),
            weights=used.weights.label if used.weights else "none",
            keys={
                part: self.features(
                    *(source, owner, used, part, CLEAN, resolved),
                    self.brought(model) if part == "test" else {},
                )
                for part in dict.fromkeys((*self.instance.fitted_on(), "test"))
            },
        )

    def fit_folds(self, model: Model) -> _Fitted:
        """Plan the fits of a model, one a fold, and the features that they need."""
        resolved = settings.resolve(
            model, self.dataset.demo, self.request.given.get(model.name, {})
        )
        used = model.features_with(resolved)
        weights = weights_of(model, resolved, used)
        if weights and weights.warning:
            self.plan.warnings.append(weights.warning)
        audited = self.request.audit_selection and model.reports_epochs
        selected_on = self.selected_on(model)
        # What the authors of a pretrained classifier selected on is not read here.
        read = self.instance.fitted_on("none" if model.trained_on else selected_on, audited)
        by_part: dict[str, tuple[Key, ...]] = {}
        # A pretrained classifier with weights of its own is fitted on none.
        if used is not None and not (model.trained_on and model.initial_weights):
            source = FeaturesSpec("model", model.name, used.name)
            owner = self.registry.models.plugin[model.name]
            by_part = {
                part: (self.features(source, owner, used, part, CLEAN, resolved),) for part in read
            }
        about = {}
        if weights:
            about = {name: getattr(weights, name) for name in ("digest", "label", "warning")}
        spec = JobSpec(
            kind="fit",
            key=self.copy,
            label="",
            dataset=self.dataset.name,
            data=self.instance.fingerprint,
            inputs={
                "dataset": (self.copy,),
                **{f"features: {part}": keys for part, keys in by_part.items()},
            },
            settings=dict(resolved),
            weights=about,
            seed=self.seed,
            selected_on=selected_on,
            audited=audited,
        )
        n_folds = len(self.instance.pairs)
        folds = [0] * n_folds if model.trained_on else range(n_folds)
        return _Fitted(
            keys=tuple(self.fit(model, replace(spec, fold=fold)) for fold in folds),
            settings=dict(resolved),
            weights=about,
            selected_on=selected_on,
            features=used,
            features_keys=tuple(key for keys in by_part.values() for key in keys),
        )

    def fit(self, model: Model, spec: JobSpec) -> Key:
        """Plan one fit of what ``spec`` says but for the model."""
        fields = {
            "version": model.version,
            "settings": {name: spec.settings[name] for name in model.settings},
            "weights": spec.weights.get("digest", "none"),
            "seed": spec.seed,
            "selected_on": spec.selected_on,
            "fold": spec.fold,
        }
        if isinstance(model.outputs, str) and model.outputs != "logits":
            fields["outputs"] = model.outputs  # what is stored depends on it
        key = self.key_of_fit(model, spec, fields)
        audited = self.key("fit", model.name, **fields, audited=True)
        # The same fit with more kept of it: where it is there, nothing is fitted again.
        if spec.audited or (self.store.exists(audited) and not self.store.exists(key)):
            key = audited
        label = f"{self.dataset.name}: {'load' if model.trained_on else 'fit'} {model.name}"
        if len(self.request.seeds) > 1:
            label += f", seed {spec.seed}"
        if self.splits.folds and not model.trained_on:
            label += f", fold {spec.fold + 1} of {self.splits.folds}"
        owner = self.registry.models.plugin[model.name]
        train, _ = self.instance.pairs[spec.fold]
        return self.plan.add(
            replace(
                spec,
                key=key,
                label=label,
                n_fit=len(train.labels),
                estimated=model.estimate is not None,
                audited=spec.audited or (key == audited and self.reads_patches(spec)),
                hint=model.hint,
                network=model.device is not None,
                owner=owner.name,
                guests=self.guests(owner),
            )
        )

    def key_of_fit(self, model: Model, spec: JobSpec, fields: Mapping[str, Any]) -> Key:
        """The key of a fit that is not audited.

        Where it reads no test patches, it is the same for all datasets with the patches it reads.
        """
        parts = self.instance.fitted_on("none" if model.trained_on else spec.selected_on)
        if "test" in parts:
            return self.key("fit", model.name, **fields)
        data = self.instance.identity(*parts)
        about = {"data": data, "classes": list(self.dataset.classes), **fields}
        return Key("fit", SHARED, model.name, about)

    @staticmethod
    def reads_patches(fit: JobSpec) -> bool:
        """Whether a fit reads patches and not features, which it was planned with."""
        return not any(name.startswith("features: ") for name in fit.inputs)

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
        self,
        source: FeaturesSpec,
        owner: Plugin,
        features: Features,
        part: str,
        condition: Condition,
        settings: Mapping[str, Setting] = MappingProxyType({}),
        brought: Mapping[str, str] = MappingProxyType({}),
    ) -> Key:
        """Plan the features of a whole part; those of another plugin may have the same name.

        ``brought`` is what its key says besides.
        """
        key = Key(
            "features",
            SHARED,
            f"{features.name}-{part}",
            {
                "data": self.instance.identity(part),
                "plugin": owner.name,
                "version": features.version,
                **({"weights": features.weights.digest} if features.weights else {}),
                **condition.as_dict(),
                **brought,
            },
        )
        clean = condition.perturbation is None
        guests = self.guests(owner, self.changer(condition))
        return self.plan.add(
            JobSpec(
                kind="features",
                key=key,
                label=f"{self.dataset.name}: {features.name} features of {part} ({condition})",
                dataset=self.dataset.name,
                data=self.instance.fingerprint,
                inputs={"dataset": (self.copy,), "learned": condition.needs},
                settings=dict(settings),
                part=part,
                network=features.device is not None,
                features=source,
                condition=condition.spec,
                group=self.group("features", part, clean, guests),
                title=f"{self.dataset.name}: features of {'' if clean else 'perturbed '}{part}",
                guests=guests,
            )
        )
