"""``harness results list``, ``harness results remove`` and ``harness store merge``."""

from __future__ import annotations

import argparse

from harness.commands.common import FAILED, OK, existing_store
from harness.errors import HarnessError
from harness.progress import say


def list_results(options: argparse.Namespace) -> int:
    """Print a row for each run and each failure that is stored."""
    from harness import results
    from harness.report import render

    store = existing_store(options)
    items = results.read(store)
    found = results.rows(items)
    chosen = results.choose(
        found, items, datasets=options.dataset, models=options.model, failed=options.failed
    )
    if not chosen:
        print("Nothing is stored." if not found else "No stored result is like that.")
        return OK
    print(render(results.table(chosen), "simple"))
    return OK


def remove_results(options: argparse.Namespace) -> int:
    """Print what would be removed; with --yes, remove it."""
    from harness import results
    from harness.claims import Claims
    from harness.keys import SHARED
    from harness.report import render

    store = existing_store(options)
    if not (options.digests or options.dataset or options.model or options.failed):
        raise HarnessError(
            "results remove: name digests, or choose with --dataset, --model or --failed; "
            "see harness results list"
        )
    with Claims(store.root) as claims:
        if others := claims.others():
            raise HarnessError(
                f"{store.root}: {others[0]} is using this store; wait until it has ended"
            )
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
            print("No stored result is like that; nothing is removed.")
            return OK
        gone = results.to_remove(chosen, items)
        named = {item.folder for row in chosen for item in row.items}
        with_it = [r for r in results.rows(gone) if not named & {item.folder for item in r.items}]
        print(render(results.table([*chosen, *with_it]), "simple"))
        if with_it:
            print(f"\nThe last {len(with_it)} are computed from the others.")
        if not options.yes:
            print(f"\nTo remove: {results.counted(gone)}. Nothing is removed yet: add --yes.")
            return OK
        results.remove(store, gone)
    print(f"\nRemoved: {results.counted(gone)}.")
    say("`harness leaderboard` writes the tables without them.")
    left = set(store.datasets())
    for dataset in sorted({item.dataset for item in gone} - left - {SHARED}):
        say(
            f"Nothing is stored of {dataset} any more, so no tables of it are written; remove "
            f"those that are there ({dataset}.md and others) by hand."
        )
    return OK


def merge_stores(options: argparse.Namespace) -> int:
    """Copy results of other stores into one."""
    from harness.merging import merge
    from harness.store import Store
    from harness.stored import where

    if options.into.resolve() in [path.resolve() for path in options.sources]:
        raise HarnessError(f"store merge: {options.into} into itself; name two stores")
    sources = [Store.existing(path) for path in options.sources]
    into = Store(options.into)
    damaged = 0
    for source in sources:
        found = merge(
            into, source, lambda error: say(f"WARNING: {error.path}: {error.why}; left behind")
        )
        damaged += found.damaged
        said = f"{found.copied} results copied, {found.there} were there"
        said += f", {found.damaged} are damaged and left behind" if found.damaged else ""
        print(f"{source.root} into {into.root}: {said}.")
    say(f"`harness leaderboard{where(into.root)}` writes the tables.")
    return FAILED if damaged else OK
