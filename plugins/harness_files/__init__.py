"""Datasets described by a TOML file: class folders, tables, Parquet files, arrays, tar shards.

harness run --plugin mine.toml --dataset mine

And what was computed elsewhere: predictions in a file, as a model of their own, and embeddings, as
a model for each head on them.
"""

from __future__ import annotations

from harness import Reader, hookimpl, later


@hookimpl
def harness_readers() -> list[Reader]:
    """Kinds of datasets, and the kinds "predictions" and "embeddings"."""
    return [
        Reader(
            name="folder",
            title="Dataset of class folders, each in a folder or a zip",
            read=later("harness_files.folder:read"),
            keys=later("harness_files.folder:keys"),
        ),
        Reader(
            name="table",
            title="Dataset of image files listed in a CSV file with their labels",
            read=later("harness_files.table:read"),
            keys=later("harness_files.table:keys"),
        ),
        Reader(
            name="parquet",
            title="Dataset of images in Parquet files, as Hugging Face saves them",
            read=later("harness_files.parquet:read"),
            keys=later("harness_files.parquet:keys"),
        ),
        Reader(
            name="npz",
            title="Dataset of arrays in a .npz file, in the layout of MedMNIST",
            read=later("harness_files.npz:read"),
            keys=later("harness_files.npz:keys"),
        ),
        Reader(
            name="webdataset",
            title="Dataset of images and labels in tar shards",
            read=later("harness_files.webdataset:read"),
            keys=later("harness_files.webdataset:keys"),
        ),
        Reader(
            name="predictions",
            title="What a model predicted elsewhere, in a CSV or Parquet file",
            read=later("harness_files.predictions:read"),
            keys=later("harness_files.predictions:keys"),
        ),
        Reader(
            name="embeddings",
            title="What an encoder made of patches elsewhere, in .npz, .npy, .h5 or tables",
            read=later("harness_files.embeddings:read"),
            keys=later("harness_files.embeddings:keys"),
        ),
    ]
