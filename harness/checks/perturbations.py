"""What perturbations promise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import Bench, scramble, shaped, unchanged
from harness.checks.fakes import Held
from harness.checks.outcome import Broken, Skipped
from harness.data.handover import kept
from harness.types.perturbations import Perturbation

PATCHES = 2
"""Patches that each level is tried on; some perturbations take a good part of a second."""
SEED = 7
MORE_SEEDS = range(100, 150)
"""Tried where a level changes no patch, as some act with a probability."""


def targets(perturbation: Perturbation, bench: Bench) -> NDArray[np.float64] | None:
    """What it learned of each class of the few training patches, once."""
    if perturbation.learns is None:
        return None
    features = perturbation.learns

    def make() -> NDArray[np.float64]:
        train = bench.featured(features).train
        assert isinstance(train, Held)
        typical = perturbation.typical or (lambda values: np.median(values, axis=0))
        classes = range(len(bench.classes))
        return np.stack([typical(train.values[train.labels == label]) for label in classes])

    return bench.once(("targets", perturbation.name), make)


def apply(
    perturbation: Perturbation, patch: NDArray[Any], level: float, bench: Bench, seed: int = SEED
) -> Any:
    """One patch under one level, with a generator that is the same each time."""
    learned = targets(perturbation, bench)
    more = () if learned is None else (learned[int(level)],)
    return perturbation.apply(patch, level, np.random.default_rng(seed), *more)


def applied(perturbation: Perturbation, bench: Bench) -> list[NDArray[np.uint8]]:
    """The patches under each level, once."""
    return bench.once(
        ("applied", perturbation.name),
        lambda: [
            np.array(apply(perturbation, patch.copy(), level, bench))
            for level in perturbation.levels_for(bench.classes)
            for patch in bench.test.values[:PATCHES]
        ],
    )


def look(changed: Any, patch: NDArray[np.uint8], level: float) -> None:
    """Raise Broken unless what came of a patch has its shape and dtype."""
    fits = isinstance(changed, np.ndarray) and changed.dtype == np.uint8
    if not fits or changed.shape != patch.shape:
        raise Broken(
            f"level {level:g} made {shaped(changed)} of {shaped(patch)}",
            "return uint8 of the same shape; clip and round before you cast",
        )


def same_shape(perturbation: Perturbation, bench: Bench) -> None:
    """A patch keeps its shape and dtype at every level."""
    for level in perturbation.levels_for(bench.classes):
        for patch in bench.test.values[:PATCHES]:
            look(apply(perturbation, patch.copy(), level, bench), patch, level)


def not_square(perturbation: Perturbation, bench: Bench) -> None:
    """Patches need not be square."""
    patch = np.ascontiguousarray(bench.test.values[0][: bench.test.values.shape[1] * 3 // 4])
    for level in perturbation.levels_for(bench.classes):
        for turned in (patch, np.ascontiguousarray(patch.transpose(1, 0, 2))):
            look(apply(perturbation, turned.copy(), level, bench), turned, level)


def same_seed(perturbation: Perturbation, bench: Bench) -> None:
    """Patch, level and ``rng`` decide the outcome, whatever came before."""
    expected = applied(perturbation, bench)
    scramble()
    found = [
        apply(perturbation, patch.copy(), level, bench)
        for level in reversed(perturbation.levels_for(bench.classes))
        for patch in bench.test.values[:PATCHES][::-1]
    ]
    for one, other in zip(expected, reversed(found), strict=True):
        if not np.array_equal(one, other):
            raise Broken(
                "the same patch, level and seed gave different patches",
                "draw from rng alone, and keep nothing between calls",
            )


def inputs_unchanged(perturbation: Perturbation, bench: Bench) -> None:
    """The patch that it is given is left as it is."""
    for level in perturbation.levels_for(bench.classes):
        given = kept(bench.test.values[0])
        with unchanged(f"level {level:g} changed its input in place", given):
            apply(perturbation, given, level, bench)


def changes(perturbation: Perturbation, bench: Bench) -> None:
    """Levels are finite, each stands once, and each changes some patch; of classes, some does."""
    levels = perturbation.levels_for(bench.classes)
    if len(set(levels)) != len(levels) or not np.isfinite(levels).all():
        raise Broken(f"levels are {levels}", "give finite numbers, each once")
    results = applied(perturbation, bench)
    learned = targets(perturbation, bench)
    if learned is not None:
        if (learned == learned[0]).all():
            raise Skipped("what it learned of the few patches is the same for all classes")
        if all(
            np.array_equal(one, bench.test.values[n % PATCHES]) for n, one in enumerate(results)
        ):
            raise Broken("no class's look changes a patch", "use the fourth argument, the target")
        return
    for number, level in enumerate(perturbation.levels_for(bench.classes)):
        own = results[number * PATCHES : (number + 1) * PATCHES]
        patch = bench.test.values[0]
        if np.array_equal(np.stack(own), bench.test.values[:PATCHES]) and all(
            np.array_equal(apply(perturbation, patch.copy(), level, bench, seed), patch)
            for seed in MORE_SEEDS
        ):
            raise Broken(f"level {level:g} changes nothing", "leave out levels that do not")


PERTURBATION = (same_shape, not_square, same_seed, inputs_unchanged, changes)
