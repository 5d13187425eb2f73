"""What several commands need: plugins, folders, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.hooks.registry import Registry
    from harness.session import Session
    from harness.store.store import Store

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


def session_of(options: argparse.Namespace) -> Session:
    """The session that a command is about."""
    from harness.session import Session
    from harness.store import stored

    stored.plugin_files[:] = options.plugin
    return Session(
        getattr(options, "store", None),
        getattr(options, "data", None) or "data",
        plugins=plugin_files(options),
        without=switched_off(options),
        time_limit=options.time_limit,
        jobs=getattr(options, "jobs", None) or 1,
        executor=getattr(options, "executor", "local"),
        address=getattr(options, "address", None) or "",
        job_cores=getattr(options, "job_cores", 1),
        job_gpus=getattr(options, "job_gpus", 1.0),
        job_memory=getattr(options, "job_memory", 0.0),
        perturbed_cache=getattr(options, "perturbed_cache", 0.0),
        trace_hooks=options.trace_hooks,
    )


@contextmanager
def pictures(options: argparse.Namespace, store: Store, dataset: str) -> Iterator[None]:
    """Pictures are saved as ``--format`` says, with the colors of the models of a dataset."""
    from harness.reports import drawing

    with drawing.saved_as(options.format), drawing.of_models(store.models(dataset)):
        yield


def registry_of(options: argparse.Namespace) -> Registry:
    """What the plugins offer; broken ones are named."""
    return session_of(options).registry


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
    from harness.store.store import Store

    return Store.existing(options.store)


def keep_details(error: BaseException) -> str:
    """Keep the traceback of an error in a file; returns " (details in FILE)" for a message."""
    import traceback
    from tempfile import NamedTemporaryFile

    details = "".join(traceback.format_exception(error))
    try:
        with NamedTemporaryFile(
            "w", prefix="harness-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(details)
    except OSError:  # there is no folder for temporary files
        print(details, file=sys.stderr)
        return ""
    return f" (details in {file.name})"
