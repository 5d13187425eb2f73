"""``harness report``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands import boards
from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    leaderboards_folder,
    session_of,
)
from harness.commands.printing import print_failures, say_written
from harness.errors import HarnessError
from harness.hooks import command_options as shared

if TYPE_CHECKING:
    from harness.store.stored import DamagedError

NAME = "report"
HELP = "write one HTML file for each dataset: board, models, comparisons, audit and patches"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    shared.several(parser, "--dataset", "only this dataset (default: all of the store)")
    shared.images(parser)
    parser.add_argument(
        "--site",
        type=shared.folder,
        metavar="DIR",
        help="write a static site into this folder instead, for any web host: an index, a report "
        "for each dataset, models across datasets, and the pages of transfer, few-shot, shortcut "
        "and calibrate that are in --leaderboards",
    )
    shared.several(
        parser,
        "--add-store",
        "also show the boards of this store; several times: these",
        type=shared.folder,
        metavar="DIR",
    )
    shared.data(parser)
    shared.results(parser)
    shared.tables(parser, forms=False)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Write reports, or a site of them, from one or several stores."""
    from harness.reports.html import page, site
    from harness.store.failures import Collected
    from harness.store.store import Store
    from harness.system.atomic import writing_to
    from harness.text.names import suggest
    from harness.workflows import reporting

    if options.add_store and not options.site:
        raise HarnessError("report: --add-store is for --site DIR; name the folder of the site")
    stores = [Store.existing(path) for path in [options.store, *options.add_store]]
    registry = session_of(options).registry
    boards.check_wishes(options, registry)
    data, folder = data_folder(options), options.site or leaderboards_folder(options)
    known = [name for store in stores for name in store.datasets()]
    for name in options.dataset:
        if name not in known:
            where = ", ".join(str(store.root) for store in stores)
            raise HarnessError(
                f"--dataset {name}: nothing of it is in {where}; {suggest(name, known)}"
            )
    problems = Collected(stores[0])

    def damaged(dataset: str, error: DamagedError) -> None:
        problems.add(f"{dataset}: {error.path}", error)

    names_of = [store.root.absolute().name for store in stores]
    store_names = {
        store.root: name if names_of.count(name) == 1 else str(store.root)
        for store, name in zip(stores, names_of, strict=True)
    }
    found = []
    for store in stores:
        names = options.dataset or store.datasets()
        for board, _ in boards.build(options, registry, names, problems, damaged, store):
            gathered = reporting.gather(
                *(board, registry, store, data, problems, options.leaderboards),
                images=not options.no_images,
            )
            found.append((store_names[store.root], gathered))
    loaded = reporting.loaded(registry, data)
    with writing_to(folder):
        if options.site:
            others = site.other_pages(options.leaderboards, known)
            written = [site.write(found, others, folder, problems, loaded)]
        else:
            written = [[page.write(one, folder, problems, loaded)] for _, one in found]
    if not found:
        print("Nothing is measured of any dataset in this store, so there is no report.")
    say_written(written)
    print_failures(problems)
    return exit_code(options, registry, FAILED if problems else OK)
