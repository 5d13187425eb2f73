"""How long a dataset of the size of NCT-CRC-HE takes to be listed, in each form that it may have.

    python tests/scale/make_full_size.py data-full
    python tests/scale/listing.py data-full --forms zip folder parquet npz-28 npz-224

Makes each form of the same patches below ``data-full/listing`` and removes it afterwards: class
folders; Parquet with 32 patches in a row group, 3,200 in a file; ``.npz`` as PathMNIST has them.
Each is listed by two new processes, the first after the page cache was dropped where that is
allowed: plugins are loaded, names, labels and sizes read and checked, and the fingerprint taken.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from harness.data.patches import FileSplit
from harness.data.splits import stream
from harness_medmnist import PARTS, remote_file
from harness_nct_crc import CLASSES, TEST, TRAIN, open_split

IN_GROUP, IN_FILE = 32, 3_200
CHILD = """
import sys, time
from pathlib import Path
from harness.hooks.loader import load_plugins
from harness.jobs.dataset import load
folder, name, *files = sys.argv[1:]
started = time.perf_counter()
dataset = load_plugins(files=[Path(file) for file in files]).datasets.find(name)
instance = load(dataset, Path(folder), "")
listed = time.perf_counter() - started
n = sum(len(part.labels) for part in vars(instance.splits).values() if hasattr(part, "labels"))
print(f"{n:,} patches in {listed:.2f} s")
"""


def as_folder(data: Path, made: Path) -> tuple[str, ...]:
    """Unpack the zips."""
    for part in (TRAIN, TEST):
        with zipfile.ZipFile(data / f"{part}.zip") as archive:
            archive.extractall(made)
    return ("nct-crc-he",)


def as_parquet(data: Path, made: Path) -> tuple[str, ...]:
    """Write Parquet files as Hugging Face's datasets do, and the TOML file that describes them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())])
    for part, name in ((TRAIN, "train"), (TEST, "test")):
        split = open_split(data, part)
        n = len(split.labels)
        files = -(-n // IN_FILE)
        for number in range(files):
            path = made / f"{name}-{number:05}-of-{files:05}.parquet"
            with pq.ParquetWriter(path, schema) as writer:
                for start in range(number * IN_FILE, min(n, (number + 1) * IN_FILE), IN_GROUP):
                    rows = range(start, min(n, start + IN_GROUP))
                    images = [
                        dict(zip(("path", "bytes"), split.file(i), strict=True)) for i in rows
                    ]
                    labels = [int(split.labels[i]) for i in rows]
                    batch = {"image": images, "label": labels}
                    writer.write_table(pa.table(batch, schema=schema), row_group_size=IN_GROUP)
    classes = ", ".join(f'"{name}"' for name in CLASSES)
    (made / "full.toml").write_text(
        f'kind = "parquet"\nname = "full-parquet"\nclasses = [{classes}]\n'
        'train = "train-*.parquet"\ntest = "test-*.parquet"\n'
    )
    return "full-parquet", str(made / "full.toml")


def as_npz(data: Path, made: Path, pixels: int) -> tuple[str, ...]:
    """Write the arrays of PathMNIST, from the patches in their order."""
    train, test = open_split(data, TRAIN), open_split(data, TEST)
    order = np.random.default_rng(0).permutation(len(train.labels))
    cuts = {"train": order[: PARTS["train"]], "val": order[PARTS["train"] :]}
    with zipfile.ZipFile(made / remote_file(pixels).name, "w", zipfile.ZIP_STORED) as archive:
        for part in PARTS:
            split, chosen = (
                (test, np.arange(len(test.labels))) if part == "test" else (train, cuts[part])
            )
            with archive.open(f"{part}_labels.npy", "w") as file:
                np.lib.format.write_array(file, split.labels[chosen][:, None].astype(np.uint8))
            with archive.open(f"{part}_images.npy", "w", force_zip64=True) as file:
                about = {"descr": "|u1", "fortran_order": False}
                shape = (len(chosen), pixels, pixels, 3)
                np.lib.format.write_array_header_1_0(file, {**about, "shape": shape})
                for images in resized(split, chosen, pixels):
                    file.write(images)
    return (f"pathmnist-{pixels}",)


def resized(split: FileSplit, chosen: np.ndarray, pixels: int) -> Iterator[bytes]:
    """Batches of patches of this side, as bytes."""
    for _, images in stream(split, 64, order=chosen):
        small = [cv2.resize(x, (pixels, pixels), interpolation=cv2.INTER_AREA) for x in images]
        yield np.stack(small).tobytes()


def drop_cache() -> str:
    """Drop the page cache; returns what to say of it."""
    subprocess.run(["sync"], check=True)
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return "page cache not dropped"
    return "page cache dropped"


FORMS: dict[str, Callable[[Path, Path], tuple[str, ...]]] = {
    "zip": lambda data, made: ("nct-crc-he",),
    "folder": as_folder,
    "parquet": as_parquet,
    "npz-28": lambda data, made: as_npz(data, made, 28),
    "npz-224": lambda data, made: as_npz(data, made, 224),
}


def main(data: Path, forms: list[str]) -> None:
    """Make each form, list it twice, print, remove it."""
    for form in forms:
        made = data / "listing"
        made.mkdir()
        try:
            name, *files = FORMS[form](data, made)
            folder = data if form == "zip" else made
            for said in (drop_cache(), "again"):
                command = [sys.executable, "-c", CHILD, str(folder), name, *files]
                found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                print(f"{form:<8} {found.strip()} ({said})", flush=True)
        finally:
            shutil.rmtree(made)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    options = parser.parse_args()
    main(options.data, options.forms)
