"""Which promises there are for what a name means, and what came of each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from harness.checks.bench import Bench
from harness.checks.features import FEATURES, Used
from harness.checks.outcome import Broken, Outcome, Skipped
from harness.checks.plugins import PLUGIN
from harness.checks.published import Row
from harness.checks.uses import own_folder
from harness.errors import HarnessError, UnavailableError, one_line
from harness.hooks import settings
from harness.hooks.guard import is_read_only
from harness.hooks.kinds import BY_TYPE, KINDS
from harness.hooks.loader import load_plugins
from harness.hooks.registry import FLIPS, Plugin, Registry, absent
from harness.planning import choose
from harness.types.models import DerivedModel, Features, Model
from harness.types.perturbations import Perturbation
from harness.types.probes import DatasetProbe
from harness.types.published import PublishedResult

Promise = Callable[[Any, Bench], None]


def _of_kinds() -> dict[type, tuple[str, tuple[Promise, ...]]]:
    found: dict[type, tuple[str, tuple[Promise, ...]]] = {}
    for kind in KINDS:
        for about, contract in kind.types.items():
            promises = resolve_name(contract.promises)
            about = Row if about is PublishedResult else about
            found[about] = contract.name, (*promises, *([own_folder] if contract.use else []))
    return found


PROMISES: dict[type, tuple[str, tuple[Promise, ...]]] = {
    Plugin: ("plugin", PLUGIN),
    Used: ("features", FEATURES),
    **_of_kinds(),
}
"""For each type, what it is called and what it promises."""


@dataclass(frozen=True)
class Case:
    """A promise of one contribution."""

    about: Any = field(repr=False)
    promise: Callable[[Any, Bench], None] = field(repr=False)

    def __str__(self) -> str:
        kind = PROMISES[type(self.about)][0]
        return f"{kind}:{self.about.name}:{name_of(self.promise)}"

    @property
    def text(self) -> str:
        """What is promised, in a sentence."""
        return text_of(self.promise)

    def check(self, bench: Bench) -> Outcome:
        """See whether the promise is kept. Whatever a plugin raises is a broken promise."""
        try:
            self.promise(self.about, bench)
        except (Skipped, UnavailableError) as outcome:
            return self._outcome("skipped", str(outcome))
        except Broken as error:
            cause = "" if error.__cause__ is None else traceback.format_exc()
            return self._outcome("BROKEN", str(error), error.details or cause)
        except HarnessError as error:
            return self._outcome("BROKEN", str(error), traceback.format_exc())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = one_line(f"{type(error).__name__}: {error}").removesuffix(":")
            frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
            where = innermost(frames, self.own(bench))
            fix = "; work on a copy: what a run gives is read-only" if is_read_only(error) else ""
            return self._outcome("BROKEN", f"raised {said}{where}{fix}", traceback.format_exc())
        return self._outcome("ok")

    def _outcome(self, status: str, message: str = "", details: str = "") -> Outcome:
        return Outcome(str(self), self.text, status, message, details)

    def own(self, bench: Bench) -> str:
        """The file or the folder with the code of the plugin that it is about; "" if unknown."""
        return str(bench.code_of(plugin_of(bench.registry, self.about)) or "")


def innermost(frames: Sequence[tuple[str, Any]], own: str) -> str:
    """Where it happened, as messages say it: the last frame in the plugin's own code, if any."""
    mine = [place for place in frames if own and Path(place[0]).is_relative_to(own)]
    return "".join(f" ({file}:{line})" for file, line in (mine or frames)[-1:])


def name_of(promise: Callable[..., None]) -> str:
    """A promise's name, e.g. "any-batch"."""
    return promise.__name__.replace("_", "-")


def text_of(promise: Callable[..., None]) -> str:
    """A promise's text: the first line of its docstring."""
    return (promise.__doc__ or "").partition("\n")[0].replace("``", "")


def table() -> Iterator[str]:
    """Lines that name every promise."""
    for kind, promises in PROMISES.values():
        yield f"{kind}:"
        width = max(len(name_of(promise)) for promise in promises)
        yield from (f"  {name_of(p):{width}}  {text_of(p)}" for p in promises)


def bench_for(
    *,
    files: Sequence[Path] = (),
    without: Sequence[str] = (),
    data: Path = Path("data"),
    dataset: str | None = None,
) -> Bench:
    """Load the plugins and make a bench of them."""
    registry = load_plugins(without, files)
    return Bench(registry, data, dataset, without, files)


def plugin_of(registry: Registry, about: Any) -> Plugin | None:
    """The plugin that something comes from; None for published results, which have no code."""
    if isinstance(about, Plugin):
        return about
    if isinstance(about, Used):
        return registry.offers[about.offer].plugin[about.owner]
    kind = BY_TYPE.get(type(about))
    return registry.offers[kind.name].plugin[about.name] if kind else None


def cases(bench: Bench, names: Sequence[str], assignments: Sequence[str] = ()) -> list[Case]:
    """Every promise of what the names mean: plugins with all that they offer, or contributions.

    ``assignments`` are those of ``--set``. Raises HarnessError when a name means nothing, or when
    no model has the setting.
    """
    found: list[Any] = []
    for name in names:
        found += [about for about in subjects(bench, name) if about not in found]
    models = [about for about in found if isinstance(about, Model | DerivedModel)]
    given = settings.parse(assignments, [model for model in models if isinstance(model, Model)])
    bench.given.update(given)
    if bench.dataset_name is not None:
        _ = bench.source  # a mistake in its name is said at once
    found += used_by(bench, found)
    return [Case(about, promise) for about in found for promise in PROMISES[type(about)][1]]


def subjects(bench: Bench, name: str) -> list[Any]:
    """What a name means."""
    registry = bench.registry
    rows: dict[str, list[Any]] = {}
    for result, _ in registry.published:
        rows.setdefault(result.name, []).append(result)
    offers: Mapping[str, Mapping[str, Any]] = {
        **registry.offers,
        "published": {key: Row(key, tuple(results)) for key, results in rows.items()},
    }
    found: list[Any] = []
    for plugin in registry.plugins:
        if name in (plugin.name, plugin.distribution):
            found.append(plugin)
            for kind, names in plugin.contributes.items():
                found += [offers[kind][item] for item in dict.fromkeys(names)]
    for known in offers.values():
        if name in known and known[name] not in found:
            found.append(known[name])
    if not found:
        family, colon, _ = name.partition(":")
        if name.endswith(FLIPS) or (colon and family in registry.models.families):
            return [registry.models.find(name)]
        every = {n for known in offers.values() for n in known}
        every |= {plugin.name for plugin in registry.plugins}
        raise HarnessError(
            f"check: no plugin, and nothing of one, named {name!r}; "
            f"{absent(name, every, registry.plugins)}"
        )
    return found


def used_by(bench: Bench, found: Sequence[Any]) -> list[Used]:
    """The features that contributions use, each once."""
    used: dict[str, Used] = {}
    for about in found:
        if isinstance(about, Model | DatasetProbe | Perturbation):
            offer = BY_TYPE[type(about)].name
            for features in features_of(bench, about):
                used.setdefault(features.name, Used(features, offer, about.name))
    return list(used.values())


def features_of(bench: Bench, about: Any) -> list[Features]:
    """The features that a model, a probe of datasets or a perturbation asks for."""
    if isinstance(about, Model):
        if choose.lacks(bench.registry, about.name):
            return []
        try:
            features = about.features_with(bench.settings(about))
        except Exception:  # its promises tell
            return []
        return [] if features is None or features.brought else [features]
    if isinstance(about, Perturbation):
        return [] if about.learns is None else [about.learns]
    return list(about.features)
