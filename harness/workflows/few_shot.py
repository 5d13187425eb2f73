"""What ``harness few-shot`` does: extract features, and learn from a few patches of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analysis import few_shot
from harness.analysis.few_shot import EPISODES, PREDICT, FewShot, Point, Source
from harness.errors import HarnessError
from harness.execution.execute import execute
from harness.execution.watched import watched
from harness.hooks import settings
from harness.hooks.heads import HEADS
from harness.hooks.registry import Registry
from harness.planning import choose, planner
from harness.planning.plan import Request
from harness.store.failures import Failure, keep_error
from harness.store.store import Store
from harness.text.names import suggest
from harness.types.models import DerivedModel, Model

if TYPE_CHECKING:
    from harness.types.executors import Execution

DEFAULT = ("simpleshot",)
"""Heads that are fitted if none is named."""


@dataclass(frozen=True)
class FewShotRequest:
    """What the user asked for."""

    run: Request
    heads: tuple[str, ...]
    episodes: int
    seed: int


def request(
    registry: Registry,
    data: Path,
    minutes: float | None,
    dataset: str,
    *,
    models: Sequence[str],
    heads: Sequence[str] = (),
    episodes: int = EPISODES,
    seed: int = 0,
    assigned: Sequence[str] = (),
) -> FewShotRequest:
    """Few-shot curves of models on a dataset; no heads are ``DEFAULT``.

    ``assigned`` are settings as ``KEY=VALUE``. Raises HarnessError when something that is named is
    not known, not here, or has no features.
    """
    for head in heads:
        if head not in PREDICT:
            raise HarnessError(
                f"--head {head}: {suggest(head, PREDICT)} (of a few patches none are held out, "
                "for a head to choose on)"
            )
    chosen = [_with_features(registry, model) for model in choose.models(registry, models)]
    run = Request(
        datasets=choose.datasets(registry, [dataset], data),
        models=(),
        features_of=chosen,
        data=data,
        given=settings.parse(assigned, chosen),
        minutes=minutes,
    )
    return FewShotRequest(run, tuple(dict.fromkeys(heads)) or DEFAULT, episodes, seed)


def _with_features(registry: Registry, model: Model | DerivedModel) -> Model:
    if isinstance(model, Model) and model.features is not None:
        return model
    have = [
        name
        for name, other in registry.models.items()
        if isinstance(other, Model) and other.features is not None
    ]
    examples = [family.example for family in registry.models.families.values()]
    have += [example for example in examples if example.rpartition("+")[2] in HEADS]
    what = "sums logits of others" if isinstance(model, DerivedModel) else "is fitted on patches"
    raise HarnessError(
        f"few-shot: {model.name} {what} and has no features; name one that has, such as "
        f"{', '.join(have)}"
    )


def compute(
    asked: FewShotRequest, registry: Registry, store: Store, executor: Execution
) -> tuple[FewShot | None, dict[str, Failure]]:
    """Compute the features that the store lacks, and the curves; returns what failed as well.

    Raises HarnessError when a class has no patch to draw.
    """
    plan = planner.build(registry, store, asked.run)
    (dataset,) = asked.run.datasets
    planned = {model: found for (_, model), found in plan.features.items()}
    instance = next((found.instance for found in planned.values()), None)
    drawn = None
    if instance is not None:  # before anything is computed
        drawn = few_shot.draws(instance, asked.episodes, asked.seed)
    executor = watched(executor, plan, store)
    failures = execute(plan, store, registry, executor, asked.run.minutes)
    if instance is None or drawn is None:
        return None, failures
    sources: list[Source] = []
    points: list[Point] = []
    for name, model in few_shot.curves(asked.run.features_of, planned).items():
        of_model = planned[model.name]
        if not all(key in store for key in of_model.keys.values()):
            continue  # as was said
        try:
            source = few_shot.source(name, model, of_model, store)
            points += few_shot.points(name, model, of_model, drawn, asked.heads, store)
            sources.append(source)
        except Exception as error:
            about = f"few-shot-{dataset.name}-{model.name}"
            failures[f"{dataset.name}: {name}"] = keep_error(store, about, error)
    if not points:
        return None, failures
    splits = instance.splits
    groups = splits.groups if splits.folds and splits.train is None else splits.train_groups
    found = FewShot(
        dataset=dataset.name,
        title=dataset.title,
        classes=tuple(dataset.classes[label] for label in drawn.classes),
        n_test=len(splits.test.labels),
        folds=splits.folds,
        grouped=groups is not None,
        episodes=asked.episodes,
        seed=asked.seed,
        sizes=drawn.sizes,
        left_out=drawn.left_out,
        sources=tuple(sources),
        points=tuple(points),
        failed={label: str(why) for label, why in failures.items()},
    )
    return found, failures
