"""``harness shortcut``."""

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
from harness.commands.printing import print_failures, print_table, say_written
from harness.hooks import command_options as shared

NAME = "shortcut"
HELP = "train models with a fault that gives the class away, and test without it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the dataset to train on")
    shared.several(parser, "--model", "the model to train", required=True)
    parser.add_argument(
        "--fault",
        required=True,
        metavar="NAME",
        help="what is planted by class, e.g. jpeg, cast or blur (harness list faults)",
    )
    parser.add_argument(
        "--dose",
        action="append",
        type=float,
        default=[],
        metavar="X",
        help="how much of it, as often as wanted (default: five of the doses of the fault)",
    )
    shared.experiment(parser)
    shared.pictures(parser)
    shared.fitting(parser)


def run(options: argparse.Namespace) -> int:
    """Train with a fault by class, test without it and swapped, and write how accuracy falls."""
    from harness.reports import report, shortcut_text
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import shortcutting

    session = session_of(options)
    registry = session.registry
    request = shortcutting.request(
        registry,
        data_folder(options),
        session.time_limit,
        options.dataset,
        options.fault,
        options.dose,
        models=options.model,
        seeds=range(options.seed, options.seed + options.seeds),
        assigned=options.settings,
        protocol=options.protocol,
    )
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = shortcutting.compute(request, registry, store, executor)
    if found:
        table = shortcut_text.table(found)
        print(f"\n{table.title}; a dose is in {request.fault.unit}\n")
        print_table(*report.cells(table))
        problems = Collected(store)
        with writing_to(folder), pictures(options, store, options.dataset):
            written = shortcut_text.write(
                *(options.dataset, request.fault, found, options.said, folder, problems)
            )
        say_written([written])
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
