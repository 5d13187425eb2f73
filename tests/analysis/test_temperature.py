"""Temperature-scaled runs from stored held-out logits."""

import numpy as np
import pytest

from harness.analysis.temperature import scaled
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Key, Store
from harness.store.stored import DamagedError

FOLDS = np.arange(90) % 2


def draw(n, temperature, seed):
    """Labels drawn from a softmax, and its logits multiplied by a temperature."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return (temperature * logits).astype(np.float32), labels


@pytest.fixture
def store(tmp_path):
    """Two models with a fit for each of two folds, too sure by other factors."""
    store = Store(tmp_path)
    for model, temperatures in (("m", (3.0, 8.0)), ("n", (1.0, 1.0))):
        for fold, temperature in enumerate(temperatures):
            logits, labels = draw(3000, temperature, seed=fold)
            with store.write(key(model, fold)) as (folder, _):
                np.savez(folder / "held-out.npz", logits=logits, labels=labels)
    return store


def key(model, fold, **more):
    return Key("fit", "d", model, {"fold": fold, **more})


def run(store, model, **more):
    fits = [{"digest": key(model, fold).digest} for fold in (0, 1)]
    prediction = Key("prediction", "d", model, {})
    with store.write(prediction) as (folder, record):
        np.save(folder / "logits.npy", draw(90, 1, 5)[0])
        record |= {"model": model, "fits": fits} | more
    return Run(store.record(prediction), store.folder(prediction))


def truth():
    described = {"name": "d", "classes": ["a", "b", "c"]}
    return GroundTruth(described, np.zeros(90, int), [str(i) for i in range(90)], FOLDS, None)


def test_each_fold_has_the_temperature_of_its_fit(store):
    one = run(store, "m")
    found = scaled(store, truth(), one, {})
    assert found.temperatures[FOLDS == 0] == pytest.approx(3, rel=0.1)
    assert found.temperatures[FOLDS == 1] == pytest.approx(8, rel=0.1)
    expected = one.logits() / found.temperatures[:, None]
    np.testing.assert_array_equal(found.mean_logits(), expected)
    assert found.mean_logits().dtype == np.float32
    np.testing.assert_array_equal(found.logits(), one.logits())  # what is predicted stays


def test_a_sum_is_scaled_by_the_mean_of_its_members(store):
    members = {one.record["digest"]: one for one in (run(store, "m"), run(store, "n"))}
    total = run(store, "sum", members=list(members), fits=[], terms=2)
    found = scaled(store, truth(), total, members)
    assert found.temperatures[FOLDS == 0] == pytest.approx((3 + 1) / 2, rel=0.1)
    assert found.temperatures[FOLDS == 1] == pytest.approx((8 + 1) / 2, rel=0.1)
    np.testing.assert_allclose(
        found.mean_logits(), total.logits() / 2 / found.temperatures[:, None], rtol=1e-6
    )
    first = dict(list(members.items())[:1])
    assert scaled(store, truth(), total, first) is None  # one of them was flipped


def test_scores_are_probabilities_only_once_they_are_scaled(store):
    one = run(store, "m", outputs="scores", outputs_doubt="")
    assert "scores" in one.no_probabilities
    assert scaled(store, truth(), one, {}).no_probabilities == ""
    doubted = run(store, "n", outputs="logits", outputs_doubt="look like probabilities")
    assert scaled(store, truth(), doubted, {}) is None


def test_without_held_out_logits_there_is_none(store):
    without = key("m", 1, selected_on="none")
    with store.write(without):
        pass
    fits = [{"digest": one.digest} for one in (key("m", 0), without)]
    assert scaled(store, truth(), run(store, "m", fits=fits), {}) is None


def test_held_out_logits_that_are_damaged_are_not_used(store):
    path = store.folder(key("m", 1)) / "held-out.npz"
    path.unlink()
    with pytest.raises(DamagedError, match=r"held-out\.npz: is missing"):
        scaled(store, truth(), run(store, "m"), {})
