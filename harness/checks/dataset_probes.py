"""What probes of datasets promise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from harness.checks.bench import Bench, scramble, unchanged
from harness.checks.findings import as_json, drawn
from harness.checks.outcome import Broken, Skipped
from harness.data.handover import frozen
from harness.reports.drawing import clean
from harness.types.findings import Finding, finding_from
from harness.types.probes import Audit, DatasetProbe, Measured

CHECKED = 3
"""Patches for a probe's own check, which may change each in a hundred ways."""


def audit(probe: DatasetProbe, bench: Bench) -> Audit:
    """What the probe looks at: the few patches and its features of them."""

    def measured(part: str) -> Measured:
        values = {f.name: getattr(bench.featured(f), part).values.copy() for f in probe.features}
        return Measured(split=getattr(bench.patches, part), values=values)

    train, test = measured("train"), measured("test")
    n_train, n_test = len(train.labels), len(test.labels)
    fold = np.arange(n_train), np.arange(n_train, n_train + n_test)
    return Audit(classes=bench.classes, train=train, test=test, folds=(fold,))


def found(probe: DatasetProbe, bench: Bench) -> Finding:
    """What it finds in the few patches, once."""
    return bench.once(("found", probe.name), lambda: probe.measure(audit(probe, bench)))


def finding(probe: DatasetProbe, bench: Bench) -> None:
    """The finding can be written as JSON and read back."""
    as_json(found(probe, bench))


def without_train(probe: DatasetProbe, bench: Bench) -> None:
    """A dataset without training patches, only folds, can be asked too."""
    found(probe, bench)
    whole = audit(probe, bench)
    half = np.arange(len(whole.test.labels)) % 2 == 0
    one, other = np.flatnonzero(half), np.flatnonzero(~half)
    as_json(probe.measure(replace(whole, train=None, folds=((one, other), (other, one)))))


def same_again(probe: DatasetProbe, bench: Bench) -> None:
    """The same patches give the same finding."""
    expected = as_json(found(probe, bench))
    scramble()
    if as_json(probe.measure(audit(probe, bench))) != expected:
        raise Broken("asked twice, it found two different things", "use a generator with a seed")


def inputs_unchanged(probe: DatasetProbe, bench: Bench) -> None:
    """Values of features are left as they are."""
    found(probe, bench)
    given = audit(probe, bench)
    values = [frozen(v) for part in given.parts.values() for v in part.values.values()]
    with unchanged("measure changed values in place", *values):
        probe.measure(given)


def plots(probe: DatasetProbe, bench: Bench) -> None:
    """Each plot is a matplotlib figure."""
    if not probe.plots:
        raise Skipped("it has no plots")
    read_back = finding_from(json.loads(as_json(found(probe, bench))))
    with clean():
        for name, plot in probe.plots.items():
            drawn(name, plot(read_back))


def galleries(probe: DatasetProbe, bench: Bench) -> None:
    """Each gallery has captions, each with ids of the patches that were looked at."""
    if not probe.galleries:
        raise Skipped("it has no galleries")
    read_back = finding_from(json.loads(as_json(found(probe, bench))))
    known = {id_ for part in audit(probe, bench).parts.values() for id_ in part.split.ids}
    for name, choose in probe.galleries.items():
        for caption, ids in choose(read_back):
            if not isinstance(caption, str) or not ids or not set(ids) <= known:
                raise Broken(
                    f"gallery {name!r} shows {ids!r} as {caption!r}",
                    "give a text, and ids of patches",
                )


def check(probe: DatasetProbe, bench: Bench) -> None:
    """``check`` says in tables how well known changes of real patches are measured."""
    if probe.check is None:
        raise Skipped("it has no check")
    patches = bench.test.only(np.arange(CHECKED))
    tables = tuple(probe.check(patches, lambda items, **_: items))
    as_json(Finding(summary="", tables=tables))


DATASET_PROBE = (finding, without_train, same_again, inputs_unchanged, plots, galleries, check)
