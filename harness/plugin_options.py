"""Options that many commands have in common: plugins, data and store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.types import Command


def plugins() -> argparse.ArgumentParser:
    """Which plugins are loaded, and how long their code may take."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="switch a plugin off, by its name or its distribution's "
        "($HARNESS_WITHOUT: several, with commas)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 3 when a plugin is broken (run always does)",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=path,
        metavar="FILE",
        help="load a plugin from a .py file, or what a .toml file describes "
        "($HARNESS_PLUGINS: several, with commas)",
    )
    parser.add_argument(
        "--trace-hooks", action="store_true", help="say which hook of which plugin is called"
    )
    parser.add_argument(
        "--time-limit",
        type=minutes,
        default=os.environ.get("HARNESS_TIME_LIMIT") or None,
        metavar="MINUTES",
        help="end what takes longer, and go on with the rest ($HARNESS_TIME_LIMIT; default: none)",
    )
    return parser


def data() -> argparse.ArgumentParser:
    """Where the datasets are."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--data",
        type=folder,
        default=os.environ.get("HARNESS_DATA") or None,
        metavar="DIR",
        help="folder with the datasets, unpacked or as zips ($HARNESS_DATA; default: data)",
    )
    return parser


def store() -> argparse.ArgumentParser:
    """Where results are."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--store",
        type=folder,
        default=os.environ.get("HARNESS_STORE") or "runs",
        metavar="DIR",
        help="folder with the stored results ($HARNESS_STORE; default: runs)",
    )
    return parser


def parser_for(command: Command) -> argparse.ArgumentParser:
    """The parser of a command that a plugin adds. Raises what its ``add_arguments`` raises."""
    parser = argparse.ArgumentParser(
        prog=f"harness {command.name}",
        description=command.title,
        parents=[plugins(), data(), store()],
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return parser


def path(text: str) -> Path:
    """A path that is not empty, which Path takes for the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def folder(text: str) -> Path:
    """A path that is no file."""
    found = path(text)
    try:
        if found.exists() and not found.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a file, not a folder; name another")
    except OSError as error:  # such as a folder above it that cannot be read, or too long a name
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}; name another") from error
    return found


def minutes(text: str) -> float:
    """A number of minutes above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return value
