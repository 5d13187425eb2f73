"""``harness calibrate``."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from pathlib import Path

    from harness.store.failures import Failure

log = logging.getLogger(__name__)
NAME = "calibrate"
PATCHES = 400
HELP = "measure with planted faults, on phantoms or real patches, how far probes can be trusted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--phantom", "only this phantom (default: all of them)")
    shared.several(parser, "--probe", "only this probe")
    shared.several(
        parser,
        "--dataset",
        "also change patches of this dataset by known amounts, and see what is measured",
    )
    shared.several(
        parser,
        "--real",
        "no phantoms, but real patches of this dataset: faults are planted by labels that are "
        "dealt at random within the classes",
    )
    shared.several(parser, "--fault", "with --real, only this fault")
    parser.add_argument(
        "--patches",
        type=shared.positive,
        metavar="N",
        help=f"with --real, patches of the dataset, at most (default: {PATCHES})",
    )
    parser.add_argument(
        "--seeds",
        type=shared.positive,
        default=20,
        metavar="N",
        help="phantoms to make, or draws of labels (default: 20)",
    )
    shared.data(parser)
    shared.results(parser)
    shared.pictures(parser)
    shared.computing(parser, "one for each core")
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Ask probes about planted faults and write how far they can be trusted."""
    return _on_real_patches(options) if options.real else _on_phantoms(options)


def _on_phantoms(options: argparse.Namespace) -> int:
    from harness.errors import HarnessError
    from harness.jobs.calibration import versions
    from harness.planning import choose
    from harness.reports import calibrate, drawing, report
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.system.threads import cpu_count
    from harness.workflows import calibrating

    for option in ("fault", "patches"):
        if getattr(options, option):
            raise HarnessError(
                f"--{option} is about real patches; name a dataset with --real, or leave it out"
            )
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
    pages, problems = [], Collected(store)
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
        made = (versions(probes), options.said, folder, problems)
        with writing_to(folder), drawing.saved_as(options.format):
            written = report.write_calibration(phantom, page, readings, found.checks, *made)
        pages.append(written)
    say_written(pages)
    failures = {**found.failures, **problems}
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def _on_real_patches(options: argparse.Namespace) -> int:
    from harness.errors import HarnessError
    from harness.jobs.calibration import versions
    from harness.planning import choose
    from harness.reports import calibrate_real, drawing, report
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.system.threads import cpu_count
    from harness.workflows import calibrating

    if options.phantom or options.dataset:
        raise HarnessError("--real goes with neither --phantom nor --dataset; run them one by one")
    session = session_of(options)
    registry, data = session.registry, data_folder(options)
    probes = choose.dataset_probes(registry, options.probe)
    faults = [registry.faults.find(name) for name in options.fault] or [*registry.faults.values()]
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry, options.jobs or cpu_count())
    pages: list[list[Path]] = []
    problems = Collected(store)
    failures: dict[str, Failure] = {}
    for dataset in choose.datasets(registry, options.real, data):
        found = calibrating.calibrate_real(
            *(registry, store, dataset, data, faults, probes, options.seeds),
            *(options.patches or PATCHES, executor, options.time_limit),
        )
        failures |= found.failures
        if not found.readings:
            continue
        there = [fault for fault in faults if fault.name in found.readings]
        page = calibrate_real.describe(found.judges, there, probes, found.readings)
        for table in page.tables:
            print(f"\n{table.title}\n")
            print_table(*report.cells(table))
        if options.probe or options.fault or len(there) < len(faults):
            log.info("Not written: the page is about all probes and faults")
            continue
        cells = calibrate_real.counted(found.readings)
        limits = calibrate_real.limits(there, [probe.name for probe in probes], cells)
        readings = [one for own in found.readings.values() for one in own]
        made = (found.judges, limits, versions(probes), options.said, folder, problems)
        with writing_to(folder), drawing.saved_as(options.format):
            pages += [report.write_real_calibration(dataset.name, page, there, readings, *made)]
    say_written(pages)
    failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
