"""``harness new-plugin``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from harness.commands.common import OK
from harness.errors import HarnessError
from harness.hooks import command_options as shared
from harness.hooks.new_plugin import KINDS

log = logging.getLogger(__name__)
NAME = "new-plugin"
HELP = "write a small distribution to start a plugin from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("name", metavar="NAME", help="e.g. my-model")
    parser.add_argument(
        "--kind", choices=list(KINDS), required=True, help="what the plugin will offer"
    )
    parser.add_argument(
        "--folder",
        type=shared.folder,
        default=Path(),
        metavar="DIR",
        help="where to put its folder (default: here)",
    )


def run(options: argparse.Namespace) -> int:
    """Write a distribution to start a plugin from."""
    from harness.hooks import new_plugin as new

    try:
        written = new.write(options.name, options.kind, options.folder)
    except OSError as error:
        raise HarnessError(
            f"--folder {options.folder}: {error.strerror}; name one that can be written to"
        ) from error
    log.info(f"Wrote {', '.join(map(str, written))}")
    print(f"Next:\n{new.next_steps(options.name, options.kind, options.folder)}")
    return OK
