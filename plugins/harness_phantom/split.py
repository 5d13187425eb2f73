"""Splits of phantom patches, rendered when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness import HarnessError, Splits
from harness_phantom import CLASSES, FAULTS, NORMALIZED, VERSION, scanner
from harness_phantom.faults import Place, Plan, acquire, altered, generator
from harness_phantom.scanner import Look

if TYPE_CHECKING:
    from harness.types.datasets import Indices

Scans = Callable[[int, Place], NDArray[np.uint16]]
"""From a seed and a place to the scan there, uint16 RGB (side, side, 3)."""
LOOK = Look()


def render(seed: int, place: Place, look: Look = LOOK) -> NDArray[np.uint16]:
    """The scan of the patch at a place; depends on nothing but its arguments."""
    scan = scanner.scan(place.label, generator(seed, place, "scan"), look)
    scan.setflags(write=False)
    return scan


def kept_scans(look: Look = LOOK) -> Scans:
    """``render`` that keeps every scan, 0.3 MB each at most."""
    return cache(partial(render, look=look))


@dataclass(frozen=True)
class PhantomSplit:
    """One part of a phantom: ``per_class`` patches of each class, sorted by class."""

    plan: Plan
    part: str
    per_class: int
    scans: Scans
    look: Look = LOOK

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels, int64 (N,)."""
        return np.repeat(np.arange(len(CLASSES), dtype=np.int64), self.per_class)

    @cached_property
    def ids(self) -> Sequence[str]:
        """Such as "test/ADI-003"."""
        return tuple(name(self.place(i)) for i in range(len(self.labels)))

    @property
    def fingerprint(self) -> str:
        """A digest of all that determines the patches; renders none."""
        known = [VERSION, self.plan.seed, sorted(self.plan.doses.items())]
        known += [self.part, self.per_class, self.plan.train, self.plan.test]
        if self.look != LOOK:
            known.append(asdict(self.look))
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    @property
    def copies(self) -> dict[str, tuple[str, str]]:
        """The planted duplicates: by id, the id of the training patch copied and the change."""
        return {
            name(place): (name(copy.original), copy.change)
            for place, copy in self.plan.copies.items()
            if place.part == self.part
        }

    def place(self, index: int) -> Place:
        """Where the patch with this index stands."""
        return Place(self.part, int(index) // self.per_class, int(index) % self.per_class)

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Render some patches: uint8 RGB, (len(indices), size, size, 3)."""
        patches = np.empty((len(indices), self.look.size, self.look.size, 3), np.uint8)
        for patch, index in zip(patches, indices, strict=True):
            patch[:] = self.patch(self.place(int(index)))
        return patches

    def patch(self, place: Place) -> NDArray[np.uint8]:
        """The patch at a place, of this part or another, with the faults planted in it."""
        copy = self.plan.copies.get(place)
        if copy is None:
            return acquire(self.scans(self.plan.seed, place), place, self.plan)
        return altered(
            self.patch(copy.original), copy.change, generator(self.plan.seed, place, "copy")
        )


def name(place: Place) -> str:
    """The id of the patch at a place."""
    return f"{place.part}/{CLASSES[place.label]}-{place.number:03d}"


def splits(
    seed: int,
    train: int,
    test: int,
    doses: Mapping[str, float],
    scans: Scans = render,
    look: Look = LOOK,
) -> Splits:
    """Training and test split with this many patches a class and these faults.

    ``scans`` are those of the ``look``. Raises HarnessError for a fault that is not in ``FAULTS``
    and not ``NORMALIZED``, and for a negative dose.
    """
    unknown = set(doses) - {fault.name for fault in (*FAULTS, NORMALIZED)}
    if unknown:
        raise HarnessError(f"the phantom knows no fault {', '.join(sorted(unknown))}")
    if any(dose < 0 for dose in doses.values()):
        raise HarnessError("a dose is 0 or more")
    # No dose is no fault, whether named or not.
    planted = {name: float(dose) for name, dose in doses.items() if dose}
    plan = Plan(seed, planted, train, test)
    return Splits(
        train=PhantomSplit(plan, "train", train, scans, look),
        test=PhantomSplit(plan, "test", test, scans, look),
    )
