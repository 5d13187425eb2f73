"""Verdicts on reproduction."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import Estimate, PublishedResult
from harness.analysis.reproduction import by_class, judge, of_counts
from harness.statistics.intervals import Sampling
from harness_published import harness_published_results

DATASET = {"shortfall": "", "train_shortfall": "", "trained_on": "big"}
RECORD = {"deviations": "", "selected_on": "test", "initial_weights": "ImageNet"}
PUBLISHED = PublishedResult(
    test_set="t",
    model="m",
    title="M",
    trained_on="big",
    selected_on="test",
    tta="none",
    source="Paper",
    checked="source",
    n=7180,
    n_train=100_000,
    accuracy=0.977,
)


def verdict(
    accuracy,
    per_seed=(),
    record=RECORD,
    dataset=DATASET,
    published=PUBLISHED,
    effect=1.0,
    margin=0.005,
):
    measured = of_counts("accuracy", accuracy, published.n / effect)
    sampling = Sampling(design_effect=effect)
    return judge(measured, per_seed or [accuracy], published, record, dataset, sampling, margin)


def paper(accuracy, n=7180):
    return PublishedResult(**{**vars(PUBLISHED), "accuracy": accuracy, "n": n})


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0.977, "reproduced"), (0.974, "inconclusive"), (0.985, "higher"), (0.97, "lower")],
)
def test_equal_different_and_neither_are_told_apart(accuracy, expected):
    found = verdict(accuracy)
    assert found.verdict == expected
    assert bool(found.because) == (expected == "inconclusive")
    assert found.difference.low < found.low90 < found.high90 < found.difference.high
    assert found.difference.value == pytest.approx(accuracy - 0.977)
    assert found.difference.low < found.difference.value < found.difference.high


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"dataset": DATASET | {"shortfall": "111 of 7,180 test patches"}}, "111 of 7,180"),
        ({"dataset": DATASET | {"train_shortfall": "half of the patches"}}, "half of"),
        ({"dataset": DATASET | {"n_train_own": 45}}, "45 of 100,000 training patches"),
        ({"dataset": DATASET | {"n_train_own": 100_001}}, "100,001 in place of 100,000"),
        ({"record": RECORD | {"deviations": "epochs 5 (default 100)"}}, "epochs 5"),
        (
            {"record": RECORD | {"selected_on": "held-out"}},
            "selected on held-out, published on test",
        ),
        (
            {"record": RECORD | {"initial_weights": "random", "initial_weights_fallback": True}},
            "random",
        ),
    ],
)
def test_what_is_not_comparable_says_why(changes, because):
    found = verdict(0.9, **changes)
    assert found.verdict == "not comparable"
    assert because in found.because


def test_the_number_of_training_patches_counts_only_where_it_is_known_and_of_the_same_set():
    assert verdict(0.977, dataset=DATASET | {"n_train_own": 100_000}).verdict == "reproduced"
    fewer = DATASET | {"n_train_own": 45}
    assert verdict(0.977, dataset=fewer | {"trained_on": "another"}).verdict == "reproduced"
    assert (
        verdict(0.977, dataset=fewer, record=RECORD | {"trained_on": "t"}).verdict == "reproduced"
    )
    unknown = replace(PUBLISHED, n_train=None)
    assert verdict(0.977, dataset=fewer, published=unknown).verdict == "reproduced"


def test_on_other_patches_there_is_no_difference():
    assert verdict(0.9, dataset=DATASET | {"shortfall": "a subset"}).difference is None
    assert verdict(0.9, record=RECORD | {"deviations": "epochs 5"}).difference is not None


def test_a_spread_over_seeds_is_doubt_and_no_reproduction():
    """What trainings differ by anyhow is not shown to be different, nor to be the same."""
    assert verdict(0.97).verdict == "lower"
    wide = verdict(0.97, per_seed=[0.96, 0.97, 0.98])
    assert wide.verdict == "inconclusive"
    assert wide.because.startswith("no number of test patches or seeds would decide")
    narrow = verdict(0.97, per_seed=[0.9699, 0.97, 0.9701])
    assert narrow.verdict == "lower"
    assert verdict(0.977, per_seed=[0.9769, 0.977, 0.9771]).verdict == "reproduced"


@pytest.mark.parametrize("margin", [0.005, 0.05])
def test_two_seeds_far_apart_and_far_off_reproduce_nothing(margin):
    found = verdict(0.915, per_seed=[0.90, 0.93], published=paper(0.9773), margin=margin)
    assert found.verdict == "inconclusive"
    assert found.needed.seeds > 10
    assert f"{found.needed.seeds} seeds would decide" in found.because


def test_what_would_decide_does():
    """As many patches as are said show that equal models are equal, most of the time."""
    few = verdict(0.974)
    n = few.needed.patches
    assert n > 7180
    assert f"{n // 100 * 100:,}"[:4] in few.because
    rng = np.random.default_rng(0)
    shares = rng.binomial(n, 0.974, (300, 2)) / n
    shown = [verdict(a, published=paper(b, n)).verdict == "reproduced" for a, b in shares]
    assert 0.7 < np.mean(shown) < 0.9


def test_both_seeds_and_patches_may_be_lacking():
    found = verdict(0.977, per_seed=[0.976, 0.977, 0.978])
    assert found.verdict == "inconclusive"
    assert found.needed.both
    assert " seeds and " in found.because
    near = verdict(0.9695, margin=0.0085)
    assert (near.verdict, near.because) == ("inconclusive", "too near the margin")


SHARES = st.integers(0, 400).map(lambda count: count / 400)
SEEDS = st.lists(SHARES, min_size=1, max_size=5)
SIZES = st.sampled_from([111, 7180, 100_000])
MARGINS = st.floats(0.001, 0.5)
EFFECTS = st.floats(1, 20)


@given(SEEDS, SHARES, SIZES, MARGINS, EFFECTS)
@example([0.97], 0.977, 7180, 0.005, 5)
@example([0.974], 0.977, 100_000, 0.005, 5)
def test_a_design_effect_only_casts_doubt(seeds, theirs, n, margin, effect):
    plain, wide = (
        verdict(float(np.mean(seeds)), seeds, published=paper(theirs, n), effect=e, margin=margin)
        for e in (1, effect)
    )
    assert wide.verdict in (plain.verdict, "inconclusive")
    assert wide.low90 <= plain.low90 + 1e-12
    assert wide.high90 >= plain.high90 - 1e-12


@given(SEEDS, SHARES, SIZES, MARGINS, MARGINS)
def test_a_wider_margin_takes_no_reproduction_back(seeds, theirs, n, one, other):
    found = [
        verdict(float(np.mean(seeds)), seeds, published=paper(theirs, n), margin=margin).verdict
        for margin in sorted((one, other))
    ]
    if found[0] == "reproduced":
        assert found[1] == "reproduced"
    if found[1] in ("higher", "lower"):
        assert found[0] == found[1]


@given(SHARES, SHARES, SIZES, MARGINS)
def test_the_other_way_round_the_verdict_is_the_mirror(ours, theirs, n, margin):
    there = verdict(ours, published=paper(theirs, n), margin=margin)
    back = verdict(theirs, published=paper(ours, n), margin=margin)
    mirrored = {"higher": "lower", "lower": "higher"}
    assert back.verdict == mirrored.get(there.verdict, there.verdict)
    assert back.low90 == pytest.approx(-there.high90)


def test_more_errors_are_seldom_a_reproduction():
    """Of a model whose accuracy is less by the margin, in one of twenty trials."""
    rng = np.random.default_rng(1)
    n = 20_000
    shares = rng.binomial(n, (0.977, 0.972), (1000, 2)) / n
    said = [verdict(b, published=paper(a, n)).verdict == "reproduced" for a, b in shares]
    assert np.mean(said) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 1000)


def test_an_unknown_protocol_is_compared():
    published = PublishedResult(**{**vars(PUBLISHED), "selected_on": "unknown"})
    assert verdict(0.977, published=published).verdict == "reproduced"


def test_differences_by_class_find_the_class_that_moved():
    published = next(r for r in harness_published_results() if r.name == "efficientnet-b0-avg")
    matrix = np.array(published.confusion)
    classes = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
    same = by_class(matrix.tolist(), published.confusion, classes)
    assert [one.name for one in same] == list(classes)
    assert {one.p for one in same} == {1.0}
    moved = matrix.copy()
    moved[7, 7] -= 80
    moved[7, 5] += 80  # STR as MUS
    found = {one.name: one for one in by_class(moved.tolist(), published.confusion, classes)}
    assert found["STR"].p < 0.001
    assert found["STR"].moved_to.startswith("MUS (+19.0")
    assert found["STR"].difference.high < 0
    assert all(one.p == 1 for name, one in found.items() if name != "STR")


def test_a_figure_is_what_was_published_not_what_is_counted():
    assert of_counts("accuracy", 0.9774, 7180) == Estimate(
        name="accuracy",
        value=0.9774,
        low=pytest.approx(0.9737, abs=1e-4),
        high=pytest.approx(0.9806, abs=1e-4),
    )
