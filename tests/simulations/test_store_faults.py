"""Some trials of the simulation that damages a file of a store at a time."""

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import store_faults

pytestmark = pytest.mark.once

TRIALS, PARTS = 200, 4


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    return store_faults.Faults(tmp_path_factory.mktemp("faults"), ["toy-folds"])


def test_every_kind_of_file_is_among_those_that_get_damaged(faults):
    kinds = {kind for kind, _ in faults.files}
    assert kinds >= {"dataset", "failed", "features", "figures", "finding", "fit", "prediction"}
    names = {name for _, name in faults.files}
    assert names >= {"store.json", "current", "record.json", "logits.npy", "values.npy"}
    assert names >= {"held-out.npz", "epochs.npz", "estimator.skops", "figures.json"}


@pytest.mark.parametrize("part", range(PARTS))
def test_no_damage_changes_a_figure_or_goes_unnamed(faults, part):
    found = [faults.trial(seed) for seed in range(part, TRIALS, PARTS)]
    wrong = [one for one in found if "wrong" in one]
    assert not wrong, "\n".join(map(str, wrong))
    outcomes = Counter(one["outcome"] for one in found)
    assert outcomes["refused, then computed again"] > 5, "it is damage that shows"
