"""Shift: how well training and test patches are distinguished by how they were acquired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness import Audit, Finding, Table
from harness_bias.audit import compression, dynamic_range
from harness_bias.audit.color import tints
from harness_bias.audit.enough import looked, reason, settled
from harness_bias.audit.predictability import cross_validated, score, sentence
from harness_bias.audit.verdict import grade

CODING = [compression.DETECTED, *compression.CODING, compression.EDGE_QUALITY]
"""Within a class tissue is alike, so that a grid is found or hidden in both splits alike."""
MARGIN = 0.05
"""How far above chance the interval must lie. Cross-validated scores of few patches scatter
more than independent predictions would: fits share most of their patches."""
FEWEST = 10
"""Patches a class must have in both splits to be asked about."""


def measure(audit: Audit) -> Finding:
    """How well tint, compression and dynamic range tell the splits apart, class by class.

    What differs between classes is no shift, so each class is asked about with as many training as
    test patches. The flag says that the splits are distinguished. That they are not is said only if
    enough patches of every class, in both splits, have color or edges that tell.
    """
    if audit.train is None:
        return Finding(summary="there is no training split to compare with")
    labels, n_train = audit.labels, len(audit.train.labels)
    is_test = (np.arange(len(labels)) >= n_train).astype(np.int64)
    tint, judged, _ = tints(audit, together=True)
    values = np.concatenate(
        [
            np.where(judged, tint, 0)[:, None],
            audit.stacked(compression.FEATURES, CODING),
            dynamic_range.traces(audit),
        ],
        axis=1,
    ).astype(np.float32)
    edges = audit.stacked(compression.FEATURES, [compression.EDGE_QUALITY])[:, 0]
    telling = judged | (edges > 0)
    seen = looked(audit, telling, FEWEST, both=True)
    rng = np.random.default_rng(0)
    asked, classes = [], []
    for label in range(len(audit.classes)):
        of_class = [np.flatnonzero((labels == label) & (is_test == side)) for side in (0, 1)]
        count = min(map(len, of_class))
        if count >= FEWEST:
            asked += [rng.choice(side, count, replace=False) for side in of_class]
            classes.append(label)
    if not asked:
        why = reason(settled((), seen), seen)
        return Finding(
            summary=f"no class has {FEWEST} patches in both splits{why}",
            estimates=tuple(seen.estimates()),
        )
    chosen = np.concatenate(asked)
    # What is the same in both splits of a class says nothing; centered, classes can be pooled.
    pooled = values[chosen]
    for label in classes:
        rows = labels[chosen] == label
        pooled[rows] -= np.median(pooled[rows], axis=0)
    groups = None if audit.groups is None else audit.groups[chosen]
    overall = cross_validated(pooled, is_test[chosen], np.arange(len(chosen)), groups=groups)
    if overall is None:
        return Finding(summary="not judged: that takes two patients or slides in each split")
    table = []
    for label in classes:
        rows = labels[chosen] == label
        own = score(is_test[chosen][rows], overall.predicted[rows])
        assert own is not None
        table.append((audit.classes[label], int(rows.sum()), own.value, own.low, own.high))
    # Patches of one class in one split count; those of the pool do not.
    opinion = overall.opinion(MARGIN)
    opinion = replace(opinion, needed=-(-opinion.needed // len(classes)))
    opinion = settled([opinion], seen)
    return Finding(
        summary=f"acquisition {sentence(overall, 'tells train from test')}; "
        f"{len(classes)} of {len(audit.classes)} classes have enough patches to ask about"
        f"{reason(opinion, seen)}",
        estimates=(overall.estimate("train or test, all classes"), *seen.estimates(opinion.needed)),
        tables=(
            Table(
                name="classes",
                title="Train or test? Balanced accuracy by class (chance 0.5)",
                headings=("class", "patches", "balanced accuracy", "from", "to"),
                rows=tuple(table),
            ),
        ),
        reading=overall.value,
        flag=opinion.flag,
        grade=grade(opinion.flag, [overall]),
        blind="what befell the patches of both splits alike, and classes that one split lacks",
    )
