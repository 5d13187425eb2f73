"""``harness export predictions``."""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.common import existing_store, exit_code, registry_of
from harness.errors import HarnessError, UnavailableError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.workflows.exporting import Exported

log = logging.getLogger(__name__)
NAME = "export"
HELP = "write what models predicted as CSV or Parquet"


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
    draft = options.file.with_name(f".{options.file.name}.part")
    try:
        write(found, draft)
        draft.replace(options.file)
    finally:
        draft.unlink(missing_ok=True)
    n = len(found.ids) * len(found.parts)
    log.info(f"Wrote {options.file}: {n:,} predictions, {len(found.parts)} for each patch")
    return exit_code(options, registry)


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


WRITERS: dict[str, Callable[[Exported, Path], None]] = {".csv": _csv, ".parquet": _parquet}
