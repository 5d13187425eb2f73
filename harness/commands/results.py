"""``harness results list`` and ``harness results remove``."""

from __future__ import annotations

import argparse
import contextlib
import logging

from harness.commands.common import OK, existing_store
from harness.commands.printing import print_table
from harness.errors import HarnessError
from harness.hooks import command_options as shared

log = logging.getLogger(__name__)
NAME = "results"
HELP = "list what is stored, and remove some of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the command."""
    commands = shared.subcommands(parser)
    list_parser = shared.parser_of(
        commands,
        "list",
        "a row for each run: settings, seed, size, digest, and whether it is damaged",
    )
    list_parser.set_defaults(subcommand=list_results)
    _add_filters(list_parser)
    remove_parser = shared.parser_of(
        commands,
        "remove",
        "remove runs, with what is computed from them and what nothing else needs",
    )
    remove_parser.set_defaults(subcommand=remove_results)
    remove_parser.add_argument(
        "digests", nargs="*", metavar="DIGEST", help="results to remove, as the list names them"
    )
    remove_parser.add_argument(
        "--yes", action="store_true", help="remove them; without it, only print what would go"
    )
    _add_filters(remove_parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    shared.several(parser, "--dataset", "only results on this dataset; several times: on these")
    shared.several(parser, "--model", "only results of this model; several times: of these")
    parser.add_argument("--failed", action="store_true", help="only models that failed")
    shared.store(parser)
    shared.messages(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command of the command that was named."""
    code: int = options.subcommand(options)
    return code


def list_results(options: argparse.Namespace) -> int:
    """Print a row for each run and each failure that is stored."""
    from harness.reports import report
    from harness.store import results

    store = existing_store(options)
    items = results.read(store)
    found = results.rows(items)
    chosen = results.choose(
        found, items, datasets=options.dataset, models=options.model, failed=options.failed
    )
    if not chosen:
        print("Nothing is stored." if not found else "No stored result matches.")
        return OK
    print_table(*report.cells(results.table(chosen)), details=results.DETAILS)
    return OK


def remove_results(options: argparse.Namespace) -> int:
    """Print what would be removed; with --yes, remove it."""
    from harness.execution.kept_patches import remove_caches
    from harness.reports import report
    from harness.store import results, stored
    from harness.store.claims import Claims
    from harness.store.keys import SHARED

    store = existing_store(options)
    if not (options.digests or options.dataset or options.model or options.failed):
        raise HarnessError(
            "results remove: name digests, or choose with --dataset, --model or --failed; "
            "see harness results list"
        )
    with Claims(store.root) as claims:
        for who, claim in claims.others().items():
            raise HarnessError(
                f"{store.root}: {who} is using this store; wait until it has ended or, if it was "
                f"killed with its machine, delete {claim}"
            )
        with contextlib.suppress(OSError):
            remove_caches(store, claims)
        items = results.read(store)
        chosen = results.choose(
            results.rows(items),
            items,
            datasets=options.dataset,
            models=options.model,
            failed=options.failed,
            digests=options.digests,
        )
        if not chosen:
            print("No stored result matches; nothing is removed.")
            return OK
        gone = results.to_remove(chosen, items)
        named = {item.folder for row in chosen for item in row.items}
        with_it = [r for r in results.rows(gone) if not named & {item.folder for item in r.items}]
        print_table(*report.cells(results.table([*chosen, *with_it])), details=results.DETAILS)
        if with_it:
            print(f"\nThe last {len(with_it)} are computed from the others.")
        if not options.yes:
            print(f"\nTo remove: {results.counted(gone)}. Nothing is removed yet: add --yes.")
            return OK
        results.remove(store, gone)
    print(f"\nRemoved: {results.counted(gone)}.")
    option = stored.where(store.root)
    log.info(f"`harness leaderboard{option}` writes the tables without them.")
    left = set(store.datasets())
    for dataset in sorted({item.dataset for item in gone} - left - {SHARED}):
        log.info(
            f"Nothing is stored of {dataset} any more, so no tables of it are written; remove "
            f"those that are there ({dataset}.md and others) by hand."
        )
    return OK
