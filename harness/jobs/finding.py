"""What a probe finds in a dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import HandedSplit, frozen
from harness.jobs.passes import Finish
from harness.jobs.spec import JobSpec
from harness.store.stored import Record, load_array
from harness.system.environment import provenance
from harness.system.progress import progress
from harness.system.threads import one_thread_each
from harness.types.datasets import Dataset, Split, Splits
from harness.types.probes import Audit, DatasetProbe, Measured

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """What a probe finds in a dataset. Inputs are features, named "PART: NAME"."""
    (spec,) = specs
    probe, instance = (
        session.probe(spec.key.name, spec.key.fields["version"]),
        session.instance(spec),
    )

    def write(folder: Path) -> Record:
        stored: dict[str, dict[str, Path]] = {"train": {}, "test": {}}
        for name, keys in spec.inputs.items():
            part, colon, features = name.partition(": ")
            if colon:
                stored[part][features] = session.store.folder(keys[0])
        record = ask(probe, instance.dataset, instance.splits, instance.pairs, stored, folder)
        return {**record, "probe": probe.name, "data": spec.data, **provenance()}

    return [write]


def ask(
    probe: DatasetProbe,
    dataset: Dataset,
    splits: Splits,
    pairs: Sequence[tuple[Split, NDArray[np.int64]]],
    stored: Mapping[str, Mapping[str, Path]],
    folder: Path,
) -> Record:
    """What a probe finds in a dataset. ``stored`` has folders of features by part and name."""

    def measured(
        part: str, split: Split | None, groups: NDArray[np.int64] | None
    ) -> Measured | None:
        if split is None:
            return None
        values = {
            name: frozen(load_array(path, "values.npy")) for name, path in stored[part].items()
        }
        return Measured(split=HandedSplit(split), values=MappingProxyType(values), groups=groups)

    of_train, of_test = group_numbers(splits)
    train = measured("train", splits.train, of_train)
    test = measured("test", splits.test, of_test)
    assert test is not None
    n_train = 0 if splits.train is None else len(splits.train.labels)
    all_test = np.arange(len(splits.test.labels))
    folds = []
    for _, predicted in pairs:
        rest = np.setdiff1d(all_test, predicted)
        fitted_on = np.concatenate([np.arange(n_train), n_train + rest])
        folds.append((frozen(fitted_on), frozen(n_train + predicted)))
    started = time.monotonic()
    audit = Audit(
        classes=dataset.classes, train=train, test=test, folds=tuple(folds), progress=progress
    )
    # Probes deal labels a thousand times: small products, which two BLAS threads beside a busy
    # process take 30 times as long for.
    with one_thread_each():
        finding = probe.measure(audit)
    (folder / "finding.json").write_text(
        json.dumps(asdict(finding), allow_nan=False) + "\n", encoding="utf-8"
    )
    return {"seconds": time.monotonic() - started}


def group_numbers(splits: Splits) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Numbers of the groups of the training and of the test patches, read-only, None if unknown.

    The same name has the same number in both.
    """
    names = sorted({*(splits.train_groups or ()), *(splits.groups or ())})
    number = {name: index for index, name in enumerate(names)}

    def of(groups: Sequence[str] | None) -> NDArray[np.int64] | None:
        return None if groups is None else frozen(np.array([number[g] for g in groups], np.int64))

    return of(splits.train_groups), of(splits.groups)
