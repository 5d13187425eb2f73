"""``harness calibrate``."""

from __future__ import annotations

import argparse
import logging

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    leaderboards_folder,
    session_of,
)
from harness.commands.printing import print_failures, print_table, say_written
from harness.hooks import command_options as shared

log = logging.getLogger(__name__)
NAME = "calibrate"
HELP = "measure on phantoms with planted faults how far probes can be trusted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--phantom", "only this phantom (default: all of them)")
    shared.several(parser, "--probe", "only this probe")
    shared.several(
        parser,
        "--dataset",
        "also change patches of this dataset by known amounts, and see what is measured",
    )
    parser.add_argument(
        "--seeds",
        type=shared.positive,
        default=20,
        metavar="N",
        help="phantoms to make (default: 20)",
    )
    shared.data(parser)
    shared.results(parser)
    shared.computing(parser, "one for each core")
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Ask probes about phantoms and write how far they can be trusted."""
    from harness.jobs.calibration import versions
    from harness.planning import choose
    from harness.reports import calibrate, report
    from harness.store.store import Store
    from harness.system.atomic import disk_error
    from harness.system.threads import cpu_count
    from harness.workflows import calibrating

    session = session_of(options)
    registry, data = session.registry, data_folder(options)
    probes = choose.dataset_probes(registry, options.probe)
    phantoms = [
        registry.phantoms.find(name) for name in dict.fromkeys(options.phantom or registry.phantoms)
    ]
    datasets = choose.datasets(registry, options.dataset, data) if options.dataset else []
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    # A pass over a dataset uses all cores by itself.
    at_once = options.jobs or (1 if datasets else cpu_count())
    executor = session.executor(store, registry, at_once)
    found = calibrating.calibrate(
        *(registry, store, phantoms, datasets, data, probes, options.seeds, executor),
        options.time_limit,
    )
    pages = []
    for phantom in phantoms:
        if phantom.name not in found.readings:
            log.info(f"Not written: the page of {phantom.name}, of which seeds failed")
            continue
        readings = found.readings[phantom.name]
        page = calibrate.describe(phantom, probes, readings, found.real)
        for title, table in [*((table.title, table) for table in page.tables), *found.checks]:
            print(f"\n{title}\n")
            print_table(*report.cells(table))
        if options.probe:
            log.info("Not written: the page is about all probes; leave out --probe")
            continue
        made = (versions(probes), options.said)
        try:
            written = report.write_calibration(phantom, page, readings, found.checks, *made, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        pages.append(written)
    say_written(pages)
    print_failures(found.failures)
    return exit_code(options, registry, FAILED if found.failures else OK)
