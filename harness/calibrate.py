"""Calibration: what dataset probes read on phantoms in which known faults are planted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from harness import signals
from harness.boundary import HandedSplit, contained, frozen, kept
from harness.child import die_with_parent
from harness.environment import provenance
from harness.errors import HarnessError
from harness.plugins import load_plugins
from harness.probes import Audit, DatasetProbe, Finding, Measured, Phantom, Table, table_from
from harness.progress import progress, say
from harness.splits import Concat, cpu_count, stream
from harness.store import Key, Store
from harness.stored import load_json
from harness.threads import ENVIRONMENT, one_thread_each
from harness.types import Features, Split, Splits

CLEAN, ALL = "none", "all"
BATCH = 64


@dataclass(frozen=True)
class Reading:
    """What one probe said of one phantom."""

    fault: str
    dose: float
    seed: int
    probe: str
    reading: float | None
    flag: bool | None


def run(
    phantom: Phantom,
    probes: Sequence[DatasetProbe],
    seeds: int,
    store: Store,
    without: Sequence[str] = (),
    files: Sequence[Path] = (),
    refused: Mapping[str, str] = MappingProxyType({}),
) -> list[Reading]:
    """Readings over seeds, faults and doses, the seeds in parallel processes.

    A seed that is done is in the store. ``without`` and ``files`` are those of ``load_plugins``,
    which each process calls, and ``refused`` says why plugins cannot be loaded.
    """
    names = [probe.name for probe in probes]
    fields = {
        "version": phantom.version,
        "faults": {fault.name: [fault.doses, fault.raises] for fault in phantom.faults},
        "probes": versions(probes),
    }
    keys = [Key("calibration", phantom.name, f"seed-{seed}", fields) for seed in range(seeds)]
    tasks = [
        (phantom.name, names, seed, tuple(without), tuple(files), dict(refused))
        for seed in range(seeds)
        if keys[seed] not in store
    ]
    store.warn_of_damaged(keys)
    if tasks:
        say(f"{phantom.name}: {len(tasks)} of {seeds} seeds to do")
        # Forests of a few trees leave a second thread idle; a process does not.
        with store.locked(), _pool(min(cpu_count(), len(tasks))) as pool:
            done = pool.imap_unordered(_one_seed, tasks)
            for seed, readings in progress(done, total=len(tasks), label="seeds"):
                if isinstance(readings, str):
                    raise HarnessError(f"{phantom.name}, seed {seed}: {readings}")
                with store.write(keys[seed]) as (folder, record):
                    (folder / "readings.json").write_text(json.dumps(readings), encoding="utf-8")
                    record |= provenance()
    stored = [load_json(store.folder(key), "readings.json") for key in keys]
    return [Reading(**reading) for readings in stored for reading in readings]


def versions(probes: Sequence[DatasetProbe]) -> dict[str, list[Any]]:
    """What makes readings of probes comparable: their versions and those of their features."""
    return {p.name: [p.version, *(f"{f.name} {f.version}" for f in p.features)] for p in probes}


def _pool(workers: int) -> Pool:
    """Processes of which the parent answers Ctrl-C and ends the others."""
    with signals.inherited_ignored():
        return get_context("spawn").Pool(workers, initializer=_prepare_worker)


def _prepare_worker() -> None:
    """One thread a process, which ends with its parent."""
    import cv2
    from threadpoolctl import threadpool_limits

    die_with_parent()
    os.environ.update(ENVIRONMENT)
    cv2.setNumThreads(1)
    threadpool_limits(1)


def _one_seed(
    task: tuple[str, list[str], int, tuple[str, ...], tuple[Path, ...], dict[str, str]],
) -> tuple[int, list[Any] | str]:
    """A seed and its readings as plain JSON, or what went wrong.

    In a process of its own, which loads its own plugins.
    """
    try:
        return task[2], _readings(*task)
    except Exception as error:
        if isinstance(error, HarnessError):
            return task[2], str(error)
        return task[2], f"{type(error).__name__}: {error}; report it to the plugin's author"


def _readings(
    phantom_name: str,
    names: Sequence[str],
    seed: int,
    without: Sequence[str],
    files: Sequence[Path],
    refused: Mapping[str, str],
) -> list[Any]:
    registry = load_plugins(without, files, why_not=lambda name: refused.get(name, ""))
    phantom = registry.phantoms[phantom_name]
    probes = [p for p in registry.probes.values() if isinstance(p, DatasetProbe)]
    probes = [probe for probe in probes if probe.name in names]
    plant = phantom.make(seed)
    return [
        asdict(Reading(fault, dose, seed, probe.name, finding.reading, finding.flag))
        for fault, dose, doses in _doses(phantom)
        for probe, finding in audit(plant(doses), phantom.classes, probes)
    ]


def _doses(phantom: Phantom) -> Iterator[tuple[str, float, Mapping[str, float]]]:
    """Name, dose and doses by fault: no fault, each alone, all together at dose 1."""
    yield CLEAN, 0.0, {}
    for fault in phantom.faults:
        for dose in fault.doses:
            yield fault.name, dose, {fault.name: dose}
    yield ALL, 1.0, {fault.name: 1.0 for fault in phantom.faults if fault.raises}


def audit(
    splits: Splits, classes: tuple[str, ...], probes: Sequence[DatasetProbe]
) -> Iterator[tuple[DatasetProbe, Finding]]:
    """Ask probes about splits that fit into memory and have a fixed test part."""
    wanted = {features.name: features for probe in probes for features in probe.features}
    train = None if splits.train is None else _measured(splits.train, wanted)
    test = _measured(splits.test, wanted)
    n_train = 0 if train is None else len(train.labels)
    fold = frozen(np.arange(n_train)), frozen(n_train + np.arange(len(test.labels)))
    for probe in probes:
        asked = Audit(
            classes=classes,
            train=None if train is None else _own(train),
            test=_own(test),
            folds=(tuple(map(kept, fold)),),
        )
        with contained():
            finding = probe.measure(asked)
        yield probe, finding


def _own(part: Measured) -> Measured:
    """The same for one probe."""
    values = {name: kept(known) for name, known in part.values.items()}
    return Measured(split=HandedSplit(part.split), values=MappingProxyType(values))


def _measured(split: Split, wanted: Mapping[str, Features]) -> Measured:
    def extract(indices: Any, images: Any) -> dict[str, Any]:
        return {name: np.array(f.extract(kept(images))) for name, f in wanted.items()}

    batches = [values for _, values in stream(split, BATCH, then=extract, threads=1)]
    values = {name: frozen(np.concatenate([part[name] for part in batches])) for name in wanted}
    return Measured(split=split, values=MappingProxyType(values))


def describe(
    phantom: Phantom,
    probes: Sequence[DatasetProbe],
    readings: Sequence[Reading],
    real: Mapping[str, Mapping[str, Finding]],
) -> Finding:
    """Tables of flags and readings by fault and dose, and of real datasets by name."""
    names = [probe.name for probe in probes]
    settings = list(dict.fromkeys((reading.fault, reading.dose) for reading in readings))
    seeds = len({reading.seed for reading in readings})
    wanted = {fault.name: fault.raises for fault in phantom.faults}
    cells: dict[tuple[str, float, str], list[Reading]] = {
        (fault, dose, name): [] for fault, dose in settings for name in names
    }
    for reading in readings:
        cells[reading.fault, reading.dose, reading.probe].append(reading)

    def share(fault: str, dose: float, name: str) -> str:
        raised = sum(reading.flag is True for reading in cells[fault, dose, name])
        undecided = sum(reading.flag is None for reading in cells[fault, dose, name])
        everything = {probe for raises in wanted.values() for probe in raises}
        mark = "*" if name in (everything if fault == ALL else wanted.get(fault, ())) else ""
        rest = f" ({100 * undecided / seeds:.0f} % open)" if undecided else ""
        return f"{100 * raised / seeds:.0f} %{mark}{rest}"

    def spread(fault: str, dose: float, name: str) -> str:
        values = [r.reading for r in cells[fault, dose, name] if r.reading is not None]
        if not values:
            return ""
        return f"{np.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"

    def rows(
        planted: Callable[[str, float, str], str], real_one: Callable[[Finding | None], str]
    ) -> Iterator[tuple[str | float | None, ...]]:
        for fault, dose in settings:
            yield (fault, dose, *(planted(fault, dose, name) for name in names))
        for dataset, found in real.items():
            yield (dataset, None, *(real_one(found.get(name)) for name in names))

    flags = Table(
        name="flags",
        title=f"Share of {seeds} seeds in which a probe raises its flag (* where it should; open: "
        "too few patches to tell)",
        headings=("planted", "dose", *names),
        rows=tuple(rows(share, _flag)),
    )
    doses = Table(
        name="readings",
        title="Readings: median (smallest–largest) over the seeds",
        headings=("planted", "dose", *names),
        rows=tuple(rows(spread, _read)),
    )
    return Finding(
        summary=f"{phantom.title}, {seeds} seeds",
        tables=(flags, doses),
    )


def _flag(finding: Finding | None) -> str:
    if finding is None or finding.flag is None:
        return ""
    return "raised" if finding.flag else "not raised"


def _read(finding: Finding | None) -> str:
    return "" if finding is None or finding.reading is None else f"{finding.reading:.3f}"


def check(probe: DatasetProbe, dataset: str, splits: Splits, store: Store) -> list[Table]:
    """How well a probe measures known changes that it makes to real patches; stored when done."""
    assert probe.check is not None
    split = splits.test if splits.train is None else Concat(splits.train, splits.test)
    fields = {"data": split.fingerprint, "probe": versions([probe])}
    key = Key("check", dataset, probe.name, fields)
    if key not in store:
        store.warn_of_damaged([key])
        say(f"{dataset}: {probe.name} on known changes")
        with store.write(key) as (folder, record):
            with one_thread_each():
                tables = probe.check(split, progress)
            content = [asdict(table) for table in tables]
            (folder / "tables.json").write_text(
                json.dumps(content, allow_nan=False), encoding="utf-8"
            )
            record |= provenance()
    return [table_from(content) for content in load_json(store.folder(key), "tables.json")]
