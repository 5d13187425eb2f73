"""What ``harness run`` and ``harness leaderboard`` do: make a request, compute it, build boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from harness.analysis import asking, leaderboard, measuring, selection
from harness.analysis.leaderboard import Board
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks import settings
from harness.hooks.registry import Registry
from harness.planning import choose, plan, planner
from harness.statistics.equivalence import MARGIN
from harness.statistics.selection import SelectionAudit
from harness.store.failures import Collected, Failure
from harness.store.store import Store
from harness.store.stored import DamagedError
from harness.types.metrics import Metric

if TYPE_CHECKING:
    from harness.types.executors import Execution

Pages = tuple[Board, dict[str, list[SelectionAudit]]]
"""What the pages of a dataset are made of."""


def request(
    registry: Registry,
    data: Path,
    minutes: float | None,
    problems: dict[str, Exception],
    *,
    datasets: Sequence[str] = (),
    models: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    perturbations: Sequence[str] = (),
    probes: Sequence[str] | None = None,
    assigned: Sequence[str] = (),
    protocol: Literal["held-out", "published"] = "held-out",
    audit_selection: bool = False,
) -> plan.Request:
    """What these names ask for; no datasets or no models are all that can run here.

    ``probes`` are those of models, None for all of them; ``assigned`` are settings as
    ``KEY=VALUE``. What of all that cannot be told is added to ``problems``. Raises HarnessError
    when something that is named is not known, or not here.
    """
    chosen = choose.models(registry, models)
    none = probes is not None and not probes
    asked = [] if none else choose.model_probes(registry, probes or ())
    return plan.Request(
        datasets=choose.datasets(registry, datasets, data, problems, minutes),
        models=chosen,
        perturbations=choose.perturbations(registry, perturbations, asked, problems, minutes),
        perturbed=choose.perturbed(chosen, [model.name for model in chosen] if models else ()),
        data=data,
        seeds=seeds,
        protocol=protocol,
        audit_selection=audit_selection,
        given=settings.parse(assigned, choose.fitted(registry, chosen)),
        minutes=minutes,
    )


def compute(
    asked: plan.Request,
    store: Store,
    registry: Registry,
    executor: Execution,
    when_clean: Callable[[], None] = lambda: None,
    not_run: Callable[[str, Failure], None] | None = None,
) -> dict[str, Failure]:
    """Compute what the store lacks; returns what failed.

    ``when_clean`` is called when only perturbed patches are left to be predicted. What cannot be
    had on this machine is handed to ``not_run``, and is a failure without it.
    """
    to_do = planner.build(registry, store, asked)
    if not_run is None:
        to_do.failures |= to_do.unavailable
    else:
        for label, failure in to_do.unavailable.items():
            not_run(label, failure)
    executor = watched(executor, to_do, store)
    return execute(to_do, store, registry, executor, asked.minutes, when_clean)


def board(
    store: Store,
    dataset: str,
    registry: Registry,
    *,
    temperature: bool = False,
    design_effect: float = 1.0,
    margin: float = MARGIN,
    columns: Sequence[str] = ("default",),
    ask: asking.Ask = asking.ask,
    measure: measuring.Measure = measuring.measure,
    damaged: Callable[[DamagedError], None] | None = None,
) -> Board:
    """The leaderboard of a dataset of the store; see ``leaderboard.build``."""
    return leaderboard.build(
        store,
        dataset,
        [result for result, _ in registry.published],
        choose.model_probes(registry, ()),
        registry.perturbations,
        design_effect,
        temperature,
        registry.versions,
        ask,
        damaged,
        margin,
        [*registry.of(Metric).values()],
        measure,
        columns,
    )


def pages(
    store: Store,
    names: Sequence[str],
    registry: Registry,
    problems: Collected,
    damaged: Callable[[str, DamagedError], None],
    minutes: float | None = None,
    *,
    temperature: bool = False,
    design_effect: float = 1.0,
    margin: float = MARGIN,
    columns: Sequence[str] = ("default",),
) -> list[Pages]:
    """What the pages of datasets are made of, as far as the store has it.

    Probes that fail are added to ``problems``. What is damaged is handed to ``damaged`` with the
    name of the dataset; the row of its model then says so. Where it is the dataset itself, there
    are no pages.
    """
    found = []
    for name in names:
        if name not in store.datasets():
            continue
        try:
            built = board(
                store,
                name,
                registry,
                temperature=temperature,
                design_effect=design_effect,
                margin=margin,
                columns=columns,
                ask=asking.careful(problems, minutes),
                measure=measuring.careful(problems, minutes),
                damaged=partial(damaged, name),
            )
        except DamagedError as error:
            damaged(name, error)
        else:
            found.append((built, selection.audits(store, built, partial(damaged, name))))
    return found


def as_text(
    failures: Mapping[str, Failure], problems: Mapping[str, Exception] = MappingProxyType({})
) -> dict[str, str]:
    """What failed, and why, in words."""
    told = {label: str(error) for label, error in problems.items()}
    return {**told, **{label: str(failure) for label, failure in failures.items()}}
