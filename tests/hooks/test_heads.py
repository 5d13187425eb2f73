"""Heads on frozen features: what each computes, and that it is stored and read back."""

import numpy as np
import pytest

from harness import HEADS, Features, FitContext, head_model
from harness.hooks.adamw import PATIENCE
from harness.hooks.heads import FixedPenalty, NearestMean

CLASSES = ("a", "b", "c")


class Rows:
    """Features of three classes as a split."""

    def __init__(self, n, seed, spread=1.0):
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % len(CLASSES)
        centers = 2 * np.random.default_rng(9).standard_normal((len(CLASSES), 8))
        values = 3 + centers[self.labels] + spread * rng.standard_normal((n, 8))
        self.values = values.astype(np.float32)
        self.ids = [str(number) for number in range(n)]
        self.fingerprint = f"{n} {seed}"

    def read(self, indices):
        return self.values[indices]


@pytest.mark.parametrize("head", HEADS)
def test_each_head_learns_and_answers_alike_when_read_back(head, tmp_path):
    features = Features(name="eight", extract=lambda images: images)
    made = head_model(head, name=f"m+{head}", title="M", features=features)
    train, validation, test = Rows(120, 1), Rows(60, 2), Rows(90, 3)
    context = FitContext(seed=0, classes=CLASSES, settings={}, folder=tmp_path)
    fitted = made.fit(train, validation if made.selects else None, context)
    logits = fitted.logits(test.values)
    assert logits.dtype == np.float32
    assert logits.shape == (90, 3)
    assert (logits.argmax(axis=1) == test.labels).mean() > 0.9
    folder = tmp_path / "stored"
    folder.mkdir()
    fitted.save(folder)
    assert np.array_equal(made.load(folder, {}).logits(test.values), logits)


def test_which_heads_choose_on_held_out_patches():
    features = Features(name="eight", extract=lambda images: images)
    made = {h: head_model(h, name="m", title="M", features=features) for h in HEADS}
    choosing = {head for head, model in made.items() if model.selects}
    assert choosing == {"linear", "linear-eva", "knn"}


def test_evas_head_keeps_the_best_of_what_it_saw(tmp_path):
    made = head_model("linear-eva", name="m", title="M", features=Features(name="f", extract=len))
    train, validation = Rows(600, 1, 3.0), Rows(90, 2, 3.0)
    seen = []
    context = FitContext(
        seed=3,
        classes=CLASSES,
        settings={"steps": 4000},
        folder=tmp_path,
        after_epoch=lambda number, fitted, score: seen.append((number, fitted, score)),
    )
    fitted = made.fit(train, validation, context)
    assert [number for number, _, _ in seen] == list(range(len(seen)))
    scores = [score for _, _, score in seen]
    for _, then, score in seen:
        right = then.logits(validation.values).argmax(axis=1) == validation.labels
        by_class = [right[validation.labels == label].mean() for label in range(3)]
        assert score == pytest.approx(np.mean(by_class))
    assert len(seen) == min(100, int(np.argmax(scores)) + 1 + PATIENCE)
    best = seen[int(np.argmax(scores))][1]
    assert np.array_equal(fitted.logits(train.values), best.logits(train.values))
    assert scores[0] < max(scores)
    again = made.fit(train, validation, context)
    assert np.array_equal(fitted.weight, again.weight)


def test_simpleshot_is_the_nearest_mean_of_centered_unit_features():
    train, test = Rows(90, 4, 3.0), Rows(200, 5, 3.0)
    found = NearestMean().fit(train.values, train.labels)
    mean = train.values.mean(axis=0)

    def unit(values):
        centered = values - mean
        return centered / np.linalg.norm(centered, axis=1, keepdims=True)

    means = [unit(train.values)[train.labels == c].mean(axis=0) for c in range(3)]
    distances = np.stack([np.linalg.norm(unit(test.values) - m, axis=1) for m in means], axis=1)
    np.testing.assert_allclose(found.decision_function(test.values), -distances, atol=1e-5)
    assert np.array_equal(found.predict(test.values), distances.argmin(axis=1))


def test_the_fixed_penalty_is_at_the_minimum_of_unis_objective():
    from scipy.special import log_softmax

    train = Rows(90, 6, 3.0)
    found = FixedPenalty().fit(train.values, train.labels)

    def objective(weights, bias):
        logits = train.values.astype(np.float64) @ weights.T + bias
        loss = -log_softmax(logits, axis=1)[np.arange(90), train.labels].mean()
        return loss + 100 / (8 * 3) * 0.5 * np.linalg.norm(weights)

    least = objective(found.coef_, found.intercept_)
    assert least < np.log(3)  # that of no weights
    rng = np.random.default_rng(0)
    for _ in range(200):
        step = rng.standard_normal((3, 9)) * 10 ** rng.uniform(-4, -1)
        moved = objective(found.coef_ + step[:, :8], found.intercept_ + step[:, 8])
        assert moved >= least - 1e-9


def test_the_fixed_penalty_is_what_torch_finds_as_in_unis_code():
    torch = pytest.importorskip("torch")
    train = Rows(300, 7, 2.0)
    values, labels = torch.tensor(train.values), torch.tensor(train.labels)
    layer = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    cost = 8 * 3 / 100
    optimizer = torch.optim.LBFGS(layer.parameters(), line_search_fn="strong_wolfe", max_iter=1000)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(values), labels)
        loss = loss + (1 / cost) * 0.5 * layer.weight.norm(p=2)
        loss.backward()
        return loss

    optimizer.step(closure)
    found = FixedPenalty().fit(train.values, train.labels).predict_proba(train.values)
    np.testing.assert_allclose(found, layer(values).softmax(1).detach().numpy(), atol=2e-3)
