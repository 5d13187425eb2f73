"""What phantoms promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from harness.checks.bench import Bench
from harness.checks.outcome import Broken, Skipped
from harness.types.datasets import Split, Splits
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe


def planter(phantom: Phantom, bench: Bench) -> Callable[[Mapping[str, float]], Splits]:
    """What plants faults in the patches of seed 0, once."""
    return bench.once(("planter", phantom.name), lambda: phantom.make(0))


def contents(splits: Splits) -> list[tuple[bytes, bytes]]:
    """Patches and labels of the splits."""

    def content(split: Split) -> tuple[bytes, bytes]:
        return split.read(np.arange(len(split.labels))).tobytes(), split.labels.tobytes()

    return [content(s) for s in (splits.train, splits.validation, splits.test) if s is not None]


def clean(phantom: Phantom, bench: Bench) -> list[tuple[bytes, bytes]]:
    """Patches and labels without faults, once."""
    plant = planter(phantom, bench)
    return bench.once(("clean", phantom.name), lambda: contents(plant({})))


def patches(phantom: Phantom, bench: Bench) -> None:
    """It gives uint8 RGB patches, labeled with indices into its classes."""
    test = planter(phantom, bench)({}).test
    images = test.read([0, 1])
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise Broken(f"patches are {images.dtype} {images.shape}", "return uint8 (n, H, W, 3)")
    if test.labels.min() < 0 or test.labels.max() >= len(phantom.classes):
        raise Broken("labels are no indices into classes", "count classes from 0")


def same_seed(phantom: Phantom, bench: Bench) -> None:
    """The same seed gives the same patches, another seed others."""
    if contents(phantom.make(0)({})) != clean(phantom, bench):
        raise Broken("seed 0 gave other patches the second time", "draw from the seed alone")
    if contents(phantom.make(1)({})) == clean(phantom, bench):
        raise Broken("seeds 0 and 1 gave the same patches", "draw from the seed")


def faults_show(phantom: Phantom, bench: Bench) -> None:
    """Each fault changes some patch, and planting one leaves later phantoms alone."""
    if not phantom.faults:
        raise Skipped("it has no faults")
    expected, plant = clean(phantom, bench), planter(phantom, bench)
    for fault in phantom.faults:
        if contents(plant({fault.name: max(fault.doses)})) == expected:
            raise Broken(f"the fault {fault.name!r} changes no patch", "plant it, or leave it out")
    if contents(plant({})) != expected:
        raise Broken("planting faults changed the faultless patches", "plant in a copy")


def raises(phantom: Phantom, bench: Bench) -> None:
    """Faults have doses above 0, and the probes that they raise are probes of datasets."""
    known = {n for n, p in bench.registry.probes.items() if isinstance(p, DatasetProbe)}
    for fault in phantom.faults:
        if not fault.doses or min(fault.doses) <= 0:
            raise Broken(
                f"the fault {fault.name!r} has the doses {fault.doses}", "give some above 0"
            )
        if strange := [name for name in fault.raises if name not in known]:
            raise Broken(
                f"the fault {fault.name!r} raises {', '.join(strange)}, which no plugin offers",
                "name probes of datasets, see harness list",
            )


PHANTOM = (patches, same_seed, faults_show, raises)
