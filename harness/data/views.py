"""Views: the four flips under which published results sum logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VIEWS = {
    "identity": (slice(None), slice(None), slice(None)),
    "vflip": (slice(None), slice(None, None, -1), slice(None)),
    "hflip": (slice(None), slice(None), slice(None, None, -1)),
    "both": (slice(None), slice(None, None, -1), slice(None, None, -1)),
}
"""For each view, how it indexes a batch (B, H, W, 3)."""


def apply_view(images: NDArray[np.uint8], view: str) -> NDArray[np.uint8]:
    """Flip a batch, uint8 (B, H, W, 3)."""
    import numpy as np

    return images if view == "identity" else np.ascontiguousarray(images[VIEWS[view]])


def compose(one: str, other: str) -> str:
    """The view that flips as ``one`` does and then as ``other`` does."""
    names = list(VIEWS)  # in this order, the bits of a name's place are its two flips
    return names[names.index(one) ^ names.index(other)]


def four_views(*models: str) -> tuple[tuple[str, str], ...]:
    """Terms of a DerivedModel that sums the logits of ``models`` over all four views."""
    return tuple((model, view) for model in models for view in VIEWS)
