"""``harness run`` and ``harness leaderboard``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.common import (
    BROKEN_PLUGIN,
    FAILED,
    OK,
    USAGE,
    data_folder,
    existing_store,
    exit_code,
    leaderboards_folder,
    print_failures,
    registry_of,
    session_of,
)
from harness.errors import HarnessError
from harness.progress import say

if TYPE_CHECKING:
    from harness.failures import Collected
    from harness.jobs.spec import JobSpec
    from harness.plan import Request
    from harness.registry import Registry
    from harness.running import Pages
    from harness.session import Session
    from harness.stored import DamagedError


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
    from harness import running
    from harness.failures import Collected, Failure, warn_of_broken
    from harness.store import Store

    session = session_of(options)
    registry = session.load()
    errors: dict[str, Exception] = {}
    try:
        request = running.request(
            registry,
            data_folder(options),
            session.time_limit,
            errors,
            datasets=options.dataset,
            models=options.model,
            seeds=range(options.seed, options.seed + options.seeds),
            perturbations=options.perturbation,
            probes=() if options.no_probes else options.probe or None,
            assigned=options.settings,
            protocol=options.protocol,
            audit_selection=options.audit_selection,
        )
        _check_tables(options, registry)
    except HarnessError:
        warn_of_broken(registry)
        raise
    if options.dry_run:
        return _dry_run(options, session, registry, request, errors)
    store = Store(session.store_path)
    problems = Collected(store)
    for label, error in errors.items():
        problems.add(label, error)
    warn_of_broken(registry, store)
    names = [dataset.name for dataset in request.datasets]

    def write_clean() -> None:
        # What is damaged was named, and may yet be computed again.
        pages = _build_boards(options, registry, names, problems, lambda dataset, error: None)
        _write_boards(options, pages, problems)

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    def not_run(label: str, failure: Failure) -> None:
        say(f"Not run: {label}: {failure.why}")

    executor = session.executor(store, registry)
    said = not_run if options.all else None
    failures = running.compute(request, store, registry, executor, write_clean, said)
    pages = _build_boards(options, registry, names, problems, damaged)
    _write_boards(options, pages, problems)
    _print_boards(options, pages)
    print_failures(failures | problems)
    if failures or problems:
        return FAILED
    return BROKEN_PLUGIN if registry.broken else OK


def _dry_run(
    options: argparse.Namespace,
    session: Session,
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
        is_store = (session.store_path / store_format.NAME).exists()
        store = Store(session.store_path if is_store else Path(empty))
        plan = planner.build(registry, store, request)
        with session.executor(Store(Path(empty)), registry) as executor:

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


def _check_tables(options: argparse.Namespace, registry: Registry) -> None:
    """What is wrong with the wishes for tables is said before, not after, the work for them."""
    from harness import choose, columns
    from harness.registry import left_out

    leaderboards_folder(options)
    try:
        columns.choose(options.columns, choose.model_probes(registry, ()))
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
    from harness import running
    from harness.store import Store

    return running.pages(
        Store(options.store),
        names,
        registry,
        problems,
        damaged,
        options.time_limit,
        temperature=options.temperature,
        design_effect=options.design_effect,
        margin=options.margin,
    )


def _write_boards(options: argparse.Namespace, pages: Sequence[Pages], problems: Collected) -> None:
    from harness import error_pages, formats, report, selection_pages
    from harness.store import disk_error

    for board, audits in pages:
        try:
            written = formats.write(board, options.leaderboards, options.columns)
            written += error_pages.write(board, options.leaderboards, problems)
            written += selection_pages.write(audits, board, options.leaderboards, problems)
            written += report.write_probes(board, options.leaderboards, problems)
        except OSError as error:
            raise disk_error(error, options.leaderboards) from error
        say(f"Wrote {', '.join(map(str, written))}")


def _print_boards(options: argparse.Namespace, pages: Sequence[Pages]) -> None:
    from harness import formats

    for board, _ in pages:
        print(f"\n{board.dataset['name']}\n")
        print(formats.table(board, "simple", options.columns))
        for line in formats.about(board, options.columns):
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
    _write_boards(options, pages, problems)
    _print_boards(options, pages)
    print_failures(problems)
    for dataset, error in damaged.values():
        print(f"harness: error: {dataset}: no tables are written: {error}", file=sys.stderr)
    if damaged:
        return USAGE
    return exit_code(options, registry, FAILED if problems else OK)
