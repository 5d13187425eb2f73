"""What could not be computed: why, in one line, and a file of the store with the details."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, one_line
from harness.store.store import Key, Store
from harness.store.stored import DamagedError, file_name
from harness.system.atomic import disk_error, write_atomically
from harness.system.environment import provenance

if TYPE_CHECKING:
    from harness.hooks.registry import Registry

log = logging.getLogger(__name__)

LONGEST = 300
"""Characters of what an exception says; the details have all of it."""


@dataclass(frozen=True)
class Failure:
    """Why something failed."""

    why: str
    details: Path | None = None
    """The file that says more."""
    model: tuple[str, str, str] | None = None
    """Dataset, fingerprint of the dataset and model, where a model could not be planned."""

    def __str__(self) -> str:
        return f"{self.why} (details in {self.details})" if self.details else self.why


@dataclass(frozen=True)
class FailedModel:
    """A model without a clean prediction of the test patches, for its row on the leaderboard."""

    model: str
    title: str
    plugin: str
    why: str
    details: str
    """Name of the file in the store's folder ``errors``; "" without one."""


def below(store: Store, failure: Failure) -> Failure:
    """A failure whose details are named as the user names the store, not by an absolute path."""
    root = store.root.absolute()
    if failure.details is None or not failure.details.is_relative_to(root):
        return failure
    return replace(failure, details=store.root / failure.details.relative_to(root))


def reason(error: BaseException, folder: Path) -> str:
    """Why, in one line. ``folder`` is where the store is, for what is wrong with the disk.

    A HarnessError is never cut: what to do next stands at its end, after paths of any length.
    """
    if isinstance(error, HarnessError):
        text = str(error)
    elif disk_is_full(error):
        text = str(disk_error(OSError(errno.ENOSPC, ""), folder))
    elif isinstance(error, OSError) and error.strerror:
        text = str(disk_error(error, folder))
    else:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # What went wrong in another process: its traceback, then the error.
        first = one_line(lines[-1] if lines and "Traceback" in lines[0] else "".join(lines[:1]))
        said = f"{type(error).__name__}: {first}" if first else type(error).__name__
        if len(said) > LONGEST:
            said = said[:LONGEST] + " ..."
        text = f"{said}; report it to the plugin's author"
    return one_line(text)


def disk_is_full(error: BaseException) -> bool:
    """Whether there was no room, which is nobody's fault and ends a run."""
    # Libraries that write by themselves, such as safetensors, have error types of their own.
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error)


def file_for(store: Store, name: str) -> Path:
    """The file with the details of a failure of this name."""
    return store.root / "errors" / f"{file_name(name)}.txt"


def keep(store: Store, name: str, why: str, details: str) -> Failure:
    """A failure whose details are written to a file, if the store and the disk allow."""
    if not store.is_written:
        return Failure(why)
    path = file_for(store, name)
    try:
        text = details.rstrip().encode("utf-8", "backslashreplace").decode()
        write_atomically(path, f"{why}\n\n{text}\n")
    except OSError:
        return Failure(why)
    return Failure(why, path)


def keep_error(store: Store, name: str, error: BaseException) -> Failure:
    """A failure from an exception; the details are its traceback."""
    details = "".join(traceback.format_exception(error))
    return keep(store, name, reason(error, store.root), details)


class Collected(dict[str, Failure]):
    """What failed, by a label for a person."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    def add(self, label: str, error: BaseException) -> None:
        """Keep an exception."""
        self[label] = keep_error(self.store, re.sub(r"[^\w.+:-]+", "-", label), error)


def record(store: Store, dataset: str, data: str, failed: FailedModel) -> None:
    """Remember that a model failed on the instance of a dataset with the fingerprint ``data``."""
    with contextlib.suppress(OSError):  # the run has just said the same
        forget(store, dataset, data, failed.model)
        with store.write(key(dataset, data, failed.model)) as (_, content):
            content |= asdict(failed) | provenance()


def forget(store: Store, dataset: str, data: str, model: str) -> None:
    """The model has succeeded."""
    store.remove(store.folder(key(dataset, data, model)))


def forget_damaged(store: Store, dataset: str, data: str, model: str) -> None:
    """A record that is damaged is of no use where a run tries the model in any case."""
    failed = key(dataset, data, model)
    if failed in store or not store.exists(failed):
        return
    if error := store.damaged.get(failed.digest):
        log.warning(f"{error.path}: {error.why}; it said why {model} failed, and is removed")
        store.remove(store.folder(failed))


def recorded(
    store: Store,
    dataset: str,
    data: str,
    damaged: Callable[[DamagedError], None] | None = None,
) -> list[FailedModel]:
    """The models that failed on a instance of a dataset.

    Records that are damaged are handed to ``damaged``; without it, DamagedError is raised.
    """
    names = [field.name for field in fields(FailedModel)]
    return [
        FailedModel(**{name: content[name] for name in names})
        for _, content in store.records("failed", dataset, damaged)
        if content["key"]["fields"]["data"] == data
    ]


def of_damaged(error: DamagedError) -> FailedModel:
    """For the row of a model some of whose results are damaged."""
    return FailedModel(model=error.name, title=error.name, plugin="", why=str(error), details="")


def as_failure(store: Store, failed: FailedModel) -> Failure:
    """Why a model failed, with the place of the file."""
    return Failure(failed.why, store.root / "errors" / failed.details if failed.details else None)


def key(dataset: str, data: str, model: str) -> Key:
    """Of the record that a model failed."""
    return Key("failed", dataset, model, {"data": data})


def warn_of_broken(registry: Registry, store: Store | None = None) -> None:
    """Name the broken plugins, and the files with the details if there is a store for them."""
    for plugin in registry.broken:
        why = plugin.status
        if store is not None:
            why = str(keep(store, f"plugin-{plugin.name}", why, plugin.traceback))
        log.warning(f"plugin {plugin.name} of {plugin.distribution} is left out: {why}")
