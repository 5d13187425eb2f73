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
    exit_code,
    leaderboards_folder,
    plugin_files,
    print_failures,
    registry_of,
    switched_off,
    worker_for,
)
from harness.progress import say

if TYPE_CHECKING:
    from harness.failures import Failure
    from harness.plan import Plan
    from harness.probes import Finding
    from harness.registry import Registry
    from harness.store import Store
    from harness.supervise import Worker
    from harness.types import Dataset


def audit(options: argparse.Namespace) -> int:
    """Ask probes about datasets and write what they found."""
    from harness import choose, report
    from harness.failures import Collected
    from harness.store import Store, disk_error

    registry = registry_of(options)
    data = data_folder(options)
    datasets = choose.datasets(registry, options.dataset, data)
    folder = leaderboards_folder(options)
    store = Store(options.store)
    worker = worker_for(options, registry, store)
    found, failures = _ask(registry, worker, datasets, data, options.probe)
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


def _ask(
    registry: Registry,
    worker: Worker,
    datasets: Sequence[Dataset],
    data: Path,
    names: Sequence[str],
) -> tuple[dict[str, dict[str, Finding]], dict[str, Failure]]:
    """Ask the named probes; all that is known of each dataset by now, and what failed."""
    from harness import report
    from harness.execute import execute

    store = worker.store
    plan = _plan_probes(registry, store, datasets, data, names)
    failures = execute(plan, store, registry, worker)
    everything = _plan_probes(registry, store, datasets, data, ())
    return report.load_findings(store, everything, failures), failures


def calibrate(options: argparse.Namespace) -> int:
    """Ask probes about phantoms and write how far they can be trusted."""
    from harness import calibrate, choose, report
    from harness.failures import keep_error
    from harness.store import Store, disk_error

    registry = registry_of(options)
    data = data_folder(options)
    probes = choose.dataset_probes(registry, options.probe)
    phantoms = [
        registry.phantoms.find(name) for name in dict.fromkeys(options.phantom or registry.phantoms)
    ]
    datasets = choose.datasets(registry, options.dataset, data) if options.dataset else []
    folder = leaderboards_folder(options)
    store = Store(options.store)
    worker = worker_for(options, registry, store)
    real, failures = _ask(registry, worker, datasets, data, options.probe)
    checks = []
    for dataset in datasets:
        for probe in probes:
            if probe.check is None:
                continue
            title = f"{probe.name} on {dataset.name}"
            try:
                tables = calibrate.check(probe, dataset.name, dataset.load(data), store)
            except OSError as error:
                raise disk_error(error, store.root) from error
            except Exception as error:
                name = f"check-{dataset.name}-{probe.name}"
                failures[f"known changes: {title}"] = keep_error(store, name, error)
            else:
                checks += [(title, table) for table in tables]
    for phantom in phantoms:
        loaded = switched_off(options), plugin_files(options), registry.refused
        readings = calibrate.run(phantom, probes, options.seeds, store, *loaded)
        page = calibrate.describe(phantom, probes, readings, real)
        for title, table in [*((table.title, table) for table in page.tables), *checks]:
            print(f"\n{title}\n\n{report.render(table, 'simple')}")
        if options.probe:
            say("Not written: the page is about all probes; leave out --probe")
            continue
        made = (calibrate.versions(probes), options.said)
        try:
            written = report.write_calibration(phantom, page, readings, checks, *made, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
