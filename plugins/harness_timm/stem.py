"""The stem of CTransPath: convolutions in the place of the patches that a Swin transformer cuts.

Wang et al., Transformer-based unsupervised contrastive learning for histopathological image
classification, Medical Image Analysis 2022.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class ConvStem(nn.Module):
    """``embed_layer`` of ``timm.models.SwinTransformer``: (B, 3, S, S) to (B, S/4, S/4, D)."""

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        norm_layer: Callable[[int], nn.Module] | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        layers: list[nn.Module] = []
        channels = (3, embed_dim // 8, embed_dim // 4)
        for before, after in itertools.pairwise(channels):
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        self.proj = nn.Sequential(*layers, nn.Conv2d(channels[-1], embed_dim, 1))
        self.norm = nn.Identity() if norm_layer is None else norm_layer(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of patches."""
        tokens: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return tokens
