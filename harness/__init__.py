"""How much of a histopathology classifier's accuracy is tissue, and how much color and compression.

What a plugin needs is importable from here. Those that read files or stream over patches find more
in ``harness.patches`` (files of patches), ``harness.splits`` (``stream``, splits made of splits),
``harness.copies``, ``harness.jpeg``, ``harness.toml_keys`` and ``harness.statistics``, those that
draw in ``harness.drawing`` (pictures, names in them) and ``harness.numbers`` (numbers as text); the
rest of the package is the command's own.
"""

from harness.errors import HarnessError, UnavailableError
from harness.estimators import estimator_model
from harness.hookspecs import hookimpl
from harness.later import later
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
from harness.types import (
    Classifier,
    Dataset,
    DerivedModel,
    Features,
    FitContext,
    InitialWeights,
    Model,
    ModelFamily,
    Perturbation,
    PublishedResult,
    Reader,
    RemoteFile,
    Setting,
    Split,
    Splits,
)
from harness.views import four_views

__all__ = [
    "Audit",
    "Classifier",
    "Column",
    "Dataset",
    "DatasetProbe",
    "DerivedModel",
    "Fault",
    "Features",
    "Figure",
    "Finding",
    "FitContext",
    "HarnessError",
    "InitialWeights",
    "Measured",
    "Model",
    "ModelFamily",
    "ModelProbe",
    "Perturbation",
    "Phantom",
    "Predictions",
    "PublishedResult",
    "Reader",
    "RemoteFile",
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
