"""``harness compare`` and ``harness contrast``."""

from __future__ import annotations

import argparse

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    exit_code,
    leaderboards_folder,
    print_failures,
    print_json,
    session_of,
)
from harness.errors import HarnessError
from harness.progress import say


def compare(options: argparse.Namespace) -> int:
    """Print how two models compare."""
    from harness import comparing
    from harness.compare import Compared
    from harness.compare_published import PREFIX

    session = session_of(options)
    registry = session.registry
    names = (options.one, options.other)
    if options.json and any(name.startswith(PREFIX) for name in names):
        raise HarnessError("compare: --json is for two measured models")
    found = comparing.compare(
        session.store_path,
        registry,
        *names,
        options.dataset,
        options.design_effect,
        options.margin,
    )
    if options.json and isinstance(found, Compared):
        from harness import compare_text

        print_json(compare_text.as_json(found))
    else:
        print(found)
    return exit_code(options, registry)


def contrast(options: argparse.Namespace) -> int:
    """Train models on two versions of the same patches and print how they compare."""
    from harness import contrast_text, contrasting
    from harness.store import Store, disk_error

    session = session_of(options)
    registry = session.registry
    request = contrasting.request(
        registry,
        data_folder(options),
        session.time_limit,
        options.one,
        options.other,
        models=options.model,
        seeds=range(options.seed, options.seed + options.seeds),
        assigned=options.settings,
        protocol=options.protocol,
    )
    folder = leaderboards_folder(options)
    store = Store(session.store_path)
    executor = session.executor(store, registry)
    found, failures = contrasting.compute(request, registry, store, executor)
    if found.compared:
        print(f"\n{found}")
        try:
            written = contrast_text.write(found, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)
