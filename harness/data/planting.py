"""Patches with planted faults, and datasets in which a fault gives the class away.

``D-planted-with-F-at-DOSE`` is D with the fault F planted by class in its training and its test
patches; the training patches are the same where the name goes on with ``-tested-clean`` (test
patches as they are) or ``-tested-swapped`` (levels of the classes in reverse order).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import kept
from harness.errors import HarnessError
from harness.system import digests
from harness.text.numbers import given
from harness.types.datasets import Dataset, Split, Splits
from harness.types.faults import PlantedFault

if TYPE_CHECKING:
    from harness.types.datasets import Indices

TESTED = ("clean", "planted", "swapped")
"""How test patches are: without the fault, with it as in training, with that of other classes."""
NAME = re.compile(
    r"(.+)-planted-with-(.+)-at-([0-9.]+(?:e[+-]?[0-9]+)?)(?:-tested-(clean|swapped))?"
)


class Planted:
    """Patches in which a fault is planted whenever they are read, each at its level."""

    def __init__(
        self,
        base: Split,
        fault: PlantedFault,
        levels: NDArray[np.float64],
        labels: NDArray[np.int64],
    ) -> None:
        self.base = base
        self.fault = fault
        self.levels = kept(levels)
        self.labels = kept(labels)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Those of the patches."""
        return tuple(self.base.ids)

    @property
    def fingerprint(self) -> str:
        """Digest of the patches, their labels, the fault and its levels."""
        known = [self.base.fingerprint, self.fault.name, self.fault.version]
        return digests.of_json([*known, self.levels.tolist(), self.labels.tolist()])

    def read(self, indices: Indices) -> NDArray[np.uint8]:
        """Patches with the fault, uint8 (B, H, W, 3)."""
        patches = self.base.read(indices)
        return np.stack(
            [
                plant(self.fault, patch, float(self.levels[index]), self.ids[index])
                for patch, index in zip(patches, indices, strict=True)
            ]
        )


def plant(fault: PlantedFault, patch: NDArray[np.uint8], level: float, name: str) -> Any:
    """A patch with a fault, the same for a level and the patch's name, whatever else is planted.

    Raises HarnessError when what the plugin returned is no patch.
    """
    seed = [zlib.crc32(text.encode()) for text in (f"{fault.name} {level!r}", name)]
    rng = np.random.default_rng(seed)
    planted = np.ascontiguousarray(fault.plant(kept(patch), level, rng))
    if planted.dtype != np.uint8 or planted.shape != patch.shape:
        raise HarnessError(
            f"fault {fault.name}: level {level:g} made {planted.dtype} {planted.shape} of "
            f"{patch.dtype} {patch.shape}; report it to the plugin's author"
        )
    return planted


def name(dataset: str, fault: str, dose: float, tested: str) -> str:
    """The name of a dataset with a fault, and with test patches that are one of ``TESTED``."""
    ending = "" if tested == "planted" else f"-tested-{tested}"
    return f"{dataset}-planted-with-{fault}-at-{given(dose)}{ending}"


def base(name: str) -> str:
    """Of a dataset with a fault, the name of that without."""
    match = NAME.fullmatch(name)
    return match[1] if match else name


def fault_of(name: str) -> str:
    """Of a dataset with a fault, the name of the fault; "" for one without."""
    match = NAME.fullmatch(name)
    return match[2] if match else ""


def made_of(
    name: str, find: Callable[[str], Dataset], fault: Callable[[str], PlantedFault]
) -> Dataset | None:
    """The dataset with a fault that has such a name; None for other names."""
    match = NAME.fullmatch(name)
    if not match:
        return None
    own, planted, dose = find(match[1]), fault(match[2]), float(match[3])
    levels = np.array(planted.levels(dose), np.float64)

    def load(folder: Path) -> Splits:
        splits = own.load(folder)
        if splits.train is None:
            raise HarnessError(
                f"dataset {own.name}: has no training patches to plant a fault in; name another"
            )
        test: Any = splits.test
        if match[4] != "clean":
            test = by_class(test, planted, levels[::-1] if match[4] else levels)
        validation = splits.validation
        return replace(
            splits,
            train=by_class(splits.train, planted, levels),
            validation=None if validation is None else by_class(validation, planted, levels),
            test=test,
            folds=0,
        )

    return replace(own, name=name, load=load, on_request=True, test_set="", trained_on="")


def by_class(split: Split, fault: PlantedFault, levels: NDArray[np.float64]) -> Planted:
    """Patches with a fault at the level of their class; levels are dealt to the classes in turn."""
    return Planted(split, fault, levels[split.labels % len(levels)], split.labels)
