"""What ``harness list`` and ``harness plugins`` print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.choose import lacks, missing
from harness.errors import HarnessError
from harness.numbers import given, percent
from harness.probes import DatasetProbe
from harness.registry import Registry
from harness.types import Dataset, DerivedModel, Model

Rows = list[dict[str, str]]


DETAILS = ("plugin", "distribution", "version")
"""Columns that are left out before others are wrapped."""
ORDER = ("source", "title")
"""Columns that are left out first where wrapping is not enough."""


def tables(
    registry: Registry, folder: Path, kinds: Sequence[str] = ()
) -> Iterator[tuple[str, Rows]]:
    """Titles and rows of what plugins offer, of some kinds or all; datasets are in ``folder``."""
    for kind in kinds or KINDS:
        title, rows_of = KINDS[kind]
        yield title, rows_of(registry, folder)


ADVICE = "; harness data get "
"""What follows in the status of a dataset is the same for all of them."""


def brief(rows: Rows) -> tuple[Rows, str]:
    """Rows for a table, and a line of advice that would otherwise be in many of them."""
    if not any(ADVICE in row.get("status", "") for row in rows):
        return rows, ""
    return [{**row, "status": row["status"].partition(ADVICE)[0]} for row in rows], (
        "`harness data get NAME` downloads a dataset that is not there; `--data DIR` names the "
        "folder that holds it."
    )


def cells(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """The headings and cells of rows; there must be a row."""
    return list(rows[0]), [list(row.values()) for row in rows]


def as_json(registry: Registry, folder: Path, kinds: Sequence[str] = ()) -> dict[str, Rows]:
    """The same for programs."""
    return {kind: KINDS[kind][1](registry, folder) for kind in kinds or KINDS}


def about_model(registry: Registry, name: str) -> str:
    """What there is to say about one model, its settings aside."""
    found = registry.models.find(name)
    lines = [f"{found.name}: {found.title}", _source(registry.models, found.name)]
    lines.append(lacks(registry, found.name) or "ready")
    if isinstance(found, DerivedModel):
        terms = ", ".join(
            member if view == "identity" else f"{member} ({view})" for member, view in found.terms
        )
        lines.append(f"sum of the logits of {terms}")
    return "\n".join(lines)


def settings(model: Model | DerivedModel) -> Rows:
    """The settings of a model: a row each, with its default and what it is on demo datasets."""
    if isinstance(model, DerivedModel):
        return []
    return [
        {
            "setting": name,
            "default": str(default),
            "on demo datasets": str(model.demo_settings.get(name, default)),
            "type": type(default).__name__,
            "changes": "the model" if name in model.settings else "how it is computed",
        }
        for name, default in {**model.settings, **model.execution}.items()
    ]


def _source(known: Any, name: str) -> str:
    plugin = known.plugin[name]
    return f"{plugin.name} ({plugin.distribution} {plugin.version})"


def _datasets(registry: Registry, folder: Path) -> Rows:
    return [
        {
            "name": name,
            "title": dataset.title,
            "plugin": _source(registry.datasets, name),
            "status": _status(dataset, folder),
        }
        for name, dataset in registry.datasets.items()
    ]


def _models(registry: Registry, folder: Path) -> Rows:
    return [
        {
            "name": name,
            "title": model.title,
            "plugin": _source(registry.models, name),
            "status": lacks(registry, name) or "ready",
        }
        for name, model in registry.models.items()
    ]


def _families(registry: Registry, folder: Path) -> Rows:
    families = registry.models.families
    return [
        {
            "name": f"{name}:...",
            "title": family.title,
            "example": family.example,
            "plugin": _source(families, name),
        }
        for name, family in families.items()
    ]


def _readers(registry: Registry, folder: Path) -> Rows:
    readers = registry.readers
    return [
        {"kind": name, "title": reader.title, "plugin": _source(readers, name)}
        for name, reader in readers.items()
    ]


def _perturbations(registry: Registry, folder: Path) -> Rows:
    known = registry.perturbations
    return [
        {
            "name": name,
            "title": one.title,
            "for": one.role,
            "levels": "one a class" if one.learns else ", ".join(map(given, one.levels)),
            "plugin": _source(known, name),
        }
        for name, one in known.items()
    ]


def _probes(registry: Registry, folder: Path) -> Rows:
    return [
        {
            "name": name,
            "title": probe.title,
            "asks of": "dataset" if isinstance(probe, DatasetProbe) else "model",
            "plugin": _source(registry.probes, name),
        }
        for name, probe in registry.probes.items()
    ]


def _phantoms(registry: Registry, folder: Path) -> Rows:
    return [
        {
            "name": name,
            "title": phantom.title,
            "faults": ", ".join(fault.name for fault in phantom.faults),
            "plugin": _source(registry.phantoms, name),
        }
        for name, phantom in registry.phantoms.items()
    ]


def _published(registry: Registry, folder: Path) -> Rows:
    return [
        {
            "model": result.name,
            "test set": result.test_set,
            "under": result.perturbation
            + ("" if result.level is None else f" {given(result.level)}"),
            "accuracy %": "" if result.accuracy is None else percent(result.accuracy),
            "balanced %": ""
            if result.balanced_accuracy is None
            else percent(result.balanced_accuracy),
            "plugin": f"{plugin.name} ({plugin.distribution})",
            "source": result.source,
        }
        for result, plugin in registry.published
    ]


KINDS: Mapping[str, tuple[str, Callable[[Registry, Path], Rows]]] = {
    "datasets": ("Datasets", _datasets),
    "models": ("Models", _models),
    "families": ("Model families", _families),
    "readers": ("Kinds of TOML file, for --plugin", _readers),
    "perturbations": ("Perturbations", _perturbations),
    "probes": ("Probes", _probes),
    "phantoms": ("Phantoms", _phantoms),
    "published": ("Published results", _published),
}
"""What can be listed: its title, and what makes the rows."""


def _status(dataset: Dataset, folder: Path) -> str:
    try:
        return missing(dataset, folder) or "ready"
    except HarnessError as error:
        return str(error)


def plugins(registry: Registry) -> Rows:
    """What is installed, from where, and what failed to load."""
    return [
        {
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "contributes": "; ".join(
                _named(kind, names) for kind, names in plugin.contributes.items()
            )
            or ("tracker" if plugin.hooks else ""),
            "status": plugin.status or "ok",
        }
        for plugin in registry.plugins
    ]


def _named(kind: str, names: Sequence[str]) -> str:
    """What a plugin offers of a kind: by name where these are few."""
    return f"{kind}: {', '.join(names)}" if len(names) <= 4 else f"{len(names)} {kind}"


def plugins_json(registry: Registry) -> list[dict[str, Any]]:
    """The same as ``plugins``, with every name, every hook, and the traceback of what failed."""
    return [asdict(plugin) for plugin in registry.plugins]
