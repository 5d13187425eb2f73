"""The process that runs a described model, seen from the harness."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import HarnessError, Setting
from harness.system.foreign import Foreign
from harness_checkpoint.advice import unsafe_file
from harness_checkpoint.description import Description, beside

WORKER = Path(__file__).with_name("worker.py")

_accelerators: dict[tuple[str, str], str] = {}
"""By interpreter and device: the name of the accelerator that a process ran on."""


def accelerator(description: Description, settings: Mapping[str, Setting]) -> str:
    """Name of the accelerator that these settings run on; "" for the CPU."""
    key = _python(description, settings), str(settings["device"])
    if key not in _accelerators:
        Worker(description, settings).close()
    return _accelerators[key]


class Worker(Foreign):
    """The process that runs ``worker.py`` with a description. Raises HarnessError if it cannot.

    ``seed`` seeds random numbers before the network is built; ``disturbed`` fills it with noise
    before weights are loaded, and ``digests`` asks for ``tensors``.
    """

    def __init__(
        self,
        description: Description,
        settings: Mapping[str, Setting],
        *,
        seed: int = 0,
        disturbed: bool = False,
        digests: bool = False,
    ) -> None:
        self.description = description
        device = str(settings["device"])
        size = settings["batch_size"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise HarnessError(f"setting batch_size={size}: must be a whole number, at least 1")
        super().__init__(
            WORKER,
            python=_python(description, settings),
            folder=description.folder,  # checkouts read their files from relative paths
            about=str(description.path),
        )
        setup = {
            "device": device,
            "batch_size": size,
            "network": description.network,
            "arguments": description.arguments,
            "weights": description.weights,
            "input": description.input,
            "n_classes": len(description.classes),
            "seed": seed,
            "disturbed": disturbed,
            "digests": digests,
        }
        ready, _ = self.ask(setup)
        self.tensors: Mapping[str, str] = ready["tensors"]
        """By name of each tensor of the network, a digest of it."""
        self.configuration: Mapping[str, list[float]] = ready["configuration"]
        """Mean and standard deviation that the network itself says, if it does."""
        _accelerators[self.python, device] = ready["device"]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), in the model's order."""
        answer, data = self.ask({"shape": images.shape}, images.tobytes())
        return np.frombuffer(data, np.float32).reshape(answer["shape"])

    def explained(self, answer: Mapping[str, Any]) -> str:
        """What to say about an answer that is an error."""
        unsafe = answer.get("unsafe")
        if unsafe:
            return unsafe_file(self.description, self.python, unsafe)
        return super().explained(answer)


def _python(description: Description, settings: Mapping[str, Setting]) -> str:
    """The interpreter; a bare name, such as "python3.12", is looked for as a shell does."""
    python = str(settings["python"]) or sys.executable
    return (
        str(beside(description.path, "python", python)) if Path(python).name != python else python
    )
