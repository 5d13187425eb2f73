"""Leakage: patches that are there twice, above all once to train on and once to test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Measured, Split, Table
from harness.data.jpeg import recompress
from harness.text.numbers import percent
from harness_bias.measure.leakage import (
    MIN_STRUCTURE,
    STRUCTURE,
    Pair,
    extract,
    find,
    groups,
)

Patch = NDArray[np.uint8]
FEATURES = "bias-leakage"

UNKNOWN = 0.5
"""Share of plain test patches above which nothing is said."""
LISTED = 200
"""Pairs listed in the report; all of them are counted."""


def measure(audit: Audit) -> Finding:
    """Exact and near duplicates. The flag: a test patch is among those that models are fitted on.

    Where test patches are cut into folds, a copy of a test patch among the test patches counts.
    Patches of one single color that are equal are listed but leak nothing. Where there is nothing
    to fit on, nothing leaks and there is no flag, nor is there one where most test patches are so
    plain that changed copies of them could not be told from chance.
    """
    present = audit.parts
    pairs = find(present, FEATURES, audit.progress)
    telling = [pair for pair in pairs if pair.kind != "blank"]
    folded = len(audit.folds) > 1
    leaked, disagreeing = set(), 0
    for group in groups(telling):
        test = [patch for patch in group if patch.part == "test"]
        if len(test) < len(group) or (folded and len(test) > 1):
            leaked |= set(test)
        labels = {present[patch.part].labels[patch.index] for patch in group}
        disagreeing += len(labels) > 1
    kinds = Counter((_between(pair), pair.kind) for pair in pairs)
    n_test = len(audit.test.labels)
    share = len(leaked) / n_test
    text = f"{len(pairs):,} pairs of duplicates in all"
    fitted = any(len(rows) for rows, _ in audit.folds)
    if fitted:
        text = (
            f"{len(leaked):,} of {n_test:,} test patches have a copy among the patches that models "
            f"are fitted on; {text}"
        )
    structure = audit.test.values[FEATURES][:, STRUCTURE]
    plain = float((structure < MIN_STRUCTURE).mean())
    if plain:
        text += f"; {percent(plain, 0)} % of the test patches are so plain that only exact copies "
        text += "are found"
    judged = fitted and plain <= UNKNOWN
    if fitted and not judged and not leaked:
        text += "; not judged: that takes at most half of them"
    return Finding(
        summary=text,
        estimates=(
            Estimate(name="share of test patches with a copy to fit on", value=share),
            Estimate(name="groups of duplicates with different labels", value=disagreeing),
            Estimate(name="share of test patches too plain to find changed copies of", value=plain),
        ),
        tables=(
            Table(
                name="kinds",
                title="Pairs of duplicates",
                headings=("where", "kind", "pairs"),
                rows=tuple((*key, count) for key, count in sorted(kinds.items())),
            ),
            Table(
                name="pairs",
                title=f"The most similar ({min(len(pairs), LISTED):,} of {len(pairs):,})",
                headings=("patch", "other patch", "kind", "through", "similarity"),
                rows=tuple(
                    (
                        present[pair.first.part].split.ids[pair.first.index],
                        present[pair.second.part].split.ids[pair.second.index],
                        *(pair.kind, pair.through, pair.similarity),
                    )
                    for pair in pairs[:LISTED]
                ),
            ),
        ),
        reading=share,
        flag=True if leaked else False if judged else None,
    )


def _between(pair: Pair) -> str:
    parts = {pair.first.part, pair.second.part}
    return f"within {parts.pop()}" if len(parts) == 1 else "train and test"


CHECKED = 400
"""Patches of a dataset that are copied to check the search, at most."""
TURNS: dict[str, Callable[[Patch], Patch]] = {
    "flipped left-right": np.fliplr,
    "flipped top-bottom": np.flipud,
    **{f"rotated by {90 * k}": partial(np.rot90, k=k) for k in (1, 2, 3)},
}
QUALITIES = (90, 70, 60)


def check(split: Split, progress: Callable[..., Any]) -> list[Table]:
    """Recall and precision of the search for copies of real patches, changed in known ways."""
    rng = np.random.default_rng(0)
    n = len(split.labels)
    chosen = np.sort(rng.choice(n, min(n, CHECKED), replace=False))

    def shifted(patch: Patch) -> Patch:
        gain, offset = rng.uniform(0.95, 1.05, 3), rng.uniform(-6, 6, 3)
        return np.clip(np.rint(patch * gain + offset), 0, 255).astype(np.uint8)

    def all_at_once(patch: Patch) -> Patch:
        turn = TURNS[rng.choice(list(TURNS))]
        return recompress(np.ascontiguousarray(shifted(turn(patch))), 60)

    changes: dict[str, Callable[[Patch], Patch]] = {
        "exact copy": lambda patch: patch,
        **TURNS,
        **{f"recompressed at {q}": partial(recompress, quality=q) for q in QUALITIES},
        "color shifted by up to 5 % and 6 levels": shifted,
        "turned, color shifted and recompressed at 60": all_at_once,
    }
    originals = _described(split, chosen, lambda patch: patch)
    rows = []
    for name, change in progress(changes.items(), total=len(changes), label="copies"):
        pairs = find({"original": originals, "copy": _described(split, chosen, change)}, FEATURES)
        right = sum(
            pair.first.part != pair.second.part and pair.first.index == pair.second.index
            for pair in pairs
        )
        precision = right / len(pairs) if pairs else None
        rows.append((name, len(chosen), right / len(chosen), precision))
    return [
        Table(
            name="copies",
            title="Copies planted by us",
            headings=("copies", "planted", "recall", "precision"),
            rows=tuple(rows),
        )
    ]


class _Changed:
    """Some patches of a split, each changed, kept in memory."""

    def __init__(
        self, split: Split, chosen: NDArray[np.int64], change: Callable[[Patch], Patch]
    ) -> None:
        self.labels = split.labels[chosen]
        self.ids = [split.ids[i] for i in chosen]
        self.fingerprint = ""
        self.patches = [np.ascontiguousarray(change(split.read([i])[0])) for i in chosen]

    def read(self, indices: Any) -> Patch:
        return np.stack([self.patches[i] for i in indices])


def _described(
    split: Split, chosen: NDArray[np.int64], change: Callable[[Patch], Patch]
) -> Measured:
    changed = _Changed(split, chosen, change)
    rows = [extract(patch[None])[0] for patch in changed.patches]
    return Measured(split=changed, values={FEATURES: np.stack(rows)})
