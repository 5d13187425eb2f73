"""Intervals against closed forms, other libraries, and the plain definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from harness.statistics import intervals
from harness.statistics.auroc import macro_auroc
from harness.statistics.intervals import Sampling, score_interval, wilson
from harness.statistics.metrics import OF_CONFUSION, probabilities


def predictions(seed, n=300, classes=4, quality=1.5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.standard_normal((n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += quality
    return labels, logits


@given(n=st.integers(1, 100_000), data=st.data())
def test_wilson_agrees_with_statsmodels(n, data):
    correct = data.draw(st.integers(0, n))
    expected = proportion_confint(correct, n, method="wilson")
    np.testing.assert_allclose(wilson(correct, n), expected, rtol=0, atol=1e-9)


@given(st.floats(0, 1), st.floats(1e-6, 0.5) | st.just(0.0), st.integers(1, 10_000))
def test_an_interval_holds_its_figure_and_stays_between_0_and_1(value, error, most):
    low, high = score_interval(value, error, most)
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1


def test_where_classes_are_recognized_alike_the_interval_of_accuracy_is_that_of_wilson():
    alike = intervals.of_matrix([[800, 200], [400, 1600]])["accuracy"]
    assert (alike.low, alike.high) == pytest.approx(wilson(2400, 3000), abs=3e-4)


def test_where_classes_are_not_it_is_narrower():
    """The numbers of patches of a class are given; only how many are right in each varies."""
    unlike = intervals.of_matrix([[1000, 0], [600, 1400]])["accuracy"]
    low, high = wilson(2400, 3000)
    n_of, recalls = np.array([1000, 2000]), np.array([1, 0.7])
    error = np.sqrt((n_of * recalls * (1 - recalls)).sum()) / 3000
    assert unlike.high - unlike.low == pytest.approx(2 * intervals.Z * error, rel=0.03)
    assert unlike.high - unlike.low < 0.95 * (high - low)


def test_all_figures_are_there_between_their_ends():
    for seed, quality in ((0, 0.0), (1, 1.5), (2, 9.0)):
        labels, logits = predictions(seed, quality=quality)
        estimates = intervals.estimate(labels, logits)
        assert list(estimates) == [*OF_CONFUSION, "macro_auroc"]
        for estimate in estimates.values():
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.low < estimate.high, "perfect models have an interval, too"


def test_the_standard_error_is_that_of_a_bootstrap_of_patches():
    """Against scipy, which draws patches; ours draws cells of the matrix."""
    labels, logits = predictions(3, n=1000)
    predicted = logits.argmax(axis=1)
    theirs = bootstrap(
        (labels, predicted),
        matthews_corrcoef,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
    )
    estimate = intervals.of_predictions(labels, predicted, 4)["mcc"]
    ours = (estimate.high - estimate.low) / (2 * intervals.Z)
    assert ours == pytest.approx(theirs.standard_error, rel=0.1)


def test_copies_of_patches_in_groups_add_no_certainty():
    """Ten copies of each patch, grouped, tell what one of each tells."""
    labels, logits = predictions(4, n=400)
    groups = np.tile(np.arange(400), 10)
    many = np.tile(labels, 10), np.tile(logits, (10, 1))
    alone = intervals.estimate(labels, logits)
    naive = intervals.estimate(*many)
    grouped = intervals.estimate(*many, Sampling(groups=groups))
    for name, estimate in alone.items():
        width = estimate.high - estimate.low
        assert grouped[name].value == pytest.approx(estimate.value)
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.08)
        assert naive[name].high - naive[name].low < 0.4 * width
    names = tuple("abcd")
    by_class = intervals.recalls(labels, logits.argmax(axis=1), names)
    predicted = many[1].argmax(axis=1)
    grouped = intervals.recalls(many[0], predicted, names, Sampling(groups=groups))
    for name in names:
        width = by_class[name].high - by_class[name].low
        assert grouped[name].high - grouped[name].low == pytest.approx(width, rel=0.08)


def test_a_design_effect_of_four_doubles_intervals():
    labels, logits = predictions(5, n=4000)
    plain = intervals.estimate(labels, logits)
    wide = intervals.estimate(labels, logits, Sampling(design_effect=4))
    for name, estimate in plain.items():
        assert wide[name].value == estimate.value
        ratio = (wide[name].high - wide[name].low) / (estimate.high - estimate.low)
        assert ratio == pytest.approx(2, rel=0.02)


@given(seed=st.integers(0, 1000), ties=st.booleans())
def test_auroc_agrees_with_scikit_learn(seed, ties):
    labels, logits = predictions(seed, n=60, classes=3)
    scores = probabilities(np.round(logits) if ties else logits)
    if len(np.unique(labels)) == 3:
        expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
        assert macro_auroc(labels, scores).value == pytest.approx(expected, abs=1e-9)


def test_the_variance_of_auroc_is_that_of_delong():
    """With two classes: the components of DeLong et al. 1988, computed pair by pair."""
    labels, logits = predictions(6, n=80, classes=2, quality=0.7)
    scores = np.round(probabilities(logits), 1)  # with ties
    own, rest = scores[labels == 1, 1], scores[labels == 0, 1]
    wins = (own[:, None] > rest) + 0.5 * (own[:, None] == rest)
    variance = wins.mean(axis=1).var(ddof=1) / len(own) + wins.mean(axis=0).var(ddof=1) / len(rest)
    area = macro_auroc(labels, scores)
    assert area.value == pytest.approx(wins.mean(), abs=1e-9)
    assert np.square(area.deviations).sum() == pytest.approx(variance, abs=1e-9)
    assert area.standard_error == pytest.approx(np.sqrt(variance), rel=0.02)  # see ``unseen``


def test_classes_without_patches_do_not_count_in_auroc():
    labels, logits = predictions(7, n=90, classes=3)
    wider = np.concatenate([logits, np.full((90, 1), -40, np.float32)], axis=1)
    assert macro_auroc(labels, probabilities(wider)).value == pytest.approx(
        macro_auroc(labels, probabilities(logits)).value
    )
    assert np.isnan(macro_auroc(np.zeros(5, int), np.full((5, 2), 0.5)).value)


@pytest.mark.parametrize("n_of", [(10, 1000), (20, 20, 1000), (12,) * 9])
def test_small_classes_are_covered_too(n_of):
    rng = np.random.default_rng(8)
    recalls = np.where(np.array(n_of) < 100, 0.9, 0.99)
    truth, held = recalls.mean(), []
    for _ in range(400):
        right = rng.binomial(n_of, recalls)
        confusion = np.diag(right)
        confusion[np.arange(len(n_of)), np.arange(len(n_of)) - 1] += n_of - right
        found = intervals.of_matrix(confusion, Sampling(resamples=300))["balanced_accuracy"]
        held.append(found.low <= truth <= found.high)
    assert 0.91 < np.mean(held) < 0.99


@pytest.mark.parametrize("n_groups", [8, 30])
def test_few_groups_are_covered_too(n_groups):
    """Groups that are easy or hard as a whole, of 50 patches each."""
    rng = np.random.default_rng(9)
    labels, groups = np.arange(50 * n_groups) % 3, np.repeat(np.arange(n_groups), 50)
    held = []
    for _ in range(300):
        easy = rng.beta(8, 2, n_groups)[groups]
        predicted = np.where(rng.random(len(labels)) < easy, labels, (labels + 1) % 3)
        sampling = Sampling(groups=groups, resamples=300)
        found = intervals.of_predictions(labels, predicted, 3, sampling)["accuracy"]
        held.append(found.low <= 0.8 <= found.high)
    assert 0.9 < np.mean(held) < 0.99


@pytest.mark.parametrize(("n_groups", "easy"), [(5, (9, 1)), (10, (29, 1)), (40, (4, 2))])
def test_the_mean_of_groups_of_unequal_size_is_covered(n_groups, easy):
    rng = np.random.default_rng(10)
    truth, held, wide = easy[0] / sum(easy), [], []
    for _ in range(400):
        sizes = 1 + rng.geometric(1 / 40, n_groups)
        shares = rng.binomial(sizes, rng.beta(*easy, n_groups)) / sizes
        found = intervals.mean_of_groups("mean", shares, sizes)
        assert found.value == pytest.approx(shares.mean())
        held.append(found.low <= truth <= found.high)
        wide.append(found.high - found.low)
        more = intervals.mean_of_groups("mean", shares, sizes, design_effect=2.0)
        assert more.low <= found.low <= found.value <= found.high <= more.high
    assert 0.93 < np.mean(held) < 0.995
    spread = np.sqrt(truth * (1 - truth) / (sum(easy) + 1) / n_groups)
    assert np.mean(wide) < 10 * spread


def test_one_group_and_groups_that_are_all_right():
    one = intervals.mean_of_groups("mean", np.array([0.9]), np.array([50]))
    assert (one.low, one.high) == (0, 1)
    few, many = (intervals.mean_of_groups("mean", np.ones(n), np.full(n, 20)) for n in (5, 50))
    assert few.low < many.low < 1 == few.high == many.high


def test_a_perfect_model_on_few_groups_is_not_taken_for_sure():
    labels, groups = np.arange(400) % 4, np.arange(400) // 80
    logits = 9 * np.eye(4, dtype=np.float32)[labels]
    for estimate in intervals.estimate(labels, logits, Sampling(groups=groups)).values():
        assert estimate.low < 0.7


def test_one_group_tells_nothing_of_others():
    labels, logits = predictions(10)
    sampling = Sampling(groups=np.zeros(300, int))
    estimates = intervals.estimate(labels, logits, sampling)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert estimates[name].high - estimates[name].low > 0.99
    assert estimates["macro_auroc"].high - estimates["macro_auroc"].low > 0.5
    recall = intervals.recalls(labels, logits.argmax(axis=1), tuple("abcd"), sampling)["a"]
    assert recall.high - recall.low > 0.99


def test_a_class_in_few_of_the_groups_is_known_from_these():
    rng = np.random.default_rng(11)
    groups = np.repeat(np.arange(30), 20)
    labels = np.where(groups < 3, 1, 0)
    held = []
    for _ in range(200):
        easy = rng.beta(8, 2, 30)[groups]
        predicted = np.where(rng.random(600) < easy, labels, 1 - labels)
        sampling = Sampling(groups=groups, resamples=300)
        found = intervals.recalls(labels, predicted, ("a", "b"), sampling)["b"]
        held.append(found.low <= 0.8 <= found.high)
    assert np.mean(held) > 0.9
