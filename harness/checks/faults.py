"""What faults promise that are planted in real patches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import Bench, scramble, unchanged
from harness.checks.outcome import Broken, Skipped
from harness.checks.perturbations import MORE_SEEDS, look
from harness.data.handover import kept
from harness.types.faults import PlantedFault

PATCHES = 2
SEED = 7


def levels(fault: PlantedFault) -> list[float]:
    """The levels of the smallest, a middle and the largest dose, each once."""
    some = {fault.doses[i] for i in (0, len(fault.doses) // 2, -1) if fault.doses}
    return sorted({level for dose in some for level in fault.levels(dose)})


def plant(fault: PlantedFault, patch: NDArray[Any], level: float, seed: int = SEED) -> Any:
    """A patch with the fault, by a generator that is the same each time."""
    return fault.plant(patch, level, np.random.default_rng(seed))


def planted(fault: PlantedFault, bench: Bench) -> Iterator[tuple[NDArray[Any], float, Any]]:
    """Patches, levels, and the patches with the fault at that level."""
    for level in levels(fault):
        for patch in bench.test.values[:PATCHES]:
            yield patch, level, plant(fault, kept(patch), level)


def doses(fault: PlantedFault, bench: Bench) -> None:
    """Doses ascend, and each has a level for every class, or for the two splits."""
    if not fault.doses or any(np.diff(fault.doses) <= 0):
        raise Broken(f"doses are {fault.doses}", "give some, each larger than the last")
    for dose in fault.doses:
        n = len(fault.levels(dose))
        if n < 2 or (fault.of_split and n != 2):
            raise Broken(
                f"dose {dose:g} has {n} levels",
                "give one for each of at least two classes; with of_split, for train and for test",
            )


def same_shape(fault: PlantedFault, bench: Bench) -> None:
    """A patch keeps its shape and dtype, whatever the level."""
    for patch, level, changed in planted(fault, bench):
        look(changed, patch, level)


def same_seed(fault: PlantedFault, bench: Bench) -> None:
    """Patch, level and ``rng`` decide the outcome, whatever came before."""
    before = [changed for *_, changed in planted(fault, bench)]
    scramble()
    after = [changed for *_, changed in planted(fault, bench)]
    if not all(map(np.array_equal, before, after)):
        raise Broken(
            "the same patch, level and seed gave different patches",
            "draw from rng alone, and keep nothing between calls",
        )


def inputs_unchanged(fault: PlantedFault, bench: Bench) -> None:
    """The patch that it is given is left as it is."""
    for level in levels(fault):
        given = kept(bench.test.values[0])
        with unchanged(f"level {level:g} changed its input in place", given):
            plant(fault, given, level)


def shows(fault: PlantedFault, bench: Bench) -> None:
    """A fault that ought to raise a flag changes some patch."""
    if not fault.raises:
        raise Skipped("it is a control")
    patch = kept(bench.test.values[0])
    if all(
        np.array_equal(plant(fault, patch, level, seed), patch)
        for level in levels(fault)
        for seed in MORE_SEEDS
    ):
        raise Broken("no level changes a patch", "plant it, or leave it out")


FAULT = (doses, same_shape, same_seed, inputs_unchanged, shows)
