"""The optimizer in numpy takes the steps of torch's."""

import numpy as np
import pytest

from harness.hooks.adamw import RATE, AdamW, Linear

torch = pytest.importorskip("torch")


def test_steps_are_those_of_torch():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((64, 20)).astype(np.float32)
    labels = rng.integers(0, 4, 64)
    layer = Linear.initial(20, 4, seed=1)
    other = torch.nn.Linear(20, 4)
    with torch.no_grad():
        other.weight.copy_(torch.from_numpy(layer.weight.T.copy()))
        other.bias.copy_(torch.from_numpy(layer.bias))
    ours, theirs = AdamW(layer.parameters), torch.optim.AdamW(other.parameters(), lr=RATE)
    for _ in range(300):
        loss = torch.nn.functional.cross_entropy(
            other(torch.from_numpy(inputs)), torch.from_numpy(labels)
        )
        theirs.zero_grad()
        loss.backward()
        ours.step(layer.gradients(inputs, labels))
        theirs.step()
    moved = np.abs(Linear.initial(20, 4, seed=1).weight - layer.weight).max()
    assert moved > 0.03
    np.testing.assert_allclose(layer.weight, other.weight.detach().numpy().T, atol=1e-5)
    np.testing.assert_allclose(layer.bias, other.bias.detach().numpy(), atol=1e-5)


def test_initial_weights_are_within_the_bound_of_torchs():
    layer = Linear.initial(400, 9, seed=0)
    drawn = np.concatenate([layer.weight.ravel(), layer.bias])
    theirs = torch.nn.Linear(400, 9).weight.detach().numpy()
    assert 0.04 < np.abs(drawn).max() <= 0.05
    assert np.abs(theirs).max() <= 0.05
    assert drawn.std() == pytest.approx(theirs.std(), rel=0.05)
    assert not np.array_equal(layer.weight, Linear.initial(400, 9, seed=1).weight)
