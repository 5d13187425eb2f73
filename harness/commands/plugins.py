"""``harness plugins``."""

from __future__ import annotations

import argparse

from harness.commands.common import exit_code, registry_of
from harness.commands.printing import print_json, print_table
from harness.hooks import command_options as shared

NAME = "plugins"
HELP = "list what is installed, and what failed to load"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--json", action="store_true", help="as JSON, with every name and the tracebacks"
    )
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is installed."""
    from harness.commands import listing

    registry = registry_of(options)
    if options.json:
        print_json(listing.plugins_json(registry))
    else:
        print_table(*listing.cells(listing.plugins(registry)), details=listing.DETAILS)
    return exit_code(options, registry)
