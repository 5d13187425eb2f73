"""``harness data get``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from harness.commands.common import exit_code, registry_of
from harness.errors import HarnessError
from harness.hooks import command_options as shared

log = logging.getLogger(__name__)
NAME = "data"
HELP = "download datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the command."""
    commands = shared.subcommands(parser)
    about = "download a dataset; goes on where it broke off"
    get_parser = shared.parser_of(commands, "get", about)
    get_parser.set_defaults(subcommand=get)
    get_parser.add_argument("name", metavar="DATASET")
    get_parser.add_argument(
        "--mirror", metavar="URL", help="download the same files from this base URL"
    )
    shared.data(get_parser)
    shared.plugins(get_parser)
    shared.messages(get_parser)


def run(options: argparse.Namespace) -> int:
    """Run the command of the command that was named."""
    code: int = options.subcommand(options)
    return code


def get(options: argparse.Namespace) -> int:
    """Download a dataset."""
    from harness.data.download import check_space, fetch

    registry = registry_of(options)
    dataset = registry.datasets.find(options.name)
    folder = Path(options.data or "data")
    if not dataset.downloads:
        if lacking := dataset.missing(folder):
            raise HarnessError(f"dataset {dataset.name} must be downloaded by hand: {lacking}")
        raise HarnessError(f"dataset {dataset.name} has nothing to download")
    check_space(dataset.downloads, folder)
    for file in dataset.downloads:
        fetch(file, folder, mirror=options.mirror)
    log.info(f"{dataset.name} is ready in {folder}: harness run --dataset {dataset.name}")
    return exit_code(options, registry)
