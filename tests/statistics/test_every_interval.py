"""What holds of the interval of every figure that labels and logits give."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics import intervals, paired, reliability
from harness.statistics.intervals import Sampling
from harness_bias.models.agreement import consistency
from harness_bias.models.interval import mean_figure

FEW = 40
"""Simulated test sets for the calibration error."""
WITHOUT = ("ece", "ece_if_calibrated", "ece_equal_mass", "ece_equal_mass_if_calibrated")
"""Plain errors, whose intervals stand beside the debiased ones."""


def drawn(groups=None, design_effect=1.0):
    return Sampling(groups, design_effect, FEW)


def estimates(labels, one, other, sampling):
    return intervals.estimate(labels, one, sampling), (-1, 1)


def recalls(labels, one, other, sampling):
    names = tuple(map(str, range(one.shape[1])))
    return intervals.recalls(labels, one.argmax(axis=1), names, sampling), (0, 1)


def calibration(labels, one, other, sampling):
    return reliability.estimates(labels, one, sampling), (0, np.inf)


def risks(labels, one, other, sampling):
    area, found = reliability.risk(labels, one, (0.5, 0.9, 1.0), sampling)
    return {estimate.name: estimate for estimate in (area, *found)}, (0, 1)


def differences(labels, one, other, sampling):
    return paired.compare(labels, one, other, sampling).differences, (-2, 2)


def agreement(labels, one, other, sampling):
    right = [logits.argmax(axis=1) == labels for logits in (one, other)]
    found = consistency("kappa", *right, labels, sampling)
    return {} if found is None else {"kappa": found}, (-1, 1)


def means(labels, one, other, sampling):
    right = [(logits.argmax(axis=1) == labels).astype(float) for logits in (one, other)]
    return {
        "share": mean_figure("share", np.mean(right, axis=0), labels=labels, sampling=sampling),
        "drop": mean_figure("drop", right[0] - right[1], difference=True, sampling=sampling),
    }, (-1, 1)


def ratio(labels, one, other, sampling):
    wrong = [(logits.argmax(axis=1) != labels).astype(float) for logits in (one, other)]
    rate, n = wrong[1].mean(), len(labels)
    if not rate:
        return {}, (0, np.inf)
    value = wrong[0].mean() / rate
    moves = (wrong[0] - value * wrong[1]) / (rate * n)
    return {"ratio": intervals.ratio("ratio", value, moves, 1 / (rate * n), labels, sampling)}, (
        0,
        np.inf,
    )


FINDERS = (estimates, recalls, calibration, risks, differences, agreement, means, ratio)
every = pytest.mark.parametrize("find", FINDERS)


def two_models(seed, n=120, classes=3, quality=1.5):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    shared = rng.standard_normal((n, classes))
    pair = [(shared + rng.standard_normal((n, classes))).astype(np.float32) for _ in range(2)]
    for logits, gain in zip(pair, (quality, quality / 2), strict=True):
        logits[np.arange(n), labels] += gain
    return labels, *pair


def widths(found):
    return {k: f.high - f.low for k, f in found.items() if f.low is not None}


@every
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 60),
    classes=st.integers(2, 4),
    quality=st.floats(-2, 30),
    effect=st.sampled_from([1.0, 5.0]),
    groups=st.sampled_from([None, 1, 2, 7]),
)
def test_an_interval_holds_its_figure_and_stays_in_its_range(
    find, seed, n, classes, quality, effect, groups
):
    labels, one, other = two_models(seed, n, classes, quality)
    together = None if groups is None else np.arange(n) % min(groups, n)
    found, (least, most) = find(labels, one, other, drawn(together, effect))
    for name, estimate in found.items():
        if not math.isfinite(estimate.value):  # of one class
            continue
        alone = together is not None and together.max() == 0
        if name in WITHOUT or (alone and name in ("brier", "nll", "ratio")):
            assert estimate.low is None
            continue
        assert least - 1e-9 <= estimate.low <= estimate.value + 1e-9, name
        assert estimate.value - 1e-9 <= estimate.high <= most + 1e-9, name


@every
def test_an_interval_narrows_with_more_patches(find):
    few = two_models(1, 60)
    many = [np.concatenate([values] * 16) for values in few]
    narrow, wide = (widths(find(*data, drawn())[0]) for data in (many, few))
    for name in wide:
        assert narrow[name] < 0.5 * wide[name], name


@every
@pytest.mark.parametrize("grouped", [False, True])
def test_the_order_of_patches_does_not_matter(find, grouped):
    data = two_models(2)
    groups = np.arange(120) // 6 if grouped else None
    order = np.random.default_rng(3).permutation(120)
    there, _ = find(*data, drawn(groups))
    back, _ = find(*(values[order] for values in data), drawn(groups[order] if grouped else None))
    for name, estimate in there.items():
        ends = (estimate.value, estimate.low, estimate.high)
        other = back[name]
        assert (other.value, other.low, other.high) == pytest.approx(ends, abs=1e-6), name


@every
def test_groups_of_one_patch_are_as_good_as_none(find):
    data = two_models(4, 900)
    alone, _ = find(*data, drawn())
    grouped, _ = find(*data, drawn(np.arange(900)))
    widths_alone, widths_grouped = widths(alone), widths(grouped)
    for name, estimate in alone.items():
        assert grouped[name].value == pytest.approx(estimate.value, abs=0.01), name
    for name, width in widths_alone.items():
        assert widths_grouped[name] == pytest.approx(width, rel=0.12), name


@pytest.mark.parametrize("find", [find for find in FINDERS if find is not differences])
def test_a_design_effect_widens(find):
    data = two_models(5, 600)
    plain, wide = (widths(find(*data, drawn(design_effect=e))[0]) for e in (1.0, 4.0))
    for name, width in plain.items():
        # The debiased error ends at 0.
        least = 1.0 if name.endswith("debiased") else 1.6
        assert least * width < wide[name] < 2.6 * width, name
