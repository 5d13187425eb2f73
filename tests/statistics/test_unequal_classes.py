"""Intervals where classes are all right or all wrong, or of one patch: where no spread is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics import intervals, paired, reliability
from harness.statistics.metrics import OF_CONFUSION


def drawn(rng, labels, recall, n_classes):
    right = rng.random(len(labels)) < np.array(recall)[labels]
    return np.where(right, labels, (labels + 1) % n_classes)


def logits(predicted, n_classes):
    return np.eye(n_classes, dtype=np.float32)[predicted]


def test_one_patch_does_not_tell_models_apart():
    """Only one of them gets the only patch of a class right."""
    labels = np.repeat([0, 1], [12, 1])
    found = paired.compare(labels, logits(labels, 2), logits(np.zeros(13, int), 2))
    assert found.p > 0.3
    for estimate in found.differences.values():
        assert estimate.low < 0 < estimate.high, estimate


@pytest.mark.parametrize("n", [2, 5, 10, 15])
def test_the_more_a_model_gets_right_the_higher_the_ends(n):
    """A class of which all are wrong, beside others without an error."""
    labels = np.repeat([0, 1, 2], [n, 15, 15])
    lost = np.maximum(labels, 1)
    one = intervals.estimate(labels, logits(lost, 3))
    best = intervals.estimate(labels, logits(labels, 3))
    for name in ("accuracy", "balanced_accuracy", "macro_auroc"):
        assert one[name].low < best[name].low
        assert one[name].high < best[name].high
    # As wide as Wilson's of the class that is lost, at least, to one side.
    share = n / len(labels)
    assert one["accuracy"].high - one["accuracy"].value > share * intervals.wilson(0, n)[1] / 2
    assert one["macro_auroc"].high - one["macro_auroc"].low > 0.05


@settings(max_examples=60, deadline=None)
@given(
    n_of=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    seed=st.integers(0, 1000),
    shares=st.tuples(*[st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])] * 2),
)
def test_ends_are_possible_values_and_hold_the_figure(n_of, seed, shares):
    rng, n_classes = np.random.default_rng(seed), len(n_of)
    labels = np.repeat(np.arange(n_classes), n_of)
    one, other = (drawn(rng, labels, [share] * n_classes, n_classes) for share in shares)
    found = intervals.of_predictions(labels, one, n_classes)
    gaps = paired.of_predictions(labels, one, other, n_classes).differences
    for name in OF_CONFUSION:
        least = -1.0 if name == "mcc" else 0.0
        assert least <= found[name].low <= found[name].value <= found[name].high <= 1.0
        most = 1.0 - least
        assert -most <= gaps[name].low <= gaps[name].high <= most
        if len(labels) > 1 and found[name].value not in (least, 1.0):
            assert found[name].high > found[name].low


@settings(max_examples=60, deadline=None)
@given(
    n_of=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    seed=st.integers(0, 1000),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    effect=st.sampled_from([1.0, 4.0]),
    grouped=st.booleans(),
)
def test_an_accuracy_has_one_interval_whoever_asks(n_of, seed, share, effect, grouped):
    """On the board, on the pages of probes, and what it lacks of 1 as an error at full coverage."""
    rng, n_classes = np.random.default_rng(seed), len(n_of)
    labels = np.repeat(np.arange(n_classes), n_of)
    predicted = drawn(rng, labels, [share] * n_classes, n_classes)
    groups = np.arange(len(labels)) // 2 if grouped else None
    sampling = intervals.Sampling(groups=groups, design_effect=effect)
    one = intervals.of_predictions(labels, predicted, n_classes, sampling)["accuracy"]
    right = (labels == predicted).astype(np.float64)
    same = intervals.mean_of_shares("accuracy", right, labels, sampling)
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=1e-12)
    _, (error,) = reliability.risk(labels, logits(predicted, n_classes), [1.0], sampling)
    assert (1 - error.high, 1 - error.low) == pytest.approx((one.low, one.high), abs=1e-12)
