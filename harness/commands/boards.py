"""Leaderboards, as ``harness run`` and ``harness leaderboard`` build, write and print them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.common import leaderboards_folder, pictures
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.analysis.chosen_rows import Rows
    from harness.hooks.registry import Registry
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.store.stored import DamagedError
    from harness.workflows.running import Pages

log = logging.getLogger(__name__)


def check_wishes(options: argparse.Namespace, registry: Registry) -> None:
    """What is wrong with the wishes for tables is said before, not after, the work for them."""
    from harness.hooks.registry import left_out
    from harness.planning import choose
    from harness.reports import columns
    from harness.reports import writing as reports
    from harness.types.metrics import Metric

    leaderboards_folder(options)
    reports.choose(registry, getattr(options, "report", ()))
    try:
        columns.choose(
            options.columns,
            choose.model_probes(registry, ()),
            metrics=[*registry.of(Metric).values()],
        )
    except HarnessError as error:  # a column may be that of a probe that is not there
        cause = left_out("", registry.plugins)
        raise HarnessError(f"{error}; {cause}" if cause else str(error)) from error


def build(
    options: argparse.Namespace,
    registry: Registry,
    names: Sequence[str],
    problems: Collected,
    damaged: Callable[[str, DamagedError], None],
    store: Store | None = None,
) -> list[Pages]:
    """What the pages of datasets are made of, as far as the ``store`` (by default that of the
    options) has it.

    What is damaged is handed to ``damaged`` with the name of the dataset; the row of its model then
    says so. Where it is the dataset itself, there are no pages.
    """
    from harness.store.store import Store
    from harness.workflows import running

    pages = running.pages(
        store or Store(options.store),
        names,
        registry,
        problems,
        damaged,
        options.time_limit,
        temperature=options.temperature,
        design_effect=options.design_effect,
        margin=options.margin,
        columns=options.columns,
    )
    for board, _ in pages:
        for entry in board.entries:
            for run in entry.runs:
                log.debug(f"{board.dataset['name']}: {entry.name}: figures from {run.clean}")
    return pages


def write(
    options: argparse.Namespace,
    registry: Registry,
    pages: Sequence[Pages],
    problems: Collected,
    rows: Rows,
) -> list[list[Path]]:
    """Write all pages, or the reports that are named; returns their paths, a list a dataset."""
    from harness.reports import board_pictures, error_pages, report, selection_pages
    from harness.reports import writing as reports
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows.transferring import is_baseline

    chosen = reports.choose(registry, options.report)
    folder, minutes, written = options.leaderboards, options.time_limit, []
    store = Store(options.store)
    baselines = {name for name, one in registry.models.items() if is_baseline(one)}
    for board, audits in pages:
        with writing_to(folder), pictures(options, store, board.dataset["name"]):
            shown, paths = list[str](), list[Path]()
            if any(one.name == "markdown" for one in chosen):
                given = (board, baselines, folder, problems)
                shown, paths = board_pictures.write_intervals(*given)
            board = replace(board, pictures=tuple(shown), chosen=rows)
            paths = reports.write(board, folder, chosen, registry, problems, minutes) + paths
            if not options.report:
                paths += error_pages.write(board, folder, problems)
                paths += selection_pages.write(audits, board, folder, problems)
                paths += report.write_probes(board, folder, problems)
        written.append(paths)
    return written


def write_reports(
    options: argparse.Namespace,
    registry: Registry,
    pages: Sequence[Pages],
    problems: Collected,
    data: Path,
) -> list[list[Path]]:
    """Write the HTML report of each dataset; returns their paths, a list a dataset."""
    from harness.reports.html import page
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.workflows import reporting

    store, written = Store(options.store), []
    for board, _ in pages:
        images = not options.no_images
        gathered = reporting.gather(
            *(board, registry, store, data, problems, options.leaderboards), images=images
        )
        with writing_to(options.leaderboards):
            loaded = reporting.loaded(registry, data)
            written.append([page.write(gathered, options.leaderboards, problems, loaded)])
    return written


def show(
    options: argparse.Namespace, pages: Sequence[Pages], rows: Rows, marked: Sequence[str] = ()
) -> None:
    """Print boards; rows of ``marked`` models are told from others by a sign before them."""
    from harness.reports import board_text
    from harness.system import terminal

    if pages and not any(rows.of(board) for board, _ in pages):
        print("No row is left of these tables; give other --model patterns or leave out --no-...")
    if not pages:
        print("Nothing is measured of any dataset in this store, so there are no tables.")
    for board, _ in pages:
        if not (chosen := rows.of(board)):  # the patterns are about another dataset
            continue
        page = options.leaderboards / f"{board.dataset['name']}.md"
        parts = board_text.paragraphs(
            *(board, chosen, options.columns, terminal.width()),
            page=page,
            marked=marked,
            store=options.store,
        )
        print(f"{board.dataset['name']}\n")
        print("\n\n".join(parts), end="\n\n")
