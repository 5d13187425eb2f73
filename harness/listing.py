"""What ``harness list`` and ``harness plugins`` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import markup
from harness.choose import lacks, missing
from harness.errors import HarnessError
from harness.numbers import given, percent
from harness.probes import DatasetProbe
from harness.registry import Registry
from harness.types import Dataset, Perturbation


def offers(registry: Registry, folder: Path) -> str:
    """Datasets, models, perturbations, probes, phantoms and published results.

    ``folder`` is where datasets are looked for.
    """
    shown: list[str] = []

    def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
        shown.append(title)
        shown.append(markup.table(headings, rows, "simple") if rows else "(none)")

    def source(known: Any, name: str) -> str:
        plugin = known.plugin[name]
        return f"{plugin.name} ({plugin.distribution} {plugin.version})"

    datasets, models = registry.datasets, registry.models
    show(
        "Datasets",
        ["name", "title", "plugin", "status"],
        [
            [name, d.title, source(datasets, name), _status(d, folder)]
            for name, d in datasets.items()
        ],
    )
    show(
        "Models",
        ["name", "title", "plugin", "status"],
        [
            [name, m.title, source(models, name), lacks(registry, name) or "ready"]
            for name, m in models.items()
        ],
    )
    families, readers = models.families, registry.readers
    show(
        "Model families",
        ["name", "title", "example", "plugin"],
        [
            [f"{name}:...", f.title, f.example, source(families, name)]
            for name, f in families.items()
        ],
    )
    show(
        "Kinds of TOML file, for --plugin",
        ["kind", "title", "plugin"],
        [[name, r.title, source(readers, name)] for name, r in readers.items()],
    )
    perturbations = registry.perturbations

    def levels(perturbation: Perturbation) -> str:
        if perturbation.learns:
            return "one a class"
        return ", ".join(map(given, perturbation.levels))

    show(
        "Perturbations",
        ["name", "title", "for", "levels", "plugin"],
        [
            [name, p.title, p.role, levels(p), source(perturbations, name)]
            for name, p in perturbations.items()
        ],
    )
    show(
        "Probes",
        ["name", "title", "asks of", "plugin"],
        [
            [
                name,
                p.title,
                "dataset" if isinstance(p, DatasetProbe) else "model",
                source(registry.probes, name),
            ]
            for name, p in registry.probes.items()
        ],
    )
    show(
        "Phantoms",
        ["name", "title", "faults", "plugin"],
        [
            [name, p.title, ", ".join(f.name for f in p.faults), source(registry.phantoms, name)]
            for name, p in registry.phantoms.items()
        ],
    )
    show(
        "Published results",
        ["model", "test set", "under", "accuracy %", "balanced %", "plugin", "source"],
        [
            [
                result.name,
                result.test_set,
                result.perturbation + ("" if result.level is None else f" {given(result.level)}"),
                "" if result.accuracy is None else percent(result.accuracy),
                "" if result.balanced_accuracy is None else percent(result.balanced_accuracy),
                f"{plugin.name} ({plugin.distribution})",
                result.source,
            ]
            for result, plugin in registry.published
        ],
    )
    return "\n" + "\n\n".join(shown)


def _status(dataset: Dataset, folder: Path) -> str:
    try:
        return missing(dataset, folder) or "ready"
    except HarnessError as error:
        return str(error)


def plugins(registry: Registry) -> str:
    """What is installed, from where, and what failed to load."""
    rows = [
        [
            plugin.name,
            plugin.distribution,
            plugin.version,
            "; ".join(_named(kind, names) for kind, names in plugin.contributes.items())
            or ("tracker" if plugin.hooks else ""),
            plugin.status or "ok",
        ]
        for plugin in registry.plugins
    ]
    headings = ["plugin", "distribution", "version", "contributes", "status"]
    return markup.table(headings, rows, "simple")


def _named(kind: str, names: Sequence[str]) -> str:
    """What a plugin offers of a kind: by name where these are few."""
    return f"{kind}: {', '.join(names)}" if len(names) <= 4 else f"{len(names)} {kind}"


def plugins_json(registry: Registry) -> list[dict[str, Any]]:
    """The same as ``plugins``, with every name, every hook, and the traceback of what failed."""
    return [asdict(plugin) for plugin in registry.plugins]
