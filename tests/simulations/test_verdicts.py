"""A small run of the simulation whose full result is in verdicts.md."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import verdicts

pytestmark = pytest.mark.once

TRIALS = 200
NOISE = 4 * np.sqrt(0.95 * 0.05 / TRIALS)  # four standard errors
COUNTS = [(1, 3), (2, 1), (2, 2), (2, 10), (10, 3), (5, 5)]


@pytest.mark.parametrize("spreads", [(0.003, 0.003), (0.006, 0.001)])
@pytest.mark.parametrize("n", verdicts.TESTS)
def test_equal_models_are_seldom_called_different_however_often_they_were_trained(n, spreads):
    _, now = verdicts.called_different(n, spreads, 0, COUNTS, TRIALS, 5)
    assert (now < 0.05 + NOISE).all()


def test_the_rule_until_now_erred_more():
    """Without which the simulation would show nothing."""
    before, now = verdicts.called_different(7180, (0.006, 0.006), 0, [(2, 1), (10, 2)], TRIALS, 6)
    assert (before > 0.05).all()
    assert (now < before).all()


def test_different_models_are_called_different():
    _, now = verdicts.called_different(7180, (0.003, 0.003), 0.01, [(5, 5)], 50, 7)
    assert now > 0.9
    _, now = verdicts.called_different(7180, (0.03, 0.03), 0.84, [(2, 2)], 20, 7)
    assert now == 1


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (2, 0.003), (5, 0.003), (5, 0.0)])
def test_a_model_with_a_fifth_more_errors_is_seldom_a_reproduction(seeds, spread):
    before, now, widened = verdicts.verdicts(
        7180, seeds, spread, 0.2 * (1 - verdicts.TESTS[7180]), True, TRIALS, 8
    )
    assert before["reproduced"] > 0.5
    assert now["reproduced"] < 0.05 + NOISE
    assert widened["reproduced"] <= now["reproduced"]
    assert widened["lower"] <= now["lower"]


def test_an_equal_model_may_be_a_reproduction_and_111_patches_never_tell():
    _, now, _ = verdicts.verdicts(7180, 1, 0.0, 0, True, TRIALS, 9)
    assert now["reproduced"] > 0.2
    assert now["higher"] + now["lower"] < 0.05 + NOISE
    _, now, _ = verdicts.verdicts(111, 1, 0.0, 0, True, TRIALS, 9)
    assert now["reproduced"] == 0
