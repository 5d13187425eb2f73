"""What coarse structure explains of fine traces is taken off, so that tissue is not called a fault.

Classes are kinds of tissue, and tissue differs in texture. What a trace of acquisition is in a
patch of a given coarse structure is learned from all patches (``unexplained``); what is left of a
difference between classes is more than their structure explains. Where classes differ in structure
and are acquired differently as well, part of the latter is taken for the former: what is left is
too small, never too large. Slopes within classes (``within``) do not take it, but leave in what
bends: they tell what kind of fault a difference looks like, not whether there is one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RIDGE = 1.0, 10.0
"""Penalties of slopes over all patches, and of slopes within classes, in patches: few patches do
not settle a slope."""
SQUARED = 3
"""Columns of structure, from the first, whose squares count as well."""


def unexplained(traces: Floats, structure: Floats) -> Floats:
    """Traces (N, D) without what coarse structure (N, S) explains of them, mean 0."""
    terms = _terms(structure)
    traces = traces - traces.mean(axis=0)
    return traces - terms @ _slopes(terms, traces, RIDGE[0])


def within(traces: Floats, structure: Floats, labels: NDArray[np.int64]) -> Floats:
    """The same, by slopes within classes: differences between classes stay whole."""
    terms = _terms(structure)
    traces = traces - traces.mean(axis=0)
    slopes = _slopes(_centered(terms, labels), _centered(traces, labels), RIDGE[1])
    return traces - terms @ slopes


def _terms(structure: Floats) -> Floats:
    deviation = structure.std(axis=0)
    standard = (structure - structure.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    terms = np.column_stack([standard, standard[:, :SQUARED] ** 2])
    return np.asarray(terms - terms.mean(axis=0))


def _slopes(terms: Floats, traces: Floats, ridge: float) -> Floats:
    penalty = ridge * np.eye(terms.shape[1])
    return np.asarray(np.linalg.solve(terms.T @ terms + penalty, terms.T @ traces))


def _centered(values: Floats, labels: NDArray[np.int64]) -> Floats:
    means = np.zeros((int(labels.max()) + 1, values.shape[1]))
    np.add.at(means, labels, values)
    means /= np.maximum(np.bincount(labels), 1)[:, None]
    return np.asarray(values - means[labels])
