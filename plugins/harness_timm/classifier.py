"""The fitted network: patches to logits, and the folder it is saved in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness import HarnessError
from harness_timm.building import Architecture, build, for_inference, run
from harness_timm.recipe import torch_device


class FittedNetwork:
    """A fitted network; a ``harness.Classifier``. ``state`` is its state dict."""

    def __init__(
        self, architecture: Architecture, state: Mapping[str, Tensor], device: torch.device
    ) -> None:
        self.architecture = architecture
        self.state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        self.device = device
        with torch.random.fork_rng(devices=[]):
            model = build(architecture)
        model.load_state_dict(self.state)
        self.model = for_inference(model.to(device))

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of uint8 RGB patches (B, H, W, 3) with any B."""
        return run(self.model, self.architecture, self.device, inputs)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        save_file(self.state, folder / "model.safetensors")
        (folder / "config.json").write_text(
            json.dumps(asdict(self.architecture), indent=2) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> FittedNetwork:
        """Read what ``save`` wrote. Raises HarnessError naming the file at fault."""
        path = folder / "config.json"
        try:
            architecture = _architecture(json.loads(path.read_text(encoding="utf-8")))
            path = folder / "model.safetensors"
            state = load_file(path)
            return cls(architecture, state, torch_device(device))
        except (
            OSError,
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
            SafetensorError,
        ) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise HarnessError(
                f"{path}: cannot be read ({reason}); remove its folder and fit the model again"
            ) from error


def _architecture(content: dict[str, Any]) -> Architecture:
    mean, std = tuple(content["mean"]), tuple(content["std"])
    return Architecture(**{**content, "mean": mean, "std": std})
