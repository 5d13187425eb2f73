"""``harness list``, ``plugins``, ``check`` and ``new-plugin``."""

from __future__ import annotations

import argparse

from harness import console
from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    plugin_files,
    print_json,
    registry_of,
    switched_off,
)
from harness.errors import HarnessError
from harness.progress import say


def list_(options: argparse.Namespace) -> int:
    """Print what plugins offer: everything, some kinds, one model, or one kind of TOML file."""
    from harness import listing

    registry, data = registry_of(options), data_folder(options)
    if options.reader:
        keys = listing.keys(registry, options.reader)
        if options.json:
            print_json({"name": options.reader, "keys": keys})
        else:
            print(listing.of_reader(registry, options.reader))
    elif options.model:
        found = registry.models.find(options.model)
        if options.json:
            print_json({"name": found.name, "settings": listing.settings(found)})
        else:
            print(listing.of_model(registry, options.model))
    elif options.json:
        print_json(listing.as_json(registry, data, options.kinds))
    else:
        print(listing.text(registry, data, options.kinds))
    return exit_code(options, registry)


def plugins(options: argparse.Namespace) -> int:
    """Print what is installed."""
    from harness import listing

    registry = registry_of(options)
    if options.json:
        print_json(listing.plugins_json(registry))
    else:
        print(listing.plugins(registry))
    return exit_code(options, registry)


def check(options: argparse.Namespace) -> int:
    """See whether plugins, or what they offer, keep what they promise."""
    from harness.contract import cases
    from harness.contract.supervised import Asked, Checking

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
