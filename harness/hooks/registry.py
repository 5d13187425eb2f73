"""What the plugins offer, by name, and the plugins themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import pluggy

from harness.data.views import four_views
from harness.errors import HarnessError
from harness.hooks.kinds import BY_TYPE, KINDS
from harness.text.names import suggest
from harness.types.datasets import Dataset
from harness.types.faults import PlantedFault
from harness.types.models import DerivedModel, Model, ModelFamily
from harness.types.perturbations import Perturbation
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe, ModelProbe
from harness.types.published import PublishedResult
from harness.types.readers import Reader

T = TypeVar("T")
SWITCHED_OFF = "switched off"
"""The status of a plugin that the user does without."""
FLIPS = "+flips"
"""What the name of a model's sum over its four views ends in."""


@dataclass(frozen=True)
class Plugin:
    """A plugin that was found: an entry point of a distribution, or a file.

    ``status`` is "" when all is well, else why it is left out, in one line.
    """

    name: str
    distribution: str
    """Of a file: its path."""
    version: str
    """Of a file: the first digits of its SHA-256."""
    status: str = ""
    contributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of what it offers, by kind."""
    hooks: tuple[str, ...] = ()
    """Hooks that it implements."""
    traceback: str = field(default="", repr=False)
    """Where it failed."""
    claims: tuple[str, ...] = ()
    """Names that a file which is left out says that it offers."""


class Offers(dict[str, T], Generic[T]):
    """Contributions of one kind by name, and the plugin that each came from."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.plugin: dict[str, Plugin] = {}
        self.plugins: Sequence[Plugin] = ()
        """Every plugin, those that are left out as well."""

    def find(self, name: str) -> T:
        """The contribution with this name; HarnessError with why there is none, as far as known."""
        if name not in self:
            raise HarnessError(f"no {self.kind} named {name!r}; {absent(name, self, self.plugins)}")
        return self[name]


class Models(Offers[Model | DerivedModel]):
    """Models by name. Those of families, and sums over flips, are made when they are asked for."""

    def __init__(self) -> None:
        super().__init__("model")
        self.families: Offers[ModelFamily] = Offers("model family")

    def find(self, name: str) -> Model | DerivedModel:
        """The model with this name: one that a plugin lists, or ``FAMILY:REST``, or ``X+flips``.

        A family may have one spelling for several of a name: the model is listed under that.
        """
        if name in self:
            return self[name]
        base, flips, rest = name.rpartition(FLIPS)
        family = self.families.get(name.partition(":")[0])
        made: Model | DerivedModel
        if flips and not rest:
            member = self.find(base)
            title = f"{member.title}, four views"
            made = DerivedModel(
                name=f"{member.name}{FLIPS}", title=title, terms=four_views(member.name)
            )
            plugin = self.plugin[member.name]
        elif family and ":" in name:
            made, plugin = self._make(family, name), self.families.plugin[family.name]
            keeps = made.name.startswith(f"{family.name}:") and (
                made.name == name or self._make(family, made.name).name == made.name
            )
            if not keeps:
                raise HarnessError(
                    f"the model family {family.name} made {made.name!r} for {name!r}; report it "
                    "to the plugin's author"
                )
        else:
            examples = [family.example for family in self.families.values()]
            raise HarnessError(
                f"no model named {name!r}; {absent(name, self, self.plugins, examples)}"
            )
        if made.name not in self:
            self[made.name] = made
            self.plugin[made.name] = plugin
        return self[made.name]

    def _make(self, family: ModelFamily, name: str) -> Model | DerivedModel:
        try:
            return family.make(name.partition(":")[2])
        except HarnessError:
            raise
        except Exception as error:
            raise HarnessError(
                f"the model family {family.name} cannot make {name!r} "
                f"({type(error).__name__}: {error}); report it to the plugin's author"
            ) from error


class Datasets(Offers[Dataset]):
    """Datasets by name. Those that are made of others are made when they are asked for."""

    def __init__(self) -> None:
        super().__init__("dataset")
        self.faults: Offers[PlantedFault] = Offers("fault")
        self.second: dict[str, Plugin] = {}
        """Of datasets that are made of two things, the plugin of the other one."""

    def find(self, name: str) -> Dataset:
        """The dataset with this name: one that a plugin lists, a pair of
        ``harness.data.pairing``, one with a fault of ``harness.data.planting``, or a cohort of
        ``harness.data.cohorts``."""
        if name not in self:
            self._make(name)
        return super().find(name)

    def _make(self, name: str) -> None:
        """Make a dataset of others, if its name says so; these may be made of others, too."""
        from harness.data import cohorts, pairing, planting

        if made := pairing.made_of(name, self.find):
            self[name] = made
            self.plugin[name] = self.plugin[pairing.base(name)]
            self.second[name] = self.plugin[pairing.partner(name)]
        elif made := planting.made_of(name, self.find, self.faults.find):
            self[name] = made
            self.plugin[name] = self.plugin[planting.base(name)]
            self.second[name] = self.faults.plugin[planting.fault_of(name)]
        elif halves := cohorts.halves(name, self._knows):
            home, cohort = map(self.find, halves)
            self[name] = cohorts.made_of(home, cohort, self.values())
            self.plugin[name], self.second[name] = self.plugin[halves[1]], self.plugin[halves[0]]

    def _knows(self, name: str) -> bool:
        """Whether there is a dataset of this name, or one can be made."""
        try:
            self.find(name)
        except HarnessError:
            return False
        return True


def _no_offers() -> dict[str, Offers[Any]]:
    own: dict[str, Offers[Any]] = {"datasets": Datasets(), "models": Models()}
    found = {k.name: own.get(k.name, Offers(k.singular)) for k in KINDS if k.unique}
    own["models"].families = found["families"]  # type: ignore[attr-defined]
    own["datasets"].faults = found["faults"]  # type: ignore[attr-defined]
    return found


@dataclass(frozen=True)
class Registry:
    """Everything that the plugins offer."""

    manager: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    offers: dict[str, Offers[Any]] = field(default_factory=_no_offers)
    """By kind (``harness.hooks.kinds``), but for published results, of which many share a name."""
    published: list[tuple[PublishedResult, Plugin]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """By name: why plugins were not loaded, as a process that tried hung or died."""
    guests: set[str] = field(default_factory=set)
    """Names of the plugins that are not built in, files among them."""

    def __post_init__(self) -> None:
        for offers in self.offers.values():
            offers.plugins = self.plugins

    def of(self, kind: type[T]) -> Offers[T]:
        """Contributions of a type, by name."""
        return self.offers[BY_TYPE[kind].name]

    @property
    def datasets(self) -> Datasets:
        """Datasets by name."""
        return cast(Datasets, self.offers["datasets"])

    @property
    def models(self) -> Models:
        """Models by name."""
        return cast(Models, self.offers["models"])

    @property
    def perturbations(self) -> Offers[Perturbation]:
        """Perturbations by name."""
        return self.of(Perturbation)

    @property
    def probes(self) -> Offers[DatasetProbe | ModelProbe]:
        """Probes of datasets and of models, by name."""
        return self.offers["probes"]

    @property
    def phantoms(self) -> Offers[Phantom]:
        """Phantoms by name."""
        return self.of(Phantom)

    @property
    def faults(self) -> Offers[PlantedFault]:
        """Faults that are planted in real patches, by name."""
        return self.of(PlantedFault)

    @property
    def readers(self) -> Offers[Reader]:
        """Kinds of TOML file by name."""
        return self.of(Reader)

    @property
    def versions(self) -> dict[str, int]:
        """The version of each model that is fitted."""
        return {n: model.version for n, model in self.models.items() if isinstance(model, Model)}

    def described_by(self, dataset: str) -> str:
        """The file or the plugin that says what a dataset is."""
        plugin = self.datasets.plugin.get(dataset)
        if plugin is None:
            return "its plugin"
        path = Path(plugin.distribution)
        is_file = path.suffix in (".py", ".toml")
        return path.name if is_file else f"the plugin {plugin.name}"

    def guests_of(self, *plugins: Plugin | None) -> tuple[str, ...]:
        """Names of those of some plugins that are not built in."""
        return tuple(sorted({plugin.name for plugin in plugins if plugin} & self.guests))

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that were left out because of an error."""
        return [plugin for plugin in self.plugins if plugin.status not in ("", SWITCHED_OFF)]


def absent(
    name: str, known: Iterable[str], plugins: Sequence[Plugin], examples: Sequence[str] = ()
) -> str:
    """What to say about a name that no plugin offers: the likeliest cause stands last.

    ``examples`` are names of families, which offer more than is known.
    """
    said = suggest(name, known) + "".join(f"; or {example} and the like" for example in examples)
    missing = [plugin for plugin in plugins if plugin.status]
    if not missing:
        return said
    cause = left_out(name, plugins)
    sure = any(name in (plugin.name, *plugin.claims) for plugin in missing)
    broken = any(plugin.status != SWITCHED_OFF for plugin in missing)
    # Where plugins are broken, what the others offer is no help unless a name is near.
    return cause if sure or (broken and "?" not in said) else f"{said}; {cause}"


def left_out(name: str, plugins: Sequence[Plugin]) -> str:
    """Which plugins are left out or switched off, and why; "" if none is.

    Of several, those that say that they offer the name; what the others offer is not known.
    """
    missing = [plugin for plugin in plugins if plugin.status]
    sure = [plugin for plugin in missing if name in (plugin.name, *plugin.claims)]
    chosen = sure or missing
    off = [plugin.name for plugin in chosen if plugin.status == SWITCHED_OFF]
    causes = [
        f"plugin {plugin.name} of {plugin.distribution} is left out: {plugin.status}"
        for plugin in chosen
        if plugin.status != SWITCHED_OFF
    ]
    if off:
        causes.insert(0, f"switched off (--without or $HARNESS_WITHOUT): {', '.join(off)}")
    return "; ".join(causes)
