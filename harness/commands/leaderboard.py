"""``harness leaderboard``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands import boards
from harness.commands.common import FAILED, OK, USAGE, existing_store, exit_code, registry_of
from harness.commands.printing import print_failures, say_written
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.store.stored import DamagedError

NAME = "leaderboard"
HELP = "write the tables again from the store, and print them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    rows = parser.add_argument_group(
        "rows", "what is printed, and what LaTeX has; other files always have every row"
    )
    rows.add_argument(
        "--dataset",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="print and write only the tables of these datasets; those of others stay as they are",
    )
    rows.add_argument(
        "--model",
        action="extend",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="print only rows of these models, measured or published, e.g. 'efficientnet-*' "
        "(default: all that were measured, their published counterparts, and the reference)",
    )
    rows.add_argument("--no-published", action="store_true", help="print no published results")
    rows.add_argument("--no-failed", action="store_true", help="print no models that failed")
    shared.tables(parser)
    shared.pictures(parser)
    shared.results(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Write the tables again from the store.

    Those of a dataset of which anything is damaged are left as they are.
    """
    from harness.analysis.chosen_rows import Rows
    from harness.store.failures import Collected
    from harness.text.names import suggest

    store = existing_store(options)
    registry = registry_of(options)
    boards.check_wishes(options, registry)
    known = store.datasets()
    for name in options.dataset:
        if name not in known:
            raise HarnessError(
                f"--dataset {name}: nothing of it is in {store.root}; {suggest(name, known)}"
            )
    problems = Collected(store)
    damaged: dict[Path, tuple[str, DamagedError]] = {}

    def refuse(dataset: str, error: DamagedError) -> None:
        damaged[error.path] = dataset, error

    names = list(dict.fromkeys(options.dataset)) or known
    pages = boards.build(options, registry, names, problems, refuse)
    refused = {dataset for dataset, _ in damaged.values()}
    pages = [(board, audits) for board, audits in pages if board.truth.dataset not in refused]
    rows = Rows(tuple(options.model), not options.no_published, not options.no_failed)
    rows.check([board for board, _ in pages])
    written = boards.write(options, registry, pages, problems, rows)
    boards.show(options, pages, rows)
    say_written(written)
    print_failures(problems)
    for dataset, error in damaged.values():
        print(f"harness: error: {dataset}: no tables are written: {error}", file=sys.stderr)
    if damaged:
        return USAGE
    return exit_code(options, registry, FAILED if problems else OK)
