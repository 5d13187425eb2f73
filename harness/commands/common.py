"""What several commands need: plugins, folders, exit codes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.local import LocalProcesses
    from harness.registry import Registry
    from harness.store import Store

OK, FAILED, USAGE, BROKEN_PLUGIN = 0, 1, 2, 3


def switched_off(options: argparse.Namespace) -> list[str]:
    """Plugins to switch off."""
    return [*_listed("HARNESS_WITHOUT"), *options.without]


def plugin_files(options: argparse.Namespace) -> list[Path]:
    """Files to load as plugins."""
    return [*map(Path, _listed("HARNESS_PLUGINS")), *options.plugin]


def _listed(variable: str) -> list[str]:
    """What a variable of the environment lists, with commas."""
    return [text for part in os.environ.get(variable, "").split(",") if (text := part.strip())]


def registry_of(options: argparse.Namespace) -> Registry:
    """What the plugins offer; broken ones are named."""
    from harness.failures import warn_of_broken

    registry = load_registry(options)
    warn_of_broken(registry)
    return registry


def load_registry(options: argparse.Namespace) -> Registry:
    """What the plugins offer, without a word about broken ones."""
    from harness import stored, trial

    stored.plugin_files[:] = options.plugin
    return trial.load(
        *(switched_off(options), plugin_files(options), options.time_limit, options.trace_hooks)
    )


def executor_for(
    options: argparse.Namespace, registry: Registry, store: Store, jobs: int | None = None
) -> LocalProcesses:
    """Processes that compute with the same plugins and data, and into the store."""
    from harness.session import Session

    session = Session(
        data=data_folder(options),
        plugins=plugin_files(options),
        without=switched_off(options),
        time_limit=options.time_limit,
        jobs=jobs or options.jobs or 1,
    )
    return session.executor(store, registry)


def data_folder(options: argparse.Namespace) -> Path:
    """The data folder; one that the user named must be there."""
    if options.data is None:
        return Path("data")
    folder = Path(options.data)
    if not folder.is_dir():
        raise HarnessError(
            f"--data {folder} (or $HARNESS_DATA): no such folder; name the one with the datasets"
        )
    return folder


def leaderboards_folder(options: argparse.Namespace) -> Path:
    """The folder for tables; said to be unusable before, not after, the work for them is done."""
    folder: Path = options.leaderboards
    path = folder.absolute()
    there = next(known for known in (path, *path.parents) if known.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise HarnessError(
            f"--leaderboards {folder}: {there} is no folder that can be written to; name another"
        )
    return folder


def exit_code(options: argparse.Namespace, registry: Registry, code: int = OK) -> int:
    """The exit code of a command that came to an end, broken plugins counted if asked to."""
    return BROKEN_PLUGIN if options.strict and registry.broken and not code else code


def existing_store(options: argparse.Namespace) -> Store:
    """A store that must be there already."""
    from harness.store import Store

    return Store.existing(options.store)
