"""``harness list``, ``plugins``, ``check`` and ``new-plugin``."""

from __future__ import annotations

import argparse
import json

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    plugin_files,
    registry_of,
    switched_off,
)
from harness.errors import HarnessError
from harness.progress import say


def list_(options: argparse.Namespace) -> int:
    """Print everything that plugins offer."""
    from harness import listing

    registry = registry_of(options)
    print(listing.offers(registry, data_folder(options)))
    return exit_code(options, registry)


def plugins(options: argparse.Namespace) -> int:
    """Print what is installed."""
    from harness import listing

    registry = registry_of(options)
    if options.json:
        print(json.dumps(listing.plugins_json(registry), indent=1, ensure_ascii=False))
    else:
        print(listing.plugins(registry))
    return exit_code(options, registry)


def check(options: argparse.Namespace) -> int:
    """See whether plugins, or what they offer, keep what they promise."""
    from harness.contract import cases as contract

    if options.promises:
        print("\n".join(contract.table()))
        return OK
    if not options.names:
        raise HarnessError("check: name a plugin, or what one offers; see harness plugins")
    bench = contract.bench_for(
        files=plugin_files(options),
        without=switched_off(options),
        data=data_folder(options),
        dataset=options.dataset,
    )
    statuses: list[str] = []
    for case in contract.cases(bench, options.names, options.settings):
        outcome = case.check(bench, options.time_limit)
        statuses.append(outcome.status)
        print(outcome, flush=True)
        if options.traceback and outcome.details:
            print(outcome.details)
    broken, skipped = statuses.count("BROKEN"), statuses.count("skipped")
    used = f"; patches of {bench.dataset.name}" if bench.looked else ""
    print(f"{len(statuses)} promises: {broken} broken, {skipped} skipped{used}")
    return FAILED if broken else OK


def new_plugin(options: argparse.Namespace) -> int:
    """Write a distribution to start a plugin from."""
    from harness import new_plugin as new

    try:
        written = new.write(options.name, options.kind, options.folder)
    except OSError as error:
        raise HarnessError(
            f"--folder {options.folder}: {error.strerror}; name one that can be written to"
        ) from error
    say(f"Wrote {', '.join(map(str, written))}")
    print(f"Next:\n{new.next_steps(options.name, options.kind, options.folder)}")
    return OK
