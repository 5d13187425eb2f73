"""Asking probes of models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

from harness.data.handover import kept
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.store.failures import Collected
from harness.types.findings import Finding
from harness.types.probes import ModelProbe, Predictions

Ask = Callable[[ModelProbe, Predictions], Finding | None]


def ask(probe: ModelProbe, predictions: Predictions) -> Finding | None:
    """What a probe finds. Raises what it raises, and an error if what it found cannot be shown."""
    groups = None if predictions.groups is None else kept(predictions.groups)
    labels, clean = kept(predictions.labels), kept(predictions.clean)
    finding = probe.measure(replace(predictions, labels=labels, clean=clean, groups=groups))
    if finding is None:
        return None
    if not isinstance(finding, Finding):
        raise TypeError(f"measure returned {finding!r} where a Finding is expected")
    json.dumps(asdict(finding), allow_nan=False)
    for column in probe.columns:
        for estimate in finding.estimates:
            if estimate.name == column.estimate and not isinstance(column.show(estimate), str):
                raise TypeError(f"show of the column {column.heading!r} returned no text")
    return finding


def careful(problems: Collected, minutes: float | None) -> Ask:
    """The same, but a probe that fails, or takes longer, is a problem and found nothing."""

    def careful_ask(probe: ModelProbe, predictions: Predictions) -> Finding | None:
        try:
            with limited(minutes), contained():
                return ask(probe, predictions)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problems.add(f"probe {probe.name} of {predictions.model}", error)
            return None

    return careful_ask
