"""Nearest neighbors: the votes, the choice of their number, and what is stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Features, FitContext, neighbors_model

CLASSES = ("a", "b", "c")


class Rows:
    """Features as a split."""

    def __init__(self, n, seed=0, spread=1.0):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(CLASSES), n)
        centers = np.random.default_rng(9).standard_normal((len(CLASSES), 6))
        self.values = centers[self.labels] + spread * rng.standard_normal((n, 6))
        self.values = self.values.astype(np.float32)
        self.ids = [str(number) for number in range(n)]
        self.fingerprint = f"{n} {seed}"

    def read(self, indices):
        return self.values[indices]


def model(**more):
    features = Features(name="six", extract=lambda images: images)
    return neighbors_model(name="m", title="M", features=features, **more)


def fit(made, folder, train, validation=None, say=lambda text: None):
    context = FitContext(seed=0, classes=CLASSES, settings={}, folder=folder, say=say)
    return made.fit(train, validation, context)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 60), st.integers(0, 10**6), st.integers(1, 20))
def test_logits_are_those_of_scikit_learn(tmp_path_factory, n, seed, number):
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    train, test = Rows(n, seed), Rows(40, seed + 1)
    before = train.values.copy()
    fitted = fit(model(neighbors=(number,)), tmp_path_factory.mktemp("m"), train)
    known = KNeighborsClassifier(min(number, n), weights="distance", algorithm="brute")
    known.fit(normalize(train.values), train.labels)
    expected = np.full((40, len(CLASSES)), 1e-6)
    expected[:, known.classes_] = known.predict_proba(normalize(test.values))
    found = fitted.logits(test.values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.log(np.clip(expected, 1e-6, 1)), atol=1e-3)
    assert np.array_equal(train.values, before)
    # A patch is answered alike whatever comes with it.
    np.testing.assert_allclose(fitted.logits(test.values[7:8])[0], found[7], atol=1e-5)


def test_plain_votes_of_centered_features(tmp_path):
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize

    train, test = Rows(200, 1, 2.0), Rows(60, 2, 2.0)
    fitted = fit(model(neighbors=(20,), centered=True, weighted=False), tmp_path, train)
    mean = train.values.mean(axis=0)
    known = KNeighborsClassifier(20).fit(normalize(train.values - mean), train.labels)
    expected = known.predict_proba(normalize(test.values - mean))
    np.testing.assert_allclose(
        fitted.logits(test.values), np.log(np.clip(expected, 1e-6, 1)), atol=1e-5
    )
    fitted.save(tmp_path)
    again = model().load(tmp_path, {})
    assert np.array_equal(again.logits(test.values), fitted.logits(test.values))


def test_the_number_is_chosen_on_held_out_patches(tmp_path):
    train, validation, said = Rows(300, 1, 3.0), Rows(200, 2, 3.0), []
    made = model(neighbors=(1, 5, 40))
    assert made.selects
    assert not model(neighbors=(20,)).selects
    fitted = fit(made, tmp_path, train, validation, said.append)
    assert said == [f"chosen on held-out patches: {fitted.neighbors} neighbors"]
    likelihood = {}
    for number in (1, 5, 40):
        alone = fit(model(neighbors=(number,)), tmp_path, train)
        logits = alone.logits(validation.values)
        likelihood[number] = logits[np.arange(200), validation.labels].mean()
    assert fitted.neighbors == max(likelihood, key=likelihood.get) != 1


def test_fewer_patches_than_neighbors_are_all_asked(tmp_path):
    fitted = fit(model(), tmp_path, Rows(4), Rows(9, 1))
    assert fitted.neighbors <= 4
    assert fit(model(neighbors=(20,)), tmp_path, Rows(4)).neighbors == 4


def test_a_copy_decides_and_zeros_are_no_error(tmp_path):
    train = Rows(30)
    train.values[3] = 0
    fitted = fit(model(neighbors=(5,)), tmp_path, train)
    logits = fitted.logits(np.concatenate([5 * train.values[:3], np.zeros((1, 6), np.float32)]))
    assert list(logits[:3].argmax(axis=1)) == list(train.labels[:3])
    assert (logits[:3].max(axis=1) > np.log(0.999)).all()
    assert np.isfinite(logits).all()


def test_what_is_stored_answers_alike(tmp_path):
    made, test = model(), Rows(20, 5)
    fitted = fit(made, tmp_path, Rows(80), Rows(30, 3))
    fitted.save(tmp_path)
    again = made.load(tmp_path, {})
    assert isinstance(again.rows, np.memmap)
    assert np.array_equal(again.logits(test.values), fitted.logits(test.values))


def test_neighbors_to_choose_from_need_held_out_patches(tmp_path):
    with pytest.raises(Exception, match="need a validation split"):
        fit(model(), tmp_path, Rows(30))
