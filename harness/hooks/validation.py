"""What contributions say of themselves must hold together: a function for each kind."""

from __future__ import annotations

from numbers import Real
from typing import get_args

from harness.data.views import VIEWS
from harness.hooks.reserved import COLUMN_SETS, COMMANDS
from harness.types.commands import Command
from harness.types.datasets import Dataset
from harness.types.metrics import Metric
from harness.types.models import DerivedModel, Model, Outputs
from harness.types.options import Option
from harness.types.perturbations import Perturbation
from harness.types.published import PublishedResult


def dataset(item: Dataset) -> None:
    """Classes are different names. Raises ValueError, as all functions here."""
    if not item.classes:  # not known of a TOML file without its data
        return
    texts = all(isinstance(name, str) for name in item.classes)
    if not texts or len(set(item.classes)) < max(len(item.classes), 2):
        raise ValueError(f"{item.name}: classes must be two or more different names")
    if unknown := [name for name in item.counterparts if name not in item.classes]:
        raise ValueError(
            f"{item.name}: counterparts names {unknown[0]!r}, which is none of its classes "
            f"({', '.join(item.classes)})"
        )
    if item.micrometers and not 0.02 <= item.micrometers <= 50:
        raise ValueError(
            f"{item.name}: micrometers = {item.micrometers!r} must be the width of a pixel, such "
            "as 0.5, or 0"
        )


def model(item: Model | DerivedModel) -> None:
    """Demo settings are settings, outputs are of a kind that there is, and views are known."""
    if isinstance(item, DerivedModel):
        for _, view in item.terms:
            if view not in VIEWS:
                raise ValueError(f"{item.name}: unknown view {view!r}; there is {', '.join(VIEWS)}")
        return
    settings = {**item.settings, **item.execution}
    if unknown := set(item.demo_settings) - set(settings):
        raise ValueError(f"{item.name}: demo_settings names no setting: {sorted(unknown)}")
    for name, option in item.options.items():
        for value in (option.default, item.demo_settings.get(name, option.default)):
            if not option.allows(value):
                raise ValueError(f"{item.name}: {name} = {value!r} is not {option.allowed}")
    if item.given is not None and bool(item.trained_on) == (item.features is not None):
        raise ValueError(f"{item.name}: given needs either trained_on or features")
    if not callable(item.outputs) and item.outputs not in get_args(Outputs):
        kinds = ", ".join(get_args(Outputs))
        raise ValueError(f"{item.name}: outputs = {item.outputs!r} must be one of {kinds}")


def perturbation(item: Perturbation) -> None:
    """It has levels, or learns what classes look like."""
    if (item.role == "steering") != (item.learns is not None):
        raise ValueError(f"{item.name}: the role steering and learns go together")
    if bool(item.levels) == (item.learns is not None):
        raise ValueError(f"{item.name}: give either levels, at least one, or learns")
    if not all(isinstance(level, Real) for level in item.levels):
        raise ValueError(f"{item.name}: levels must be numbers, not {item.levels!r}")
    if item.level is None:
        return
    if not isinstance(item.level, Option) or item.learns is not None:
        raise ValueError(f"{item.name}: level must be a harness.Option, and not given with learns")
    kind = type(item.level.default)
    for level in (*item.levels, item.level.default):
        if not item.level.allows(float(level) if kind is float else level):
            raise ValueError(f"{item.name}: level {level!r} is not {item.level.allowed}")


def published(item: PublishedResult) -> None:
    """Figures are fractions of 1, and a confusion matrix is square."""
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


def metric(item: Metric) -> None:
    """It belongs to a set of columns that there is, and is not called like one."""
    if item.name in COLUMN_SETS:
        raise ValueError(f"{item.name}: is a set of columns; choose another name")
    sets = ("default", "figures", "calibration")
    if item.columns not in sets:
        raise ValueError(
            f"{item.name}: columns = {item.columns!r} must be one of {', '.join(sets)}"
        )


def command(item: Command) -> None:
    """Its name is that of no command of the harness."""
    if item.name in COMMANDS:
        raise ValueError(f"{item.name}: is a command of the harness itself; choose another name")
