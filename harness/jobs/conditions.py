"""What is done to test patches before they are predicted: a perturbation at a level, and a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import frozen
from harness.data.perturb import perturb
from harness.data.perturbed_cache import Change
from harness.data.views import apply_view
from harness.jobs.spec import ConditionSpec
from harness.store.store import Key, Store
from harness.store.stored import load_array
from harness.text.numbers import given
from harness.types.perturbations import Perturbation

if TYPE_CHECKING:
    from harness.jobs.dataset import Instance

Kept = Callable[[NDArray[np.uint8], Sequence[str], Change], NDArray[np.uint8]]
"""``PerturbedCache.through`` of the patches of a part under a perturbation."""


@dataclass(frozen=True)
class Condition:
    """What is done to test patches before they are predicted."""

    perturbation: Perturbation | None = None
    level: float | None = None
    view: str = "identity"
    learned: Learned | None = field(default=None, repr=False)
    """Where a perturbation with ``learns`` learned."""
    kept: Kept | None = field(default=None, repr=False, compare=False)
    """Reads patches that another pass has perturbed, and keeps others for it."""

    def as_dict(self) -> dict[str, Any]:
        """The condition as it stands in keys and records."""
        if self.perturbation is None:
            return {"perturbation": "clean", "level": None, "view": self.view}
        described = {
            "perturbation": self.perturbation.name,
            "perturbation_version": self.perturbation.version,
            "level": self.level,
            "view": self.view,
        }
        if self.learned is not None:
            described["learned"] = [key.digest for key in self.learned.keys]
        return described

    @property
    def needs(self) -> tuple[Key, ...]:
        """The stored features that its perturbation learned from."""
        return self.learned.keys if self.learned else ()

    @property
    def spec(self) -> ConditionSpec:
        """The condition as data."""
        name = self.perturbation.name if self.perturbation else ""
        parts = self.learned.parts if self.learned else ()
        return ConditionSpec(name, self.level, self.view, parts)

    def __str__(self) -> str:
        parts = []
        if self.perturbation is not None and self.level is not None:
            parts.append(f"{self.perturbation.name} {given(self.level)}")
        if self.view != "identity":
            parts.append(self.view)
        return ", ".join(parts) or "clean"

    def apply(self, images: NDArray[np.uint8], ids: Sequence[str]) -> NDArray[np.uint8]:
        """Patches uint8 (B, H, W, 3) with these ids under the condition."""
        if self.perturbation is not None and self.level is not None:
            change = partial(
                perturb,
                perturbation=self.perturbation,
                level=self.level,
                targets=self.learned.targets if self.learned else None,
            )
            images = self.kept(images, ids, change) if self.kept else change(images, ids)
        return apply_view(images, self.view)


CLEAN = Condition()


class Learned:
    """What a perturbation learned of each class, from stored features of its patches.

    ``by_part`` has the features of each part of the dataset that it learned from.
    """

    def __init__(
        self,
        perturbation: Perturbation,
        store: Store,
        by_part: Mapping[str, Key],
        instance: Callable[[], Instance],
    ) -> None:
        self.typical = perturbation.typical or (lambda values: np.median(values, axis=0))
        self.store = store
        self.parts = tuple(by_part)
        self.keys = tuple(by_part.values())
        self.instance = instance

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the patches that it learned from."""
        return np.concatenate([self.instance().part(part).labels for part in self.parts])

    @cached_property
    def targets(self) -> NDArray[np.float64]:
        """What is typical of each class, float64 (C, D); NaN for a class without patches."""
        values = np.concatenate(
            [load_array(self.store.folder(key), "values.npy") for key in self.keys]
        )
        present = np.unique(self.labels)
        typical = [np.array(self.typical(values[self.labels == label])) for label in present]
        targets = np.full((len(self.instance().dataset.classes), len(typical[0])), np.nan)
        targets[present] = typical
        learned: NDArray[np.float64] = frozen(targets)
        return learned
