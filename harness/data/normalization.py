"""Whether a mean and a standard deviation fit the pixel values that they are to normalize."""

from __future__ import annotations

from collections.abc import Sequence

WIDEST = 100.0
"""Standard deviations between the darkest and the brightest pixel, at most. Photographs have 4.4,
stained tissue up to 10; a mean of 0.5 with values up to 255 gives 500 and more."""
NARROWEST = 0.5
"""The same, at least. Half the width of a range, which is 2, is the largest deviation there is."""
BYTE = 255.0
SCALES = ((0.0, 1.0), (0.0, BYTE), (-1.0, 1.0))
"""What 0 and 255 commonly become before they are normalized."""
IMAGENET = (0.485, 0.456, 0.406)
CLOSE = 0.005
"""How far published numbers may be rounded."""
KNOWN = {
    "ImageNet": (IMAGENET, (0.229, 0.224, 0.225)),
    "Inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "CLIP": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Mean and deviation of values from 0 to 1, as published. With values from -1 to 1 they would give
numbers of a plausible size, though others than the network was trained on."""


def misfit(mean: Sequence[float], std: Sequence[float], low: float = 0.0, high: float = 1.0) -> str:
    """Why pixel values from ``low`` to ``high`` cannot have this mean and this deviation.

    ``mean`` and ``std`` are by channel, and the input of the network is (x - mean) / std. "" when
    they can. A deviation of 1 only shifts the values, and one that brings them to 0..255 is a
    change of scale; both are common and fine.
    """
    for name, values in (("mean", mean), ("std", std)):
        if not all(abs(value) < float("inf") for value in values):
            return f"{name} = {list(values)} is not finite"
    if min(std) <= 0:
        return f"std = {list(std)} must be above 0"
    known = _known(mean, std) if max(abs(low), abs(high - 1)) > CLOSE else ""
    if _fits(mean, std, low, high) and not known:
        return ""
    given = f"mean = {_listed(mean)} and std = {_listed(std)} do not fit values from {low:g} to "
    given += f"{high:g}: "
    if min(mean) < low or max(mean) > high:
        given += "the mean lies outside"
    elif max(std) > (high - low) / NARROWEST:
        given += "they would all become nearly the same number"
    elif _fits(mean, std, low, high):
        given += f"they are those of {known}, for values from 0 to 1"
    else:
        given += f"they would become numbers as large as {_largest(mean, std, low, high):.0f}"
    return given


def range_for(mean: Sequence[float], std: Sequence[float]) -> tuple[float, float] | None:
    """The common range of pixel values that a mean and a deviation are made for, if any is."""
    return next((scale for scale in SCALES if _fits(mean, std, *scale)), None)


def reversed_channels(mean: Sequence[float], blue_first: bool) -> bool:
    """Whether a mean is that of ImageNet with red and blue exchanged."""
    order = IMAGENET if blue_first else IMAGENET[::-1]
    factor = BYTE if max(mean) > 1 else 1.0
    return all(abs(a / factor - b) < 0.002 for a, b in zip(mean, order, strict=True))


def _fits(mean: Sequence[float], std: Sequence[float], low: float, high: float) -> bool:
    width = high - low
    if min(mean) < low or max(mean) > high:
        return False
    if all(value == 1 for value in std):
        # Values up to 255 less a mean of values up to 1: the mean is of another scale.
        return width <= 2 or not 0 < max(mean) <= 1
    spans = [width / value for value in std]
    return all(NARROWEST <= s <= WIDEST or abs(s / BYTE - 1) < 0.01 for s in spans)


def _known(mean: Sequence[float], std: Sequence[float]) -> str:
    """Whose mean and deviation these are, with the channels in either order; "" if nobody's."""
    for name, (means, stds) in KNOWN.items():
        for step in (1, -1):
            pairs = zip((*mean, *std), (*means[::step], *stds[::step]), strict=True)
            if all(abs(one - other) < CLOSE for one, other in pairs):
                return name
    return ""


def _largest(mean: Sequence[float], std: Sequence[float], low: float, high: float) -> float:
    return max(abs(end - m) / s for m, s in zip(mean, std, strict=True) for end in (low, high))


def _listed(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
