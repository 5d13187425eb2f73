"""Plugin loading: entry points and files in, contributions out, and a report of what is broken.

pluggy raises on the first broken plugin and silently drops the second of two that share a name.
Users need the opposite of both, so each plugin is loaded, called and checked on its own here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pluggy

from harness import hookspecs, signals
from harness.boundary import contained, received
from harness.errors import HarnessError, one_line
from harness.file_versions import of_file
from harness.files import check_text, head, read_bytes
from harness.probes import DatasetProbe, ModelProbe, Phantom
from harness.registry import SWITCHED_OFF, Plugin, Registry, left_out, suggest
from harness.toml_files import read_toml
from harness.types import (
    Dataset,
    DerivedModel,
    Model,
    ModelFamily,
    Outputs,
    Perturbation,
    PublishedResult,
    Reader,
)
from harness.views import VIEWS

GROUP = "harness"
OURS = "histo-harness"
"""The distribution of the built-in plugins."""
NAME = re.compile(r"[a-z0-9][a-z0-9+._:-]*")

KINDS: dict[type, str] = {
    Dataset: "datasets",
    Model: "models",
    DerivedModel: "models",
    ModelFamily: "families",
    Perturbation: "perturbations",
    DatasetProbe: "probes",
    ModelProbe: "probes",
    Phantom: "phantoms",
    PublishedResult: "published",
    Reader: "readers",
}
CONTRIBUTIONS: dict[str, tuple[type, ...]] = {
    "harness_datasets": (Dataset,),
    "harness_models": (Model, DerivedModel, ModelFamily),
    "harness_perturbations": (Perturbation,),
    "harness_probes": (DatasetProbe, ModelProbe),
    "harness_phantoms": (Phantom,),
    "harness_published_results": (PublishedResult,),
    "harness_readers": (Reader,),
}
"""For each hook that asks for contributions, what they may be."""


def load_plugins(
    without: Collection[str] = (),
    files: Sequence[Path] = (),
    trace: Callable[[str], None] | None = None,
    why_not: Callable[[str], str] = lambda name: "",
) -> Registry:
    """Load every plugin of the entry-point group ``harness``, then those in ``files``.

    A file is a Python module with hooks, or a TOML file that a reader of some plugin understands.
    ``without`` switches plugins off by their name or their distribution's. A plugin that fails is
    left out whole and listed with its error. Raises HarnessError when two distributions offer the
    same name, when ``without`` names nothing that is installed, or when a file is not there.
    ``trace`` is told of every hook that is called. ``why_not`` is asked of each
    plugin that is not built in, by name, why it cannot be loaded; "" when it can.
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
            registry.plugins.append(replace(plugin, status=SWITCHED_OFF))
            continue
        if other := seen.get(plugin.name):
            raise _same_name("plugin", plugin.name, other, plugin)
        seen[plugin.name] = plugin
        if plugin.distribution == OURS:
            _load(registry, plugin, point.load, trace)
            continue
        registry.guests.add(plugin.name)
        if _may_load(registry, plugin, why_not(plugin.name)):
            _load(registry, plugin, point.load, trace)
    once: dict[Path, Path] = {}
    for path in files:
        once.setdefault(path.resolve(), path)
    for path in sorted(once.values(), key=lambda path: path.suffix == ".toml"):
        plugin = _of_file(path)
        if other := seen.get(plugin.name):
            raise _same_name("plugin", plugin.name, other, plugin)
        seen[plugin.name] = plugin
        registry.guests.add(plugin.name)
        if not _may_load(registry, plugin, why_not(plugin.name)):
            continue
        if path.suffix == ".toml":
            _load_toml(registry, plugin, path)
        else:
            _load(registry, plugin, partial(_import, path), trace)
    if trace is not None:
        _trace_calls(manager, trace)
    return registry


def guests(without: Collection[str] = (), files: Sequence[Path] = ()) -> bool:
    """Whether there is code of plugins that are not built in."""
    found = [(point.name, _distribution(point)[0]) for point in entry_points(group=GROUP)]
    scripts = any(path.suffix == ".py" for path in files)
    return scripts or any(d != OURS and not {n, d} & set(without) for n, d in found)


def _may_load(registry: Registry, plugin: Plugin, why_not: str) -> bool:
    """Whether a plugin that is not built in can be loaded; otherwise it is left out."""
    if why_not:
        registry.refused[plugin.name] = why_not
        why, _, printed = why_not.partition("\n")
        error = HarnessError(f"{why}; report it to the plugin's author")
        if printed:
            error.add_note(f"It printed last:\n{printed}")
        _leave_out(registry, plugin, error)
    return not why_not


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "")


def _of_file(path: Path) -> Plugin:
    if path.suffix not in (".py", ".toml"):
        raise HarnessError(f"--plugin {path}: must be a .py or a .toml file")
    try:
        digest = hashlib.sha256(read_bytes(path)).hexdigest()
    except HarnessError as error:
        raise HarnessError(f"--plugin {error}") from error
    return Plugin(path.stem, str(path), digest[:8])


def _import(path: Path) -> ModuleType:
    """Import a file under a name that clashes with no installed module."""
    check_text(path, head(path), "a Python file")
    name = f"harness_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _load(
    registry: Registry,
    plugin: Plugin,
    load: Callable[[], ModuleType],
    trace: Callable[[str], None] | None,
) -> None:
    """Load one plugin and register what it offers, or say why it is left out."""
    manager = registry.manager
    try:
        # What it prints is not what a command prints, and its working folder is its own business.
        with contained(may_end=True), contextlib.redirect_stdout(sys.stderr):
            module = load()
            hooks, items = _contributions(manager, module, plugin, trace)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what is no Exception, such as a panic in Rust
        if signals.received():  # which some modules turn into an ImportError
            raise KeyboardInterrupt from error
        if manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        _leave_out(registry, plugin, error)
        return
    _add(registry, replace(plugin, hooks=hooks), items)


def _load_toml(registry: Registry, plugin: Plugin, path: Path) -> None:
    """Let the reader of its kind make contributions of a TOML file."""
    claims = [path.stem]
    try:
        check_text(path, head(path), "a TOML file")
        content = read_toml(path)
        claims += [name for name in [content.get("name")] if isinstance(name, str)]
        kind = content.get("kind")
        if not isinstance(kind, str) or kind not in registry.readers:
            what = "lacks kind" if kind is None else f"kind = {kind!r}"
            known = ", ".join(registry.readers)
            cause = left_out(str(kind), registry.plugins) or "correct it"
            raise HarnessError(f"{path}: {what}, which must be one of {known}; {cause}")
        with contained(may_end=True):
            items = list(registry.readers[kind].read(path, content))
        try:
            check_contributions(f"the reader {kind}", items, tuple(KINDS))
        except ValueError as error:
            raise HarnessError(f"{path}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _leave_out(registry, replace(plugin, claims=tuple(claims)), error)
        return
    if registry.readers.plugin[kind].name not in registry.guests:
        registry.guests.discard(plugin.name)
    _add(registry, plugin, items)


def _leave_out(registry: Registry, plugin: Plugin, error: BaseException) -> None:
    message = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
    details = "".join(traceback.format_exception(error))
    registry.plugins.append(replace(plugin, status=one_line(message), traceback=details))


def _same_name(kind: str, name: str, one: Plugin, two: Plugin) -> HarnessError:
    files = [Path(p.distribution).suffix in (".py", ".toml") for p in (one, two)]
    if all(files):
        fix = "rename one of the files, or leave out its --plugin"
    elif any(files):
        fix = f"rename that in the file, or switch the other off with --without {one.name}"
    elif two.name != one.name:
        fix = f"switch one off with --without {two.name}"
    else:
        fix = f"uninstall one, or switch it off with --without {two.distribution}"
    return HarnessError(
        f"two plugins offer the {kind} {name!r}: {one.name} of distribution {one.distribution} and "
        f"{two.name} of distribution {two.distribution}; {fix}"
    )


def _contributions(
    manager: pluggy.PluginManager,
    module: ModuleType,
    plugin: Plugin,
    trace: Callable[[str], None] | None,
) -> tuple[tuple[str, ...], list[Any]]:
    """Register a plugin and call its hooks; any exception means that it is malformed."""
    manager.register(module, name=plugin.name)
    callers = manager.get_hookcallers(module) or []
    if not callers:
        raise TypeError("implements no hook; mark its functions with harness.hookimpl")
    contributed: list[Any] = []
    for caller in callers:
        if not caller.has_spec():
            raise TypeError(f"implements {caller.name}, which is no hook of the harness")
        if caller.name not in CONTRIBUTIONS:
            continue
        (impl,) = (impl for impl in caller.get_hookimpls() if impl.plugin is module)
        if trace is not None:
            trace(f"{plugin.name}: {caller.name}() is called")
        function: Any = impl.function
        returned = function()
        if not isinstance(returned, Iterable):
            raise TypeError(f"{caller.name} returned {returned!r}; let it return a list")
        items = list(returned)
        check_contributions(caller.name, items, CONTRIBUTIONS[caller.name])
        if trace is not None:
            named = ", ".join(f"{type(item).__name__} {item.name}" for item in items)
            trace(f"{plugin.name}: {caller.name}() returned {named or 'nothing'}")
        contributed += items
    if plugin.distribution.endswith(".py"):
        contributed = [of_file(item, int(plugin.version, 16)) for item in contributed]
    return tuple(caller.name for caller in callers), contributed


def check_contributions(origin: str, items: Sequence[Any], types: tuple[type, ...]) -> None:
    """Raise TypeError or ValueError when what a hook or a reader returned is malformed."""
    for item in items:
        if type(item) not in types:
            wanted = " or ".join(kind.__name__ for kind in types)
            raise TypeError(f"{origin} returned {item!r} where a {wanted} is expected")
        if not isinstance(item.name, str) or not NAME.fullmatch(item.name):
            raise ValueError(
                f"{origin} returned the name {item.name!r}; use lower-case letters, digits "
                "and + . _ : - (in a TOML file: name = ...)"
            )
        _check(item)
    names = Counter((KINDS[type(item)], item.name) for item in items)
    for (kind, name), count in names.items():
        if count > 1 and kind != "published":
            raise ValueError(f"{origin} returned {count} {kind} named {name!r}")


def _check(item: Any) -> None:
    """Raise ValueError when what a contribution says of itself does not hold together."""
    if isinstance(item, DerivedModel):
        for _, view in item.terms:
            if view not in VIEWS:
                raise ValueError(f"{item.name}: unknown view {view!r}; there is {', '.join(VIEWS)}")
    if isinstance(item, Dataset) and item.classes:  # not known of a TOML file without its data
        texts = all(isinstance(name, str) for name in item.classes)
        if not texts or len(set(item.classes)) < max(len(item.classes), 2):
            raise ValueError(f"{item.name}: classes must be two or more different names")
    if isinstance(item, Perturbation):
        if (item.role == "steering") != (item.learns is not None):
            raise ValueError(f"{item.name}: the role steering and learns go together")
        if bool(item.levels) == (item.learns is not None):
            raise ValueError(f"{item.name}: give either levels, at least one, or learns")
        if not all(isinstance(level, Real) for level in item.levels):
            raise ValueError(f"{item.name}: levels must be numbers, not {item.levels!r}")
    if isinstance(item, Model):
        settings = {**item.settings, **item.execution}
        if unknown := set(item.demo_settings) - set(settings):
            raise ValueError(f"{item.name}: demo_settings names no setting: {sorted(unknown)}")
        if not callable(item.outputs) and item.outputs not in get_args(Outputs):
            kinds = ", ".join(get_args(Outputs))
            raise ValueError(f"{item.name}: outputs = {item.outputs!r} must be one of {kinds}")
    if isinstance(item, PublishedResult):
        for name in ("accuracy", "balanced_accuracy", "auroc"):
            value = getattr(item, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{item.name}: {name} = {value!r} must be a fraction of 1")
        if item.n < 1:
            raise ValueError(f"{item.name}: n = {item.n!r} must be the number of test patches")
        lines = item.confusion or ()
        if any(len(line) != len(lines) for line in lines):
            raise ValueError(f"{item.name}: confusion must have as many columns as rows")
        if lines and item.classes and len(item.classes) != len(lines):
            raise ValueError(
                f"{item.name}: {len(item.classes)} classes for {len(lines)} rows of confusion"
            )


def _add(registry: Registry, plugin: Plugin, items: Iterable[Any]) -> None:
    """Register contributions under their names."""
    named: dict[str, list[str]] = {}
    for item in items:
        named.setdefault(KINDS[type(item)], []).append(item.name)
    plugin = replace(plugin, contributes={kind: tuple(names) for kind, names in named.items()})
    registry.plugins.append(plugin)
    for item in map(received, items):
        kind = KINDS[type(item)]
        if kind == "published":
            registry.published.append((item, plugin))
            continue
        offers = registry.offers[kind]
        if item.name in offers:
            raise _same_name(offers.kind, item.name, offers.plugin[item.name], plugin)
        offers[item.name] = item
        offers.plugin[item.name] = plugin


def _trace_calls(manager: pluggy.PluginManager, trace: Callable[[str], None]) -> None:
    """Tell of every call of a lifecycle hook."""

    def before(name: str, impls: Sequence[Any], arguments: Any) -> None:
        given = ", ".join(f"{key}={str(value)[:200]}" for key, value in arguments.items())
        trace(f"{name}({given}) calls {', '.join(impl.plugin_name for impl in impls) or 'nobody'}")

    manager.add_hookcall_monitoring(before, lambda *_: None)
