"""What a model returns: logits, probabilities or scores; checked, and stored as what can be summed.

Everything downstream takes the softmax of stored values for the model's probabilities, and the sum
of stored values for a sum of models. That holds for logits and for logarithms of probabilities. It
does not hold for probabilities themselves, nor for the margins of a support vector machine.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.jobs.output_checks import checked_logits
from harness.types.models import Classifier, Model, Outputs

KINDS: tuple[str, ...] = get_args(Outputs)
SMALLEST = float(np.finfo(np.float32).tiny)
"""A probability below this, such as a zero, counts as this (1.2e-38), so that its logarithm is
finite."""
TOLERANCE = 0.01
"""How far the sum of a row of probabilities may be from 1. Those of bfloat16 are off by 0.004."""
NEGATIVE = -1e-6
"""What is above this is no negative probability, but rounding."""
FEW = 5
"""Patches from which on it is no chance that all rows of a model have the same sum."""
MANY = 40
"""Values from which on it is no chance that every one of a model lies between 0 and 1."""
DECLARE = 'outputs = "{0}" in a TOML file, Model(outputs="{0}") in Python'
"""How to say what a model returns."""


def kind_of(model: Model, classifier: Classifier) -> Outputs:
    """What a fitted model says that it returns. Raises HarnessError when there is no such kind."""
    said = model.outputs(classifier) if callable(model.outputs) else model.outputs
    if said not in KINDS:
        raise HarnessError(
            f"model {model.name!r} says that its outputs are {said!r}; say {', '.join(KINDS[:-1])} "
            f"or {KINDS[-1]}"
        )
    return said


def as_stored(name: str, kind: Outputs, rows: Any, n: int, n_classes: int) -> NDArray[np.float32]:
    """What a model returned for n patches as it is stored, float32 (n, C).

    Probabilities become their natural logarithms; logits and scores stay as they are. Raises
    HarnessError for another shape, for values that are not finite, and for what is declared as
    probabilities and is not.
    """
    values = checked_logits(name, rows, n, n_classes)
    if kind != "probabilities" or not n:
        return values
    sums = values.sum(axis=1, dtype=np.float64)
    if values.min() < NEGATIVE or np.abs(sums - 1).max() > TOLERANCE:
        raise HarnessError(
            f'model {name!r} declares outputs = "probabilities", but {_what_else(values, sums)}'
        )
    return np.log(np.maximum(values, np.float32(SMALLEST)))


def _what_else(values: NDArray[np.float32], sums: NDArray[np.float64]) -> str:
    """What values are that were declared as probabilities, and what to do about it."""
    with np.errstate(over="ignore"):
        exponentials = np.exp(values.astype(np.float64)).sum(axis=1)
    if values.max() <= 0 and np.abs(exponentials - 1).max() <= TOLERANCE:
        return "they are logarithms of probabilities; leave outputs out"
    if values.min() < NEGATIVE:
        return (
            f"some are negative ({values.min():.4g}); leave outputs out if they are logits, or say "
            '"scores" if they are neither'
        )
    worst = float(sums[np.abs(sums - 1).argmax()])
    return (
        f"they sum to {worst:.4g} for a patch and not to 1; return the softmax, or leave outputs "
        'out if they are logits, or say "scores" if they are neither'
    )


def doubt(values: NDArray[np.float32]) -> str:
    """Why values (N, C) that were given as logits are probably none; "" where nothing says so.

    Probabilities, percentages, votes and sums of probabilities are never negative, and all their
    rows have the same sum: for logits that is no chance, unless they hardly differ from patch to
    patch, or one class has all of every row. Values that all lie between 0 and 1 are those of a
    sigmoid or a similarity. Logarithms of probabilities are negative, and fine.
    """
    if not len(values) or values.min() < NEGATIVE:
        return ""
    sums = values.sum(axis=1, dtype=np.float64)
    if (np.abs(sums - 1) <= TOLERANCE).all():
        if np.isin(values, (0, 1)).all():
            return (
                "its outputs are 1 for the predicted class and 0 for the others, which tells no "
                f"confidence; return logits, or declare scores ({DECLARE.format('scores')})"
            )
        return (
            "its outputs look like probabilities, not logits: none is negative and each row sums "
            f"to 1; declare them ({DECLARE.format('probabilities')}) or return logits"
        )
    shared = (values > 0).sum(axis=1).max() > 1
    total, spread = float(sums.mean()), np.ptp(sums)
    equal = np.abs(sums - total).max() <= TOLERANCE * total
    if len(values) >= FEW and shared and equal and np.ptp(values, axis=0).max() > 2 * spread:
        return (
            "its outputs look like percentages, votes or sums of probabilities, not logits: none "
            f"is negative and each row sums to {total:.4g}; divide them by that and declare them "
            f"({DECLARE.format('probabilities')}), or return logits"
        )
    differ = bool((values != values[0]).any())  # a constant model may be constant in that range
    if values.size >= MANY and len(values) >= FEW and values.max() <= 1 and differ:
        return (
            "its outputs all lie between 0 and 1, like those of a sigmoid, and the softmax of such "
            "values is no confidence; return logits (what goes into the sigmoid), or declare "
            f"scores ({DECLARE.format('scores')})"
        )
    return ""
