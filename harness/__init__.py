"""How much of a histopathology classifier's accuracy is tissue, and how much color and compression.

What a plugin needs is importable from here; the rest of the package is the command's own.
"""

from harness.errors import HarnessError
from harness.hookspecs import hookimpl
from harness.types import (
    Classifier,
    Dataset,
    DerivedModel,
    Features,
    Figure,
    FitContext,
    InitialWeights,
    Model,
    Perturbation,
    Probe,
    PublishedResult,
    RemoteFile,
    Setting,
    Split,
    Splits,
)
from harness.views import four_views

__all__ = [
    "Classifier",
    "Dataset",
    "DerivedModel",
    "Features",
    "Figure",
    "FitContext",
    "HarnessError",
    "InitialWeights",
    "Model",
    "Perturbation",
    "Probe",
    "PublishedResult",
    "RemoteFile",
    "Setting",
    "Split",
    "Splits",
    "four_views",
    "hookimpl",
]
