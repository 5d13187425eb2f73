"""``harness run``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.commands import boards
from harness.commands import options as shared
from harness.commands.common import (
    BROKEN_PLUGIN,
    FAILED,
    OK,
    data_folder,
    executor_for,
    load_registry,
)
from harness.commands.printing import print_failures, print_table, print_text, say_written
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.jobs.spec import JobSpec
    from harness.plan import Request
    from harness.registry import Registry
    from harness.stored import DamagedError

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
        "also predict under this perturbation at all its levels, and store the logits",
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
    shared.data(parser)
    shared.results(parser)
    shared.computing(parser)
    shared.fitting(parser)
    shared.tables(parser)
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
    from harness import planner
    from harness.execute import execute
    from harness.failures import Collected, warn_of_broken
    from harness.store import Store

    registry = load_registry(options)
    errors: dict[str, Exception] = {}
    try:
        request = _run_request(options, registry, errors)
        boards.check_wishes(options, registry)
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
        pages = boards.build(options, registry, names, problems, lambda dataset, error: None)
        say_written(boards.write(options, pages, problems))

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    if options.all:
        for label, failure in to_do.unavailable.items():
            log.info(f"Not run: {label}: {failure.why}")
    else:
        to_do.failures |= to_do.unavailable
    executor = executor_for(options, registry, store)
    failures = execute(to_do, store, registry, executor, options.time_limit, write_clean)
    pages = boards.build(options, registry, names, problems, damaged)
    written = boards.write(options, pages, problems)
    boards.show(options, pages, boards.Rows(), marked=options.model)
    say_written(written)
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
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from harness import dry_run, planner, report, store_format
    from harness.failures import warn_of_broken
    from harness.progress import duration
    from harness.store import Store

    warn_of_broken(registry)
    with TemporaryDirectory(prefix="harness-") as empty:
        is_store = (options.store / store_format.NAME).exists()
        store = Store(options.store if is_store else Path(empty))
        store.keeps_failures = False
        plan = planner.build(registry, store, request)
        with executor_for(options, registry, Store(Path(empty))) as executor:

            def seconds(job: JobSpec) -> float | None:
                return executor.estimate(job) if job.estimated else None

            to_do = plan.to_do(store, seconds)
            for warning in plan.warnings:
                log.warning(warning)
            failed = plan.failures if options.all else plan.failures | plan.unavailable
            lacking = {label: failure.why for label, failure in (failed | plan.unavailable).items()}
            for label, why in {**{n: str(e) for n, e in errors.items()}, **lacking}.items():
                log.info(f"Not run: {label}: {why}")
            code = BROKEN_PLUGIN if registry.broken else OK
            code = FAILED if failed or errors else code
            if not to_do:
                print("Everything is in the store; nothing to compute.")
                return code
            print_table(*report.cells(dry_run.table(to_do, seconds)))
            fits = [job for job in to_do if job.kind == "fit"]
            known = [found for job in fits if (found := seconds(job)) is not None]
    unknown = len(fits) - len(known)
    print_text(
        f"{len(to_do)} results to compute"
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
