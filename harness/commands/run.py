"""``harness run``."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.commands import boards
from harness.commands.common import BROKEN_PLUGIN, FAILED, OK, data_folder, session_of
from harness.commands.printing import print_failures, print_table, print_text, say_written
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.hooks.registry import Registry
    from harness.jobs.spec import JobSpec
    from harness.planning.plan import Request
    from harness.session import Session
    from harness.store.stored import DamagedError

log = logging.getLogger(__name__)
NAME = "run"
HELP = "compute what the store lacks, then write the leaderboards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--all", action="store_true", help="every dataset and model that can run here"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be computed, about how long fitting takes, and what is missing",
    )
    shared.several(parser, "--dataset", "this dataset; several times: these")
    shared.several(parser, "--model", "this model; several times: these")
    shared.several(
        parser,
        "--perturbation",
        "also predict under this perturbation, or under all whose names match a pattern with *, "
        "at all levels, and store the logits",
    )
    asked = parser.add_mutually_exclusive_group()
    shared.several(asked, "--probe", "ask only this probe of the models (default: all of them)")
    asked.add_argument(
        "--no-probes", action="store_true", help="predict clean patches only; quicker"
    )
    parser.add_argument(
        "--audit-selection",
        action="store_true",
        help="let each epoch predict the test patches as well, and compute how much choosing the "
        "epoch on them would have added to the accuracy",
    )
    parser.add_argument(
        "--no-report",
        action="store_true",
        default=bool(os.environ.get("HARNESS_NO_REPORT")),
        help="write no HTML report; harness report writes it later ($HARNESS_NO_REPORT)",
    )
    shared.images(parser)
    shared.data(parser)
    shared.results(parser)
    shared.computing(parser)
    shared.caching(parser)
    shared.fitting(parser)
    shared.tables(parser)
    shared.pictures(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Compute what the store lacks, then write the leaderboards."""
    if not (options.all or options.dataset or options.model):
        raise HarnessError(
            "run: give --all, or choose with --dataset and --model; see harness list"
        )
    if options.all and (options.dataset or options.model):
        raise HarnessError("run: give either --all or --dataset and --model, not both")
    if options.audit_selection and options.protocol != "held-out":
        raise HarnessError(
            "run: --audit-selection compares the protocols in one training; leave out --protocol"
        )
    from harness.analysis.chosen_rows import Rows
    from harness.store.failures import Collected, Failure, warn_of_broken
    from harness.store.store import Store
    from harness.workflows import running

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
        boards.check_wishes(options, registry)
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
        pages = boards.build(options, registry, names, problems, lambda dataset, error: None)
        say_written(boards.write(options, registry, pages, problems, Rows()))

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    def not_run(label: str, failure: Failure) -> None:
        log.info(f"Not run: {label}: {failure.why}")

    executor = session.executor(store, registry)
    said = not_run if options.all else None
    failures = running.compute(request, store, registry, executor, write_clean, said)
    pages = boards.build(options, registry, names, problems, damaged)
    written = boards.write(options, registry, pages, problems, Rows())
    if not options.no_report and not options.report:
        written += boards.write_reports(options, registry, pages, problems, request.data)
    boards.show(options, pages, Rows(), marked=options.model)
    say_written(written)
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
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from harness.planning import dry_run, planner
    from harness.reports import report
    from harness.store import format as store_format
    from harness.store.failures import warn_of_broken
    from harness.store.store import Store
    from harness.system.progress import duration

    warn_of_broken(registry)
    # Beside the store, as nodes of a cluster must see it.
    above = next((path for path in session.store_path.absolute().parents if path.is_dir()), None)
    beside = above if above and os.access(above, os.W_OK) else None
    with TemporaryDirectory(prefix="harness-", dir=beside) as empty:
        is_store = (session.store_path / store_format.NAME).exists()
        store = Store(session.store_path if is_store else Path(empty))
        store.is_written = False
        plan = planner.build(registry, store, request)
        with session.executor(Store(Path(empty)), registry) as executor:

            def seconds(job: JobSpec) -> float | None:
                return executor.estimate(job) if job.estimated else None

            to_do = plan.to_do(store, seconds)
            for warning in plan.warnings:
                log.warning(warning)
            failed = plan.failures if options.all else plan.failures | plan.unavailable
            lacking = {label: failure.why for label, failure in (failed | plan.unavailable).items()}
            for label, why in {**{n: str(e) for n, e in errors.items()}, **lacking}.items():
                print(f"Not run: {label}: {why}")
            code = BROKEN_PLUGIN if registry.broken else OK
            code = FAILED if failed or errors else code
            if not to_do:
                print("Everything is in the store; nothing to compute.")
                return code
            print_table(*report.cells(dry_run.table(to_do, seconds)))
            fits = [job for job in to_do if job.kind == "fit"]
            known = [found for job in fits if (found := seconds(job)) is not None]
            where = executor.where
    unknown = len(fits) - len(known)
    print_text(
        f"{len(to_do)} results to compute, by {where}"
        + (f"; fitting takes about {duration(sum(known))} with one process" if known else "")
        + (f"; how long {unknown} of {len(fits)} fits take is not known" if unknown else "")
        + ". Nothing was computed."
    )
    return code
