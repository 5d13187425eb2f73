"""``harness check``."""

from __future__ import annotations

import argparse

from harness.commands.common import FAILED, OK, data_folder, plugin_files, switched_off
from harness.errors import HarnessError
from harness.hooks import command_options as shared
from harness.system import console

NAME = "check"
HELP = "check that a plugin, or what it offers, keeps what every plugin promises"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="e.g. my_plugin or my-model")
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="check with a few patches of this dataset (default: the first demo dataset)",
    )
    shared.settings(parser, "epochs=1")
    parser.add_argument("--promises", action="store_true", help="list what is promised, and stop")
    shared.data(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
    """See whether plugins, or what they offer, keep what they promise."""
    from harness.checks import cases
    from harness.checks.supervised import Asked, Checking

    if options.promises:
        print("\n".join(cases.table()))
        return OK
    if not options.names:
        raise HarnessError("check: name a plugin, or what one offers; see harness plugins")
    asked = Asked(
        names=options.names,
        settings=options.settings,
        dataset=options.dataset,
        data=str(data_folder(options)),
        without=switched_off(options),
        files=[str(path) for path in plugin_files(options)],
        minutes=options.time_limit,
        trace=options.trace_hooks,
    )
    checking = Checking(asked)
    statuses: list[str] = []
    for outcome in checking:
        if console.unread():
            break
        statuses.append(outcome.status)
        print(outcome, flush=True)
        if options.traceback and outcome.details:
            print(outcome.details)
    broken, skipped = statuses.count("BROKEN"), statuses.count("skipped")
    used = f"; patches of {checking.patches}" if checking.patches else ""
    print(f"{len(statuses)} promises: {broken} broken, {skipped} skipped{used}")
    return FAILED if broken else OK
