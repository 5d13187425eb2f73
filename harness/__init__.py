"""How much of a histopathology classifier's accuracy is tissue, and how much color and compression.

What a plugin needs is importable from here. Those that read files or stream over patches find more
in ``harness.patches`` (files of patches), ``harness.splits`` (``stream``, splits made of splits),
``harness.files``, ``harness.zips`` (what a file really is), ``harness.copies``,
``harness.checkpoints``, ``harness.jpeg``, ``harness.toml_files``, ``harness.toml_keys`` and
``harness.statistics``, executors in ``harness.jobs``, those that draw in ``harness.drawing``
(pictures, names in them) and ``harness.numbers`` (numbers as text); the rest of the package is the
command's own.
"""

from harness.errors import HarnessError, UnavailableError
from harness.later import later

TYPE_CHECKING = False  # that of ``typing`` takes its time, in which Ctrl-C is not yet answered

if TYPE_CHECKING:
    from harness.estimators import estimator_model
    from harness.executors import Event, Execution, Executor, ExecutorOptions
    from harness.hookspecs import hookimpl
    from harness.metrics import Metric, MetricInput
    from harness.options import Option
    from harness.probes import (
        Audit,
        Column,
        DatasetProbe,
        Fault,
        Figure,
        Finding,
        Measured,
        ModelProbe,
        Phantom,
        Predictions,
        Table,
    )
    from harness.session import Session as Session
    from harness.types import (
        Classifier,
        Command,
        Dataset,
        DerivedModel,
        Features,
        FitContext,
        InitialWeights,
        Model,
        ModelFamily,
        Outputs,
        Perturbation,
        PublishedResult,
        Reader,
        RemoteFile,
        Report,
        Setting,
        Split,
        Splits,
    )
    from harness.views import four_views

__all__ = [
    "Audit",
    "Classifier",
    "Column",
    "Command",
    "Dataset",
    "DatasetProbe",
    "DerivedModel",
    "Event",
    "Execution",
    "Executor",
    "ExecutorOptions",
    "Fault",
    "Features",
    "Figure",
    "Finding",
    "FitContext",
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
    "hookimpl",
    "later",
]

MODULES = (
    "types",
    "options",
    "probes",
    "executors",
    "metrics",
    "hookspecs",
    "views",
    "estimators",
    "session",
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
