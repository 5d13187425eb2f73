"""Sums of logits: the published ensemble, and the four flipped views of its members.

The ensemble and the test-time augmentation are those of arXiv:2409.11546: logits are added, over
EfficientNet-B0 with average and with maximum pooling, and over identity and three flips.
"""

from __future__ import annotations

from harness import DerivedModel, four_views, hookimpl

AVG, MAX = "efficientnet-b0-avg", "efficientnet-b0-max"


@hookimpl
def harness_models() -> list[DerivedModel]:
    """The ensemble, and every four-view version."""
    return [
        DerivedModel(
            name="efficientnet-b0-ensemble",
            title="Ensemble of EfficientNet-B0 avg and max",
            terms=((AVG, "identity"), (MAX, "identity")),
        ),
        DerivedModel(
            name=f"{AVG}+flips",
            title="EfficientNet-B0 (avg pool), four views",
            terms=four_views(AVG),
        ),
        DerivedModel(
            name=f"{MAX}+flips",
            title="EfficientNet-B0 (max pool), four views",
            terms=four_views(MAX),
        ),
        DerivedModel(
            name="efficientnet-b0-ensemble+flips",
            title="Ensemble of EfficientNet-B0 avg and max, four views",
            terms=four_views(AVG, MAX),
        ),
    ]
