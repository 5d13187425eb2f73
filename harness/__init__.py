"""How much of a histopathology classifier's accuracy is tissue, and how much color and compression.

What a plugin needs is importable from here. Those that read files or stream over patches find more
in ``harness.data.patches`` (files of patches), ``harness.data.splits`` (``stream``, splits made of
splits), ``harness.data.files``, ``harness.data.zips`` (what a file really is),
``harness.data.copies``, ``harness.system.checkpoints``, ``harness.data.jpeg``,
``harness.hooks.toml_files``, ``harness.hooks.toml_keys`` and ``harness.statistics``, executors in
``harness.jobs``, those that draw in ``harness.reports.drawing`` (pictures, names in them) and
``harness.text.numbers`` (numbers as text); the rest of the package is the command's own.
"""

from harness.errors import HarnessError, UnavailableError
from harness.hooks.later import later

TYPE_CHECKING = False  # that of ``typing`` takes its time, in which Ctrl-C is not yet answered

if TYPE_CHECKING:
    from harness.data.views import four_views
    from harness.hooks.estimators import estimator_model
    from harness.hooks.heads import HEADS, head_model
    from harness.hooks.hookspecs import hookimpl
    from harness.hooks.neighbors import neighbors_model
    from harness.session import Session as Session
    from harness.statistics.estimates import Estimate
    from harness.types.commands import Command
    from harness.types.datasets import Dataset, RemoteFile, Split, Splits
    from harness.types.executors import Event, Execution, Executor, ExecutorOptions
    from harness.types.faults import PlantedFault
    from harness.types.findings import Finding, Table
    from harness.types.metrics import Metric, MetricInput
    from harness.types.models import (
        Classifier,
        DerivedModel,
        Features,
        FitContext,
        Given,
        InitialWeights,
        Model,
        ModelFamily,
        Outputs,
        Setting,
    )
    from harness.types.options import Option
    from harness.types.perturbations import Perturbation
    from harness.types.phantoms import Fault, Phantom
    from harness.types.probes import Audit, Column, DatasetProbe, Measured, ModelProbe, Predictions
    from harness.types.published import PublishedResult
    from harness.types.readers import Reader
    from harness.types.reports import Report

__all__ = [
    "HEADS",
    "Audit",
    "Classifier",
    "Column",
    "Command",
    "Dataset",
    "DatasetProbe",
    "DerivedModel",
    "Estimate",
    "Event",
    "Execution",
    "Executor",
    "ExecutorOptions",
    "Fault",
    "Features",
    "Finding",
    "FitContext",
    "Given",
    "HarnessError",
    "InitialWeights",
    "Measured",
    "Metric",
    "MetricInput",
    "Model",
    "ModelFamily",
    "ModelProbe",
    "Option",
    "Outputs",
    "Perturbation",
    "Phantom",
    "PlantedFault",
    "Predictions",
    "PublishedResult",
    "Reader",
    "RemoteFile",
    "Report",
    "Session",
    "Setting",
    "Split",
    "Splits",
    "Table",
    "UnavailableError",
    "estimator_model",
    "four_views",
    "head_model",
    "hookimpl",
    "later",
    "neighbors_model",
]

MODULES = (
    *("types.datasets", "types.models", "types.perturbations", "types.published", "types.readers"),
    *("types.findings", "types.probes", "types.phantoms", "types.metrics", "types.options"),
    *("types.faults", "types.executors", "types.reports", "types.commands", "statistics.estimates"),
    *(
        "hooks.hookspecs",
        "hooks.estimators",
        "hooks.neighbors",
        "hooks.heads",
        "data.views",
        "session",
    ),
)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the rest when it is asked for: the command starts without it."""
        from importlib import import_module

        if name in __all__:
            for module in MODULES:
                found = getattr(import_module(f"harness.{module}"), name, None)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
