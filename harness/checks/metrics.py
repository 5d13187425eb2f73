"""What metrics promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.measuring import measure
from harness.checks.bench import Bench, scramble, unchanged
from harness.checks.outcome import Broken, Skipped
from harness.data.handover import frozen
from harness.statistics.estimates import Estimate
from harness.statistics.metrics import probabilities
from harness.types.metrics import Metric, MetricInput

REPEATS = 4
"""How often the labels of the few test patches are repeated."""
TOLERANCE = 1e-9
"""How far the order of patches may move a figure, as sums are added up in another order."""


def made_up(bench: Bench, seed: int = 1) -> MetricInput:
    """Labels, and logits around them that are wrong at times."""
    labels = frozen(np.tile(bench.test.labels, REPEATS))
    drawn = np.random.default_rng(seed).normal(0, 1, (len(labels), len(bench.classes)))
    drawn[np.arange(len(labels)), labels] += 2
    logits = frozen(drawn.astype(np.float32))
    return MetricInput(
        model="made-up",
        classes=bench.classes,
        labels=labels,
        logits=logits,
        probabilities=frozen(probabilities(logits)),
    )


def of(metric: Metric, given: MetricInput) -> Estimate | None:
    """Its figure. Raises Broken if that is none."""
    try:
        return measure(metric, given)
    except (TypeError, ValueError) as error:
        if "value returned" not in str(error):
            raise
        raise Broken(str(error), "return harness.Estimate with low <= value <= high") from error


def estimate(metric: Metric, bench: Bench) -> Estimate:
    """It is a finite number, within its interval if it has one."""
    found = bench.once(("metric", metric.name), lambda: of(metric, made_up(bench)))
    if found is None:
        raise Skipped("it is not defined for the logits that were made up")
    return found


def same_again(metric: Metric, bench: Bench) -> None:
    """Asked again, it is the same."""
    expected = estimate(metric, bench)
    scramble()
    if of(metric, made_up(bench)) != expected:
        raise Broken("asked twice, it gave two figures", "use a generator with a seed")


def any_order(metric: Metric, bench: Bench) -> None:
    """It does not depend on the order of the patches."""
    expected, given = estimate(metric, bench), made_up(bench)
    order = np.random.default_rng(2).permutation(len(given.labels))
    assert given.probabilities is not None
    shuffled = of(
        metric,
        replace(
            given,
            labels=given.labels[order],
            logits=given.logits[order],
            probabilities=given.probabilities[order],
        ),
    )
    if shuffled is None or abs(shuffled.value - expected.value) > TOLERANCE:
        raise Broken(
            f"{expected.value:.6g}, and {shuffled and shuffled.value} of the same patches in "
            "another order",
            "let each patch count for itself",
        )


def no_probabilities(metric: Metric, bench: Bench) -> None:
    """Where a model gives no probabilities, it is a figure or None."""
    of(metric, replace(made_up(bench), probabilities=None))


def groups(metric: Metric, bench: Bench) -> None:
    """Where patients are known, it is a figure or None, and its value stays the same."""
    expected, given = estimate(metric, bench), made_up(bench)
    of_patient = frozen(np.arange(len(given.labels)) % max(2, len(given.labels) // 3))
    grouped = of(metric, replace(given, groups=of_patient))
    if grouped is not None and abs(grouped.value - expected.value) > TOLERANCE:
        raise Broken(
            f"{expected.value:.6g}, and {grouped.value:.6g} where patients are known",
            "let groups change the interval alone",
        )


def inputs_unchanged(metric: Metric, bench: Bench) -> None:
    """Labels and logits are left as they are."""
    given = made_up(bench)
    assert given.probabilities is not None
    arrays = given.labels, given.logits, given.probabilities
    with unchanged("value changed labels, logits or probabilities in place", *arrays):
        metric.value(given)


METRIC = (estimate, same_again, any_order, no_probabilities, groups, inputs_unchanged)
