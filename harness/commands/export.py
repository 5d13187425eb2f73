"""``harness export predictions`` and ``harness export embeddings``."""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.commands.common import data_folder, existing_store, exit_code, registry_of
from harness.errors import HarnessError, UnavailableError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.workflows.exporting import Embedded, Exported

log = logging.getLogger(__name__)
NAME = "export"
HELP = "write what models predicted, or what encoders computed, for other programs"
T = TypeVar("T")
MANIFEST = "manifest.csv"
"""Beside arrays of numpy, in the layout of croma: what their rows are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the command."""
    commands = shared.subcommands(parser)
    about = "write what a model predicted for each test patch, a row each"
    one = shared.parser_of(commands, "predictions", about)
    one.set_defaults(subcommand=predictions)
    one.add_argument("file", type=shared.path, metavar="FILE", help="that ends in .csv or .parquet")
    one.add_argument("--dataset", required=True, metavar="NAME", help="the dataset")
    one.add_argument(
        "--model", required=True, metavar="NAME", help="the model, or the digest of a result"
    )
    one.add_argument(
        "--perturbed", action="store_true", help="also what was predicted for perturbed patches"
    )
    shared.store(one)
    shared.plugins(one)
    shared.messages(one)
    about = "write the features that encoders computed of all patches of a dataset"
    other = shared.parser_of(commands, "embeddings", about)
    other.set_defaults(subcommand=embeddings)
    other.add_argument("dataset", metavar="DATASET")
    other.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a model that was run, with its head or without, or the digest of a result",
    )
    other.add_argument(
        "--to",
        type=shared.folder,
        default=Path("embeddings"),
        metavar="DIR",
        help="folder to write DIR/DATASET/PART/ENCODER.FORMAT into (default: embeddings)",
    )
    other.add_argument(
        "--format",
        choices=[suffix.removeprefix(".") for suffix in ARRAY_WRITERS],
        default="npz",
        help="npz (default); npy, with manifest.csv beside it, as croma reads them; h5, with the "
        "array features, as TRIDENT writes it; or parquet",
    )
    shared.data(other)
    shared.store(other)
    shared.plugins(other)
    shared.messages(other)


def run(options: argparse.Namespace) -> int:
    """Run the command of the command that was named."""
    code: int = options.subcommand(options)
    return code


def predictions(options: argparse.Namespace) -> int:
    """Write what a model predicted."""
    from harness.workflows.exporting import export

    write = WRITERS.get(options.file.suffix.lower())
    if write is None:
        raise HarnessError(f"{options.file}: must end in {' or '.join(WRITERS)}")
    registry = registry_of(options)
    found = export(
        existing_store(options), options.dataset, options.model, registry, options.perturbed
    )
    _whole(write, found, options.file)
    n = len(found.ids) * len(found.parts)
    log.info(f"Wrote {options.file}: {n:,} predictions, {len(found.parts)} for each patch")
    return exit_code(options, registry)


def embeddings(options: argparse.Namespace) -> int:
    """Write what encoders computed."""
    from harness.jobs.dataset import load
    from harness.planning import choose
    from harness.workflows import exporting

    suffix = f".{options.format}"
    store, registry = existing_store(options), registry_of(options)
    data = data_folder(options)
    (dataset,) = choose.datasets(registry, [options.dataset], data)
    instance = load(dataset, data, registry.described_by(dataset.name), store)
    beside: dict[Path, str] = {}
    for found in exporting.embeddings(store, instance, options.models, registry):
        folder = options.to / dataset.name / found.part
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{found.name}{suffix}"
        if suffix == ".npy":
            _whole(_manifest, found, folder / MANIFEST)
            known = "" if found.groups is None else ", group_id is the patient or slide"
            beside[folder / MANIFEST] = known or ", group_id is the id, as groups are not known"
        _whole(ARRAY_WRITERS[suffix], found, file)
        n, width = found.values.shape
        log.info(f"Wrote {file}: {n:,} embeddings of {width:,} numbers")
    for file, known in beside.items():
        log.info(f"Wrote {file}: what each row is{known}")
    return exit_code(options, registry)


def _whole(write: Callable[[T, Path], None], found: T, file: Path) -> None:
    """Write a file whole or not at all. Raises HarnessError for a list of patches, which stands for
    all arrays beside it, if there is another one."""
    draft = file.with_name(f".{file.name}.part")
    try:
        write(found, draft)
        if file.name == MANIFEST and file.exists() and file.read_bytes() != draft.read_bytes():
            raise HarnessError(
                f"{file}: is of other patches, and so are the arrays beside it; remove the folder, "
                "or name another with --to"
            )
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _csv(found: Exported, path: Path) -> None:
    from harness.workflows.exporting import ABOUT

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*ABOUT, *found.columns])
        writer.writerows(found.rows())


def _parquet(found: Exported, path: Path) -> None:
    from harness.workflows.exporting import ABOUT

    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UnavailableError(
            "export: Parquet needs pyarrow: pip install 'histo-harness[parquet]'; or write .csv"
        ) from error
    kinds = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64())
    fields = [
        *zip(ABOUT, kinds, strict=True),
        *((name, pa.float32()) for name in found.columns),
    ]
    schema = pa.schema(fields)
    columns = zip(*found.rows(), strict=True)
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), path)


def _about(found: Embedded) -> dict[str, list[str]]:
    """What is known of each patch, by name of an array."""
    about = {"ids": list(found.ids), "labels": list(found.labels)}
    return about if found.groups is None else {**about, "groups": list(found.groups)}


def _npz(found: Embedded, path: Path) -> None:
    import numpy as np

    about: dict[str, Any] = {n: np.array(texts, dtype=str) for n, texts in _about(found).items()}
    with path.open("wb") as file:
        np.savez(file, embeddings=found.values, **about)


def _npy(found: Embedded, path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, found.values)


def _manifest(found: Embedded, path: Path) -> None:
    groups = found.ids if found.groups is None else found.groups
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "image_path", "label", "group_id"])
        writer.writerows(zip(found.ids, found.ids, found.labels, groups, strict=True))


def _h5(found: Embedded, path: Path) -> None:
    try:
        import h5py
    except ImportError as error:
        raise UnavailableError(
            "export: .h5 needs h5py: pip install 'histo-harness[h5]'; or leave out --format"
        ) from error
    with h5py.File(path, "w") as file:
        file["features"] = found.values
        for name, texts in _about(found).items():
            file[name] = texts


def _parquet_of_embeddings(found: Embedded, path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UnavailableError(
            "export: Parquet needs pyarrow: pip install 'histo-harness[parquet]'; or leave out "
            "--format"
        ) from error
    columns = {name.removesuffix("s"): pa.array(texts) for name, texts in _about(found).items()}
    flat = pa.array(found.values.ravel())
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, found.values.shape[1])
    pq.write_table(pa.table(columns), path)


WRITERS: dict[str, Callable[[Exported, Path], None]] = {".csv": _csv, ".parquet": _parquet}
ARRAY_WRITERS: dict[str, Callable[[Embedded, Path], None]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".h5": _h5,
    ".parquet": _parquet_of_embeddings,
}
