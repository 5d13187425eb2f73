"""What ``harness report`` gathers: boards, audits and patches, as far as they are here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from harness.jobs.dataset import Instance
from harness.planning import choose
from harness.reports import patch_pictures
from harness.reports.html.gathered import FindLoaded, Gathered, Loaded, ReadPatches
from harness.store.failures import Collected, Failure
from harness.store.store import Store
from harness.workflows import auditing, transferring

ENDS = ("", "_low", "_high")


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
    audit, instance, why = _here(registry, store, name, data, failures)
    read, by_class, no_patches = None, [], why
    if not images:
        no_patches = "Pictures of patches were left out (--no-images)."
    elif instance is not None and not instance.dataset.shows_patches:
        no_patches = f"Patches of {name} are not shown: its description says so (shows_patches)."
    elif instance is not None and instance.fingerprint != board.dataset["key"]["fields"]["data"]:
        no_patches = f"The patches of {name} here are not those that were measured; none is shown."
    elif instance is not None:
        read, by_class = _reader(instance, failures), _by_class(instance)
    few_shot, chance = _few_shot(folder / f"{name}-few-shot.json", failures)
    not_audited = f"This dataset was not audited; run: harness audit --dataset {name}, and then: "
    return Gathered(
        board=board,
        audit=audit,
        no_audit="" if audit else why or f"{not_audited}harness report",
        read=read,
        no_patches=no_patches,
        by_class=tuple(by_class),
        few_shot=few_shot,
        few_shot_chance=chance,
        models=tuple(store.models(name)),
        baselines=frozenset(
            name for name, model in registry.models.items() if transferring.is_baseline(model)
        ),
    )


def loaded(registry: Registry, data: Path) -> FindLoaded:
    """What tells how a result is computed again with the plugins and the data of this command."""
    folder = () if data == Path("data") else ("--data", str(data))

    def of(dataset: str, record: Mapping[str, Any]) -> Loaded:
        try:
            model = registry.models.find(record["model"])
            registry.datasets.find(dataset)
        except HarnessError as error:
            return Loaded({}, (), f"It cannot be computed again with the plugins here: {error}")
        plugin = registry.models.plugin[model.name]
        if _short(plugin.distribution) != _short(record["plugin"].rpartition(" ")[0]):
            missing = (
                f"Its plugin, {record['plugin']}, was not loaded, and {model.name} is another "
                f"model in {plugin.distribution}. Load that plugin and write the report again."
            )
            return Loaded({}, (), missing)
        offered = (plugin.distribution, registry.datasets.plugin[dataset].distribution)
        files = [name for name in dict.fromkeys(offered) if Path(name).suffix in (".py", ".toml")]
        named = (word for name in files for word in ("--plugin", name))
        return Loaded(getattr(model, "settings", {}), (*folder, *named))

    return of


def _short(distribution: str) -> str:
    """Of a file its name, wherever it lies."""
    return Path(distribution).name


def _few_shot(
    path: Path, failures: dict[str, Failure]
) -> tuple[tuple[Mapping[str, Any], ...], float]:
    """Points of the few-shot curves in a JSON file, if there is one, and what a guess reaches."""
    try:
        found = json.loads(path.read_text("utf-8"))
        wanted = ("model", "head", "per_class", *(f"balanced_accuracy{e}" for e in ENDS))
        points = tuple({name: point[name] for name in wanted} for point in found["curves"])
        return points, float(found["chance"])
    except FileNotFoundError:
        return (), 0.0
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{path}: {type(error).__name__}: {error}; write it again with harness few-shot"
        failures["few-shot curves in the report"] = Failure(why)
        return (), 0.0


def _here(
    registry: Registry, store: Store, name: str, data: Path, failures: dict[str, Failure]
) -> tuple[DatasetAudit | None, Instance | None, str]:
    """What the store has of an audit, the dataset as it is here, or why it is not."""
    try:
        datasets = choose.datasets(registry, [name], data)
        plan = auditing.plan(registry, store, datasets, data, ())
    except HarnessError as error:
        return None, None, f"The patches are not here: {error}"
    every = tuple(choose.dataset_probes(registry, ()))
    instance = plan.instances.get(name)
    if instance is None:
        failures |= plan.failures
        why = "; ".join(failure.why for failure in plan.failures.values())
        return None, None, f"The patches cannot be shown: {why}"
    found = audits.load(store, plan, every, failures)
    return found[0] if found else None, instance, ""


def _reader(instance: Instance, failures: Collected) -> ReadPatches:
    """What reads patches of a dataset by their ids.

    Those that it does not have are left out, and so are those that cannot be decoded, which are
    added to ``failures``.
    """

    def read(ids: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        found = {}
        for name in ids:
            if name not in instance.places:
                continue
            part, at = instance.places[name]
            try:
                with contained():
                    found[name] = part.read([at])[0]
            except (Exception, SystemExit) as error:
                failures.add(f"{instance.dataset.name}: patch {name} in the report", error)
        return found

    return read


def _by_class(instance: Instance) -> list[tuple[str, tuple[str, ...]]]:
    """Ids of some training and test patches of each class."""
    classes, splits = instance.dataset.classes, instance.splits
    parts = [
        (part, split)
        for part, split in (("train", splits.train), ("test", splits.test))
        if split is not None
    ]
    some = {part: patch_pictures.chosen(split, len(classes)) for part, split in parts}
    return [
        (f"{name}, {part}", tuple(str(split.ids[at]) for at in some[part][label]))
        for label, name in enumerate(classes)
        for part, split in parts
    ]
