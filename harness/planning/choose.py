"""Which datasets and models a request means, and whether they can run here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Offers, Registry, left_out
from harness.types.datasets import Dataset
from harness.types.models import DerivedModel, Features, Model
from harness.types.perturbations import Perturbation
from harness.types.probes import DatasetProbe, ModelProbe

log = logging.getLogger(__name__)


def lacks(registry: Registry, name: str, above: tuple[str, ...] = ()) -> str:
    """What a model needs that is not here; "" when it can run. ``above`` derives from it."""
    model = registry.models.find(name)
    if name in above:
        return "is derived from itself; report it to the plugin's author"
    if isinstance(model, DerivedModel):
        for member, _ in model.terms:
            try:
                registry.models.find(member)
            except HarnessError:
                cause = left_out(member, registry.plugins)
                why = f"; {cause}" if cause else ""
                return f"needs the model {member}, which no plugin offers{why}"
            if lack := lacks(registry, member, (*above, name)):
                return f"needs {member}, which {lack}"
        return ""
    features = model.features.requires if isinstance(model.features, Features) else ()
    requires = (*model.requires, *features)
    absent = [module for module in requires if not _importable(module)]
    return f"needs {', '.join(absent)}: {model.install}" if absent else ""


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a part of a dotted name is not there
        return False


def missing(dataset: Dataset, folder: Path, minutes: float | None = None) -> str:
    """What a dataset lacks; "" when it is here. Raises HarnessError when that cannot be told.

    It may take so many ``minutes`` to tell.
    """
    try:
        with limited(minutes), contained():
            return dataset.missing(folder)
    except HarnessError as error:
        if "--time-limit" in str(error):
            raise HarnessError(f"dataset {dataset.name}: missing {error}") from error
        raise
    except PermissionError as error:
        raise HarnessError(
            f"dataset {dataset.name}: {error.filename or folder}: {error.strerror}; let yourself "
            "read it, or name another folder with --data"
        ) from error
    except Exception as error:
        raise HarnessError(
            f"dataset {dataset.name}: missing raised {type(error).__name__}: {error}; "
            "report it to the plugin's author"
        ) from error


def datasets(
    registry: Registry,
    names: Sequence[str],
    folder: Path,
    problems: dict[str, Exception] | None = None,
    minutes: float | None = None,
) -> list[Dataset]:
    """The named datasets, or every one that is here; says which are not.

    Raises HarnessError when a named one is unknown or its files are missing. Of those that are not
    named, one that cannot even tell that is added to ``problems``.
    """
    chosen = []
    everything = [d.name for d in registry.datasets.values() if not d.on_request]
    for name in dict.fromkeys(names or everything):
        dataset = registry.datasets.find(name)
        try:
            lack = missing(dataset, folder, minutes)
        except HarnessError as error:
            if names or problems is None:
                raise
            problems[f"dataset {name}"] = error
            continue
        if not lack:
            chosen.append(dataset)
        elif names:
            raise HarnessError(f"dataset {name}: {lack}")
        else:
            log.info(f"Not run: dataset {name}: {lack}")
    return chosen


def models(registry: Registry, names: Sequence[str]) -> list[Model | DerivedModel]:
    """The named models, or every one that can run here; says which cannot.

    Raises HarnessError when a named one is unknown or lacks something.
    """
    chosen = []
    for name in dict.fromkeys(names or registry.models):
        model = registry.models.find(name)
        if not (lack := lacks(registry, name)):
            chosen.append(model)
        elif names:
            raise HarnessError(f"model {name} {lack}")
        else:
            log.info(f"Not run: model {name} {lack}")
    return chosen


def fitted(registry: Registry, chosen: Sequence[Model | DerivedModel]) -> list[Model]:
    """The models that running these fits: themselves, or the members that they derive from."""
    found: dict[str, Model] = {}
    for model in chosen:
        if isinstance(model, Model):
            found[model.name] = model
        else:
            members = [registry.models.find(name) for name, _ in model.terms]
            found |= {base.name: base for base in fitted(registry, members)}
    return list(found.values())


def trained_here(
    registry: Registry, chosen: Sequence[Model | DerivedModel], command: str
) -> list[Model]:
    """The same, for a command that trains them. Raises HarnessError for one that is pretrained."""
    models = fitted(registry, chosen)
    for model in models:
        if model.trained_on:
            raise HarnessError(
                f"{command}: {model.name} is pretrained and not trained here; name another model"
            )
    return models


def model_probes(registry: Registry, names: Sequence[str]) -> list[ModelProbe]:
    """The named probes of models, or all of them. Raises HarnessError for another kind."""
    chosen = _probes(registry, names, ModelProbe, "asks a dataset: harness audit --probe {}")
    return [probe for probe in chosen if isinstance(probe, ModelProbe)]


def dataset_probes(registry: Registry, names: Sequence[str]) -> list[DatasetProbe]:
    """The named probes of datasets, or all of them. Raises HarnessError for another kind."""
    chosen = _probes(registry, names, DatasetProbe, "asks a model: harness run --probe {}")
    return [probe for probe in chosen if isinstance(probe, DatasetProbe)]


def _probes(
    registry: Registry, names: Sequence[str], kind: type, otherwise: str
) -> list[DatasetProbe | ModelProbe]:
    for name in names:
        if not isinstance(registry.probes.find(name), kind):
            raise HarnessError(f"--probe: {name} {otherwise.format(name)}")
    known = registry.probes.items()
    return [p for name, p in known if isinstance(p, kind) and (name in names or not names)]


def perturbations(
    registry: Registry,
    names: Sequence[str],
    probes: Sequence[ModelProbe],
    problems: dict[str, Exception],
    minutes: float | None = None,
) -> list[Perturbation]:
    """The named perturbations and those that probes need.

    A name may be a pattern with ``*``. Probes choose among those that are not ``on_request``. A
    probe that cannot tell within so many ``minutes``, or needs what there is not, is added to
    ``problems``. Raises HarnessError for a name or a pattern of no perturbation.
    """
    known = registry.perturbations
    wanted = [match for name in names for match in _matching(known, name)]
    offered = {name: p for name, p in known.items() if not p.on_request}
    for probe in probes:
        try:
            with limited(minutes), contained():
                needed = [*probe.needs(MappingProxyType(offered))]
            wanted += [known.find(name).name for name in needed]
        except Exception as error:
            problems[f"what the probe {probe.name} needs"] = error
    return [known.find(name) for name in dict.fromkeys(wanted)]


def _matching(known: Offers[Perturbation], name: str) -> list[str]:
    """The names that a pattern matches, or a name itself."""
    if "*" not in name:
        return [known.find(name).name]
    if found := [one for one in known if fnmatchcase(one, name)]:
        return found
    raise HarnessError(f"no perturbation is named like {name!r}; see harness list perturbations")


def perturbed(models: Sequence[Model | DerivedModel], named: Sequence[str]) -> set[str]:
    """The models to predict perturbed patches with: those that cost no flipped views.

    Sums over flips take a pass over the patches for each flip; only if named are they among them.
    """

    def costs_views(model: Model | DerivedModel) -> bool:
        return isinstance(model, DerivedModel) and any(v != "identity" for _, v in model.terms)

    return {model.name for model in models if model.name in named or not costs_views(model)}
