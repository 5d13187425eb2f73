"""Where a training stands, in one safetensors file that is whole or not there, and proves itself.

No pickle: a checkpoint can be read without running code from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.system import checkpoints

NAME = "checkpoint.safetensors"


@dataclass(kw_only=True)
class Standing:
    """Where a training stands, but for its tensors."""

    epoch: int = 0
    """Epochs done."""
    best_epoch: int = 0
    """The epoch, from 1, whose weights are kept."""
    best_accuracy: float | None = None
    """Its accuracy on the validation split, 0 to 1; None when there is none."""
    history: list[dict[str, float | None]] = field(default_factory=list)
    """For each epoch, its mean training loss and its accuracy on the validation split."""


def write(folder: Path, standing: Standing, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Replace the checkpoint in ``folder``. ``tensors`` are groups of them: model, best, adam."""
    flat = {
        f"{group}/{name}": value.detach().cpu().contiguous()
        for group, values in tensors.items()
        for name, value in values.items()
    }
    metadata = {"standing": json.dumps(asdict(standing))}
    checkpoints.write(folder / NAME, lambda draft: save_file(flat, draft, metadata=metadata))


def read(folder: Path) -> tuple[Standing, dict[str, dict[str, Tensor]]] | None:
    """The checkpoint in ``folder``, its tensors on the CPU, or None when there is none.

    Raises ValueError when it is not as it was written.
    """
    path = folder / NAME
    if not path.exists():
        return None
    if why := checkpoints.damage(path):
        raise ValueError(why)
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()["standing"])
        for name, value in load_file(path).items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = value
        return Standing(**metadata), groups
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__}: {error})") from error
