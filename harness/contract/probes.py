"""What probes of datasets and of models promise."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract.bench import Bench, scramble, shaped
from harness.contract.outcome import Broken, Skipped
from harness.probes import (
    Audit,
    DatasetProbe,
    Finding,
    Measured,
    ModelProbe,
    Predictions,
    finding_from,
)

CHECKED = 3
"""Patches for a probe's own check, which may change each in a hundred ways."""
REPEATS = 4
"""How often the labels of the few test patches are repeated for a probe of models."""


def as_json(finding: Any) -> str:
    """A finding as JSON, after a look at what it holds."""
    if not isinstance(finding, Finding):
        raise Broken(f"measure returned {shaped(finding)}", "return harness.Finding")
    try:
        text = json.dumps(asdict(finding), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(
            f"the finding is no JSON ({error})",
            "convert numpy numbers with float() and give None in place of NaN",
        ) from error
    if finding_from(json.loads(text)) != finding:
        raise Broken("the finding reads back from JSON as another", "use tuples, text and floats")
    for table in finding.tables:
        if any(len(row) != len(table.headings) for row in table.rows):
            raise Broken(
                f"table {table.name!r} has rows that are not {len(table.headings)} long",
                "give each heading a cell",
            )
    names = [item.name for items in (finding.figures, finding.tables) for item in items]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Broken(f"{min(twice)!r} names two figures or tables", "give each its own name")
    return text


def drawn(name: str, picture: Any) -> None:
    """Raise Broken unless a picture is one that can be saved."""
    if not hasattr(picture, "savefig"):
        raise Broken(f"plot {name!r} returned {shaped(picture)}", "return a matplotlib Figure")
    picture.savefig(io.BytesIO(), format="png", dpi=40)


# Probes of datasets


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
    scramble(5)
    if as_json(probe.measure(audit(probe, bench))) != expected:
        raise Broken("asked twice, it found two different things", "use a generator with a seed")


def inputs_unchanged(probe: DatasetProbe, bench: Bench) -> None:
    """Values of features are left as they are."""
    found(probe, bench)
    given = audit(probe, bench)
    before = {n: v.copy() for n, v in given.test.values.items()}
    probe.measure(given)
    if any(not np.array_equal(before[n], v, equal_nan=True) for n, v in given.test.values.items()):
        raise Broken("measure changed values in place", "work on a copy")


def plots(probe: DatasetProbe, bench: Bench) -> None:
    """Each plot is a matplotlib figure."""
    if not probe.plots:
        raise Skipped("it has no plots")
    read_back = finding_from(json.loads(as_json(found(probe, bench))))
    for name, plot in probe.plots.items():
        drawn(name, plot(read_back))


def check(probe: DatasetProbe, bench: Bench) -> None:
    """``check`` says in tables how well known changes of real patches are measured."""
    if probe.check is None:
        raise Skipped("it has no check")
    patches = bench.test.only(np.arange(CHECKED))
    tables = tuple(probe.check(patches, lambda items, **_: items))
    as_json(Finding(summary="", tables=tables))


# Probes of models


def predictions(probe: ModelProbe, bench: Bench, stored: bool = True) -> Predictions:
    """Logits made up around the labels: sure when clean, less so under each change.

    A probe reads logits and never asks where they came from. With ``stored`` false, only the clean
    ones are there.
    """
    labels = np.tile(bench.test.labels, REPEATS)
    ids = [f"{id_} {n}" for n in range(REPEATS) for id_ in bench.test.ids]
    known = bench.registry.perturbations
    needed = set(probe.needs(known)) if stored else set()

    def logits(seed: int, noise: float) -> NDArray[np.float32]:
        drawn = np.random.default_rng(seed).normal(0, noise, (len(labels), len(bench.classes)))
        drawn[np.arange(len(labels)), labels] += 2
        return drawn.astype(np.float32)

    def under(name: str, level: float) -> NDArray[np.float32] | None:
        if name not in needed:
            return None
        levels = known[name].levels_for(bench.classes)
        return logits(levels.index(level), 2.0) if level in levels else None

    def of(model: str) -> Predictions | None:
        return replace(mine, model=model, clean=logits(99, 1.5)) if stored else None

    mine = Predictions(
        model="made-up",
        classes=bench.classes,
        labels=labels,
        ids=ids,
        clean=logits(98, 1.0),
        perturbations=known,
        under=under,
        of=of,
    )
    return mine


def needs(probe: ModelProbe, bench: Bench) -> None:
    """``needs`` names perturbations that some plugin offers."""
    known = bench.registry.perturbations
    if strange := [name for name in probe.needs(known) if name not in known]:
        raise Broken(
            f"it needs {', '.join(map(str, strange))}, which no plugin offers",
            "choose among the perturbations that needs is given",
        )


def model_found(probe: ModelProbe, bench: Bench) -> Finding:
    """What it finds in made-up logits, once."""

    def make() -> Finding:
        finding = probe.measure(predictions(probe, bench))
        if finding is None:
            raise Skipped("it returned None with everything that it needs at hand")
        return finding

    return bench.once(("found", probe.name), make)


def model_finding(probe: ModelProbe, bench: Bench) -> None:
    """The finding can be written as JSON and read back, and is the same when asked again."""
    expected = as_json(model_found(probe, bench))
    scramble(5)
    if as_json(probe.measure(predictions(probe, bench))) != expected:
        raise Broken("asked twice, it found two different things", "use a generator with a seed")


def nothing_stored(probe: ModelProbe, bench: Bench) -> None:
    """Without stored logits of perturbed patches it returns None, or what clean ones tell."""
    finding = probe.measure(predictions(probe, bench, stored=False))
    if finding is not None:
        as_json(finding)


def columns(probe: ModelProbe, bench: Bench) -> None:
    """Each column shows a figure that the finding has, as text."""
    if not probe.columns:
        raise Skipped("it has no columns")
    finding = model_found(probe, bench)
    for column in probe.columns:
        try:
            figure = finding.figure(column.figure)
        except KeyError:
            named = ", ".join(figure.name for figure in finding.figures) or "none"
            raise Broken(
                f"the column {column.heading!r} shows the figure {column.figure!r}; there is "
                f"{named}",
                "name a figure of the finding",
            ) from None
        if not isinstance(text := column.show(figure), str):
            raise Broken(f"the column {column.heading!r} shows {text!r}", "return text")


def model_plots(probe: ModelProbe, bench: Bench) -> None:
    """Each plot is a matplotlib figure, or None where there is nothing to draw."""
    if not probe.plots:
        raise Skipped("it has no plots")
    finding = model_found(probe, bench)
    for name, plot in probe.plots.items():
        for findings in ({"made-up": finding}, {"made-up": finding, "other": finding}):
            picture = plot(findings, (), bench.classes)
            if picture is not None:
                drawn(name, picture)


DATASET_PROBE = (finding, without_train, same_again, inputs_unchanged, plots, check)
MODEL_PROBE = (needs, model_finding, nothing_stored, columns, model_plots)
