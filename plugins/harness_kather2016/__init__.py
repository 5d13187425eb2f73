"""Kather 2016: colorectal H&E patches of eight tissue classes from ten slides, cross-validated.

Data: Kather, Zöllner, Bianconi, Melchers, Schad, Gaiser, Marx and Weis, "Collection of textures in
colorectal cancer histology", Zenodo record 53169, CC BY 4.0.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from harness import Dataset, RemoteFile, Splits, hookimpl, later

CLASSES = ("TUMOR", "STROMA", "COMPLEX", "LYMPHO", "DEBRIS", "MUCOSA", "ADIPOSE", "EMPTY")
COUNTERPARTS = {
    "TUMOR": "TUM",
    "STROMA": "STR",
    "LYMPHO": "LYM",
    "DEBRIS": "DEB",
    "MUCOSA": "NORM",
    "ADIPOSE": "ADI",
    "EMPTY": "BACK",
}
FOLDERS = tuple(f"{number:02}_{name}" for number, name in enumerate(CLASSES, 1))
NAME = "Kather_texture_2016_image_tiles_5000"
PATCHES_A_CLASS = 625
FOLDS = 5
SLIDE = re.compile(r"CRC-Prim-HE-\d+")
UNKNOWN = "unknown"
"""The group of patches whose names do not tell their slide."""
FILE = RemoteFile(
    name=f"{NAME}.zip",
    url=f"https://zenodo.org/records/53169/files/{NAME}.zip",
    md5="0ddbebfc56344752028fda72602aaade",
    size=258_098_431,
)


def slide(name: str) -> str:
    """The slide that a patch was cut from, such as "CRC-Prim-HE-07", by its file's name.

    Files that were renamed do not tell. They may all be of one slide, so they count as one group:
    groups that are too large make intervals too wide, never too narrow.
    """
    found = SLIDE.search(name)
    return found[0] if found else UNKNOWN


def load(folder: Path) -> Splits:
    """List the patches that are there; of a small part, fewer folds are made."""
    import numpy as np

    from harness.data import verified
    from harness.data.patches import FileSplit, list_files, place, shortfall

    files = list_files(place(folder, NAME) or folder / NAME)
    patches = FileSplit(files, FOLDERS, (150, 150), NAME)
    groups = [slide(name) for name in patches.names]
    counts = np.bincount(patches.labels, minlength=len(CLASSES)).tolist()
    folds = min(FOLDS, len(set(groups)), *(count for count in counts if count))
    short = shortfall(counts, [PATCHES_A_CLASS] * len(CLASSES), "patches")
    known = verified.known(files.origin, FILE, short, "names of classes and counts a class")
    return Splits(
        train=None,
        test=patches,
        folds=max(2, folds),
        groups=groups,
        shortfall=known.shortfall,
        test_identity=known.identity,
        train_identity=known.identity,
        warnings=known.warnings,
    )


@hookimpl
def harness_datasets() -> list[Dataset]:
    """The 5,000 patches."""
    return [
        Dataset(
            name="kather-2016",
            title="Kather 2016, textures in colorectal cancer histology",
            classes=CLASSES,
            load=load,
            missing=partial(later("harness.data.patches:missing"), "kather-2016", (NAME,)),
            downloads=(FILE,),
            test_set="Kather 2016",
            trained_on="Kather 2016",
            license="CC BY 4.0",
            source=(
                "Kather et al., Collection of textures in colorectal cancer histology, Zenodo "
                "record 53169; Scientific Reports 2016."
            ),
            counterparts=COUNTERPARTS,
            counterparts_source=(
                "the seven common classes of Abbet et al., Medical Image Analysis 2022, "
                "doi:10.1016/j.media.2022.102473; COMPLEX has no counterpart, and whether STROMA "
                "holds muscle and DEBRIS mucus was not verified"
            ),
            micrometers=0.495,
        )
    ]
