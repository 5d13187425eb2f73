"""``harness report``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands import boards
from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    existing_store,
    exit_code,
    leaderboards_folder,
    session_of,
)
from harness.commands.printing import print_failures, say_written
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.store.stored import DamagedError

NAME = "report"
HELP = "write one HTML file for each dataset: board, models, comparisons, audit and patches"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--dataset", "only this dataset (default: all of the store)")
    shared.images(parser)
    shared.data(parser)
    shared.results(parser)
    shared.tables(parser, forms=False)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Write reports from the store."""
    from harness.store.failures import Collected
    from harness.text.names import suggest

    store = existing_store(options)
    leaderboards_folder(options)
    session = session_of(options)
    registry = session.registry
    boards.check_wishes(options, registry)
    known = store.datasets()
    for name in options.dataset:
        if name not in known:
            raise HarnessError(
                f"--dataset {name}: nothing of it is in {store.root}; {suggest(name, known)}"
            )
    problems = Collected(store)

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    pages = boards.build(options, registry, options.dataset or known, problems, damaged)
    written = boards.write_reports(options, registry, pages, problems, data_folder(options))
    say_written(written)
    print_failures(problems)
    return exit_code(options, registry, FAILED if problems else OK)
