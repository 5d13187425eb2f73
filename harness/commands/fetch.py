"""``harness fetch``."""

from __future__ import annotations

import argparse

from harness.commands.common import FAILED, exit_code, keep_details, session_of
from harness.commands.printing import print_failures, print_table
from harness.errors import HarnessError
from harness.hooks import command_options as shared

NAME = "fetch"
HELP = "download the weights that models start from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--all", action="store_true", help="those of every model that can run here")
    shared.several(parser, "--model", "those of this model; several times: of these")
    shared.settings(parser, "weights=hub")
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Download the weights that models start from, and print where they lie."""
    if bool(options.all) == bool(options.model):
        raise HarnessError("fetch: give either --all or --model; see harness list models")
    from harness.store.failures import Failure, warn_of_broken
    from harness.workflows import fetching

    session = session_of(options)
    registry = session.load()
    warn_of_broken(registry)
    found, problems = fetching.fetch(registry, options.model, options.settings, session.time_limit)
    rows = [
        [name, weights.label if weights else "none", str(weights.path or "") if weights else ""]
        for name, weights in found.items()
    ]
    if rows:
        print_table(["model", "initial weights", "file"], rows)
    failures = {}
    for name, error in problems.items():
        why = str(error)
        if not isinstance(error, HarnessError):
            why = f"{type(error).__name__}: {error}{keep_details(error)}; report it"
        failures[name] = Failure(why)
    print_failures(failures)
    return FAILED if problems else exit_code(options, registry)
