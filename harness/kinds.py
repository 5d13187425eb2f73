"""The kinds of things that plugins offer: one table for loading, listing, checking and the docs.

A new kind takes its type, its hook in ``harness.hookspecs`` and a ``Kind`` here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.executors import Executor
from harness.later import later
from harness.metrics import Metric
from harness.probes import DatasetProbe, ModelProbe, Phantom
from harness.types import (
    Command,
    Dataset,
    DerivedModel,
    Model,
    ModelFamily,
    Perturbation,
    PublishedResult,
    Reader,
    Report,
)


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
    row: Callable[..., dict[str, str]] = field(default=later("harness.listing:titled"))
    """``row(item, plugin, registry, folder)``: its row in the list, by heading."""
    unique: bool = True
    """Whether a name may be offered only once."""


KINDS: tuple[Kind, ...] = (
    Kind(
        name="datasets",
        singular="dataset",
        title="Datasets",
        hook="harness_datasets",
        types={Dataset: Contract("dataset", "harness.contract.datasets:DATASET")},
        check=later("harness.validation:dataset"),
        row=later("harness.listing:dataset"),
    ),
    Kind(
        name="models",
        singular="model",
        title="Models",
        hook="harness_models",
        types={
            Model: Contract("model", "harness.contract.models:MODEL"),
            DerivedModel: Contract("derived-model", "harness.contract.derived:DERIVED"),
        },
        check=later("harness.validation:model"),
        row=later("harness.listing:model"),
    ),
    Kind(
        name="families",
        singular="model family",
        title="Model families",
        hook="harness_models",
        types={ModelFamily: Contract("family", "harness.contract.derived:FAMILY")},
        row=later("harness.listing:family"),
    ),
    Kind(
        name="readers",
        singular="kind of TOML file",
        title="Kinds of TOML file, for --plugin",
        hook="harness_readers",
        types={Reader: Contract("reader", "harness.contract.readers:READER")},
        row=later("harness.listing:reader"),
    ),
    Kind(
        name="perturbations",
        singular="perturbation",
        title="Perturbations",
        hook="harness_perturbations",
        types={
            Perturbation: Contract(
                "perturbation",
                "harness.contract.perturbations:PERTURBATION",
                use="harness.contract.perturbations:applied",
            )
        },
        check=later("harness.validation:perturbation"),
        row=later("harness.listing:perturbation"),
    ),
    Kind(
        name="probes",
        singular="probe",
        title="Probes",
        hook="harness_probes",
        types={
            DatasetProbe: Contract(
                "dataset-probe",
                "harness.contract.dataset_probes:DATASET_PROBE",
                use="harness.contract.dataset_probes:found",
            ),
            ModelProbe: Contract(
                "model-probe",
                "harness.contract.model_probes:MODEL_PROBE",
                use="harness.contract.model_probes:found",
            ),
        },
        row=later("harness.listing:probe"),
    ),
    Kind(
        name="phantoms",
        singular="phantom",
        title="Phantoms",
        hook="harness_phantoms",
        types={Phantom: Contract("phantom", "harness.contract.phantoms:PHANTOM")},
        row=later("harness.listing:phantom"),
    ),
    Kind(
        name="published",
        singular="published result",
        title="Published results",
        hook="harness_published_results",
        types={PublishedResult: Contract("published", "harness.contract.published:PUBLISHED")},
        check=later("harness.validation:published"),
        row=later("harness.listing:published"),
        unique=False,
    ),
    Kind(
        name="metrics",
        singular="metric",
        title="Metrics",
        hook="harness_metrics",
        types={
            Metric: Contract(
                "metric", "harness.contract.metrics:METRIC", use="harness.contract.metrics:figure"
            )
        },
        check=later("harness.validation:metric"),
        row=later("harness.listing:metric"),
    ),
    Kind(
        name="reports",
        singular="report",
        title="Reports, for harness leaderboard --report",
        hook="harness_reports",
        types={Report: Contract("report", "harness.contract.reports:REPORT")},
    ),
    Kind(
        name="commands",
        singular="command",
        title="Commands of plugins",
        hook="harness_commands",
        types={Command: Contract("command", "harness.contract.commands:COMMAND")},
        check=later("harness.validation:command"),
    ),
    Kind(
        name="executors",
        singular="executor",
        title="Executors, for --executor",
        hook="harness_executors",
        types={Executor: Contract("executor", "harness.contract.executors:EXECUTOR")},
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
