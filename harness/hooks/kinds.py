"""The kinds of things that plugins offer: one table for loading, listing, checking and the docs.

A new kind takes its type, its hook in ``harness.hooks.hookspecs`` and a ``Kind`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.hooks.later import later
from harness.types.commands import Command
from harness.types.datasets import Dataset
from harness.types.executors import Executor
from harness.types.faults import PlantedFault
from harness.types.metrics import Metric
from harness.types.models import DerivedModel, Model, ModelFamily
from harness.types.perturbations import Perturbation
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe, ModelProbe
from harness.types.published import PublishedResult
from harness.types.readers import Reader
from harness.types.reports import Report


def _well_formed(item: Any) -> None:
    """For kinds of which any value of the right type will do."""


@dataclass(frozen=True)
class Contract:
    """What contributions of a type promise, for ``harness check``."""

    name: str
    """What the promises are called by, such as "model" in ``model:rgb-means:logits``."""
    promises: str
    """The tuple of promises, as "MODULE:NAME"."""
    use: str = ""
    """A function that uses a contribution on a few patches, as "MODULE:NAME". Where it is given,
    one more promise is that using it writes no files."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of contribution."""

    name: str
    """In the plural, as ``harness list`` takes it: "datasets"."""
    singular: str
    """As messages say it: "dataset"."""
    title: str
    """The heading of its list."""
    hook: str
    """The hook that asks for it; a hook may ask for several kinds."""
    types: Mapping[type, Contract]
    """The types of its contributions."""
    check: Callable[[Any], None] = _well_formed
    """Raises ValueError when what a contribution says of itself does not hold together."""
    row: Callable[..., dict[str, str]] = field(default=later("harness.commands.listing:titled"))
    """``row(item, plugin, registry, folder)``: its row in the list, by heading."""
    unique: bool = True
    """Whether a name may be offered only once."""


KINDS: tuple[Kind, ...] = (
    Kind(
        name="datasets",
        singular="dataset",
        title="Datasets",
        hook="harness_datasets",
        types={Dataset: Contract("dataset", "harness.checks.datasets:DATASET")},
        check=later("harness.hooks.validation:dataset"),
        row=later("harness.commands.listing:dataset"),
    ),
    Kind(
        name="models",
        singular="model",
        title="Models",
        hook="harness_models",
        types={
            Model: Contract("model", "harness.checks.models:MODEL"),
            DerivedModel: Contract("derived-model", "harness.checks.derived:DERIVED"),
        },
        check=later("harness.hooks.validation:model"),
        row=later("harness.commands.listing:model"),
    ),
    Kind(
        name="families",
        singular="model family",
        title="Model families",
        hook="harness_models",
        types={ModelFamily: Contract("family", "harness.checks.derived:FAMILY")},
        row=later("harness.commands.listing:family"),
    ),
    Kind(
        name="readers",
        singular="kind of TOML file",
        title="Kinds of TOML file, for --plugin",
        hook="harness_readers",
        types={Reader: Contract("reader", "harness.checks.readers:READER")},
        row=later("harness.commands.listing:reader"),
    ),
    Kind(
        name="perturbations",
        singular="perturbation",
        title="Perturbations",
        hook="harness_perturbations",
        types={
            Perturbation: Contract(
                "perturbation",
                "harness.checks.perturbations:PERTURBATION",
                use="harness.checks.perturbations:applied",
            )
        },
        check=later("harness.hooks.validation:perturbation"),
        row=later("harness.commands.listing:perturbation"),
    ),
    Kind(
        name="probes",
        singular="probe",
        title="Probes",
        hook="harness_probes",
        types={
            DatasetProbe: Contract(
                "dataset-probe",
                "harness.checks.dataset_probes:DATASET_PROBE",
                use="harness.checks.dataset_probes:found",
            ),
            ModelProbe: Contract(
                "model-probe",
                "harness.checks.model_probes:MODEL_PROBE",
                use="harness.checks.model_probes:found",
            ),
        },
        row=later("harness.commands.listing:probe"),
    ),
    Kind(
        name="phantoms",
        singular="phantom",
        title="Phantoms",
        hook="harness_phantoms",
        types={Phantom: Contract("phantom", "harness.checks.phantoms:PHANTOM")},
        row=later("harness.commands.listing:phantom"),
    ),
    Kind(
        name="faults",
        singular="fault",
        title="Faults, for harness calibrate --real",
        hook="harness_faults",
        types={PlantedFault: Contract("fault", "harness.checks.faults:FAULT")},
        row=later("harness.commands.listing:fault"),
    ),
    Kind(
        name="published",
        singular="published result",
        title="Published results",
        hook="harness_published_results",
        types={PublishedResult: Contract("published", "harness.checks.published:PUBLISHED")},
        check=later("harness.hooks.validation:published"),
        row=later("harness.commands.listing:published"),
        unique=False,
    ),
    Kind(
        name="metrics",
        singular="metric",
        title="Metrics",
        hook="harness_metrics",
        types={
            Metric: Contract(
                "metric", "harness.checks.metrics:METRIC", use="harness.checks.metrics:estimate"
            )
        },
        check=later("harness.hooks.validation:metric"),
        row=later("harness.commands.listing:metric"),
    ),
    Kind(
        name="reports",
        singular="report",
        title="Reports, for harness leaderboard --report",
        hook="harness_reports",
        types={Report: Contract("report", "harness.checks.reports:REPORT")},
    ),
    Kind(
        name="commands",
        singular="command",
        title="Commands of plugins",
        hook="harness_commands",
        types={Command: Contract("command", "harness.checks.commands:COMMAND")},
        check=later("harness.hooks.validation:command"),
    ),
    Kind(
        name="executors",
        singular="executor",
        title="Executors, for --executor",
        hook="harness_executors",
        types={Executor: Contract("executor", "harness.checks.executors:EXECUTOR")},
    ),
)
NAMES = tuple(kind.name for kind in KINDS)
"""What ``harness list`` lists."""
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
BY_TYPE: Mapping[type, Kind] = {known: kind for kind in KINDS for known in kind.types}
TYPES: Mapping[str, tuple[type, ...]] = {
    hook: tuple(known for kind in KINDS if kind.hook == hook for known in kind.types)
    for hook in dict.fromkeys(kind.hook for kind in KINDS)
}
"""For each hook that asks for contributions, what they may be."""
