"""``harness few-shot``."""

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
from harness.commands.printing import (
    print_failures,
    print_json,
    print_table,
    print_text,
    say_written,
)
from harness.hooks import command_options as shared

NAME = "few-shot"
HELP = "how well models do with 1 to 32 labeled patches of each class, on their frozen features"
ORDER = ("2", "8", "4", "16")
"""Numbers of patches that are left out first where they do not fit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("dataset", metavar="DATASET")
    shared.several(
        parser,
        "--model",
        "a model with features, such as encoder:NAME+linear; its own head is not used",
        required=True,
    )
    shared.several(
        parser,
        "--head",
        "what is fitted in each episode: simpleshot (default), linear, linear-uni; several times: "
        "each",
    )
    parser.add_argument(
        "--episodes",
        type=shared.episodes,
        default=100,
        metavar="N",
        help="draw so many times (default: 100)",
    )
    parser.add_argument(
        "--seed", type=shared.seed, default=0, help="seed of what is drawn (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    shared.settings(parser, "image_size=96")
    shared.experiment(parser)
    shared.pictures(parser)


def run(options: argparse.Namespace) -> int:
    """Extract features, draw episodes, and write the curves."""
    from harness.reports import few_shot_text, report
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import few_shot

    session = session_of(options)
    registry = session.registry
    request = few_shot.request(
        registry,
        data_folder(options),
        session.time_limit,
        options.dataset,
        models=options.model,
        heads=options.head,
        episodes=options.episodes,
        seed=options.seed,
        assigned=options.settings,
    )
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = few_shot.compute(request, registry, store, executor)
    problems = Collected(store)
    if found is not None:
        if options.json:
            print_json(few_shot_text.as_json(found))
        else:
            for table in few_shot_text.tables(found):
                print(f"\n{table.title}\n")
                print_table(*report.cells(table), order=ORDER)
            for text in few_shot_text.about(found):
                print_text(text)
        with writing_to(folder), pictures(options, store, options.dataset):
            written = few_shot_text.write(found, options.said, folder, problems)
        say_written([written])
    failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
