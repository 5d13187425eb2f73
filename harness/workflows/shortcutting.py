"""What ``harness shortcut`` does: train with a fault by class, and test without it and swapped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.analysis import shortcut
from harness.analysis.shortcut import Accuracy
from harness.data import planting
from harness.errors import HarnessError
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks import settings
from harness.hooks.registry import Registry
from harness.planning import choose, planner
from harness.planning.plan import Request
from harness.store.failures import Failure
from harness.store.store import Store
from harness.types.faults import PlantedFault

if TYPE_CHECKING:
    from harness.types.executors import Execution

FEW = 5
"""Doses that models are trained at by default: a model is trained anew at each."""


@dataclass(frozen=True)
class ShortcutRequest:
    """What the user asked for."""

    dataset: str
    fault: PlantedFault
    doses: tuple[float, ...]
    run: Request


def some(doses: tuple[float, ...]) -> tuple[float, ...]:
    """At most ``FEW`` of ascending doses, from the smallest to the largest."""
    places = np.linspace(0, len(doses) - 1, FEW).astype(int)
    return tuple(doses[i] for i in np.unique(places)) if doses else ()


def request(
    registry: Registry,
    data: Path,
    minutes: float | None,
    dataset: str,
    fault: str,
    doses: Sequence[float],
    *,
    models: Sequence[str],
    seeds: Sequence[int] = (0,),
    assigned: Sequence[str] = (),
    protocol: Literal["held-out", "published"] = "held-out",
) -> ShortcutRequest:
    """The training of models on patches with a fault by class; no doses are some of the fault's.

    Raises HarnessError when something that is named is not known, not here, or cannot be trained,
    and for a fault that is the same in all classes.
    """
    for dose in doses:
        if not 0 < dose < math.inf:
            raise HarnessError(f"--dose {dose:g}: a dose is a number above 0")
    chosen = choose.models(registry, models)
    fitted = choose.trained_here(registry, chosen, "shortcut")
    choose.datasets(registry, [dataset], data)
    found = registry.faults.find(fault)
    tried = tuple(sorted(set(doses))) or some(found.doses)
    if found.of_split or any(len(set(found.levels(dose))) == 1 for dose in tried):
        raise HarnessError(
            f"shortcut: {fault} does not differ between classes; name another fault, see "
            "harness list faults"
        )
    names = [
        planting.name(dataset, fault, dose, tested) for dose in tried for tested in planting.TESTED
    ]
    run = Request(
        datasets=[registry.datasets.find(name) for name in names],
        models=chosen,
        data=data,
        seeds=seeds,
        protocol=protocol,
        given=settings.parse(assigned, fitted),
        minutes=minutes,
    )
    return ShortcutRequest(dataset, found, tried, run)


def compute(
    asked: ShortcutRequest, registry: Registry, store: Store, executor: Execution
) -> tuple[list[Accuracy], dict[str, Failure]]:
    """Compute what the store lacks, and read accuracies; returns what failed as well."""
    plan = planner.build(registry, store, asked.run)
    plan.failures |= plan.unavailable
    executor = watched(executor, plan, store)
    failures = execute(plan, store, registry, executor, asked.run.minutes)
    found = [
        shortcut.accuracy(
            *(store, plan, planting.name(asked.dataset, asked.fault.name, dose, tested)),
            *(model.name, dose, tested),
        )
        for model in asked.run.models
        for dose in asked.doses
        for tested in planting.TESTED
    ]
    return [one for one in found if one is not None], failures
