"""Ranks and trainings with several seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm, t, ttest_ind
from statsmodels.stats.multitest import multipletests

from harness import Estimate
from harness.statistics import design_effect, paired, ranking
from harness.statistics.seeds import LARGEST_SPREAD, _compared, compare_runs


@pytest.mark.once
@settings(max_examples=30, deadline=None)  # theirs takes long
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(p):
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(ranking.holm(np.array(p)), expected, rtol=0, atol=1e-9)


def test_pairs_are_corrected_together():
    rng = np.random.default_rng(7)
    right = rng.random((5, 300)) < np.array([0.6, 0.65, 0.7, 0.8, 0.9])[:, None]
    found = ranking.pairwise(list(right[:, None]))
    p = found.holm
    assert found.pairs == 10
    assert (found.p <= p).all()
    assert (found.p == found.p.T).all()
    assert (p == p.T).all()
    assert (np.diag(p) == 1).all()
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    plain = [
        paired.mcnemar((right[i] & ~right[j]).sum(), (right[j] & ~right[i]).sum()) for i, j in pairs
    ]
    expected = multipletests(plain, method="holm")[1]
    np.testing.assert_allclose([p[i, j] for i, j in pairs], expected, atol=1e-9)
    np.testing.assert_allclose([found.p[i, j] for i, j in pairs], plain, atol=1e-12)
    differ = [(right[i] != right[j]).mean() for i, j in pairs]
    assert found.discordance == pytest.approx(np.median(differ))
    grouped = ranking.pairwise(list(np.tile(right, 10)[:, None]), np.tile(np.arange(300), 10)).holm
    assert grouped[0, 4] < 0.001
    assert grouped[0, 1] == pytest.approx(p[0, 1], abs=0.1)


def test_ranks_are_ranges_where_models_cannot_be_told_apart():
    values = np.array([0.9, 0.89, 0.8, 0.5])
    p = np.ones((4, 4))
    for i, j in ((0, 2), (0, 3), (1, 3), (2, 3)):
        p[i, j] = p[j, i] = 0.01
    assert ranking.rank_ranges(values, p) == [(1, 2), (1, 3), (2, 3), (4, 4)]
    assert ranking.rank_ranges(np.array([0.7]), np.ones((1, 1))) == [(1, 1)]


@pytest.mark.parametrize("pairs", [1, 45])
@pytest.mark.parametrize(("n", "discordance"), [(111, 0.24), (111, 0.01), (7180, 0.023)])
def test_mcnemar_finds_a_detectable_difference_in_four_of_five_trials(n, discordance, pairs):
    """Against the exact power: discordant patches are binomial, and so are those of either."""
    level = 0.05 / pairs
    gap = float(ranking.detectable_of(np.array([discordance]), n, level)[0])
    share = max(discordance, gap)
    differ = np.arange(n + 1)
    chance = binom.pmf(differ, n, share)
    likely = differ[chance > 1e-9]
    power = 0.0
    for count in likely:
        only_one = np.arange(count + 1)
        p = paired.mcnemar(only_one, count - only_one)
        found = binom.pmf(only_one, count, (1 + gap / share) / 2)[p < level].sum()
        power += chance[count] * found
    assert 0.79 < power < 0.99
    if discordance > 0.02:  # the difference is not all of it
        assert power < 0.9


def test_what_the_test_sets_here_can_show():
    """Of 111 patches and of 7,180, plain and after Holm's correction for 45 pairs."""
    for n, discordance, plain, corrected in ((111, 0.24, 13.0, 19.1), (7180, 0.023, 0.50, 0.73)):
        levels = 0.05, 0.05 / 45
        found = [100 * ranking.detectable_of(np.array([discordance]), n, a)[0] for a in levels]
        assert found == [pytest.approx(plain, abs=0.1), pytest.approx(corrected, abs=0.1)]


def test_detectable_differences_grow_with_groups_and_design_effects():
    rng = np.random.default_rng(8)
    right = list(rng.random((4, 1, 600)) < 0.8)
    plain = ranking.pairwise(right)
    z = norm.ppf([0.975, 0.8]).sum()
    assert plain.detectable == pytest.approx(z * np.sqrt(plain.discordance / 600), rel=0.02)
    assert plain.detectable_holm > plain.detectable
    wide = ranking.pairwise(right, None, 4.0)
    assert wide.detectable == pytest.approx(2 * plain.detectable, rel=0.01)
    groups = ranking.pairwise(right, np.arange(600) // 60)
    assert groups.detectable > plain.detectable
    assert ranking.pairwise(right, np.zeros(600, np.int64)).detectable == 1
    seeds = [np.concatenate([runs, rng.random((1, 600)) < 0.8]) for runs in right]
    assert ranking.pairwise(seeds).detectable > plain.detectable


def trainings(seed, accuracies, n=2000):
    """Models of the same trainings: which patches each gets right."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n)
    return np.stack([hard + 0.1 * rng.standard_normal(n) < a for a in accuracies])


def test_variance_from_seeds_and_from_patches_are_told_apart():
    steady = compare_runs(trainings(0, [0.8] * 5), trainings(1, [0.8] * 5))
    assert steady.seed_share < 0.2
    shaky = [0.70, 0.75, 0.8, 0.85, 0.9]
    wild = compare_runs(trainings(0, shaky), trainings(0, shaky[::-1]))
    assert wild.seed_share > 0.8
    assert wild.difference.low < 0 < wild.difference.high


def test_with_many_patches_it_is_a_cautious_t_test_of_accuracies():
    """What patches add vanishes where both models are right on nearly the same ones.

    Then the standard error is Welch's, and the degrees of freedom those of one model.
    """
    rng = np.random.default_rng(2)
    n = 200_000
    hard = np.linspace(0, 1, n)
    one, other = (
        np.stack([hard < a for a in 0.8 + shift + 0.02 * rng.standard_normal(6)])
        for shift in (0, 0.02)
    )
    found = compare_runs(one, other)
    expected = ttest_ind(one.mean(axis=1), other.mean(axis=1), equal_var=False)
    assert found.p == pytest.approx(2 * t.sf(abs(expected.statistic), 5), rel=0.02)
    gap = found.difference
    error = gap.value / expected.statistic
    assert gap.high - gap.value == pytest.approx(t.ppf(0.975, 5) * abs(error), rel=0.02)
    assert found.high90 - gap.value == pytest.approx(t.ppf(0.95, 5) * abs(error), rel=0.02)


@pytest.mark.parametrize(("s", "t"), [(1, 1), (1, 5), (5, 1)])
def test_one_training_is_told_apart_by_large_differences_alone(s, t):
    """How it would vary is not known, but not by more than is plausible."""
    right = np.arange(2000) < np.array([0.5, 0.501, 0.502, 0.499, 0.5])[:, None] * 2000
    near = compare_runs(right[:s], right[:t] | (np.arange(2000) > 1900))
    assert near.bound == LARGEST_SPREAD
    assert near.p > 0.3
    far = compare_runs(right[:s], np.ones((t, 2000), bool))
    assert far.p < 0.001
    assert far.difference.high < 0


def test_two_seeds_are_enough_for_a_difference_that_no_spread_explains():
    """One degree of freedom must not leave open whether 16 % is less than 100 %."""
    others = [trainings(k, [0.6 + k / 100, 0.62 + k / 100]) for k in range(8)]
    models = [np.ones((2, 2000), bool), *others, trainings(9, [0.1, 0.22])]
    p = ranking.pairwise(models).holm
    assert p[0, -1] < 0.001
    ranges = ranking.rank_ranges(np.array([right.mean() for right in models]), p)
    assert ranges[0] == (1, 1)
    assert ranges[-1] == (10, 10)


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e-20, -1e-18, 1e-16])
def test_a_difference_that_is_rounding_alone_is_none(value):
    """With SciPy 1.11 the quantile of Student's t at one half is not 0 but 7e-17."""
    found = _compared(value, (1.25e-4, 110), [(8e-5, 1), (2e-5, 9)])
    assert found.p == pytest.approx(1)
    assert found.difference.low < 0 < found.difference.high


def test_trainings_that_vary_by_more_than_is_plausible_are_believed():
    for others in ([0.97, 0.97], [0.97]):
        collapsing = compare_runs(trainings(0, [0.97, 0.11]), trainings(1, others))
        assert collapsing.bound is None or collapsing.bound > 1
        assert collapsing.p > 0.1


@pytest.mark.parametrize(("sd", "n_other"), [(0.03, 4), (0.0, 4), (0.03, 10), (0.03, 1)])
def test_equal_models_are_called_different_in_at_most_one_of_twenty_trials(sd, n_other):
    """Whether trainings differ or not, and also where one model was trained only once."""
    rng = np.random.default_rng(5)
    called = []
    for _ in range(400):
        chances = [rng.normal(0.8, sd, n) for n in (4, n_other)]
        one, other = (rng.random((len(c), 1500)) < c[:, None] for c in chances)
        called.append(compare_runs(one, other).p < 0.05)
    assert np.mean(called) < 0.06


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.floats(1, 30))
def test_runs_compare_alike_both_ways_and_a_design_effect_casts_doubt(data, s, t, effect):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    one, other = (rng.random((count, 40)) < rng.random() for count in (s, t))
    groups = data.draw(st.sampled_from([None, np.arange(40) // 2]))
    there, back = compare_runs(one, other, groups), compare_runs(other, one, groups)
    assert back.p == pytest.approx(there.p)
    assert back.difference.low == pytest.approx(-there.difference.high)
    assert there.difference.low <= there.low90 <= there.difference.value <= there.high90
    assert (there.p < 0.05) == (not there.difference.low <= 0 <= there.difference.high)
    wide = compare_runs(one, other, groups, effect)
    assert wide.p >= there.p * (1 - 1e-9)
    ranks, less = (ranking.pairwise([one, other], groups, e) for e in (effect, 1.0))
    assert (ranks.p >= less.p * (1 - 1e-9)).all()
    assert ranks.detectable >= less.detectable * (1 - 1e-9)


@given(st.floats(0, 1), st.floats(1, 100), st.floats(1, 100))
def test_p_grows_with_the_design_effect(p, one, other):
    less, more = sorted((one, other))
    assert design_effect.larger(p, 1) == p
    assert design_effect.larger(p, more) >= design_effect.larger(p, less) - 1e-12
    assert 0 <= design_effect.larger(p, more) <= 1


def test_a_design_effect_divides_the_statistic_and_widens_the_interval():
    assert design_effect.larger(2 * norm.sf(3.0), 4) == pytest.approx(2 * norm.sf(1.5))
    gap = Estimate(name="accuracy", value=0.1, low=0.05, high=0.2)
    wide = design_effect.wider(gap, 4)
    assert (wide.low, wide.high) == (pytest.approx(0.0), pytest.approx(0.3))
    assert design_effect.wider(gap, 400).high == 1
    assert design_effect.wider(gap, 1) is gap


def test_what_only_chance_tells_apart_is_variance_of_seeds():
    """Trained again on the same patches, models would differ as much; none of it is of patches."""
    rng = np.random.default_rng(6)
    lottery = [
        compare_runs(*(rng.random((5, 2000)) < 0.8 for _ in range(2))).seed_share for _ in range(50)
    ]
    assert np.mean(lottery) > 0.9
    alike = rng.random((2, 1, 2000)) < 0.8
    assert compare_runs(*(np.repeat(right, 5, axis=0) for right in alike)).seed_share == 0


def test_ranks_take_seeds_into_account():
    rng = np.random.default_rng(6)
    models = [trainings(rng.integers(1000), [a, a + 0.05, a - 0.05]) for a in (0.8, 0.82, 0.3)]
    p = ranking.pairwise(models).holm
    assert p[0, 1] > 0.05
    assert p[0, 2] < 0.05
