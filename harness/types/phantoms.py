"""Types of phantoms, synthetic patches with planted faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.types.datasets import Splits


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that a phantom can be given.

    ``doses`` are those that ``harness calibrate`` tries; ``fitted`` says what real data a dose of 1
    was fitted to, and how, or that it was fitted to none. ``raises`` names the probes that ought
    to raise their flag; none for what is there to show that no probe takes it for a fault.
    """

    name: str
    title: str
    doses: tuple[float, ...]
    raises: tuple[str, ...]
    fitted: str


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Synthetic patches with planted faults, to calibrate dataset probes.

    ``make(seed)`` returns a function from doses by fault name, none for a faultless phantom, to
    the splits. What does not depend on the doses is done, and kept, only once.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    faults: tuple[Fault, ...]
    make: Callable[[int], Callable[[Mapping[str, float]], Splits]]
    version: int = 1
