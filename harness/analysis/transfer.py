"""Models at home and away: accuracy on cohorts of another origin, and how far it falls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.analysis import estimates
from harness.analysis.contrast import planned
from harness.analysis.dataframes import of_rows
from harness.analysis.leaderboard import Board
from harness.data import cohorts
from harness.planning.plan import Plan
from harness.statistics import intervals
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.statistics.rank_correlation import spearman
from harness.statistics.unpaired import difference
from harness.store import predictions
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Store
from harness.types.datasets import Dataset
from harness.types.probes import ModelProbe
from harness.types.published import PublishedResult

FIGURES = ("balanced_accuracy", "accuracy")
"""What is compared; the first does not depend on how many patches there are of each class."""


@dataclass(frozen=True)
class Side:
    """A model on patches of the shared classes, at home or away: means over seeds."""

    figures: Mapping[str, Estimate]
    """Those of ``FIGURES``."""
    recall: Mapping[str, Estimate]
    """By class."""
    elsewhere: float
    """Share of the patches that are called a class which the two do not share."""


@dataclass(frozen=True)
class Transferred:
    """A model at home and on one cohort."""

    model: str
    home: Side
    away: Side
    seeds: tuple[int, ...]
    baseline: bool
    """Whether it sees no structure of tissue, and is there for reference."""
    given: bool = False
    """Whether what it gave for the patches was brought along."""

    @property
    def drops(self) -> dict[str, Estimate]:
        """By figure: that at home minus that away, with the interval of independent patches."""
        return {
            name: difference(self.home.figures[name], self.away.figures[name]) for name in FIGURES
        }

    @property
    def falls(self) -> dict[str, Estimate]:
        """By class: recall at home minus that away."""
        return {
            name: difference(recall, self.away.recall[name])
            for name, recall in self.home.recall.items()
            if name in self.away.recall
        }


@dataclass(frozen=True)
class Cohort:
    """A cohort, and the models that were tested on it."""

    dataset: Dataset
    truth: GroundTruth
    mapped: Mapping[str, str]
    """For each of its classes that is shared, what the dataset at home calls it."""
    n_home: int
    """Test patches at home of the shared classes."""
    scale: float
    """By what factor its patches were made larger."""
    models: Mapping[str, Transferred]
    published: tuple[PublishedResult, ...] = ()
    """Of models that were fitted on the same patches, on its whole test set."""


@dataclass(frozen=True)
class Foretold:
    """Whether a figure that models have at home foretells how they do on a cohort."""

    cohort: str
    figure: str
    n_models: int
    drop: Estimate | None
    """Spearman's rank correlation with the drop; None for too few models, and for balanced accuracy
    itself: it is a part of the drop, and correlates with it where it foretells nothing."""
    away: Estimate | None
    """The same with balanced accuracy away."""


@dataclass(frozen=True)
class Transfer:
    """Models that were fitted on one dataset, on others."""

    home: Dataset
    folds: int
    """Folds that it is cross-validated over at home; 0 where it has test patches of its own."""
    grouped: bool
    """Whether patients or slides of its test patches are known."""
    cohorts: tuple[Cohort, ...]
    figures: Mapping[str, Mapping[str, Estimate]]
    """What probes found at home, by their figure and the model."""
    headings: Mapping[str, str]
    """What those figures are called in tables."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What could not be computed, and why."""

    @property
    def foretold(self) -> list[Foretold]:
        """For each cohort and figure at home, balanced accuracy first: the rank correlation."""
        found = []
        for cohort in self.cohorts:
            at_home = {
                name: model.home.figures[FIGURES[0]] for name, model in cohort.models.items()
            }
            for figure, known in {FIGURES[0]: at_home, **self.figures}.items():
                models = [model for name, model in cohort.models.items() if name in known]
                values = np.array([known[model.model].value for model in models])
                drops = np.array([model.drops[FIGURES[0]].value for model in models])
                away = np.array([model.away.figures[FIGURES[0]].value for model in models])
                of_drop = None if figure == FIGURES[0] else spearman(figure, values, drops)
                of_away = spearman(figure, values, away)
                found.append(Foretold(cohort.dataset.name, figure, len(models), of_drop, of_away))
        return found

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row a model and cohort. Raises HarnessError without pandas."""
        return of_rows([_row(cohort, model) for cohort in self.cohorts for model in _of(cohort)])

    def __repr__(self) -> str:
        away = ", ".join(cohort.dataset.name for cohort in self.cohorts)
        return f"<transfer from {self.home.name} to {away}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_transfer(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_transfer(self)


def _of(cohort: Cohort) -> list[Transferred]:
    return list(cohort.models.values())


def _row(cohort: Cohort, model: Transferred) -> dict[str, Any]:
    row: dict[str, Any] = {"cohort": cohort.dataset.name, "model": model.model}
    for name, drop in model.drops.items():
        for part, found in (
            ("home", model.home.figures[name]),
            ("away", model.away.figures[name]),
            ("drop", drop),
        ):
            row[f"{name}_{part}"] = found.value
            row[f"{name}_{part}_low"], row[f"{name}_{part}_high"] = found.low, found.high
    return {
        **row,
        "called_another_class": model.away.elsewhere,
        "seeds": list(model.seeds),
        "baseline": model.baseline,
    }


def transfer(
    store: Store,
    plan: Plan,
    home: Dataset,
    away: Sequence[Dataset],
    baselines: Mapping[str, bool],
    given: Collection[str],
    board: Board,
    probes: Sequence[ModelProbe],
    published: Sequence[PublishedResult] = (),
) -> Transfer:
    """What was planned and computed, at home and away.

    ``baselines`` says of each model whether it is one, and ``given`` are those of which only what
    they gave is known. ``board`` is that of the dataset at home,
    from which the figures of ``probes`` are. Seeds that lack a result of either side are left out.
    """
    figures: dict[str, dict[str, Estimate]] = {}
    headings = {}
    for probe in probes:
        for column in probe.columns:
            headings[column.estimate] = column.heading
            for model, finding in board.findings[probe.name].items():
                known = {found.name: found for found in finding.estimates}
                if column.estimate in known and model in baselines:
                    figures.setdefault(column.estimate, {})[model] = known[column.estimate]
    at_home = predictions.ground_truth(store, home.name)
    found = [_cohort(store, plan, home, at_home, cohort, baselines, given) for cohort in away]
    there = tuple(
        replace(cohort, published=_published(home, cohort.dataset, published))
        for cohort in found
        if cohort is not None
    )
    return Transfer(
        home, at_home.described["folds"], at_home.groups is not None, there, figures, headings
    )


def _published(
    home: Dataset, cohort: Dataset, known: Sequence[PublishedResult]
) -> tuple[PublishedResult, ...]:
    """Published results on a cohort of models that were fitted on the patches at home."""
    wanted = (cohort.test_set, home.trained_on)
    return tuple(
        result
        for result in known
        if all(wanted)
        and (result.test_set, result.trained_on) == wanted
        and result.perturbation == "clean"
    )


def _cohort(
    store: Store,
    plan: Plan,
    home: Dataset,
    at_home: GroundTruth,
    cohort: Dataset,
    baselines: Mapping[str, bool],
    given: Collection[str],
) -> Cohort | None:
    """What is stored of one cohort; None where nothing is."""
    name = cohorts.name(home.name, cohort.name)
    if name not in store.datasets():
        return None
    truth = predictions.ground_truth(store, name)
    labels = np.unique(truth.labels)
    mapped = cohorts.shared(home, cohort)
    models = {}
    for model, baseline in baselines.items():
        runs = planned(plan, store, home.name, model), planned(plan, store, name, model)
        if seeds := sorted(runs[0].keys() & runs[1].keys()):
            first, second = (
                _side(side_truth, [of_seed[seed] for seed in seeds], labels)
                for side_truth, of_seed in zip((at_home, truth), runs, strict=True)
            )
            models[model] = Transferred(
                model, first, second, tuple(seeds), baseline, model in given
            )
    n_home = int(np.isin(at_home.labels, labels).sum())
    there = {truth.classes[label] for label in labels}
    mapped = {own: word for own, word in mapped.items() if word in there}
    return Cohort(cohort, truth, mapped, n_home, cohorts.scale(home, cohort), models)


def _side(truth: GroundTruth, runs: Sequence[Run], shared: Any) -> Side:
    """Figures of trainings with different seeds on patches of some classes."""
    chosen = np.isin(truth.labels, shared)
    labels, sampling = truth.labels[chosen], Sampling(groups=truth.groups).of(chosen)
    figures, recalls, elsewhere = [], [], []
    for run in runs:
        predicted = run.logits()[chosen].argmax(axis=1)
        n_classes = len(truth.classes)
        of_run = intervals.of_predictions(labels, predicted, n_classes, sampling)
        figures.append({name: of_run[name] for name in FIGURES})
        recalls.append(intervals.recalls(labels, predicted, truth.classes, sampling))
        elsewhere.append(float((~np.isin(predicted, shared)).mean()))
    return Side(estimates.mean(figures), estimates.mean(recalls), float(np.mean(elsewhere)))
