"""The commands of ``harness``, a module each: its options, its help, and what it does.

A module calls the rest of the package, prints, and returns an exit code. What is heavy is imported
by ``run``, as ``harness --help`` imports every module here.
"""

from __future__ import annotations

import argparse
from typing import Protocol

from harness.commands import (
    audit,
    calibrate,
    check,
    compare,
    contrast,
    data,
    export,
    fetch,
    few_shot,
    leaderboard,
    new_plugin,
    plugins,
    publish,
    report,
    results,
    run,
    shortcut,
    store,
    transfer,
)
from harness.commands import list as list_


class Command(Protocol):
    """What the module of a command has."""

    NAME: str
    HELP: str
    """In the list of commands, without a capital letter or a period."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the command; those of messages are added for it."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


COMMANDS: tuple[Command, ...] = (
    *(run, leaderboard, report, publish, compare, contrast),
    *(audit, calibrate, shortcut, transfer, few_shot),
    *(list_, plugins, check, new_plugin),
    *(results, export, store, data, fetch),
)
"""In the order of ``harness --help``."""
