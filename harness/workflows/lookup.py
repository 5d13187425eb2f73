"""Stored predictions by the name of a model, and patches by their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import HarnessError
from harness.hooks.registry import Registry
from harness.jobs.dataset import Instance
from harness.reports.shown import Patches, PatchPredictions
from harness.store import predictions
from harness.store.predictions import Run
from harness.store.store import Store
from harness.store.stored import load_array
from harness.text.names import suggest


def predictions_of(
    store: Store,
    dataset: str,
    model: str,
    seed: int | None,
    perturbation: str,
    level: float | None,
    registry: Registry,
) -> PatchPredictions:
    """What a model predicted for each test patch; see ``Session.predictions``."""
    truth = predictions.ground_truth(store, dataset)
    run = _run_of(store, dataset, model, seed, registry)
    logits = run.logits()
    if perturbation:
        levels = sorted(at for name, at in run.perturbed if name == perturbation)
        at = levels[0] if levels and level is None else level
        place = run.perturbed.get((perturbation, float("nan" if at is None else at)))
        if place is None:
            known = [f"{name} {at:g}" for name, at in sorted(run.perturbed)]
            asked = perturbation if level is None else f"{perturbation} {level:g}"
            raise HarnessError(
                f"{model} under {asked} is not stored; there is {', '.join(known) or 'none'}"
            )
        logits = load_array(place, "logits.npy")
    return PatchPredictions(
        model=run.record["model"],
        classes=truth.classes,
        ids=tuple(truth.ids),
        labels=truth.labels,
        logits=logits / np.float32(run.terms),
        no_probabilities=run.no_probabilities,
    )


def _run_of(store: Store, dataset: str, model: str, seed: int | None, registry: Registry) -> Run:
    by_seed = runs_of(store, dataset, model, registry)
    chosen = by_seed.get(min(by_seed) if seed is None else seed)
    if chosen is None:
        raise HarnessError(
            f"{model} was not run with the seed {seed}; there is "
            + ", ".join(map(str, sorted(by_seed)))
        )
    return chosen


def runs_of(store: Store, dataset: str, model: str, registry: Registry) -> dict[int, Run]:
    """The runs of a model on a dataset by their seeds; of a digest, the one that it names.

    Raises HarnessError when there is none, and when the model was run in several ways.
    """
    every = predictions.runs(store, dataset, registry.perturbations)
    ways = [
        runs
        for runs in predictions.trainings(every, registry.versions)
        if model in (runs[0].record["model"], *(run.record["digest"] for run in runs))
    ]
    if not ways:
        models = {str(run.record["model"]) for run in every}
        raise HarnessError(
            f"no predictions of {model} for {dataset} are stored; {suggest(model, models)}"
        )
    if len(ways) > 1:
        digests = ", ".join(str(runs[0].record["digest"]) for runs in ways)
        raise HarnessError(f"{model} was run in several ways; name a result: {digests}")
    by_seed = {run.record["seed"]: run for run in ways[0]}
    for run in ways[0]:
        if run.record["digest"] == model:
            by_seed = {run.record["seed"]: run}
    return by_seed


def patches_of(
    instance: Instance, ids: Sequence[str], predicted: PatchPredictions | None
) -> Patches:
    """Patches of a dataset by their ids. Raises HarnessError for an id that it does not have."""
    places = instance.places
    for id_ in ids:
        if id_ not in places:
            name = instance.dataset.name
            raise HarnessError(f"{name} has no patch {id_!r}; {suggest(id_, places)}")
    images = [part.read([at])[0] for part, at in (places[id_] for id_ in ids)]
    labels = [int(part.labels[at]) for part, at in (places[id_] for id_ in ids)]
    classes = instance.dataset.classes
    guesses: dict[str, str] = {}
    if predicted is not None:
        names = (predicted.classes[guess] for guess in predicted.predicted.tolist())
        guesses = dict(zip(predicted.ids, names, strict=True))
    return Patches(
        images=np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8),
        ids=tuple(ids),
        labels=tuple(classes[label] for label in labels),
        predicted=tuple(guesses.get(id_, "") for id_ in ids) if guesses else (),
    )
