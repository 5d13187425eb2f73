"""What metrics say of stored runs. One that fails costs only its own cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.data.handover import frozen, kept
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.statistics.estimates import Estimate
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import probabilities
from harness.store.failures import Collected
from harness.store.predictions import GroundTruth, Run
from harness.types.metrics import Metric, MetricInput

Measure = Callable[[Metric, MetricInput], Estimate | None]


def measure(metric: Metric, given: MetricInput) -> Estimate | None:
    """A metric of a run, under its name. Raises what the metric raises, and TypeError or ValueError
    if what it returned is no figure."""
    found = metric.value(
        replace(
            given,
            labels=kept(given.labels),
            logits=kept(given.logits),
            probabilities=None if given.probabilities is None else kept(given.probabilities),
            groups=None if given.groups is None else kept(given.groups),
        )
    )
    if found is None:
        return None
    if not isinstance(found, Estimate):
        raise TypeError(f"value returned {found!r} where an Estimate is expected")
    parts = {
        part: None if (number := getattr(found, part)) is None else float(number)
        for part in ("value", "low", "high")
    }
    value, low, high = parts["value"], parts["low"], parts["high"]
    if value is None or not all(math.isfinite(part) for part in parts.values() if part is not None):
        raise ValueError(f"value returned {found!r}; return None where it is not defined")
    if (low is None) != (high is None) or not (low is None or high is None or low <= value <= high):
        raise ValueError(f"value returned {found!r}, whose interval does not hold its value")
    return Estimate(name=metric.name, value=value, low=low, high=high)


def careful(problems: Collected, minutes: float | None) -> Measure:
    """The same, but a metric that fails, or takes longer, is a problem and has no figure."""

    def careful_measure(metric: Metric, given: MetricInput) -> Estimate | None:
        try:
            with limited(minutes), contained():
                return measure(metric, given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problems.add(f"metric {metric.name} of {given.model}", error)
            return None

    return careful_measure


def of_run(
    run: Run,
    truth: GroundTruth,
    sampling: Sampling,
    metrics: Sequence[Metric],
    measure: Measure = measure,
) -> dict[str, Estimate]:
    """Every metric of a run that is defined for it, by name."""
    if not metrics:
        return {}
    logits = frozen(run.mean_logits())
    given = MetricInput(
        model=run.record["model"],
        classes=truth.classes,
        labels=truth.labels,
        logits=logits,
        probabilities=None if run.no_probabilities else probabilities(logits),
        groups=sampling.groups,
        design_effect=sampling.design_effect,
    )
    found = {metric.name: measure(metric, given) for metric in metrics}
    return {name: estimate for name, estimate in found.items() if estimate is not None}
