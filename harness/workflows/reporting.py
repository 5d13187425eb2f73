"""What ``harness report`` gathers: boards, audits and patches, as far as they are here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import audits
from harness.analysis.audits import DatasetAudit
from harness.analysis.leaderboard import Board
from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.hooks.registry import Registry
from harness.jobs.dataset import Instance, load
from harness.planning import choose
from harness.reports.html.gathered import Gathered, ReadPatches
from harness.store.failures import Collected, Failure
from harness.store.store import Store
from harness.types.datasets import Dataset
from harness.types.models import Setting
from harness.workflows import auditing, transferring

ENDS = ("", "_low", "_high")
OF_A_CLASS = 8
"""Patches of each class on a contact sheet."""


def gather(
    board: Board,
    registry: Registry,
    store: Store,
    data: Path,
    failures: Collected,
    folder: Path,
    *,
    images: bool = True,
) -> Gathered:
    """What a report of a board shows. What is damaged is added to ``failures``.

    Few-shot curves are those that are written in ``folder``. Without ``images``, or where the
    patches are not here, no patch is shown.
    """
    name = board.dataset["name"]
    dataset, not_here = _dataset(registry, name, data)
    audit, no_audit = None, not_here
    if dataset is not None:
        audit = _audit(registry, store, dataset, data, failures)
        no_audit = (
            ""
            if audit
            else f"This dataset was not audited; run: harness audit --dataset {name}, and then: "
            "harness report"
        )
    read, no_patches, by_class = None, not_here, []
    if not images:
        no_patches = "Pictures of patches were left out (--no-images)."
    elif dataset is not None and not dataset.shows_patches:
        no_patches = f"Patches of {name} are not shown: its description says so (shows_patches)."
    elif dataset is not None:
        try:
            with contained():
                instance = load(dataset, data, registry.described_by(name))
        except HarnessError as error:
            no_patches = f"The patches cannot be shown: {error}"
        except (Exception, SystemExit) as error:  # of a plugin
            failures.add(f"patches of {name} in the report", error)
            no_patches = f"The patches cannot be shown: {type(error).__name__}: {error}"
        else:
            if instance.fingerprint == board.dataset["key"]["fields"]["data"]:
                read, by_class = _reader(instance, failures), _by_class(instance)
            else:
                no_patches = (
                    f"The patches of {name} that are here are not those that were measured, so "
                    "none is shown."
                )
    return Gathered(
        board=board,
        audit=audit,
        no_audit=no_audit,
        read=read,
        no_patches=no_patches,
        by_class=tuple(by_class),
        few_shot=_few_shot(folder / f"{name}-few-shot.json", failures),
        models=tuple(store.models(name)),
        baselines=frozenset(
            name for name, model in registry.models.items() if transferring.is_baseline(model)
        ),
    )


def defaults(registry: Registry) -> Callable[[str], Mapping[str, Setting]]:
    """A function from the name of a model to its settings if none are given."""

    def of(name: str) -> Mapping[str, Setting]:
        try:
            return getattr(registry.models.find(name), "settings", {})
        except HarnessError:
            return {}

    return of


def _few_shot(path: Path, failures: dict[str, Failure]) -> tuple[Mapping[str, Any], ...]:
    """Points of the few-shot curves in a JSON file, if there is one."""
    try:
        points = json.loads(path.read_text("utf-8"))["curves"]
        wanted = ("model", "head", "per_class", *(f"balanced_accuracy{e}" for e in ENDS))
        return tuple({name: point[name] for name in wanted} for point in points)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{path}: {type(error).__name__}: {error}; write it again with harness few-shot"
        failures["few-shot curves in the report"] = Failure(why)
        return ()


def _dataset(registry: Registry, name: str, data: Path) -> tuple[Dataset | None, str]:
    """A dataset, or why its patches are not here."""
    try:
        return choose.datasets(registry, [name], data)[0], ""
    except HarnessError as error:
        return None, f"The patches are not here: {error}"


def _audit(
    registry: Registry, store: Store, dataset: Dataset, data: Path, failures: dict[str, Failure]
) -> DatasetAudit | None:
    """What the store has of an audit."""
    every = tuple(choose.dataset_probes(registry, ()))
    plan = auditing.plan(registry, store, [dataset], data, ())
    found = audits.load(store, plan, every, failures)
    return found[0] if found else None


def _reader(instance: Instance, failures: Collected) -> ReadPatches:
    """What reads patches of a dataset by their ids.

    Those that it does not have are left out, and so are those that cannot be decoded, which are
    added to ``failures``.
    """
    splits = instance.splits
    parts = [part for part in (splits.test, splits.train, splits.validation) if part is not None]
    places = {str(name): (part, at) for part in parts for at, name in enumerate(part.ids)}

    def read(ids: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        found = {}
        for name in ids:
            if name not in places:
                continue
            part, at = places[name]
            try:
                with contained():
                    found[name] = part.read([at])[0]
            except (Exception, SystemExit) as error:
                failures.add(f"{instance.dataset.name}: patch {name} in the report", error)
        return found

    return read


def _by_class(instance: Instance) -> list[tuple[str, tuple[str, ...]]]:
    """Ids of patches of each class, evenly spaced in the order of the test and training split."""
    found = []
    for label, name in enumerate(instance.dataset.classes):
        for part, split in (("train", instance.splits.train), ("test", instance.splits.test)):
            if split is None:
                continue
            own = np.flatnonzero(split.labels == label)
            if not len(own):
                continue
            chosen = own[np.linspace(0, len(own) - 1, min(OF_A_CLASS, len(own))).astype(int)]
            found.append((f"{name}, {part}", tuple(str(split.ids[at]) for at in chosen)))
    return found
