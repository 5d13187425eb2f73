"""What ``harness transfer`` does: test models that are fitted on one dataset on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import transfer
from harness.analysis.transfer import Transfer
from harness.data import cohorts
from harness.errors import HarnessError
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks import settings
from harness.hooks.registry import Registry
from harness.planning import choose, planner
from harness.planning.plan import Request
from harness.store.failures import Failure
from harness.store.store import Store
from harness.types.datasets import Dataset
from harness.types.models import Given, Model
from harness.workflows import running

if TYPE_CHECKING:
    from harness.types.executors import Execution


@dataclass(frozen=True)
class TransferRequest:
    """What the user asked for."""

    home: Dataset
    cohorts: tuple[Dataset, ...]
    run: Request


def request(
    registry: Registry,
    data: Path,
    minutes: float | None,
    home: str,
    away: Sequence[str],
    *,
    models: Sequence[str],
    seeds: Sequence[int] = (0,),
    assigned: Sequence[str] = (),
) -> TransferRequest:
    """The test of models on a dataset and on cohorts; those that are baselines join them.

    ``assigned`` are settings as ``KEY=VALUE``. Raises HarnessError when something that is named is
    not known, or not here, or when a cohort shares no class with the dataset.
    """
    if home in away:
        raise HarnessError(f"transfer: {home} is no cohort of its own; name another dataset")
    chosen = choose.models(registry, models)
    for model in choose.fitted(registry, chosen):
        if model.given is not None:
            _check_given(model.name, model.given, home, away)
    own = [name for name, model in registry.models.items() if is_baseline(model)]
    joined = [registry.models.find(name) for name in own if not choose.lacks(registry, name)]
    chosen += [model for model in joined if model not in chosen]
    first, *others = choose.datasets(registry, [home, *away], data)
    names = [cohorts.name(first.name, cohort.name) for cohort in others]
    words = cohorts.words(registry.datasets.values())
    for cohort in others:
        cohorts.check(first, cohort, words)
    run = Request(
        datasets=[first, *(registry.datasets.find(name) for name in names)],
        models=chosen,
        data=data,
        seeds=seeds,
        given=settings.parse(assigned, choose.fitted(registry, chosen)),
        minutes=minutes,
    )
    return TransferRequest(first, tuple(others), run)


def _check_given(model: str, given: Given, home: str, away: Sequence[str]) -> None:
    """Raise HarnessError if something that was brought along is not for the dataset or a cohort."""
    known = ", ".join((given.dataset, *given.cohorts))
    if home != given.dataset:
        raise HarnessError(
            f"transfer: of {model} only what it gave for {known} is known, which is tested with "
            f"harness transfer {given.dataset}; name a model that can be asked about other patches"
        )
    for cohort in away:
        if cohort not in given.cohorts:
            raise HarnessError(
                f"transfer: of {model} only what it gave for {known} is known; add a file for "
                f"{cohort} to the table [cohorts] of its description, or name a model that can be "
                "asked about other patches"
            )


def is_baseline(model: object) -> bool:
    """Whether a model sees no structure of tissue."""
    return isinstance(model, Model) and model.baseline


def is_given(model: object) -> bool:
    """Whether of a model only what it gave is known."""
    return isinstance(model, Model) and model.given is not None


def compute(
    asked: TransferRequest, registry: Registry, store: Store, executor: Execution
) -> tuple[Transfer | None, dict[str, Failure]]:
    """Compute what the store lacks, and compare; returns what failed as well.

    None where nothing of the dataset at home could be computed.
    """
    plan = planner.build(registry, store, asked.run)
    plan.failures |= plan.unavailable
    executor = watched(executor, plan, store)
    failures = execute(plan, store, registry, executor, asked.run.minutes)
    if asked.home.name not in store.datasets():
        return None, failures
    found = transfer.transfer(
        store,
        plan,
        asked.home,
        asked.cohorts,
        {model.name: is_baseline(model) for model in asked.run.models},
        frozenset(model.name for model in asked.run.models if is_given(model)),
        running.board(store, asked.home.name, registry),
        choose.model_probes(registry, ()),
        [result for result, _ in registry.published],
    )
    return replace(found, failed={n: str(why) for n, why in failures.items()}), failures
