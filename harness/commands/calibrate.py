"""``harness calibrate``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
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
    from harness.hooks.registry import Registry
    from harness.planning.plan import Plan
    from harness.store.store import Key
    from harness.types.datasets import Dataset
    from harness.types.probes import DatasetProbe

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
    from harness.analysis import audits
    from harness.execution.execute import execute
    from harness.jobs.calibration import Reading, seed_job, versions
    from harness.planning import choose
    from harness.reports import calibrate, report
    from harness.store.store import Store
    from harness.store.stored import load_json
    from harness.system.atomic import disk_error
    from harness.system.threads import cpu_count
    from harness.types.findings import table_from
    from harness.workflows import auditing

    session = session_of(options)
    registry, data = session.registry, data_folder(options)
    probes = choose.dataset_probes(registry, options.probe)
    phantoms = [
        registry.phantoms.find(name) for name in dict.fromkeys(options.phantom or registry.phantoms)
    ]
    datasets = choose.datasets(registry, options.dataset, data) if options.dataset else []
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    plan = auditing.plan(registry, store, datasets, data, options.probe)
    checks = _plan_checks(options, registry, plan, datasets, probes)
    of_probes = [registry.probes.plugin[probe.name] for probe in probes]
    seeds = {}
    for phantom in phantoms:
        guests = registry.guests_of(registry.phantoms.plugin[phantom.name], *of_probes)
        jobs = [seed_job(phantom, probes, seed, guests) for seed in range(options.seeds)]
        seeds[phantom.name] = [plan.add(job) for job in jobs]
    # A pass over a dataset uses all cores by itself.
    at_once = options.jobs or (1 if datasets else cpu_count())
    executor = session.executor(store, registry, at_once)
    failures = execute(plan, store, registry, executor, options.time_limit)
    every = auditing.plan(registry, store, datasets, data, ())
    real = audits.load_findings(store, every, failures)
    tables = [
        (title, table_from(content))
        for title, key in checks.items()
        if key in store
        for content in load_json(store.folder(key), "tables.json")
    ]
    pages = []
    for phantom in phantoms:
        keys = [key for key in seeds[phantom.name] if key in store]
        if len(keys) < options.seeds:
            log.info(f"Not written: the page of {phantom.name}, of which seeds failed")
            continue
        readings = [
            Reading(**reading)
            for key in keys
            for reading in load_json(store.folder(key), "readings.json")
        ]
        page = calibrate.describe(phantom, probes, readings, real)
        for title, table in [*((table.title, table) for table in page.tables), *tables]:
            print(f"\n{title}\n")
            print_table(*report.cells(table))
        if options.probe:
            log.info("Not written: the page is about all probes; leave out --probe")
            continue
        made = (versions(probes), options.said)
        try:
            written = report.write_calibration(phantom, page, readings, tables, *made, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        pages.append(written)
    say_written(pages)
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def _plan_checks(
    options: argparse.Namespace,
    registry: Registry,
    plan: Plan,
    datasets: Sequence[Dataset],
    probes: Sequence[DatasetProbe],
) -> dict[str, Key]:
    """Plan what probes measure of known changes to real patches; keys by title."""
    import contextlib
    import sys

    from harness.hooks.guard import contained
    from harness.hooks.limit import limited
    from harness.jobs.calibration import check_job
    from harness.jobs.dataset import load

    found = {}
    for dataset in datasets:
        if f"dataset {dataset.name}" in plan.failures:
            continue
        with limited(options.time_limit), contained(), contextlib.redirect_stdout(sys.stderr):
            described_by = registry.described_by(dataset.name)
            instance = load(dataset, data_folder(options), described_by)
        for probe in probes:
            if probe.check is not None:
                owners = registry.datasets.plugin[dataset.name], registry.probes.plugin[probe.name]
                job = check_job(probe, instance, registry.guests_of(*owners))
                found[f"{probe.name} on {dataset.name}"] = plan.add(job)
    return found
