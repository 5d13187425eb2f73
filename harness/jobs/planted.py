"""What dataset probes read on real patches with a planted fault, where tissue is balanced.

Labels are dealt at random within each class, so that whatever tells them apart is the fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import frozen, kept
from harness.data.planting import Planted
from harness.data.splits import Subset
from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.jobs.calibration import BATCH, Reading, asked, versions, whole
from harness.jobs.dataset import Instance
from harness.jobs.finding import group_numbers
from harness.jobs.passes import Finish
from harness.jobs.spec import CHANGED, JobSpec
from harness.store.store import Key
from harness.store.stored import Record
from harness.system import digests
from harness.system.environment import provenance
from harness.system.progress import progress
from harness.system.threads import one_thread_each
from harness.types.datasets import Split
from harness.types.faults import PlantedFault
from harness.types.models import Features
from harness.types.probes import DatasetProbe, Measured

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

Labels = NDArray[np.int64]
OF_SPLIT = 4
"""Classes that labels are dealt for where levels are those of the splits."""


@dataclass(frozen=True)
class Graded(Reading):
    """What one probe said of one draw of labels, with its grade."""

    grade: str


@dataclass(frozen=True)
class Judges:
    """The patches that faults are planted in."""

    split: Split
    groups: Labels | None
    """Numbers of their patients or slides, (N,), if known."""
    tuned: int
    """Patches of the dataset that are left out, as limits of a probe were set on them."""

    @property
    def digest(self) -> str:
        """Of which patches these are."""
        return digests.of_json(list(self.split.ids))[:32]


def judges(instance: Instance, probes: Sequence[DatasetProbe], most: int) -> Judges:
    """At most so many patches of a dataset, by class, on which no probe says that it was tuned.

    Raises HarnessError if there are none.
    """
    split = whole(instance)
    tuned = np.zeros(len(split.labels), bool)
    for probe in probes:
        if probe.tuned_on is not None:
            with contained():
                tuned |= np.asarray(probe.tuned_on(tuple(split.ids)), bool)
    rows = np.flatnonzero(~tuned)
    if not len(rows):
        raise HarnessError(
            f"dataset {instance.dataset.name}: the limits of the probes were set on all of its "
            "patches; name another with --real"
        )
    if len(rows) > most:
        rng = np.random.default_rng(0)
        of_class = [rows[split.labels[rows] == label] for label in np.unique(split.labels[rows])]
        share = most / len(rows)
        rows = np.concatenate(
            [rng.choice(own, max(1, int(len(own) * share)), replace=False) for own in of_class]
        )
    rows = np.sort(rows)
    groups = _groups(instance)
    return Judges(
        split=Subset(split, rows),
        groups=None if groups is None else groups[rows],
        tuned=int(tuned.sum()),
    )


def _groups(instance: Instance) -> Labels | None:
    """Groups of all patches; None unless they are known of every part."""
    splits = instance.splits
    parts = group_numbers(splits)[0 if splits.train is not None else 1 :]
    found = [numbers for numbers in parts if numbers is not None]
    return np.concatenate(found) if len(found) == len(parts) else None


def job(
    fault: PlantedFault,
    instance: Instance,
    probes: Sequence[DatasetProbe],
    draws: int,
    most: int,
    guests: tuple[str, ...] = (),
) -> JobSpec:
    """The job of what probes read on a dataset with one fault, in every draw of labels."""
    fields = {
        "data": instance.fingerprint,
        "patches": judges(instance, probes, most).digest,
        "most": most,
        "fault": [
            *(fault.version, fault.of_split, sorted(fault.raises)),
            *([dose, list(fault.levels(dose))] for dose in fault.doses),
        ],
        "probes": versions(probes),
        "draws": draws,
    }
    name = instance.dataset.name
    return JobSpec(
        kind="planted",
        key=Key("planted", name, fault.name, fields),
        label=f"{name} with {fault.name}",
        data=instance.fingerprint,
        names=tuple(probe.name for probe in probes),
        guests=guests,
    )


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """What probes read on a dataset with one fault."""
    (spec,) = specs
    fault = session.registry.faults.find(spec.key.name)
    probes = [session.probe(name) for name in spec.names]
    instance = session.instance(spec)
    draws, most = int(spec.key.fields["draws"]), int(spec.key.fields["most"])
    now = job(fault, instance, probes, draws, most).key.fields
    if json.loads(json.dumps(spec.key.fields)) != json.loads(json.dumps(now)):
        raise HarnessError(f"fault {fault.name}: {CHANGED}")

    def write(folder: Path) -> Record:
        with one_thread_each():
            found = read(fault, judges(instance, probes, most), probes, draws)
            readings = [asdict(reading) for reading in found]
        (folder / "readings.json").write_text(json.dumps(readings), encoding="utf-8")
        return provenance()

    return [write]


def read(
    fault: PlantedFault, patches: Judges, probes: Sequence[DatasetProbe], draws: int
) -> Iterator[Graded]:
    """What probes say of every dose in every draw.

    A fault is planted in a patch once for each level, whatever label the patch is dealt.
    """
    base = patches.split
    wanted = {features.name: features for probe in probes for features in probe.features}
    levels = sorted({float(level) for dose in fault.doses for level in fault.levels(dose)})
    values: dict[float, dict[str, NDArray[np.float32]]] = {}
    for level in progress(levels, total=len(levels), label=f"{fault.name}, levels"):
        planted = Planted(base, fault, np.full(len(base.labels), level), base.labels)
        values[level] = _extracted(planted, wanted)
    cells = [(dose, draw) for dose in fault.doses for draw in range(draws)]
    for dose, draw in progress(cells, total=len(cells), label=fault.name):
        of_level = np.array(fault.levels(dose), np.float64)
        n_classes = OF_SPLIT if fault.of_split else len(of_level)
        rng = np.random.default_rng(draw)
        dealt, is_test = deal(base.labels, patches.groups, n_classes, rng)
        level_of = of_level[is_test.astype(np.int64) if fault.of_split else dealt]
        train, test = (
            _measured(fault, patches, np.flatnonzero(rows), level_of, dealt, values)
            for rows in (~is_test, is_test)
        )
        classes = tuple(f"class {number + 1}" for number in range(n_classes))
        for probe, finding in asked(classes, train, test, probes, only_verdict=True):
            yield Graded(
                *(fault.name, dose, draw, probe.name, finding.reading, finding.flag),
                grade=finding.grade,
            )


def _measured(
    fault: PlantedFault,
    patches: Judges,
    rows: NDArray[np.int64],
    level_of: NDArray[np.float64],
    dealt: Labels,
    values: Mapping[float, Mapping[str, NDArray[np.float32]]],
) -> Measured:
    """Some of the patches, each at its level and with the label that it was dealt."""
    known = {
        name: np.stack([values[float(level_of[row])][name][row] for row in rows])
        for name in set.intersection(*(set(values[level]) for level in np.unique(level_of)))
    }
    return Measured(
        split=Planted(Subset(patches.split, rows), fault, level_of[rows], dealt[rows]),
        values=MappingProxyType(known),
        groups=None if patches.groups is None else patches.groups[rows],
    )


def deal(
    truth: Labels, groups: Labels | None, n_labels: int, rng: np.random.Generator
) -> tuple[Labels, NDArray[np.bool_]]:
    """Labels dealt at random within true classes (N,), and which patches are to test, bool (N,).

    Groups are dealt as a whole: all of a group are in one part, and those of one true class have
    one label. Whatever is dealt next goes to the part, or the label, that has the fewest patches of
    the class so far, then of all.
    """
    groups = np.arange(len(truth)) if groups is None else groups
    is_test = _dealt(truth, groups, truth, 2, rng).astype(bool)
    units = np.unique(np.stack([groups, truth]), axis=1, return_inverse=True)[1].ravel()
    return _dealt(truth, units, 2 * truth + is_test, n_labels, rng), is_test


def _dealt(
    truth: Labels, units: Labels, strata: Labels, n: int, rng: np.random.Generator
) -> Labels:
    """One of n for each patch, the same for all of a unit, balanced within strata."""
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    sizes = np.bincount(unit_of)
    chosen = np.zeros(len(first), np.int64)
    total = np.zeros(n)
    for stratum in np.unique(strata[first]):
        own = rng.permutation(np.flatnonzero(strata[first] == stratum))
        had = np.zeros(n)
        for unit in own:
            least = np.lexsort((rng.random(n), total, had))[0]
            chosen[unit] = least
            had[least] += sizes[unit]
            total[least] += sizes[unit]
    return chosen[unit_of]


def _extracted(split: Split, wanted: Mapping[str, Features]) -> dict[str, NDArray[np.float32]]:
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in wanted}
    for start in range(0, len(split.labels), BATCH):
        with contained():
            patches = split.read(np.arange(start, min(start + BATCH, len(split.labels))))
            for name, features in wanted.items():
                found[name].append(np.array(features.extract(kept(patches))))
    return {name: frozen(np.concatenate(parts)) for name, parts in found.items()}
