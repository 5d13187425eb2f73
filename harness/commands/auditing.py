"""``harness audit`` and ``harness calibrate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    executor_for,
    exit_code,
    leaderboards_folder,
    print_failures,
    registry_of,
)
from harness.progress import say

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.registry import Registry
    from harness.store import Store
    from harness.types import Dataset


def audit(options: argparse.Namespace) -> int:
    """Ask probes about datasets and write what they found."""
    from harness import choose, report
    from harness.execute import execute
    from harness.failures import Collected
    from harness.store import Store, disk_error

    registry = registry_of(options)
    data = data_folder(options)
    datasets = choose.datasets(registry, options.dataset, data)
    folder = leaderboards_folder(options)
    store = Store(options.store)
    plan = _plan_probes(registry, store, datasets, data, options.probe)
    executor = executor_for(options, registry, store)
    failures = execute(plan, store, registry, executor, options.time_limit)
    found = report.load_findings(store, _plan_probes(registry, store, datasets, data, ()), failures)
    problems = Collected(store)
    every = choose.dataset_probes(registry, ())
    for dataset, findings in found.items():
        print(f"\n{dataset}\n")
        print("\n".join(report.summary(every, findings)))
        try:
            written = report.write_audit(store, dataset, every, findings, folder, problems)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def _plan_probes(
    registry: Registry, store: Store, datasets: Sequence[Dataset], data: Path, names: Sequence[str]
) -> Plan:
    from harness import choose, planner
    from harness.plan import Request

    probes = choose.dataset_probes(registry, names)
    request = Request(datasets=datasets, models=(), probes=probes, data=data)
    return planner.build(registry, store, request)


def calibrate(options: argparse.Namespace) -> int:
    """Ask probes about phantoms and write how far they can be trusted."""
    from harness import calibrate, choose, report
    from harness.execute import execute
    from harness.jobs.calibration import Reading, check_job, seed_job, versions
    from harness.jobs.dataset import load
    from harness.probes import table_from
    from harness.splits import cpu_count
    from harness.store import Store, disk_error
    from harness.stored import load_json

    registry = registry_of(options)
    data = data_folder(options)
    probes = choose.dataset_probes(registry, options.probe)
    phantoms = [
        registry.phantoms.find(name) for name in dict.fromkeys(options.phantom or registry.phantoms)
    ]
    datasets = choose.datasets(registry, options.dataset, data) if options.dataset else []
    folder = leaderboards_folder(options)
    store = Store(options.store)
    plan = _plan_probes(registry, store, datasets, data, options.probe)
    checks = {}
    for dataset in datasets:
        instance = load(dataset, data, registry.described_by(dataset.name))
        for probe in probes:
            if probe.check is not None:
                title = f"{probe.name} on {dataset.name}"
                checks[title] = plan.add(check_job(probe, instance))
    seeds = {
        phantom.name: [plan.add(seed_job(phantom, probes, seed)) for seed in range(options.seeds)]
        for phantom in phantoms
    }
    executor = executor_for(options, registry, store, options.jobs or cpu_count())
    failures = execute(plan, store, registry, executor, options.time_limit)
    real = report.load_findings(store, _plan_probes(registry, store, datasets, data, ()), failures)
    tables = [
        (title, table_from(content))
        for title, key in checks.items()
        if key in store
        for content in load_json(store.folder(key), "tables.json")
    ]
    for phantom in phantoms:
        keys = [key for key in seeds[phantom.name] if key in store]
        if len(keys) < options.seeds:
            say(f"Not written: the page of {phantom.name}, of which seeds failed")
            continue
        readings = [
            Reading(**reading)
            for key in keys
            for reading in load_json(store.folder(key), "readings.json")
        ]
        page = calibrate.describe(phantom, probes, readings, real)
        for title, table in [*((table.title, table) for table in page.tables), *tables]:
            print(f"\n{title}\n\n{report.render(table, 'simple')}")
        if options.probe:
            say("Not written: the page is about all probes; leave out --probe")
            continue
        made = (versions(probes), options.said)
        try:
            written = report.write_calibration(phantom, page, readings, tables, *made, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
