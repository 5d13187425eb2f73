"""``harness audit``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
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
from harness.commands.printing import print_failures, print_parts, print_text, say_written

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.registry import Registry
    from harness.store import Store
    from harness.types import Dataset

NAME = "audit"
HELP = "measure what color, compression and clipping reveal about the class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--dataset", "the dataset to audit", required=True)
    shared.several(parser, "--probe", "only this probe")
    shared.data(parser)
    shared.results(parser)
    shared.computing(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
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
    plan = plan_probes(registry, store, datasets, data, options.probe)
    executor = executor_for(options, registry, store)
    failures = execute(plan, store, registry, executor, options.time_limit)
    found = report.load_findings(store, plan_probes(registry, store, datasets, data, ()), failures)
    problems = Collected(store)
    every = choose.dataset_probes(registry, ())
    pages = []
    for dataset, findings in found.items():
        print(f"\n{dataset}\n")
        indent = " " * (max(map(len, findings)) + len("  FLAG  "))
        *lines, _, legend = report.summary(every, findings)
        print_parts(["\n".join(lines)], indent)
        print_text(legend)
        try:
            pages.append(report.write_audit(store, dataset, every, findings, folder, problems))
        except OSError as error:
            raise disk_error(error, folder) from error
    say_written(pages)
    failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def plan_probes(
    registry: Registry, store: Store, datasets: Sequence[Dataset], data: Path, names: Sequence[str]
) -> Plan:
    """The plan to ask probes of datasets; without ``names``, all of them."""
    from harness import choose, planner
    from harness.plan import Request

    probes = choose.dataset_probes(registry, names)
    request = Request(datasets=datasets, models=(), probes=probes, data=data)
    return planner.build(registry, store, request)
