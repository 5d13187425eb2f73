"""What probes of models promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import Bench, scramble, unchanged
from harness.checks.findings import as_json, drawn
from harness.checks.outcome import Broken, Skipped
from harness.data.handover import frozen
from harness.reports.drawing import clean
from harness.types.findings import Finding
from harness.types.probes import ModelProbe, Predictions

REPEATS = 4
"""How often the labels of the few test patches are repeated for a probe of models."""


def predictions(probe: ModelProbe, bench: Bench, stored: bool = True) -> Predictions:
    """Logits made up around the labels: sure when clean, less so under each change.

    A probe reads logits and never asks where they came from. With ``stored`` false, only the clean
    ones are there.
    """
    labels = frozen(np.tile(bench.test.labels, REPEATS))
    ids = [f"{id_} {n}" for n in range(REPEATS) for id_ in bench.test.ids]
    known = bench.registry.perturbations
    needed = set(probe.needs(known)) if stored else set()

    def logits(seed: int, noise: float) -> NDArray[np.float32]:
        drawn = np.random.default_rng(seed).normal(0, noise, (len(labels), len(bench.classes)))
        drawn[np.arange(len(labels)), labels] += 2
        made: NDArray[np.float32] = frozen(drawn.astype(np.float32))
        return made

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


def found(probe: ModelProbe, bench: Bench) -> Finding:
    """What it finds in made-up logits, once."""

    def make() -> Finding:
        made = probe.measure(predictions(probe, bench))
        if made is None:
            raise Skipped("it returned None with everything that it needs given")
        return made

    return bench.once(("found", probe.name), make)


def finding(probe: ModelProbe, bench: Bench) -> None:
    """The finding can be written as JSON and read back, and is the same when asked again."""
    expected = as_json(found(probe, bench))
    scramble()
    if as_json(probe.measure(predictions(probe, bench))) != expected:
        raise Broken("asked twice, it found two different things", "use a generator with a seed")


def nothing_stored(probe: ModelProbe, bench: Bench) -> None:
    """Without stored logits of perturbed patches it returns None, or what clean ones tell."""
    finding = probe.measure(predictions(probe, bench, stored=False))
    if finding is not None:
        as_json(finding)


def inputs_unchanged(probe: ModelProbe, bench: Bench) -> None:
    """Labels and logits are left as they are."""
    found(probe, bench)
    given = predictions(probe, bench)
    with unchanged("measure changed labels or logits in place", given.labels, given.clean):
        probe.measure(given)


def columns(probe: ModelProbe, bench: Bench) -> None:
    """Each column shows a figure that the finding has, as text."""
    if not probe.columns:
        raise Skipped("it has no columns")
    finding = found(probe, bench)
    for column in probe.columns:
        try:
            estimate = finding.estimate(column.estimate)
        except KeyError:
            named = ", ".join(estimate.name for estimate in finding.estimates) or "none"
            raise Broken(
                f"the column {column.heading!r} shows the figure {column.estimate!r}; there is "
                f"{named}",
                "name a figure of the finding",
            ) from None
        if not isinstance(text := column.show(estimate), str):
            raise Broken(f"the column {column.heading!r} shows {text!r}", "return text")


def plots(probe: ModelProbe, bench: Bench) -> None:
    """Each plot is a matplotlib figure, or None where there is nothing to draw."""
    if not probe.plots:
        raise Skipped("it has no plots")
    finding = found(probe, bench)
    with clean():
        for name, plot in probe.plots.items():
            for findings in ({"made-up": finding}, {"made-up": finding, "other": finding}):
                picture = plot(findings, (), bench.classes)
                if picture is not None:
                    drawn(name, picture)


MODEL_PROBE = (needs, finding, nothing_stored, inputs_unchanged, columns, plots)
