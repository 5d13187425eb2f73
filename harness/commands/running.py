"""``harness run`` and ``harness leaderboard``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.common import (
    BROKEN_PLUGIN,
    FAILED,
    OK,
    USAGE,
    data_folder,
    executor_for,
    existing_store,
    exit_code,
    leaderboards_folder,
    load_registry,
    print_failures,
    registry_of,
)
from harness.errors import HarnessError
from harness.progress import say

if TYPE_CHECKING:
    from harness.failures import Collected
    from harness.jobs.spec import JobSpec
    from harness.leaderboard import Board
    from harness.plan import Request
    from harness.registry import Registry
    from harness.statistics.selection import SelectionAudit
    from harness.stored import DamagedError

    Pages = tuple[Board, dict[str, list[SelectionAudit]]]


def run(options: argparse.Namespace) -> int:
    """Compute what the store lacks, then write the leaderboards."""
    if not (options.all or options.dataset or options.model):
        raise HarnessError("run: say --all, or choose with --dataset and --model; see harness list")
    if options.all and (options.dataset or options.model):
        raise HarnessError("run: say either --all or --dataset and --model, not both")
    if options.audit_selection and options.protocol != "held-out":
        raise HarnessError(
            "run: --audit-selection compares the protocols in one training; leave out --protocol"
        )
    from harness import planner
    from harness.execute import execute
    from harness.failures import Collected, warn_of_broken
    from harness.store import Store

    registry = load_registry(options)
    errors: dict[str, Exception] = {}
    try:
        request = _run_request(options, registry, errors)
        _check_tables(options, registry)
    except HarnessError:
        warn_of_broken(registry)
        raise
    if options.dry_run:
        return _dry_run(options, registry, request, errors)
    store = Store(options.store)
    problems = Collected(store)
    for label, error in errors.items():
        problems.add(label, error)
    warn_of_broken(registry, store)
    names = [dataset.name for dataset in request.datasets]
    to_do = planner.build(registry, store, request)

    def write_clean() -> None:
        # What is damaged was named, and may yet be computed again.
        pages = _build_boards(options, registry, names, problems, lambda dataset, error: None)
        _write_boards(options, registry, pages, problems)

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    if options.all:
        for label, failure in to_do.unavailable.items():
            say(f"Not run: {label}: {failure.why}")
    else:
        to_do.failures |= to_do.unavailable
    executor = executor_for(options, registry, store)
    failures = execute(to_do, store, registry, executor, options.time_limit, write_clean)
    pages = _build_boards(options, registry, names, problems, damaged)
    _write_boards(options, registry, pages, problems)
    _print_boards(options, pages)
    print_failures(failures | problems)
    if failures or problems:
        return FAILED
    return BROKEN_PLUGIN if registry.broken else OK


def _dry_run(
    options: argparse.Namespace,
    registry: Registry,
    request: Request,
    errors: Mapping[str, Exception],
) -> int:
    """Print what would be computed, and what cannot be. Nothing is stored.

    Returns the exit code of a run that ends as it is planned.
    """
    from tempfile import TemporaryDirectory

    from harness import dry_run, planner, store_format
    from harness.failures import warn_of_broken
    from harness.progress import duration
    from harness.report import render
    from harness.store import Store

    warn_of_broken(registry)
    with TemporaryDirectory(prefix="harness-") as empty:
        is_store = (options.store / store_format.NAME).exists()
        store = Store(options.store if is_store else Path(empty))
        plan = planner.build(registry, store, request)
        with executor_for(options, registry, Store(Path(empty))) as executor:

            def seconds(job: JobSpec) -> float | None:
                return executor.estimate(job) if job.estimated else None

            to_do = plan.to_do(store, seconds)
            for warning in plan.warnings:
                say(f"WARNING: {warning}")
            failed = plan.failures if options.all else plan.failures | plan.unavailable
            lacking = {label: failure.why for label, failure in (failed | plan.unavailable).items()}
            for label, why in {**{n: str(e) for n, e in errors.items()}, **lacking}.items():
                say(f"Not run: {label}: {why}")
            code = BROKEN_PLUGIN if registry.broken else OK
            code = FAILED if failed or errors else code
            if not to_do:
                print("Everything is in the store; nothing to compute.")
                return code
            print(render(dry_run.table(to_do, seconds), "simple"))
            fits = [job for job in to_do if job.kind == "fit"]
            known = [found for job in fits if (found := seconds(job)) is not None]
    unknown = len(fits) - len(known)
    print(
        f"\n{len(to_do)} results to compute"
        + (f"; fitting takes about {duration(sum(known))} with one process" if known else "")
        + (f"; how long {unknown} of {len(fits)} fits take is not known" if unknown else "")
        + ". Nothing was computed."
    )
    return code


def _run_request(
    options: argparse.Namespace, registry: Registry, problems: dict[str, Exception]
) -> Request:
    from harness import choose, plan, settings

    data, minutes = data_folder(options), options.time_limit
    models = choose.models(registry, options.model)
    datasets = choose.datasets(registry, options.dataset, data, problems, minutes)
    probes = [] if options.no_probes else choose.model_probes(registry, options.probe)
    return plan.Request(
        datasets=datasets,
        models=models,
        perturbations=choose.perturbations(
            registry, options.perturbation, probes, problems, minutes
        ),
        perturbed=choose.perturbed(models, [m.name for m in models] if options.model else ()),
        data=data,
        seeds=range(options.seed, options.seed + options.seeds),
        protocol=options.protocol,
        audit_selection=options.audit_selection,
        given=settings.parse(options.settings, choose.fitted(registry, models)),
        minutes=options.time_limit,
    )


def _check_tables(options: argparse.Namespace, registry: Registry) -> None:
    """What is wrong with the wishes for tables is said before, not after, the work for them."""
    from harness import choose, columns, reports
    from harness.metrics import Metric
    from harness.registry import left_out

    leaderboards_folder(options)
    reports.choose(registry, options.report)
    try:
        columns.choose(
            options.columns,
            choose.model_probes(registry, ()),
            metrics=[*registry.of(Metric).values()],
        )
    except HarnessError as error:  # a column may be that of a probe that is not there
        cause = left_out("", registry.plugins)
        raise HarnessError(f"{error}; {cause}" if cause else str(error)) from error


def _build_boards(
    options: argparse.Namespace,
    registry: Registry,
    names: Sequence[str],
    problems: Collected,
    damaged: Callable[[str, DamagedError], None],
) -> list[Pages]:
    """What the pages of datasets are made of, as far as the store has it.

    What is damaged is handed to ``damaged`` with the name of the dataset; the row of its model then
    says so. Where it is the dataset itself, there are no pages.
    """
    from harness import leaderboard, measuring, predictions, selection
    from harness.choose import model_probes
    from harness.metrics import Metric
    from harness.store import Store
    from harness.stored import DamagedError

    store = Store(options.store)
    published = [result for result, _ in registry.published]
    found = []
    for name in names:
        if name not in store.datasets():
            continue
        try:
            board = leaderboard.build(
                store,
                name,
                published,
                model_probes(registry, ()),
                registry.perturbations,
                options.design_effect,
                options.temperature,
                registry.versions,
                predictions.careful(problems, options.time_limit),
                partial(damaged, name),
                options.margin,
                [*registry.of(Metric).values()],
                measuring.careful(problems, options.time_limit),
                options.columns,
            )
        except DamagedError as error:
            damaged(name, error)
        else:
            found.append((board, selection.audits(store, board, partial(damaged, name))))
    return found


def _write_boards(
    options: argparse.Namespace, registry: Registry, pages: Sequence[Pages], problems: Collected
) -> None:
    """Write the reports of datasets, and the pages about errors and probes.

    Where reports are named with ``--report``, these alone.
    """
    from harness import mistakes, report, reports, selection
    from harness.store import disk_error

    chosen = reports.choose(registry, options.report)
    folder, minutes = options.leaderboards, options.time_limit
    for board, audits in pages:
        try:
            written = reports.write(board, folder, chosen, registry, problems, minutes)
            if not options.report:
                written += mistakes.write(board, folder, problems)
                written += selection.write(audits, board, folder, problems)
                written += report.write_probes(board, folder, problems)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")


def _print_boards(options: argparse.Namespace, pages: Sequence[Pages]) -> None:
    from harness import formats

    for board, _ in pages:
        print(f"\n{board.dataset['name']}\n")
        print(formats.table(board, "simple"))
        for line in formats.about(board):
            print(f"\n{line}")


def leaderboard(options: argparse.Namespace) -> int:
    """Write the tables again from the store.

    Those of a dataset of which anything is damaged are left as they are.
    """
    from harness.failures import Collected

    store = existing_store(options)
    registry = registry_of(options)
    _check_tables(options, registry)
    problems = Collected(store)
    damaged: dict[Path, tuple[str, DamagedError]] = {}

    def refuse(dataset: str, error: DamagedError) -> None:
        damaged[error.path] = dataset, error

    pages = _build_boards(options, registry, store.datasets(), problems, refuse)
    refused = {dataset for dataset, _ in damaged.values()}
    pages = [(board, audits) for board, audits in pages if board.truth.dataset not in refused]
    _write_boards(options, registry, pages, problems)
    _print_boards(options, pages)
    print_failures(problems)
    for dataset, error in damaged.values():
        print(f"harness: error: {dataset}: no tables are written: {error}", file=sys.stderr)
    if damaged:
        return USAGE
    return exit_code(options, registry, FAILED if problems else OK)
