"""What dataset probes read on phantoms in which known faults are planted, and on known changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.handover import HandedSplit, frozen, kept
from harness.data.splits import Concat, stream
from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.jobs.dataset import Instance
from harness.jobs.passes import Finish
from harness.jobs.spec import CHANGED, JobSpec
from harness.store.store import Key
from harness.store.stored import Record
from harness.system.environment import provenance
from harness.system.progress import progress
from harness.system.threads import one_thread_each
from harness.types.datasets import Split, Splits
from harness.types.findings import Finding
from harness.types.models import Features
from harness.types.phantoms import Phantom
from harness.types.probes import Audit, DatasetProbe, Measured

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

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


def seed_job(
    phantom: Phantom, probes: Sequence[DatasetProbe], seed: int, guests: tuple[str, ...] = ()
) -> JobSpec:
    """The job of what probes read on the phantom of a seed, with every fault at every dose."""
    fields = {
        "version": phantom.version,
        "faults": {fault.name: [list(fault.doses), list(fault.raises)] for fault in phantom.faults},
        "probes": versions(probes),
    }
    return JobSpec(
        kind="calibration",
        key=Key("calibration", phantom.name, f"seed-{seed}", fields),
        label=f"{phantom.name}, seed {seed}",
        seed=seed,
        names=tuple(probe.name for probe in probes),
        guests=guests,
    )


def check_job(probe: DatasetProbe, instance: Instance, guests: tuple[str, ...] = ()) -> JobSpec:
    """The job of how well a probe measures known changes that it makes to real patches."""
    fields = {"data": whole(instance).fingerprint, "probe": versions([probe])}
    name = instance.dataset.name
    return JobSpec(
        kind="check",
        key=Key("check", name, probe.name, fields),
        label=f"known changes: {probe.name} on {name}",
        data=instance.fingerprint,
        guests=guests,
    )


def whole(instance: Instance) -> Split:
    """The training patches of a dataset, if any, and its test patches, as one split."""
    splits = instance.splits
    return splits.test if splits.train is None else Concat(splits.train, splits.test)


def versions(probes: Sequence[DatasetProbe]) -> dict[str, list[Any]]:
    """What makes readings of probes comparable: their versions and those of their features."""
    return {p.name: [p.version, *(f"{f.name} {f.version}" for f in p.features)] for p in probes}


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """What probes read on one phantom."""
    (spec,) = specs
    phantom = session.registry.phantoms.find(spec.key.dataset)
    probes = [session.probe(name) for name in spec.names]
    if json.loads(json.dumps(spec.key.fields)) != json.loads(
        json.dumps(seed_job(phantom, probes, spec.seed).key.fields)
    ):
        raise HarnessError(f"phantom {phantom.name}: {CHANGED}")

    def write(folder: Path) -> Record:
        with one_thread_each():
            plant = phantom.make(spec.seed)
            readings = [
                asdict(Reading(fault, dose, spec.seed, probe.name, finding.reading, finding.flag))
                for fault, dose, doses in _doses(phantom)
                for probe, finding in audit(plant(doses), phantom.classes, probes)
            ]
        (folder / "readings.json").write_text(json.dumps(readings), encoding="utf-8")
        return provenance()

    return [write]


def check(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """What a probe measures of known changes to real patches."""
    (spec,) = specs
    probe, split = session.probe(spec.key.name), whole(session.instance(spec))
    if spec.key.fields["probe"] != versions([probe]):
        raise HarnessError(f"probe {probe.name}: {CHANGED}")

    def write(folder: Path) -> Record:
        assert probe.check is not None
        with one_thread_each():
            tables = [asdict(table) for table in probe.check(split, progress)]
        content = json.dumps(tables, allow_nan=False)
        (folder / "tables.json").write_text(content, encoding="utf-8")
        return provenance()

    return [write]


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
    yield from asked(classes, train, _measured(splits.test, wanted), probes)


def asked(
    classes: tuple[str, ...],
    train: Measured | None,
    test: Measured,
    probes: Sequence[DatasetProbe],
    only_verdict: bool = False,
) -> Iterator[tuple[DatasetProbe, Finding]]:
    """Ask probes about patches with their features; the test part is fixed."""
    n_train = 0 if train is None else len(train.labels)
    fold = frozen(np.arange(n_train)), frozen(n_train + np.arange(len(test.labels)))
    for probe in probes:
        question = Audit(
            classes=classes,
            train=None if train is None else _own(train),
            test=_own(test),
            folds=(tuple(map(kept, fold)),),
            only_verdict=only_verdict,
        )
        with contained():
            finding = probe.measure(question)
        yield probe, finding


def _own(part: Measured) -> Measured:
    """The same for one probe."""
    values = {name: kept(known) for name, known in part.values.items()}
    groups = None if part.groups is None else kept(part.groups)
    return Measured(split=HandedSplit(part.split), values=MappingProxyType(values), groups=groups)


def _measured(split: Split, wanted: Mapping[str, Features]) -> Measured:
    def extract(indices: Any, images: Any) -> dict[str, Any]:
        return {name: np.array(f.extract(kept(images))) for name, f in wanted.items()}

    batches = [values for _, values in stream(split, BATCH, then=extract, threads=1)]
    values = {name: frozen(np.concatenate([part[name] for part in batches])) for name in wanted}
    return Measured(split=split, values=MappingProxyType(values))
