"""``harness store merge``."""

from __future__ import annotations

import argparse
import logging

from harness.commands.common import FAILED, OK
from harness.errors import HarnessError
from harness.hooks import command_options as shared

log = logging.getLogger(__name__)
NAME = "store"
HELP = "merge stores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the command."""
    commands = shared.subcommands(parser)
    merge_parser = shared.parser_of(
        commands,
        "merge",
        "copy the results of other stores, such as those of other machines, into one",
    )
    merge_parser.set_defaults(subcommand=merge_stores)
    merge_parser.add_argument("into", type=shared.folder, metavar="STORE")
    merge_parser.add_argument("sources", type=shared.folder, nargs="+", metavar="OTHER")
    shared.messages(merge_parser)


def run(options: argparse.Namespace) -> int:
    """Run the command of the command that was named."""
    code: int = options.subcommand(options)
    return code


def merge_stores(options: argparse.Namespace) -> int:
    """Copy results of other stores into one."""
    from harness.store import format as store_format
    from harness.store.merging import merge
    from harness.store.store import Store
    from harness.store.stored import where

    if options.into.resolve() in [path.resolve() for path in options.sources]:
        raise HarnessError(f"store merge: {options.into} into itself; name two stores")
    for path in options.sources:
        if not (path / store_format.NAME).exists():
            raise HarnessError(
                f"store merge: {path} is no store (it has no {store_format.NAME}); name the folder "
                "that a run was given as --store"
            )
    sources = [Store.existing(path) for path in options.sources]
    into = Store(options.into)
    damaged = 0
    for source in sources:
        found = merge(
            into, source, lambda error: log.warning(f"{error.path}: {error.why}; left behind")
        )
        damaged += found.damaged
        said = f"{found.copied} results copied, {found.there} were there"
        said += f", {found.damaged} are damaged and left behind" if found.damaged else ""
        print(f"{source.root} into {into.root}: {said}.")
    log.info(f"`harness leaderboard{where(into.root)}` writes the tables.")
    return FAILED if damaged else OK
