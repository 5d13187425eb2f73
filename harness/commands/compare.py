"""``harness compare``."""

from __future__ import annotations

import argparse

from harness.commands.common import exit_code, session_of
from harness.commands.printing import print_json, print_parts, table_text
from harness.errors import HarnessError
from harness.hooks import command_options as shared

NAME = "compare"
HELP = "compare two measured models on the same patches, or published results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for name in ("one", "other"):
        parser.add_argument(
            name, metavar="MODEL", help="a model, a result's digest, or published:MODEL"
        )
    parser.add_argument(
        "--dataset", metavar="NAME", help="needed when the store has several datasets"
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON, ids of patches included"
    )
    shared.judged(parser)
    shared.store(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """Print how two models compare."""
    from harness.analysis.compare import Compared
    from harness.analysis.compare_published import PREFIX
    from harness.reports import compare_published_text, compare_text
    from harness.workflows import comparing

    session = session_of(options)
    registry = session.registry
    names = (options.one, options.other)
    if options.json and any(name.startswith(PREFIX) for name in names):
        raise HarnessError("compare: --json is for two measured models")
    how = options.dataset, options.design_effect, options.margin
    found = comparing.compare(session.store_path, registry, *names, *how)
    if not isinstance(found, Compared):
        print_parts(compare_published_text.text(found, table_text))
    elif options.json:
        print_json(compare_text.as_json(found))
    else:
        print_parts(compare_text.text(found, table_text))
    return exit_code(options, registry)
