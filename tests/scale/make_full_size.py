"""Write a stand-in for NCT-CRC-HE of its real size and layout, to measure what scales.

    python tests/scale/make_full_size.py data-full --share 1

Two zips of 100,000 and 7,180 TIFF patches of 224 pixels, 16 GB. Each patch is a weighted sum of
three patches of the shipped sample of one class, each rolled and turned by its own amount, with a
gain of its own. With ``--blend N`` it is the mean of N patches, with the contrast of one, so that
hardly any two look alike in a part; of three, thousands do, as there are only 329 to choose from.
Names begin with STANDIN, and pixels are others than published, so that no figure measured on it is
ever compared with a published one.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import harness_nct_crc
from harness_nct_crc import CLASSES, TEST, TEST_COUNTS, TRAIN

# Patches a class of NCT-CRC-HE-100K, as papers that use it report them.
TRAIN_COUNTS = (10_407, 10_566, 11_512, 11_557, 8_896, 13_536, 8_763, 10_446, 14_317)
WEIGHTS = (0.5, 0.3, 0.2)


def turned(patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """A patch rolled and turned at random, float32."""
    rolled = np.roll(patch, tuple(rng.integers(0, 224, 2)), axis=(0, 1))
    return np.rot90(rolled, int(rng.integers(4))).astype(np.float32)


def stand_in(
    of_class: NDArray[np.uint8], rng: np.random.Generator, blend: int
) -> NDArray[np.uint8]:
    """A new patch from several patches (n, 224, 224, 3) of a class."""
    weights = WEIGHTS if blend == len(WEIGHTS) else (1 / blend,) * blend
    chosen = of_class[rng.integers(0, len(of_class), blend)]
    mixed = sum(w * turned(patch, rng) for w, patch in zip(weights, chosen, strict=True))
    if blend != len(WEIGHTS):
        mean = mixed.mean(axis=(0, 1))
        mixed = mean + np.sqrt(np.float32(blend)) * (mixed - mean)
    return np.clip(np.rint(mixed * rng.uniform(0.95, 1.05)), 0, 255).astype(np.uint8)


def write(folder: Path, part: str, counts: tuple[int, ...], share: float, blend: int) -> None:
    """Write one part as a zip."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, part)
    images = split.read(np.arange(len(split.labels)))
    rng = np.random.default_rng(len(counts) + sum(counts))
    with zipfile.ZipFile(folder / f"{part}.zip", "w", zipfile.ZIP_STORED) as archive:
        for label, name in enumerate(CLASSES):
            of_class = images[split.labels == label]
            for number in range(round(counts[label] * share)):
                patch = stand_in(of_class, rng, blend)
                ok, content = cv2.imencode(
                    ".tif", patch[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 1]
                )
                assert ok
                path = f"{part}/{name}/STANDIN-{name}-{number:06}.tif"
                archive.writestr(path, io.BytesIO(content).getbuffer())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of the patches of each class")
    parser.add_argument("--blend", type=int, default=len(WEIGHTS), help="patches that make one")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write(options.folder, TRAIN, TRAIN_COUNTS, options.share, options.blend)
    write(options.folder, TEST, TEST_COUNTS, options.share, options.blend)
