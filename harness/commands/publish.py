"""``harness publish``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from harness.commands.common import OK
from harness.errors import HarnessError
from harness.hooks import command_options as shared

log = logging.getLogger(__name__)
NAME = "publish"
HELP = "copy the tables, pages and pictures of this folder's runs to where they are kept"
KINDS = (".md", ".json", ".csv", ".tex", ".png", ".jpg", ".svg", ".pdf")
"""Files that are published. HTML reports are large; ``harness report --site`` is for them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "to",
        nargs="?",
        type=shared.folder,
        default=Path("leaderboards"),
        metavar="DIR",
        help="folder to copy to, such as one under version control (default: leaderboards)",
    )
    shared.pages(parser)


def run(options: argparse.Namespace) -> int:
    """Copy pages as they are. Files of the same names are replaced, and others left as they are."""
    from harness.system.atomic import write_atomically, writing_to

    source, target = options.leaderboards, options.to
    if source.resolve() == target.resolve():
        raise HarnessError(f"publish: {target} is the folder that is copied; name another")
    found = sorted(
        path for path in source.glob("*") if path.suffix in KINDS and path.name[0] != "."
    )
    if not found:
        raise HarnessError(
            f"publish: there is no page in {source}; write some first, such as with harness run, "
            "or name their folder with --leaderboards"
        )
    with writing_to(target):
        target.mkdir(parents=True, exist_ok=True)
        for path in found:
            write_atomically(target / path.name, path.read_bytes())
    log.info(f"Copied {len(found)} files from {source} to {target}")
    return OK
