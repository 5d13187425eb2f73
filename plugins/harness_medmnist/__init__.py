"""PathMNIST at 28, 64, 128 and 224 pixels, with its own validation split and published results.

Data: Yang et al., "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 2023; Zenodo record 10519652, CC BY 4.0. The patches are those of
NCT-CRC-HE-100K (training and validation) and CRC-VAL-HE-7K (test), resized.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness import Dataset, PublishedResult, RemoteFile, Splits, hookimpl, later
from harness.hooks.toml_files import read_toml

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
"""Labels 0 to 8: adipose, background, debris, lymphocytes, mucus, smooth muscle, normal colon
mucosa, cancer-associated stroma, colorectal adenocarcinoma epithelium."""
PARTS = {"train": 89_996, "val": 10_004, "test": 7_180}
TEST_COUNTS = (1338, 847, 339, 634, 1035, 592, 741, 421, 1233)
"""Patches a class in the whole test split, which are those of CRC-VAL-HE-7K."""
MD5 = {
    28: "a8b06965200029087d5bd730944a56c1",
    64: "55aa9c1e0525abe5a6b9d8343a507616",
    128: "ac42d08fb904d92c244187169d1fd1d9",
    224: "2c51a510bcdc9cf8ddb2af93af1eadec",
}
SIZES = {28: 205_615_438}
"""Bytes of the files, where known."""
ZENODO = "https://zenodo.org/records/10519652/files/"
PUBLISHED = Path(__file__).with_name("published.toml")


def remote_file(pixels: int) -> RemoteFile:
    """The file of one size, as the Zenodo record names it."""
    name = "pathmnist.npz" if pixels == 28 else f"pathmnist_{pixels}.npz"
    url = f"{ZENODO}{name}"
    return RemoteFile(name=name, url=url, md5=MD5[pixels], size=SIZES.get(pixels, 0))


def load(pixels: int, folder: Path) -> Splits:
    """List the patches of one size; the images stay on disk."""
    import numpy as np

    from harness.data import verified
    from harness.data.npz import NpzSplit
    from harness.data.patches import shortfall

    file = remote_file(pixels)
    path = folder / file.name
    train, validation, test = (
        NpzSplit(path, part, (pixels, pixels), len(CLASSES)) for part in PARTS
    )
    counts = np.bincount(test.labels, minlength=len(CLASSES))
    short = (
        shortfall([len(train.labels)], [PARTS["train"]], "training patches"),
        shortfall([len(validation.labels)], [PARTS["val"]], "validation patches"),
    )
    known = verified.known(
        path, file, shortfall(counts, TEST_COUNTS, "test patches"), "counts a class"
    )
    whole = not any(short) and not known.shortfall
    return Splits(
        train=train,
        validation=validation,
        test=test,
        shortfall=known.shortfall,
        train_shortfall=", ".join(filter(None, short)),
        test_identity=known.identity,
        train_identity=known.identity if whole else "",
        warnings=known.warnings,
    )


@hookimpl
def harness_datasets() -> list[Dataset]:
    """PathMNIST at each size."""
    return [
        Dataset(
            name=f"pathmnist-{pixels}",
            title=f"PathMNIST, {pixels} px",
            classes=CLASSES,
            load=partial(load, pixels),
            missing=partial(
                later("harness.data.patches:missing"),
                f"pathmnist-{pixels}",
                (remote_file(pixels).name,),
                form="",
            ),
            downloads=(remote_file(pixels),),
            test_set=f"PathMNIST {pixels} px",
            trained_on=f"PathMNIST {pixels} px",
            license="CC BY 4.0",
            source=(
                "Yang et al., MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D "
                "biomedical image classification, Scientific Data 2023, Zenodo record 10519652."
            ),
            micrometers=0.5 * 224 / pixels,
        )
        for pixels in MD5
    ]


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """Every entry of ``published.toml``."""
    content = read_toml(PUBLISHED)
    return [PublishedResult(**content["common"], **entry) for entry in content["result"]]
