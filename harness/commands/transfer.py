"""``harness transfer``."""

from __future__ import annotations

import argparse

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    leaderboards_folder,
    pictures,
    session_of,
)
from harness.commands.printing import print_failures, print_table, print_text, say_written
from harness.hooks import command_options as shared

NAME = "transfer"
HELP = "test models that are fitted on a dataset on cohorts of other origin"
ORDER = ("called another class %", "accuracy % home", "accuracy away", "accuracy drop (95 %)")
"""Columns that are left out first where they do not fit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("home", metavar="DATASET", help="the dataset that models are fitted on")
    parser.add_argument(
        "cohorts",
        metavar="COHORT",
        nargs="+",
        help="a dataset of other origin, e.g. starc-9 (harness list datasets)",
    )
    shared.several(parser, "--model", "the model to test", required=True)
    shared.experiment(parser)
    shared.pictures(parser)
    shared.fitting(parser, protocol=False)


def run(options: argparse.Namespace) -> int:
    """Test models at home and away and print how far their accuracy falls."""
    from harness.reports import report, transfer_text
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import transferring

    session = session_of(options)
    registry = session.registry
    request = transferring.request(
        registry,
        data_folder(options),
        session.time_limit,
        options.home,
        options.cohorts,
        models=options.model,
        seeds=range(options.seed, options.seed + options.seeds),
        assigned=options.settings,
    )
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = transferring.compute(request, registry, store, executor)
    if found and any(cohort.models for cohort in found.cohorts):
        for table in transfer_text.tables(found):
            print(f"\n{table.title}\n")
            print_table(*report.cells(table), order=ORDER)
        for cohort in found.cohorts:
            print_text(transfer_text.of_cohort(found, cohort))
        print_text(transfer_text.about(found))
        problems = Collected(store)
        with writing_to(folder), pictures(options, store, options.home):
            written = transfer_text.write(found, folder, problems)
        say_written([written])
        failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
