"""``harness audit``."""

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
from harness.commands.printing import print_failures, print_parts, print_text, say_written
from harness.hooks import command_options as shared

NAME = "audit"
HELP = "measure what color, compression and clipping reveal about the class"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--dataset", "the dataset to audit", required=True)
    shared.several(parser, "--probe", "only this probe")
    shared.data(parser)
    shared.results(parser)
    shared.pictures(parser)
    shared.images(parser)
    shared.computing(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Ask probes about datasets and write what they found."""
    from harness.planning import choose
    from harness.reports import report
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import auditing

    session = session_of(options)
    registry, data = session.registry, data_folder(options)
    datasets = choose.datasets(registry, options.dataset, data)
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = auditing.audit(
        registry, store, datasets, data, options.probe, executor, session.time_limit
    )
    problems = Collected(store)
    pages = []
    for audit in found:
        print(f"\n{audit.dataset}\n")
        indent = " " * (max(map(len, audit.findings)) + len("  FLAG  "))
        *lines, _, legend = report.summary(audit.probes, audit.findings)
        print_parts(["\n".join(lines)], indent)
        print_text(legend)
        with writing_to(folder), pictures(options, store, audit.dataset):
            pages += [report.write_audit(audit, folder, problems, not options.no_images)]
    say_written(pages)
    failures |= problems
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
