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
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from harness.data.files import check_text, head, read_bytes
from harness.data.handover import received
from harness.errors import HarnessError, one_line
from harness.hooks import hookspecs, kinds, moved
from harness.hooks.file_versions import of_file
from harness.hooks.guard import contained
from harness.hooks.registry import SWITCHED_OFF, Plugin, Registry, left_out
from harness.hooks.toml_files import described, read_toml
from harness.system import signals
from harness.text.names import suggest

GROUP = "harness"
OURS = "histo-harness"
"""The distribution of the built-in plugins."""
NEEDED = ("local", "board")
"""Those of them without which nothing is computed or written: the name of their distribution does
not switch them off, their own does."""
NAME = re.compile(r"[a-z0-9][a-z0-9+._:-]*(\[[a-z0-9+,_-]+\][a-z0-9+._:-]*)?")
"""Of a contribution; a variant may stand in brackets, as in encoder:virchow[cls]+knn20."""


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
        called = {plugin.name} if plugin.name in NEEDED else {plugin.name, plugin.distribution}
        if called & set(without):
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
            items = described(registry.readers[kind], path, content)
        try:
            check_contributions(f"the reader {kind}", items, tuple(kinds.BY_TYPE))
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
    if advice := moved.advice(error):
        message = f"{message}; {advice}"
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
        if caller.name not in kinds.TYPES:
            continue
        (impl,) = (impl for impl in caller.get_hookimpls() if impl.plugin is module)
        if trace is not None:
            trace(f"{plugin.name}: {caller.name}() is called")
        function: Any = impl.function
        returned = function()
        if not isinstance(returned, Iterable):
            raise TypeError(f"{caller.name} returned {returned!r}; let it return a list")
        items = list(returned)
        check_contributions(caller.name, items, kinds.TYPES[caller.name])
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
        kinds.BY_TYPE[type(item)].check(item)
    names = Counter((kinds.BY_TYPE[type(item)].name, item.name) for item in items)
    for (kind, name), count in names.items():
        if count > 1 and kinds.BY_NAME[kind].unique:
            raise ValueError(f"{origin} returned {count} {kind} named {name!r}")


def _add(registry: Registry, plugin: Plugin, items: Iterable[Any]) -> None:
    """Register contributions under their names."""
    named: dict[str, list[str]] = {}
    for item in items:
        named.setdefault(kinds.BY_TYPE[type(item)].name, []).append(item.name)
    plugin = replace(plugin, contributes={kind: tuple(names) for kind, names in named.items()})
    registry.plugins.append(plugin)
    for item in map(received, items):
        kind = kinds.BY_TYPE[type(item)].name
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
