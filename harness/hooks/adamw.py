"""A linear layer on features, trained with AdamW: the head that eva judges encoders with.

In numpy, as it needs no graphics card and must work where torch is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.types.datasets import Split
from harness.types.models import Classifier, Features, FitContext, Model, Setting
from harness.types.options import Option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS, BATCH, RATE = 12_500, 256, 3e-4
"""Those of eva (kaiko-ai/eva, configs/vision/pathology/offline/classification/crc.yaml)."""
DECAY, BETAS, EPSILON = 0.01, (0.9, 0.999), 1e-8
"""The defaults of torch.optim.AdamW."""
PATIENCE = 7
"""That of eva: looks at the patches to select on without a gain after which training ends."""
LOOKS = 100
"""How often the held-out patches are looked at, at most; as a rule, after each pass."""


def adamw_model(
    *,
    name: str,
    title: str,
    features: Features | Callable[[Mapping[str, Setting]], Features],
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Model:
    """A Model that trains a linear layer on features as eva does.

    Cross-entropy, batches of 256, AdamW (Loshchilov and Hutter, arXiv:1711.05101) at a constant
    rate of 3e-4 for ``steps`` steps (12,500), from the initial weights of torch.nn.Linear. The
    state with the highest balanced accuracy on the patches to select on is kept, and training ends
    after ``PATIENCE`` looks at them without a higher one; eva takes the test patches for that, as
    ``--protocol published`` does. ``more`` are further fields of Model.
    """
    return Model(
        name=name,
        title=title,
        fit=_fit,
        load=_load,
        features=features,
        selects=True,
        reports_epochs=True,
        settings={
            **(settings or {}),
            "steps": Option(STEPS, ge=1, help="steps of the optimizer, of 256 patches each"),
        },
        **more,
    )


def _fit(train: Split, validation: Split | None, context: FitContext) -> Classifier:
    import numpy as np
    from threadpoolctl import threadpool_limits

    if validation is None:
        raise HarnessError("linear-eva needs patches to select on; report it to its author")
    rows = train.read(np.arange(len(train.labels)))
    labels = np.asarray(train.labels)
    to_select = validation.read(np.arange(len(validation.labels)))
    layer = Linear.initial(rows.shape[1], len(context.classes), context.seed)
    steps = int(context.settings.get("steps", STEPS))
    each = max(math.ceil(len(rows) / BATCH), math.ceil(steps / LOOKS))
    optimizer = AdamW(layer.parameters)
    best, highest, looks, best_look = layer.copy(), -1.0, 0, 0
    # Of products as small as these, several threads of BLAS take longer than one.
    with threadpool_limits(1):
        rng = np.random.default_rng(context.seed)
        order = np.empty(0, np.int64)
        for step in context.progress(range(1, steps + 1), total=steps, label="steps"):
            if not len(order):
                order = rng.permutation(len(rows))
            chosen, order = order[:BATCH], order[BATCH:]
            optimizer.step(layer.gradients(rows[chosen], labels[chosen]))
            if step % each and step < steps:
                continue
            score = balanced_accuracy(validation.labels, layer.logits(to_select))
            if score > highest:
                best, highest, best_look = layer.copy(), score, looks
            if context.after_epoch is not None:
                context.after_epoch(looks, layer.copy(), score)
            if looks - best_look >= PATIENCE:
                break
            looks += 1
    context.say(f"balanced accuracy on the patches to select on: {highest:.1%}")
    return best


def balanced_accuracy(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> float:
    """Mean recall of the classes that have patches."""
    import numpy as np

    right = logits.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _load(folder: Path, settings: Mapping[str, Setting]) -> Classifier:
    import numpy as np

    with np.load(folder / "linear.npz") as stored:
        return Linear(stored["weight"], stored["bias"])


class Linear:
    """A linear layer, a ``harness.Classifier``: weight float32 (D, C) and bias float32 (C,)."""

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.weight = weight
        self.bias = bias

    @classmethod
    def initial(cls, width: int, n_classes: int, seed: int) -> Linear:
        """Random weights as those of torch.nn.Linear: uniform within 1 / sqrt(width)."""
        import numpy as np

        rng, most = np.random.default_rng((seed, width)), 1 / math.sqrt(width)
        weight = rng.uniform(-most, most, (width, n_classes)).astype(np.float32)
        return cls(weight, rng.uniform(-most, most, n_classes).astype(np.float32))

    @property
    def parameters(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight and bias."""
        return self.weight, self.bias

    def copy(self) -> Linear:
        """One with the same values, which do not change with these."""
        return Linear(self.weight.copy(), self.bias.copy())

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (B, C) of features (B, D)."""
        import numpy as np

        return np.asarray(inputs @ self.weight + self.bias, np.float32)

    def gradients(
        self, inputs: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Those of the mean cross-entropy, by weight and bias."""
        import numpy as np
        from scipy.special import softmax

        wrong = softmax(self.logits(inputs), axis=1)
        wrong[np.arange(len(labels)), labels] -= 1
        wrong /= np.float32(len(labels))
        return inputs.T @ wrong, wrong.sum(axis=0)

    def save(self, folder: Path) -> None:
        """Write ``linear.npz``."""
        import numpy as np

        np.savez(folder / "linear.npz", weight=self.weight, bias=self.bias)


class AdamW:
    """AdamW on float32 arrays, which it changes in place, with the defaults of torch."""

    def __init__(self, parameters: tuple[NDArray[np.float32], ...]) -> None:
        import numpy as np

        self.parameters = parameters
        self.means = [np.zeros_like(values) for values in parameters]
        self.squares = [np.zeros_like(values) for values in parameters]
        self.steps = 0

    def step(self, gradients: tuple[NDArray[np.float32], ...]) -> None:
        """One step."""
        import numpy as np

        self.steps += 1
        first, second = BETAS
        size = np.float32(RATE / (1 - first**self.steps))
        unbiased = np.float32(1 / math.sqrt(1 - second**self.steps))
        for values, gradient, mean, square in zip(
            self.parameters, gradients, self.means, self.squares, strict=True
        ):
            values *= np.float32(1 - RATE * DECAY)
            mean += np.float32(1 - first) * (gradient - mean)
            square += np.float32(1 - second) * (gradient * gradient - square)
            values -= size * mean / (np.sqrt(square) * unbiased + np.float32(EPSILON))
