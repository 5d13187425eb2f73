"""What ``harness contrast`` does: train models on two versions of the same patches, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.analysis import contrast
from harness.analysis.contrast import Contrast
from harness.data import pairing
from harness.errors import HarnessError
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks import settings
from harness.hooks.registry import Registry
from harness.planning import choose, planner
from harness.planning.plan import Request
from harness.store.failures import Failure
from harness.store.store import Store

if TYPE_CHECKING:
    from harness.types.executors import Execution


@dataclass(frozen=True)
class ContrastRequest:
    """What the user asked for."""

    run: Request
    n_train: int
    """Training patches that both datasets have."""


def request(
    registry: Registry,
    data: Path,
    minutes: float | None,
    one: str,
    other: str,
    *,
    models: Sequence[str],
    seeds: Sequence[int] = (0,),
    assigned: Sequence[str] = (),
    protocol: Literal["held-out", "published"] = "held-out",
) -> ContrastRequest:
    """The training of models on what two datasets share.

    ``assigned`` are settings as ``KEY=VALUE``. Raises HarnessError when something that is named is
    not known, not here, or cannot be contrasted.
    """
    chosen = choose.models(registry, models)
    fitted = choose.trained_here(registry, chosen, "contrast")
    if one == other:
        raise HarnessError(f"contrast: {one} is contrasted with itself; name two datasets")
    first, second = choose.datasets(registry, [one, other], data)
    names, n_train = pairing.pair(first, second, data)
    run = Request(
        datasets=[registry.datasets.find(name) for name in names],
        models=chosen,
        data=data,
        seeds=seeds,
        protocol=protocol,
        given=settings.parse(assigned, fitted),
        minutes=minutes,
    )
    return ContrastRequest(run, n_train)


def compute(
    asked: ContrastRequest, registry: Registry, store: Store, executor: Execution
) -> tuple[Contrast, dict[str, Failure]]:
    """Compute what the store lacks, and compare; returns what failed as well."""
    plan = planner.build(registry, store, asked.run)
    plan.failures |= plan.unavailable
    executor = watched(executor, plan, store)
    failures = execute(plan, store, registry, executor, asked.run.minutes)
    one, other = (dataset.name for dataset in asked.run.datasets)
    names = [model.name for model in asked.run.models]
    found = contrast.contrast(store, plan, (one, other), names, asked.n_train)
    return replace(found, failed={n: str(why) for n, why in failures.items()}), failures
