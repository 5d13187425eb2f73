"""NCT-CRC-HE: colorectal H&E patches of nine tissue classes, and a sample that comes along.

Data: Kather, Halama and Marx, "100,000 histological images of human colorectal cancer and healthy
tissue", Zenodo record 1214456, CC BY 4.0.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Dataset, RemoteFile, Splits, hookimpl, later

if TYPE_CHECKING:
    from harness.data.patches import FileSplit

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
TRAIN, TRAIN_RAW, TEST = "NCT-CRC-HE-100K", "NCT-CRC-HE-100K-NONORM", "CRC-VAL-HE-7K"
MICROMETERS = 0.5
"""Width of a pixel."""
TRAIN_PATCHES = 100_000
TEST_COUNTS = (1338, 847, 339, 634, 1035, 592, 741, 421, 1233)
"""Patches a class in the whole CRC-VAL-HE-7K, as the published confusion matrices count them."""
SAMPLE = Path(__file__).with_name("sample")
SOURCE = (
    "Kather, Halama and Marx, 100,000 histological images of human colorectal cancer and healthy "
    "tissue, Zenodo record 1214456."
)
LICENSE = "CC BY 4.0"
ZENODO = "https://zenodo.org/records/1214456/files/"
FILES = {
    TRAIN: RemoteFile(
        name=f"{TRAIN}.zip",
        url=f"{ZENODO}{TRAIN}.zip",
        md5="6fd702d11df6292bc054397ae038a464",
        size=11_690_284_003,
    ),
    TRAIN_RAW: RemoteFile(
        name=f"{TRAIN_RAW}.zip",
        url=f"{ZENODO}{TRAIN_RAW}.zip",
        md5="035777cf327776a71a05c95da6d6325f",
    ),
    TEST: RemoteFile(
        name=f"{TEST}.zip",
        url=f"{ZENODO}{TEST}.zip",
        md5="2fd1651b4f94ebd818ebf90ad2b6ce06",
        size=800_276_929,
    ),
}


def open_split(folder: Path, name: str) -> FileSplit:
    """List the patches of one part, from a folder or straight from its zip."""
    from harness.data.patches import FileSplit, list_files, place

    files = list_files(place(folder, name) or folder / name)
    return FileSplit(files, CLASSES, (224, 224), name)


def shortfall(test: FileSplit) -> str:
    """Why a split is not the whole CRC-VAL-HE-7K, patch for patch; "" if it is.

    Whole means the published number of patches of each class, and the published pixels in those
    patches that the sample has: a copy that was compressed or normalized again has other ones.
    """
    import numpy as np

    from harness.data import patches

    counts = np.bincount(test.labels, minlength=len(CLASSES))
    fewer = patches.shortfall(counts, TEST_COUNTS, "test patches")
    return fewer or ("" if same_pixels(test) else f"other pixels than in {TEST}")


def same_pixels(test: FileSplit) -> int:
    """How many of the sample's test patches a split has, if pixel for pixel as Zenodo has them.

    0 if any has other pixels, or if fewer than nine in ten are there: a few patches of the sample
    lost their original names.
    """
    import csv
    import hashlib

    with (SAMPLE / "manifest.csv").open(encoding="utf-8") as file:
        expected = {row["id"]: row["sha256_of_rgb_pixels"] for row in csv.DictReader(file)}
    known = [index for index, id_ in enumerate(test.ids) if id_ in expected]
    wanted = sum(id_.startswith(f"{TEST}/") for id_ in expected)
    same = len(known) >= 0.9 * wanted and all(
        hashlib.sha256(test.read([index]).tobytes()).hexdigest() == expected[test.ids[index]]
        for index in known
    )
    return len(known) if same else 0


def test_identity(test: FileSplit) -> str:
    """How patches that do not lie in Zenodo's zip are known to be those of CRC-VAL-HE-7K."""
    found = f"names, counts a class and the pixels of the sample's {same_pixels(test)} patches"
    others = sorted({Path(name).suffix for name in test.names} - {".tif"})
    return found + (f", stored as {', '.join(others)} and not as .tif" if others else "")


def train_shortfall(train: FileSplit, name: str) -> str:
    """Why a split is not the whole training set of this name; "" if it may be."""
    from harness.data import patches

    fewer = patches.shortfall([len(train.labels)], [TRAIN_PATCHES], "training patches")
    origin = train.files.origin
    if not fewer and origin.is_file():
        size = origin.stat().st_size
        for other, file in FILES.items():
            if other != name and size == file.size:
                return f"{origin.name} has the size of {file.name}"
    return fewer


def load(train_name: str, folder: Path, folds: int = 0) -> Splits:
    """List what is there of the training patches and of CRC-VAL-HE-7K; partial copies will do."""
    from harness.data import verified

    train, test = open_split(folder, train_name), open_split(folder, TEST)
    short = shortfall(test)
    tested = verified.known(
        test.files.origin, FILES[TEST], short, "" if short else test_identity(test)
    )
    trained = verified.known(
        train.files.origin,
        FILES[train_name],
        train_shortfall(train, train_name),
        f"the name {train_name} and the number of patches; whether they are color-normalized was "
        "not verified",
    )
    return Splits(
        train=train,
        test=test,
        folds=folds,
        shortfall=tested.shortfall,
        train_shortfall=trained.shortfall,
        test_identity=tested.identity,
        train_identity=trained.identity,
        warnings=tested.warnings + trained.warnings,
    )


@hookimpl
def harness_datasets() -> list[Dataset]:
    """The sample, and the full data with and without color normalization."""

    def full(name: str, title: str, train: str) -> Dataset:
        return Dataset(
            name=name,
            title=title,
            classes=CLASSES,
            load=partial(load, train),
            missing=partial(later("harness.data.patches:missing"), name, (train, TEST)),
            downloads=(FILES[train], FILES[TEST]),
            test_set=TEST,
            trained_on=train,
            license=LICENSE,
            source=SOURCE,
            micrometers=MICROMETERS,
        )

    return [
        Dataset(
            name="nct-crc-he-sample",
            title="Sample of NCT-CRC-HE that comes with the harness",
            classes=CLASSES,
            load=lambda folder: load(TRAIN, SAMPLE, folds=5),
            test_set=TEST,
            trained_on=TRAIN,
            demo=True,
            license=LICENSE,
            source=SOURCE,
            micrometers=MICROMETERS,
        ),
        full("nct-crc-he", "NCT-CRC-HE-100K to CRC-VAL-HE-7K", TRAIN),
        full(
            "nct-crc-he-nonorm",
            "NCT-CRC-HE-100K-NONORM (before color normalization) to CRC-VAL-HE-7K",
            TRAIN_RAW,
        ),
    ]
