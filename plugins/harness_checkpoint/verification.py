"""Which weights of a described model were loaded: it is built and loaded twice, and compared.

Each time in a process of its own, one after the other, with other random numbers. In the second,
all that is to be loaded is filled with noise before, and so is what is made as a constant or after
a seed is set. What then differs was not loaded: the own
weights that ``load_state_dict`` was given back, a layer made after loading, statistics of batch
normalization that stayed at their defaults. Where all tensors are the same and yet the two answer
noise differently, the answer depends on values that are no parameters, such as a layer in a list.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness import HarnessError, Setting
from harness_checkpoint.description import Description
from harness_checkpoint.loading import listed
from harness_checkpoint.process import Worker

SIDE = 224
"""Width of the patches of noise where the network takes patches of any size."""

_LOADED: dict[tuple[str, ...], tuple[str, list[str]]] = {}
"""What was found, by the file and digest of a model and what runs it: it need not be loaded twice
again."""


def loaded(description: Description, settings: Mapping[str, Setting]) -> tuple[str, list[str]]:
    """What was loaded, in words, and what is likely to be wrong with the input.

    Raises HarnessError when weights were not loaded that ``weights.missing`` does not name. Asked
    once in a process.
    """
    of = str(description.path), description.initial_weights.digest
    key = (*of, str(settings["python"]), str(settings["device"]))
    if key not in _LOADED:
        _LOADED[key] = _compare(description, settings)
    return _LOADED[key]


def _compare(description: Description, settings: Mapping[str, Setting]) -> tuple[str, list[str]]:
    weights = description.weights
    given = bool(weights["method"] or weights["file"])
    tensors, configuration, answers = _look(description, settings, seed=0, disturbed=False)
    try:
        others, _, other_answers = _look(description, settings, seed=1, disturbed=True)
    except HarnessError:
        # The noise may be at fault: a method that looks at the network before it loads.
        others, _, other_answers = _look(description, settings, seed=1, disturbed=False)
    both = {**others, **tensors}
    left = [name for name in both if tensors.get(name) != others.get(name)]
    # What is not saved and yet the same, such as positions, was not to be loaded.
    kept = {k: v for k, v in both.items() if k in left or not v.startswith("unsaved")}
    allowed = weights["missing"]
    lacking = [n for n in left if not any(fnmatch.fnmatchcase(n, part) for part in allowed)]
    if lacking:
        raise HarnessError(f"{description.path}: {_why(description, kept, left, lacking)}")
    # What is left out by leave of weights.missing was filled with noise in the second.
    if not left and _hidden(answers, other_answers, tensors):
        raise HarnessError(
            f"{description.path}: network = {description.network!r}: its parameters and buffers "
            "are the same each time it is loaded, but its answers are not: they depend on values "
            "that come from no file and are no parameters, such as a plain tensor, a layer in a "
            "list or one made in forward; make them parameters or buffers when it is built "
            "(nn.ModuleList, register_buffer), and load them"
        )
    said = ""
    if given:
        what = weights["method"] or weights["file"].replace("\\", "/").rpartition("/")[2]
        said = f"{what} loaded {len(kept) - len(left):,} of {len(kept):,} tensors"
        said += f", none into {listed(left)}" if left else ""
    return said, _other_input(description, configuration)


def _look(
    description: Description, settings: Mapping[str, Setting], seed: int, disturbed: bool
) -> tuple[Mapping[str, str], Mapping[str, list[float]], list[NDArray[np.float32]]]:
    """Digests of tensors, the network's own configuration, and what it answers noise, twice."""
    worker = Worker(description, settings, seed=seed, disturbed=disturbed, digests=True)
    side = description.input["size"] or SIDE
    noise = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    try:
        answers = [worker.logits(noise) for _ in range(2)]
    except HarnessError:  # patches of another size may do; else it is told when it predicts
        answers = []
    worker.close()
    return worker.tensors, worker.configuration, answers


def _hidden(
    answers: list[NDArray[np.float32]],
    others: list[NDArray[np.float32]],
    tensors: Mapping[str, str],
) -> bool:
    """Whether two networks with the same tensors answer differently, each always the same.

    Answers that vary by themselves, as with dropout, tell nothing.
    """
    if not answers or not others:
        return False
    coarse = any("float16" in digest.partition(":")[0] for digest in tensors.values())
    allowed = (0.05 if coarse else 1e-3) * max(float(np.abs(answers[0]).max()), 1e-6)

    def differ(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
        return float(np.abs(one - other).max()) > allowed

    varies = differ(*answers) or differ(*others)
    return not varies and differ(answers[0], others[0])


def _why(
    description: Description, tensors: Mapping[str, str], left: list[str], lacking: list[str]
) -> str:
    """What was not loaded, and what to do about it."""
    weights = description.weights
    count = f"{len(lacking):,} of {len(tensors):,} tensors ({listed(lacking)})"
    unless = "or name in weights.missing what the answer does not depend on"
    if not (weights["method"] or weights["file"]):
        return (
            f"network = {description.network!r}: {count} come from no file, they are random or "
            f"stayed as they were built; load all its weights, {unless}"
        )
    if weights["method"]:
        here = f"weights.method = {weights['method']!r}"
        fix = "check its arguments and the file that it reads"
    else:
        here = f"weights.file = {weights['file']!r}"
        fix = "correct arguments, weights.key or weights.prefix"
    kept = [tensors[name] for name in tensors if name not in left]
    if not any(digest.startswith(("float", "bfloat", "complex")) for digest in kept):
        return f"{here}: it left every weight as it was; {fix}"
    return f"{here}: it loaded nothing into {count}; {fix}, {unless}"


def _other_input(description: Description, configuration: Mapping[str, list[float]]) -> list[str]:
    """Where the network's own configuration, one of timm, says another mean than the file."""
    given = description.input
    low, high = given["range"]
    if not configuration or given["channels"] == "BGR":
        return []
    ours = {
        "mean": [(value - low) / (high - low) for value in given["mean"]],
        "std": [value / (high - low) for value in given["std"]],
    }
    pairs = [pair for name in ours for pair in zip(ours[name], configuration[name], strict=True)]
    if all(abs(one - other) < 0.005 for one, other in pairs):
        return []
    own = ", ".join(f"{name} = {configuration[name]}" for name in ("mean", "std"))
    return [
        f"the configuration of the network says {own}, and [input] something else; correct [input] "
        "unless the network was trained otherwise"
    ]
