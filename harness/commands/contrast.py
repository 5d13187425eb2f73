"""``harness contrast``."""

from __future__ import annotations

import argparse

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    leaderboards_folder,
    session_of,
)
from harness.commands.printing import print_failures, print_table, print_text, say_written
from harness.hooks import command_options as shared

NAME = "contrast"
HELP = "train models on two versions of the same patches, and compare the results"
ORDER = ("initial weights", "selected on", "right only with either", "seeds")
"""Columns that are left out first where they do not fit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("one", metavar="DATASET")
    parser.add_argument("other", metavar="DATASET", help="e.g. nct-crc-he nct-crc-he-nonorm")
    shared.several(parser, "--model", "the model to train", required=True)
    shared.experiment(parser)
    shared.fitting(parser)


def run(options: argparse.Namespace) -> int:
    """Train models on two versions of the same patches and print how they compare."""
    from harness.reports import contrast_text, report
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import contrasting

    session = session_of(options)
    registry = session.registry
    request = contrasting.request(
        registry,
        data_folder(options),
        session.time_limit,
        options.one,
        options.other,
        models=options.model,
        seeds=range(options.seed, options.seed + options.seeds),
        assigned=options.settings,
        protocol=options.protocol,
    )
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = contrasting.compute(request, registry, store, executor)
    if found.compared:
        for table in contrast_text.tables(found):
            print(f"\n{table.title}\n")
            print_table(*report.cells(table), order=ORDER)
        print_text(contrast_text.about(found))
        with writing_to(folder):
            written = contrast_text.write(found, folder)
        say_written([written])
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
