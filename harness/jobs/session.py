"""A session that is open: plugins are loaded, and what the names in job specs mean is here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.data.perturbed_cache import PerturbedCache
from harness.errors import HarnessError
from harness.hooks.loader import load_plugins
from harness.hooks.registry import Registry
from harness.jobs import dataset
from harness.jobs.conditions import Condition, Kept, Learned
from harness.jobs.dataset import Instance
from harness.jobs.fit import weights_of
from harness.jobs.helpers import Helpers
from harness.jobs.spec import CHANGED, JobSpec, SessionSpec
from harness.store.keys import SHARED
from harness.store.store import Store
from harness.system import digests
from harness.types.models import Features, InitialWeights, Model
from harness.types.probes import DatasetProbe


class OpenSession:
    """Finds what job specs name. A dataset is listed when the first job reads it, and once."""

    def __init__(self, registry: Registry, store: Store, data: Path, cache_bytes: int = 0) -> None:
        self.registry = registry
        self.store = store
        self.data = data
        self.helpers: Helpers | None = None
        """What takes parts of passes off this process; None where nobody may."""
        self.changed: dict[str, str] = {}
        """By name of a plugin: its file, which has changed since the run began."""
        self.instances: dict[str, Instance] = {}
        self.listed: set[str] = set()
        """Datasets whose patches are in the order that is stored."""
        self.same: set[tuple[str, str]] = set()
        """Datasets and digests of shared results that are of the same patches."""
        self.learned: dict[tuple[str, ...], Learned] = {}
        self.cache_bytes = cache_bytes
        self.parts: dict[tuple[str, str], tuple[str, dict[str, int]]] = {}
        """By dataset and part, what is known of its patches, and their places by id."""
        self.caches: dict[str, PerturbedCache] = {}
        self.sources: dict[str, tuple[Features, ...]] = {}

    @classmethod
    def open(cls, spec: SessionSpec) -> OpenSession:
        """Load the plugins of a session."""
        files = [Path(path) for path in spec.plugins]
        refused = spec.refused
        registry = load_plugins(spec.without, files, why_not=lambda name: refused.get(name, ""))
        opened = cls(registry, Store(Path(spec.store)), Path(spec.data), spec.cache_bytes)
        for plugin in registry.plugins:
            if spec.plugins.get(plugin.distribution, plugin.version) != plugin.version:
                opened.changed[plugin.name] = plugin.distribution
        return opened

    def instance(self, spec: JobSpec) -> Instance:
        """The dataset of a job. Raises HarnessError when it is not as it was planned for.

        Nor when this process lists its patches in another order than that which is stored.
        """
        name = spec.about
        if name not in self.instances:
            found = self.registry.datasets.find(name)
            described_by = self.registry.described_by(name)
            self.instances[name] = dataset.load(found, self.data, described_by, self.store)
        instance = self.instances[name]
        if instance.fingerprint != spec.data:
            raise HarnessError(f"dataset {name}: {CHANGED}")
        if name not in self.listed and (copies := spec.inputs.get("dataset", ())):
            dataset.check_listing(instance, copies[0], self.store)
            self.listed.add(name)
        return instance

    def check_shared(self, spec: JobSpec) -> None:
        """Raise HarnessError if a fit or features that a job needs are of other patches."""
        for need in spec.needs:
            pair = spec.about, need.digest
            if need.dataset == SHARED and pair not in self.same:
                self.instance(spec).check_shared(self.store.record(need))
                self.same.add(pair)

    def check(self, spec: JobSpec) -> None:
        """Raise HarnessError if a job runs code of a plugin file that has changed."""
        for name in (*spec.guests, spec.owner):
            if name in self.changed:
                raise HarnessError(f"{self.changed[name]}: {CHANGED}")

    def model(self, spec: JobSpec) -> Model:
        """The model of a job. Raises HarnessError when it is another version by now."""
        model = self.registry.models.find(spec.key.name)
        assert isinstance(model, Model)
        planned = [spec.key.fields.get("version", model.version)]
        planned += [fit.fields["version"] for fit in spec.fits]
        if any(version != model.version for version in planned):
            raise HarnessError(f"model {model.name}: {CHANGED}")
        return model

    def weights(self, spec: JobSpec) -> InitialWeights | None:
        """The initial weights of a fit. Raises HarnessError when they are others than planned."""
        model = self.model(spec)
        used = None if model.initial_weights else model.features_with(spec.settings)
        found = weights_of(model, spec.settings, used)
        if (found.digest if found else None) != spec.weights.get("digest"):
            raise HarnessError(
                f"model {model.name}: its initial weights have changed since the run began "
                f"({spec.weights.get('label', 'none')} before, {found.label if found else 'none'} "
                f"now); run the command again"
            )
        return found

    def probe(self, name: str, version: int | None = None) -> DatasetProbe:
        """A probe of datasets. Raises HarnessError when it is not of the version, if given."""
        probe = self.registry.probes.find(name)
        assert isinstance(probe, DatasetProbe)
        if version not in (None, probe.version):
            raise HarnessError(f"probe {name}: {CHANGED}")
        return probe

    def features(self, spec: JobSpec) -> Features:
        """The features that a job extracts. Raises HarnessError when they are others by now."""
        assert spec.features is not None
        for found in self._features_of(spec):
            if found.name == spec.features.name:
                weights = found.weights.digest if found.weights else None
                fields = spec.key.fields
                if (found.version, weights) == (fields["version"], fields.get("weights")):
                    return found
        raise HarnessError(f"features {spec.features.name}: {CHANGED}")

    def _features_of(self, spec: JobSpec) -> tuple[Features, ...]:
        """All features of what brings those of a job, asked for once: it may look for weights."""
        assert spec.features is not None
        of, by = spec.features.of, spec.features.by
        name = repr((of, by, sorted(spec.settings.items())))
        if name not in self.sources:
            known: tuple[Features | None, ...]
            if of == "model":
                model = self.registry.models.find(by)
                assert isinstance(model, Model)
                known = (model.features_with(spec.settings),)
            elif of == "probe":
                known = self.probe(by).features
            else:
                known = (self.registry.perturbations.find(by).learns,)
            self.sources[name] = tuple(features for features in known if features)
        return self.sources[name]

    def condition(self, spec: JobSpec) -> Condition:
        """What is done to the patches."""
        asked = spec.condition
        if not asked.perturbation:
            return Condition(view=asked.view)
        perturbation = self.registry.perturbations.find(asked.perturbation)
        if perturbation.version != spec.key.fields["perturbation_version"]:
            raise HarnessError(f"perturbation {perturbation.name}: {CHANGED}")
        keys, learned = spec.inputs["learned"], None
        if keys:
            name = (asked.perturbation, *(key.digest for key in keys))
            if name not in self.learned:
                by_part = dict(zip(asked.learned_from, keys, strict=True))
                instance = partial(self.instance, spec)
                self.learned[name] = Learned(perturbation, self.store, by_part, instance)
            learned = self.learned[name]
        condition = Condition(perturbation, asked.level, learned=learned)
        kept = self._kept(spec, condition) if spec.kept_in and self.cache_bytes else None
        return replace(condition, view=asked.view, kept=kept)

    def _kept(self, spec: JobSpec, condition: Condition) -> Kept:
        """Where perturbed patches that other passes of the run need are kept, whatever the view."""
        about, part = spec.about, spec.part or "test"
        if (about, part) not in self.parts:
            instance = self.instance(spec)
            places = {id_: place for place, id_ in enumerate(instance.part(part).ids)}
            self.parts[about, part] = instance.identity(part), places
        identity, places = self.parts[about, part]
        name = digests.of_json([about, part, identity, condition.as_dict()])[:32]
        cache = self.caches.setdefault(
            spec.kept_in, PerturbedCache(self.store.root / spec.kept_in, self.cache_bytes)
        )
        return partial(cache.through, name, places, adds_patches(spec, self.registry))


def adds_patches(spec: JobSpec, registry: Registry) -> bool:
    """Whether the patches that a job perturbs may be kept for others.

    A process that runs code of a plugin which is not built in, other than that of the perturbation
    itself, adds none: it may have changed what perturbations compute.
    """
    owner = registry.perturbations.plugin[spec.condition.perturbation].name
    return set(spec.guests) <= {owner}


def versions(registry: Registry) -> dict[str, str]:
    """By path, the versions of plugins that are files."""
    return {
        plugin.distribution: plugin.version
        for plugin in registry.plugins
        if Path(plugin.distribution).suffix in (".py", ".toml")
    }
