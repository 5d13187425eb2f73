"""``harness contrast``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands import options as shared
from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    executor_for,
    exit_code,
    leaderboards_folder,
    registry_of,
)
from harness.commands.printing import print_failures, print_table, print_text, say_written
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.plan import Request
    from harness.registry import Registry

NAME = "contrast"
HELP = "train models on two versions of the same patches, and compare the results"
ORDER = ("initial weights", "selected on", "right only with either", "seeds")
"""Columns that are left out first where they do not fit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("one", metavar="DATASET")
    parser.add_argument("other", metavar="DATASET", help="e.g. nct-crc-he nct-crc-he-nonorm")
    shared.several(parser, "--model", "the model to train", required=True)
    shared.data(parser)
    shared.results(parser)
    shared.computing(parser)
    shared.fitting(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Train models on two versions of the same patches and print how they compare."""
    from harness import contrast as contrasting
    from harness import planner, report
    from harness.execute import execute
    from harness.store import Store, disk_error

    registry = registry_of(options)
    request, n_train = _contrast_request(options, registry)
    folder = leaderboards_folder(options)
    store = Store(options.store)
    plan = planner.build(registry, store, request)
    plan.failures |= plan.unavailable
    executor = executor_for(options, registry, store)
    failures = execute(plan, store, registry, executor, options.time_limit)
    one, other = (dataset.name for dataset in request.datasets)
    names = [model.name for model in request.models]
    found = contrasting.contrast(store, plan, (one, other), names, n_train)
    if found.compared:
        for table in contrasting.tables(found):
            print(f"\n{table.title}\n")
            print_table(*report.cells(table), order=ORDER)
        print_text(contrasting.about(found))
        try:
            written = contrasting.write(found, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say_written([written])
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def _contrast_request(options: argparse.Namespace, registry: Registry) -> tuple[Request, int]:
    """The request, and how many patches both datasets are trained on."""
    from harness import choose, pairing, plan, settings

    data = data_folder(options)
    models = choose.models(registry, options.model)
    fitted = choose.fitted(registry, models)
    for model in fitted:
        if model.trained_on:
            raise HarnessError(
                f"contrast: {model.name} is pretrained and not trained here; name another model"
            )
    if options.one == options.other:
        raise HarnessError(f"contrast: {options.one} is contrasted with itself; name two datasets")
    one, other = choose.datasets(registry, [options.one, options.other], data)
    names, n_train = pairing.pair(one, other, data)
    request = plan.Request(
        datasets=[registry.datasets.find(name) for name in names],
        models=models,
        data=data,
        seeds=range(options.seed, options.seed + options.seeds),
        protocol=options.protocol,
        given=settings.parse(options.settings, fitted),
        minutes=options.time_limit,
    )
    return request, n_train
