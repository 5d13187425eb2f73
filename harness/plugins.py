"""Plugin loading: entry points in, contributions out, and a report of what is broken.

pluggy raises on the first broken plugin and silently drops the second of two that share a name.
Users need the opposite of both, so each plugin is loaded, called and checked on its own here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

import pluggy

from harness import hookspecs
from harness.errors import HarnessError
from harness.probes import DatasetProbe, ModelProbe, Phantom
from harness.types import Dataset, DerivedModel, Model, Perturbation, PublishedResult
from harness.views import VIEWS

GROUP = "harness"
NAME = re.compile(r"[a-z0-9][a-z0-9+._:-]*")
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """An entry point that was found. ``status`` is "" when all is well, else why it is left out."""

    name: str
    distribution: str
    version: str
    status: str = ""
    contributes: Mapping[str, int] = field(default_factory=dict)


class Offers(dict[str, T], Generic[T]):
    """Contributions of one kind by name, and the plugin that each came from."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.plugin: dict[str, Plugin] = {}

    def find(self, name: str) -> T:
        """The contribution with this name; HarnessError with the nearest names if there is none."""
        if name not in self:
            raise HarnessError(f"no {self.kind} named {name!r}; {suggest(name, self)}")
        return self[name]


@dataclass(frozen=True)
class Registry:
    """Everything that the plugins offer."""

    manager: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    datasets: Offers[Dataset] = field(default_factory=lambda: Offers("dataset"))
    models: Offers[Model | DerivedModel] = field(default_factory=lambda: Offers("model"))
    perturbations: Offers[Perturbation] = field(default_factory=lambda: Offers("perturbation"))
    probes: Offers[DatasetProbe | ModelProbe] = field(default_factory=lambda: Offers("probe"))
    phantoms: Offers[Phantom] = field(default_factory=lambda: Offers("phantom"))
    published: list[tuple[PublishedResult, Plugin]] = field(default_factory=list)

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that were left out because of an error."""
        return [plugin for plugin in self.plugins if plugin.status not in ("", "switched off")]


CONTRIBUTIONS: dict[str, tuple[str, tuple[type, ...]]] = {
    "harness_datasets": ("datasets", (Dataset,)),
    "harness_models": ("models", (Model, DerivedModel)),
    "harness_perturbations": ("perturbations", (Perturbation,)),
    "harness_probes": ("probes", (DatasetProbe, ModelProbe)),
    "harness_phantoms": ("phantoms", (Phantom,)),
    "harness_published_results": ("published", (PublishedResult,)),
}


def suggest(name: str, known: Iterable[str]) -> str:
    """What to say about a name that is not among the known ones."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there is {', '.join(names)}" if names else "there is none"


def load_plugins(without: Collection[str] = ()) -> Registry:
    """Load every plugin of the entry-point group ``harness``.

    ``without`` switches plugins off by their name or their distribution's. A plugin that fails is
    left out whole and listed with its error. Raises HarnessError when two distributions offer the
    same name, or when ``without`` names nothing that is installed.
    """
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager)
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    names = {point.name for point in found} | {_distribution(point)[0] for point in found}
    for name in without:
        if name not in names:
            raise HarnessError(f"--without: no plugin named {name!r}; {suggest(name, names)}")
    seen: dict[str, Plugin] = {}
    for point in found:
        plugin = Plugin(point.name, *_distribution(point))
        if {plugin.name, plugin.distribution} & set(without):
            registry.plugins.append(replace(plugin, status="switched off"))
            continue
        if other := seen.get(plugin.name):
            raise _same_name("plugin", plugin.name, other, plugin)
        seen[plugin.name] = plugin
        try:
            module = point.load()
            offers = _contributions(manager, module, plugin)
        except (Exception, SystemExit) as error:
            if manager.has_plugin(plugin.name):
                manager.unregister(name=plugin.name)
            message = f"{type(error).__name__}: {error}".replace("\n", " ")
            registry.plugins.append(replace(plugin, status=message))
            continue
        counts = {kind: len(items) for kind, items in offers.items()}
        plugin = replace(plugin, contributes=counts)
        registry.plugins.append(plugin)
        for kind, items in offers.items():
            _add(registry, kind, items, plugin)
    return registry


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "")


def _same_name(kind: str, name: str, one: Plugin, two: Plugin) -> HarnessError:
    return HarnessError(
        f"two plugins offer the {kind} {name!r}: {one.name} of distribution {one.distribution} and "
        f"{two.name} of distribution {two.distribution}; switch one off with --without"
    )


def _contributions(
    manager: pluggy.PluginManager, module: ModuleType, plugin: Plugin
) -> dict[str, list[Any]]:
    """Register a plugin and call its hooks; any exception means that it is malformed."""
    manager.register(module, name=plugin.name)
    callers = manager.get_hookcallers(module) or []
    if not callers:
        raise TypeError("implements no hook; mark its functions with harness.hookimpl")
    offers = {}
    for caller in callers:
        if not caller.has_spec():
            raise TypeError(f"implements {caller.name}, which is no hook of the harness")
        if caller.name not in CONTRIBUTIONS:
            continue
        kind, types = CONTRIBUTIONS[caller.name]
        (impl,) = (impl for impl in caller.get_hookimpls() if impl.plugin is module)
        function: Any = impl.function
        items = list(function())
        for item in items:
            _check(caller.name, item, types)
        offers[kind] = items
    return offers


def _check(hook: str, item: Any, types: tuple[Any, ...]) -> None:
    if not isinstance(item, types):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise TypeError(f"{hook} returned {item!r} where a {wanted} is expected")
    if not isinstance(item.name, str) or not NAME.fullmatch(item.name):
        raise ValueError(
            f"{hook} returned the name {item.name!r}; use lower-case letters, digits and + . _ : -"
        )
    if isinstance(item, DerivedModel):
        for _, view in item.terms:
            if view not in VIEWS:
                raise ValueError(f"{item.name}: unknown view {view!r}; there is {', '.join(VIEWS)}")
    if isinstance(item, Perturbation):
        if (item.role == "steering") != (item.learns is not None):
            raise ValueError(f"{item.name}: the role steering and learns go together")
        if bool(item.levels) == (item.learns is not None):
            raise ValueError(f"{item.name}: give either levels, at least one, or learns")
    if isinstance(item, Model):
        settings = {**item.settings, **item.execution}
        if unknown := set(item.demo_settings) - set(settings):
            raise ValueError(f"{item.name}: demo_settings names no setting: {sorted(unknown)}")


def _add(registry: Registry, kind: str, items: list[Any], plugin: Plugin) -> None:
    if kind == "published":
        registry.published.extend((item, plugin) for item in items)
        return
    offers: Offers[Any] = getattr(registry, kind)
    for item in items:
        if item.name in offers:
            raise _same_name(offers.kind, item.name, offers.plugin[item.name], plugin)
        offers[item.name] = item
        offers.plugin[item.name] = plugin
