"""Faults planted in phantom patches: what each is, and how much of it a dose of 1 means."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer

from harness.data.jpeg import recompress
from harness_phantom import CLASSES
from harness_phantom.canvas import MARGIN
from harness_phantom.scanner import STAINS, UNIT

Rng = np.random.Generator

# What a dose of 1 is was fitted to the NCT-CRC-HE sample, most of it to its 111 test patches.

TINT_SPREAD = 0.061
"""Standard deviation over the classes of how far their color lies off the stain plane.

Measured as: natural optical density -ln((value + 1) / 256) of the pixels without a 0 or 255; the
plane through the origin that leaves the least of their pooled second moment; the component along
its normal, averaged over each patch and over the patches of each class.
"""
QUALITIES = (100, 100, 100, 100, 100, 100, 95, 90, 83)
"""JPEG quality of the classes under ``jpeg``, dealt to them by the seed; 100 stands for none."""
EDGE_QUALITIES = (84, 68, 87, 87, 66, 86, 89, 88, 87)
"""JPEG quality of the classes under ``recolored``, dealt to them by the seed.

The medians of the real classes, ADI to TUM, of the quality that the edges of their blocks tell:
what would have to be done to the patches as they are now, with their color normalized, to leave
such edges.
"""
SHIFT_QUALITY = 80
"""JPEG quality of the test patches under ``shift``, whose tint is drawn as that of a class."""
ALIKE_QUALITY, ALIKE_RECOLORED_QUALITY = 70, 80
"""JPEG quality of every patch under ``alike``, and under ``alike-recolored`` and ``restained``."""
RESTAINED = np.linspace(0.8, 1.2, len(CLASSES))
"""How strong stains are under ``restained``, dealt to the classes by the seed."""
NORMALIZED_QUALITY = 70
"""JPEG quality of every patch under ``normalized``, before its stains are normalized."""
GAMMA = 0.8
"""Exponent of the tone curve of every patch under ``toned``."""
CORRUPT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.6, 0.9)
"""Share of the patches of a class that are stretched or overflow, dealt to the classes by the seed.

Of the real patches this share has a tenth of a channel clipped or holes in its histogram: MUC 0.1,
DEB 0.6, BACK 0.9, others none. None overflows; those are planted as often as clipped ones.
"""
CUT = 0.1
"""Share of the values of a stretched patch that are clipped at either end."""
LEAST_TISSUE = 100
"""Pixels of tissue below which a patch is not normalized."""
COPIED_TEST, COPIED_TRAIN = 0.05, 0.025
"""Shares of the test and of the training patches that are copies of training patches."""
CHANGES = (
    "exact",
    "flip horizontal",
    "flip vertical",
    "rotate 90",
    "rotate 180",
    "rotate 270",
    "jpeg",
    "color",
)


class Place(NamedTuple):
    """Where a patch stands: "train" or "test", its label, and its number within the class."""

    part: str
    label: int
    number: int


class Copy(NamedTuple):
    """What a duplicate is a copy of, and through which of ``CHANGES``."""

    original: Place
    change: str


def generator(seed: int, place: Place, purpose: str) -> Rng:
    """Random numbers of a patch for one purpose, the same whatever else is drawn or read."""
    return np.random.default_rng(
        [seed, zlib.crc32(f"{purpose} {place.part}".encode()), place.label, place.number]
    )


@dataclass(frozen=True)
class Plan:
    """What is planted in a phantom of ``train`` and ``test`` patches a class.

    ``doses`` are by fault name; a fault that is not named has dose 0.
    """

    seed: int
    doses: Mapping[str, float]
    train: int
    test: int

    def dose(self, fault: str) -> float:
        """The dose of a fault."""
        return float(self.doses.get(fault, 0.0))

    def dealt(self, fault: str) -> Rng:
        """Random numbers for what a fault gives to the classes; do not depend on the dose."""
        return np.random.default_rng([self.seed, zlib.crc32(fault.encode())])

    @cached_property
    def tints(self) -> NDArray[np.float64]:
        """Optical density (classes + 1, 3) of the filter of each class, and of the test set.

        A filter only absorbs, so that nothing clips. At a dose of 1 the spread of the classes off
        the stain plane is ``TINT_SPREAD``, whatever the seed.
        """
        density = self.dealt("tint").normal(size=(len(CLASSES) + 1, 3))
        density -= density.min(1, keepdims=True)
        normal = np.cross(*STAINS.astype(float))
        off_plane = density[:-1] @ (normal / np.linalg.norm(normal))
        density *= TINT_SPREAD / off_plane.std()
        density[:-1] *= self.dose("tint")
        density[-1] *= self.dose("shift")
        return np.asarray(density, np.float64)

    def strengths(self, place: Place) -> NDArray[np.float64]:
        """What the two stains of a patch are multiplied by after compression, (2,)."""
        dealt = self.dealt("restained").permutation(RESTAINED)
        strength = 1 + self.dose("restained") * (dealt[place.label] - 1)
        if self.dose("recolored") or self.dose("alike-recolored"):
            strength = strength * generator(self.seed, place, "recolored").uniform(0.8, 1.2, 2)
        return np.full(2, strength)

    @cached_property
    def qualities(self) -> list[int]:
        """JPEG quality of each class.

        Under ``jpeg`` the loss of quality is in proportion to the dose, under ``recolored`` how far
        classes differ from each other.
        """
        loss = self.dose("jpeg") * (100 - self.dealt("jpeg").permutation(QUALITIES))
        if dose := self.dose("recolored"):
            dealt = self.dealt("recolored").permutation(EDGE_QUALITIES)
            loss = np.maximum(loss, 100 - (dealt.mean() + dose * (dealt - dealt.mean())))
        return [lowered(points) for points in loss]

    def density(self, place: Place) -> NDArray[np.float64]:
        """Optical density (3,) of the filter before a patch."""
        tint = self.tints[place.label]
        return np.asarray(tint + self.tints[-1] if place.part == "test" else tint)

    def quality(self, place: Place) -> int:
        """JPEG quality of a patch; 100 stands for no compression."""
        alike = lowered(self.dose("alike") * (100 - ALIKE_QUALITY))
        dose = max(self.dose("alike-recolored"), float(self.dose("restained") > 0))
        recolored = lowered(dose * (100 - ALIKE_RECOLORED_QUALITY))
        normalized = lowered(self.dose("normalized") * (100 - NORMALIZED_QUALITY))
        quality = min(self.qualities[place.label], alike, recolored, normalized)
        if place.part == "train":
            return quality
        return min(quality, lowered(self.dose("shift") * (100 - SHIFT_QUALITY)))

    def struck(self, fault: str, place: Place) -> bool:
        """Whether a patch is among those of its class that ``range`` or ``overflow`` strikes.

        Exactly the class's share, the same in both parts and in proportion to the dose; who is
        struck stays struck at higher doses.
        """
        share = self.dose(fault) * self.dealt(fault).permutation(CORRUPT)[place.label]
        count = self.test if place.part == "test" else self.train
        rank = generator(self.seed, place._replace(number=0), fault).permutation(count)
        return bool(rank[place.number] < round(share * count))

    @cached_property
    def copies(self) -> Mapping[Place, Copy]:
        """The duplicates: at each place, the training patch of the same class that is there again.

        Any patch is copied once at most, and no copy is copied.
        """
        rng = self.dealt("duplicates")
        targets = [*self.chosen(rng, "test", COPIED_TEST), *self.chosen(rng, "train", COPIED_TRAIN)]
        taken = set(targets)
        copies = {}
        for target in targets:
            same = [Place("train", target.label, number) for number in range(self.train)]
            free = [place for place in same if place not in taken]
            if free:
                copies[target] = Copy(free[rng.integers(len(free))], str(rng.choice(CHANGES)))
                taken.add(copies[target].original)
        return copies

    def chosen(self, rng: Rng, part: str, share: float) -> list[Place]:
        """Random places that become copies: a share of a part times the dose, but one at least."""
        per_class = self.test if part == "test" else self.train
        n = per_class * len(CLASSES)
        order = rng.permutation(n)
        dose = self.dose("duplicates")
        count = min(n, max(1, round(dose * share * n))) if dose > 0 else 0
        return [Place(part, int(i) // per_class, int(i) % per_class) for i in order[:count]]


def acquire(scan: NDArray[np.uint16], place: Place, plan: Plan) -> NDArray[np.uint8]:
    """Digitize a scan with the faults of its place: uint8 RGB, ``MARGIN`` smaller than it."""
    size = len(scan) - MARGIN
    light = scan * np.float32(UNIT)
    density = plan.density(place)
    if density.any():
        light *= np.exp(-density).astype(np.float32)
    if plan.struck("range", place):
        light = stretched(light, min(CUT * plan.dose("range"), 0.45))
    patch = np.asarray(np.rint(light), np.uint8)
    if (quality := plan.quality(place)) < 100:
        patch = recompress(patch, quality)
    strengths = plan.strengths(place)
    if (strengths != 1).any():
        patch = recolored(patch, strengths)
    y, x = generator(plan.seed, place, "corner").integers(0, MARGIN, 2)
    patch = patch[y : y + size, x : x + size]
    if plan.dose("normalized"):
        patch = normalized(patch)
    if dose := plan.dose("toned"):
        patch = np.asarray(np.rint(255 * (patch / 255) ** (GAMMA**dose)), np.uint8)
    if plan.struck("overflow", place):
        patch = wrapped(patch, generator(plan.seed, place, "wrap").uniform(0.05, 0.25))
    return patch


def lowered(loss: float) -> int:
    """The JPEG quality that is ``loss`` below 100, but not below 5."""
    return max(5, round(100 - loss))


def stretched(light: NDArray[np.float32], cut: float) -> NDArray[np.float32]:
    """Stretch intensities to 0..255 and clip this share of them at either end.

    As a window fitted too tightly to each patch does. Before rounding to 8 bits, so that no gap is
    left in the histogram.
    """
    low, high = np.quantile(light[::2, ::2], (cut, 1 - cut))
    stretch = (light - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.clip(stretch, 0, 255), np.float32)


def recolored(patch: NDArray[np.uint8], strengths: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Both stains made stronger or weaker by these factors (2,).

    As color normalization does to patches that were compressed before: values no longer are what
    the decoder made, but blocks stay where they were.
    """
    change = np.eye(3) + np.linalg.pinv(STAINS) @ np.diag(strengths - 1) @ STAINS
    density = -np.log((patch.astype(np.float32) + 1) / 256)
    light = 256 * np.exp(-density @ change.astype(np.float32)) - 1
    return np.asarray(np.clip(np.rint(light), 0, 255), np.uint8)


def normalized(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The stains of a patch normalized by torchstain, after Macenko and others (ISBI 2009).

    Each patch on its own, so that one with little of a stain gains contrast. What has next to no
    tissue, of which no stains can be told, is left as it is.
    """
    tissue = (-np.log((patch + 1.0) / 240) > 0.15).all(-1)  # as torchstain tells it
    if tissue.sum() < LEAST_TISSUE:
        return patch
    found, _, _ = NumpyMacenkoNormalizer().normalize(patch, stains=False)
    return np.asarray(found, np.uint8)


def wrapped(patch: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Add an offset that carries about this share of the values over 255, where they wrap round."""
    offset = 256 - max(1, int(np.quantile(patch, 1 - share)))
    return np.asarray(patch + np.uint8(offset), np.uint8)


def altered(patch: NDArray[np.uint8], change: str, rng: Rng) -> NDArray[np.uint8]:
    """A patch through one of ``CHANGES``: JPEG of quality 70 to 90, color by up to 6 levels."""
    match change.split():
        case ["flip", way]:
            return np.flip(patch, 1 if way == "horizontal" else 0)
        case ["rotate", degrees]:
            return np.rot90(patch, int(degrees) // 90)
        case ["jpeg"]:
            return recompress(patch, int(rng.integers(70, 91)))
        case ["color"]:
            shift = rng.integers(-6, 7, 3)
            return np.asarray(np.clip(patch.astype(np.int16) + shift, 0, 255), np.uint8)
    return patch
