"""What ``harness list`` and ``harness plugins`` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.hooks.kinds import BY_NAME, NAMES
from harness.hooks.registry import Plugin, Registry
from harness.planning.choose import lacks, missing
from harness.text.numbers import given, percent
from harness.types.datasets import Dataset
from harness.types.faults import PlantedFault
from harness.types.metrics import Metric
from harness.types.models import DerivedModel, Model, ModelFamily
from harness.types.perturbations import Perturbation
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe, ModelProbe
from harness.types.published import PublishedResult
from harness.types.readers import Reader

Rows = list[dict[str, str]]


DETAILS = ("plugin", "distribution", "version")
"""Columns that are left out before others are wrapped."""
ORDER = ("source", "title")
"""Columns that are left out first where wrapping is not enough."""


def tables(
    registry: Registry, folder: Path, kinds: Sequence[str] = ()
) -> Iterator[tuple[str, Rows]]:
    """Titles and rows of what plugins offer, of some kinds or all; datasets are in ``folder``."""
    for kind in kinds or NAMES:
        yield BY_NAME[kind].title, _rows(registry, folder, kind)


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
    return {kind: _rows(registry, folder, kind) for kind in kinds or NAMES}


def _rows(registry: Registry, folder: Path, kind: str) -> Rows:
    if kind == "published":
        items: Iterable[tuple[Any, Plugin]] = registry.published
    else:
        offers = registry.offers[kind]
        items = [(item, offers.plugin[name]) for name, item in offers.items()]
    row = BY_NAME[kind].row
    return [row(item, plugin, registry, folder) for item, plugin in items]


def about_model(registry: Registry, name: str) -> str:
    """What there is to say about one model, its settings aside."""
    found = registry.models.find(name)
    lines = [f"{found.name}: {found.title}", _source(registry.models.plugin[found.name])]
    lines.append(lacks(registry, found.name) or "ready")
    if isinstance(found, DerivedModel):
        terms = ", ".join(
            member if view == "identity" else f"{member} ({view})" for member, view in found.terms
        )
        lines.append(f"sum of the logits of {terms}")
    elif found.about:
        lines += ["", *found.about]
    return "\n".join(lines)


def about_reader(registry: Registry, name: str) -> str:
    """What there is to say about one kind of TOML file, its keys aside."""
    return _about(registry.readers.find(name), registry.readers.plugin[name])


def about_perturbation(registry: Registry, name: str) -> str:
    """What there is to say about one perturbation, its levels aside."""
    found = registry.perturbations.find(name)
    text = _about(found, registry.perturbations.plugin[name])
    return f"{text}\non request: harness run --perturbation {name}" if found.on_request else text


def _about(item: Perturbation | Reader, plugin: Plugin) -> str:
    return f"{item.name}: {item.title}\n{_source(plugin)}"


def levels(item: Perturbation) -> dict[str, Any]:
    """The levels of a perturbation, and what a level may be and means."""
    return {
        "levels": list(item.levels),
        "allowed": item.level.allowed if item.level else "",
        "meaning": "label of a class" if item.learns else item.level.help if item.level else "",
    }


def levels_in_words(item: Perturbation) -> str:
    """The levels of a perturbation for a person."""
    return "one a class" if item.learns else ", ".join(map(given, item.levels))


def keys(registry: Registry, name: str) -> Rows:
    """The keys of a kind of TOML file, a row each; none if it does not say."""
    found = registry.readers.find(name)
    if found.keys is None:
        return []
    from harness.hooks.toml_keys import table

    return table(found.keys())


def settings(model: Model | DerivedModel) -> Rows:
    """The settings of a model: a row each, with its default and what it may be."""
    if isinstance(model, DerivedModel):
        return []
    return [
        {
            "setting": name,
            "default": str(default),
            "on demo datasets": str(model.demo_settings.get(name, default)),
            "type": type(default).__name__,
            "changes": "the model" if name in model.settings else "how it is computed",
            "allowed": model.options[name].allowed if name in model.options else "",
            "meaning": model.options[name].help if name in model.options else "",
        }
        for name, default in {**model.settings, **model.execution}.items()
    ]


def _source(plugin: Plugin) -> str:
    return f"{plugin.name} ({plugin.distribution} {plugin.version})"


def titled(item: Any, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a contribution: what every kind shows that has no row of its own."""
    return {"name": item.name, "title": item.title, "plugin": _source(plugin)}


def dataset(item: Dataset, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a dataset."""
    return titled(item, plugin, registry, folder) | {"status": _status(item, folder)}


def model(
    item: Model | DerivedModel, plugin: Plugin, registry: Registry, folder: Path
) -> dict[str, str]:
    """The row of a model."""
    status = lacks(registry, item.name) or "ready"
    return titled(item, plugin, registry, folder) | {"status": status}


def family(item: ModelFamily, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a model family."""
    return {
        "name": f"{item.name}:...",
        "title": item.title,
        "example": item.example,
        "plugin": _source(plugin),
    }


def reader(item: Reader, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a kind of TOML file."""
    return {"kind": item.name, "title": item.title, "plugin": _source(plugin)}


def perturbation(
    item: Perturbation, plugin: Plugin, registry: Registry, folder: Path
) -> dict[str, str]:
    """The row of a perturbation."""
    return {
        "name": item.name,
        "title": item.title,
        "for": item.role,
        "computed": "on request" if item.on_request else "by default",
        "levels": levels_in_words(item),
        "plugin": _source(plugin),
    }


def probe(
    item: DatasetProbe | ModelProbe, plugin: Plugin, registry: Registry, folder: Path
) -> dict[str, str]:
    """The row of a probe."""
    return {
        "name": item.name,
        "title": item.title,
        "asks of": "dataset" if isinstance(item, DatasetProbe) else "model",
        "plugin": _source(plugin),
    }


def phantom(item: Phantom, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a phantom."""
    return {
        "name": item.name,
        "title": item.title,
        "faults": ", ".join(fault.name for fault in item.faults),
        "plugin": _source(plugin),
    }


def fault(item: PlantedFault, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a fault."""
    return {
        "name": item.name,
        "title": item.title,
        "doses": f"{given(item.doses[0])} to {given(item.doses[-1])} {item.unit}",
        "raises": ", ".join(item.raises),
        "plugin": _source(plugin),
    }


def published(
    item: PublishedResult, plugin: Plugin, registry: Registry, folder: Path
) -> dict[str, str]:
    """The row of a published result."""
    balanced = item.balanced_accuracy
    return {
        "model": item.name,
        "test set": item.test_set,
        "under": item.perturbation + ("" if item.level is None else f" {given(item.level)}"),
        "accuracy %": "" if item.accuracy is None else percent(item.accuracy),
        "balanced %": "" if balanced is None else percent(balanced),
        "plugin": f"{plugin.name} ({plugin.distribution})",
        "source": item.source,
    }


def metric(item: Metric, plugin: Plugin, registry: Registry, folder: Path) -> dict[str, str]:
    """The row of a metric."""
    return {
        "name": item.name,
        "title": item.title,
        "better": "higher" if item.higher_is_better else "lower",
        "columns": item.columns,
        "plugin": _source(plugin),
    }


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
