"""EfficientNet-B0 with average or max pooling, trained by the published recipe.

Tan and Le, arXiv:1905.11946; the recipe and both poolings are those of Ignatov and Malivenko,
arXiv:2409.11546. Nothing here imports torch or timm until a model is fitted or loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from harness import Classifier, FitContext, Model, Setting, Split, hookimpl
from harness_efficientnet.recipe import DEMO, EXECUTION, SETTINGS
from harness_efficientnet.weights import initial_weights


@hookimpl
def harness_models() -> Iterable[Model]:
    """Both models."""
    for pool in ("avg", "max"):
        yield Model(
            name=f"efficientnet-b0-{pool}",
            title=f"EfficientNet-B0 ({pool} pool)",
            fit=partial(_fit, pool),
            load=_load,
            settings=SETTINGS,
            execution=EXECUTION,
            demo_settings=DEMO,
            selects=True,
            reports_epochs=True,
            initial_weights=initial_weights,
            estimate=_estimate,
            device=_device,
            hint="--set epochs=5 --set image_size=96, or a machine with CUDA",
            requires=("torch", "timm", "safetensors", "huggingface_hub"),
            install="pip install 'histo-harness[torch]'",
        )


def _fit(pool: str, train: Split, validation: Split | None, context: FitContext) -> Classifier:
    from harness_efficientnet.train import fit

    return fit(pool, train, validation, context)


def _load(folder: Path, settings: Mapping[str, Setting]) -> Classifier:
    from harness_efficientnet.classifier import EfficientNet

    return EfficientNet.load(folder, str(settings["device"]))


def _estimate(n: int, settings: Mapping[str, Setting]) -> float:
    from harness_efficientnet.train import estimate

    return estimate(n, settings)


def _device(settings: Mapping[str, Setting]) -> str:
    from harness_efficientnet.recipe import Recipe, torch_device

    device = torch_device(Recipe.of(settings).device)
    if device.type == "cpu":
        return ""
    import torch

    return str(torch.cuda.get_device_name(device))
