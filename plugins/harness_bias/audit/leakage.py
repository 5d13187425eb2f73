"""Leakage: patches that are there twice, above all once to train on and once to test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Measured, Split, Table
from harness.data.jpeg import recompress
from harness.text.numbers import percent
from harness_bias.measure import keypoints, leakage, overlap
from harness_bias.measure.leakage import (
    MIN_STRUCTURE,
    STRUCTURE,
    Pair,
    find,
    groups,
)

Patch = NDArray[np.uint8]
FEATURES = "bias-leakage"
KEYPOINTS = "bias-keypoints"

UNKNOWN = 0.5
"""Share of plain test patches above which nothing is said."""
LISTED = 200
"""Pairs listed in the report, of duplicates and of overlaps; all of them are counted."""


def measure(audit: Audit) -> Finding:
    """Exact and near duplicates, and overlaps. The flag: a test patch is among those that models
    are fitted on, or overlaps one of them.

    Where test patches are cut into folds, a copy of a test patch that is in another fold counts.
    Patches of one single color that are equal are listed but leak nothing. Where there is nothing
    to fit on, nothing leaks and there is no flag, nor is there one where most test patches are so
    plain that changed copies of them could not be told from chance.
    """
    present = audit.parts
    pairs = find(present, FEATURES, audit.progress)
    same = groups(pairs)
    overlaps = overlap.find(present, same, KEYPOINTS, _sides(audit), audit.progress)
    telling = groups(pair for pair in pairs if pair.kind != "blank")
    labels = [{present[patch.part].labels[patch.index] for patch in group} for group in telling]
    copied = _leaked(audit, telling, [])
    leaked = _leaked(audit, telling, overlaps)
    kinds = Counter((_between(pair), pair.kind) for pair in [*pairs, *overlaps])
    n_test = len(audit.test.labels)
    text = f"{len(pairs):,} pairs of duplicates and {len(overlaps):,} of overlapping patches in all"
    fitted = any(len(rows) for rows, _ in audit.folds)
    if fitted:
        text = (
            f"{copied:,} of {n_test:,} test patches have a copy among the patches that models are "
            f"fitted on, {leaked - copied:,} others overlap one of them; {text}"
        )
    structure = audit.test.values[FEATURES][:, STRUCTURE]
    plain = float((structure < MIN_STRUCTURE).mean())
    if plain:
        text += f"; {percent(plain, 0)} % of the test patches are so plain that only exact copies "
        text += "are found"
    bare = float((keypoints.count(audit.test.values[KEYPOINTS]) < overlap.MIN_KEYPOINTS).mean())
    if bare:
        text += f"; {percent(bare, 0)} % have too few keypoints to find overlaps"
    judged = fitted and plain <= UNKNOWN
    if fitted and not judged and not leaked:
        text += "; not judged: that takes at most half of them"
    share = leaked / n_test
    return Finding(
        summary=text,
        estimates=(
            Estimate(name="share of test patches with a copy to fit on", value=copied / n_test),
            Estimate(name="share of test patches with a copy or an overlap to fit on", value=share),
            Estimate(
                name="groups of duplicates with different labels",
                value=sum(len(group) > 1 for group in labels),
            ),
            Estimate(name="share of test patches too plain to find changed copies of", value=plain),
            Estimate(name="share of test patches with too few keypoints for overlaps", value=bare),
        ),
        tables=(
            Table(
                name="kinds",
                title="Pairs of duplicates and of overlapping patches",
                headings=("where", "kind", "pairs"),
                rows=tuple((*key, count) for key, count in sorted(kinds.items())),
            ),
            Table(
                name="pairs",
                title=f"The most similar ({min(len(pairs), LISTED):,} of {len(pairs):,})",
                headings=("patch", "other patch", "kind", "through", "similarity"),
                rows=tuple(
                    (*_ids(pair, present), pair.kind, pair.through, pair.similarity)
                    for pair in pairs[:LISTED]
                ),
            ),
            Table(
                name="overlaps",
                title=f"Largest overlaps ({min(len(overlaps), LISTED):,} of {len(overlaps):,})",
                headings=("patch", "other patch", "through", "matched area", "similarity there"),
                rows=tuple(
                    (*_ids(pair, present), pair.through, pair.area, pair.similarity)
                    for pair in overlaps[:LISTED]
                ),
            ),
        ),
        reading=share,
        flag=True if leaked else False if judged else None,
        blind="neighbors in a slide that share no pixel, and most copies enlarged by 20 % or more",
    )


def _sides(audit: Audit) -> NDArray[np.int64]:
    """A number for the training patches and one for the test patches of each fold, (N,)."""
    sides = np.zeros(len(audit.labels), np.int64)
    sides[-len(audit.test.labels) :] = 1
    for number, (_, predicted) in enumerate(audit.folds):
        sides[predicted] = 1 + number
    return sides


def _leaked(audit: Audit, same: Sequence[Sequence[leakage.Patch]], overlaps: Sequence[Pair]) -> int:
    """How many patches are predicted by a model that is fitted on a copy or on an overlap.

    What overlaps in a chain is not one: only direct neighbors count, and their copies.
    """
    from scipy.sparse import coo_array

    n = len(audit.labels)
    before = {"train": 0, "test": n - len(audit.test.labels)}

    def row(patch: leakage.Patch) -> int:
        return before[patch.part] + patch.index

    first = np.arange(n)  # of the copies of each patch
    for group in same:
        first[[row(patch) for patch in group]] = row(group[0])
    one = np.r_[np.arange(n), first[[row(pair.first) for pair in overlaps]]]
    other = np.r_[np.arange(n), first[[row(pair.second) for pair in overlaps]]]
    touching = coo_array((np.ones(len(one)), (one, other)), (n, n)).tocsr()
    leaked = np.zeros(n, bool)
    for fitted, predicted in audit.folds:
        there = np.zeros(n)
        there[first[fitted]] = 1
        reached = touching @ there + touching.T @ there > 0
        leaked[predicted] |= reached[first[predicted]]
    return int(leaked.sum())


def _ids(pair: Pair, parts: dict[str, Measured]) -> tuple[str, str]:
    one, other = (parts[patch.part].split.ids[patch.index] for patch in (pair.first, pair.second))
    return one, other


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
    """Recall and precision of the searches for copies and crops of real patches, changed in known
    ways."""
    rng = np.random.default_rng(0)
    n = len(split.labels)
    chosen = np.sort(rng.choice(n, min(n, CHECKED), replace=False))
    return [
        Table(
            name="copies",
            title="Copies planted by us",
            headings=("copies", "planted", "recall", "precision"),
            rows=tuple(_copies(split, chosen, rng, progress)),
        ),
        Table(
            name="overlaps",
            title="Crops of half the side planted by us, recompressed at 70, color shifted",
            headings=("crops", "planted", "recall", "precision"),
            rows=tuple(_overlaps(split, chosen, rng, progress)),
        ),
    ]


def _copies(
    split: Split,
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Callable[..., Any],
) -> Iterator[tuple[Any, ...]]:
    def all_at_once(patch: Patch) -> Patch:
        turn = TURNS[rng.choice(list(TURNS))]
        return recompress(np.ascontiguousarray(_shifted(turn(patch), rng)), 60)

    changes: dict[str, Callable[[Patch], Patch]] = {
        "exact copy": lambda patch: patch,
        **TURNS,
        **{f"recompressed at {q}": partial(recompress, quality=q) for q in QUALITIES},
        "color shifted by up to 5 % and 6 levels": partial(_shifted, rng=rng),
        "turned, color shifted and recompressed at 60": all_at_once,
    }
    patches = [split.read([i])[0] for i in chosen]
    originals = _described(patches)
    for name, change in progress(changes.items(), total=len(changes), label="copies"):
        copies = [np.ascontiguousarray(change(patch)) for patch in patches]
        pairs = find({"original": originals, "copy": _described(copies)}, FEATURES)
        yield (name, *_told(pairs, [{i} for i in range(len(copies))]))


def _shifted(patch: Patch, rng: np.random.Generator) -> Patch:
    gain, offset = rng.uniform(0.95, 1.05, 3), rng.uniform(-6, 6, 3)
    return np.clip(np.rint(patch * gain + offset), 0, 255).astype(np.uint8)


def _told(pairs: Sequence[Pair], sources: Sequence[set[int]]) -> tuple[int, float, float | None]:
    """How many were planted, and recall and precision of the pairs found: ``sources`` are the
    originals that each of the planted ones shows."""
    right = {
        (pair.first.index, pair.second.index)
        for pair in pairs
        if pair.first.part != pair.second.part and pair.first.index in sources[pair.second.index]
    }
    planted = sum(map(len, sources))
    return planted, len(right) / planted, len(right) / len(pairs) if pairs else None


DISPLACED = (0.02, 0.04, 0.07, 0.14, 0.29, 0.43, 0.57, 0.71)
"""Shares of a side. Of 224 pixels they are 4, 9, 16, 31, 65, 96, 128 and 159."""
ROTATED = (2, 5, 10, 15)
SCALED = (1.05, 1.1, 1.15, 1.25)


def _overlaps(
    split: Split,
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Callable[..., Any],
) -> Iterator[tuple[Any, ...]]:
    import cv2

    patches = [split.read([i])[0] for i in chosen]
    side = min(patches[0].shape[:2]) // 2

    def second(patch: Patch, x: int, turned: float, scale: float) -> Patch:
        """The crop at (x, 0), turned and scaled about its middle."""
        middle = (x + (side - 1) / 2, (side - 1) / 2)
        matrix = cv2.getRotationMatrix2D(middle, turned, scale)
        matrix[0, 2] -= x
        border = cv2.BORDER_REFLECT_101
        return np.asarray(
            cv2.warpAffine(patch, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=border),
            np.uint8,
        )

    def crop(
        change: Callable[[Patch], Patch], by: float = 0, turned: float = 0, scale: float = 1
    ) -> Callable[[Patch], Patch]:
        return lambda patch: change(second(patch, round(by * side), turned, scale))

    def usual(patch: Patch) -> Patch:
        return recompress(_shifted(patch, rng), 70)

    def covered(patch: Patch) -> Patch:
        size, patch = int(rng.integers(side // 7, side // 3)), patch.copy()
        x, y = rng.integers(0, side - size, 2)
        patch[y : y + size, x : x + size] = rng.integers(0, 256, 3)
        return usual(patch)

    changes = {
        "displaced by 7 %, not changed otherwise": crop(lambda patch: patch, 0.07),
        **{f"displaced by {percent(d, 0)} % of a side": crop(usual, d) for d in DISPLACED},
        "displaced by 29 % and mirrored": crop(
            lambda patch: usual(np.ascontiguousarray(patch[:, ::-1])), 0.29
        ),
        **{f"rotated by {d} degrees": crop(usual, turned=d) for d in ROTATED},
        **{f"enlarged by {percent(s - 1, 0)} %": crop(usual, scale=s) for s in SCALED},
        "displaced by 29 %, rotated by 10 degrees, enlarged by 5 %": crop(usual, 0.29, 10, 1.05),
        "covered by a square of a seventh to a third of the side": crop(covered),
    }
    originals = [np.ascontiguousarray(patch[:side, :side]) for patch in patches]
    described = _described(originals)
    for name, change in progress(changes.items(), total=len(changes), label="crops"):
        pairs = overlap.find(
            {"original": described, "crop": _described(list(map(change, patches)))},
            features=KEYPOINTS,
        )
        yield (name, *_told(pairs, [{i} for i in range(len(patches))]))
    if len(patches) >= 4:
        sources = [rng.choice(len(patches), 4, replace=False) for _ in patches]
        mosaics = [usual(_mosaic([originals[i] for i in four], rng)) for four in sources]
        pairs = overlap.find(
            {"original": described, "mosaic": _described(mosaics)}, features=KEYPOINTS
        )
        across = [pair for pair in pairs if pair.first.part != pair.second.part]
        yield ("quarters of mosaics of four", *_told(across, [set(four) for four in sources]))


def _mosaic(four: Sequence[Patch], rng: np.random.Generator) -> Patch:
    """Of the quarters of a patch each from anywhere in another one."""
    whole = np.empty_like(four[0])
    half = len(whole) // 2
    for number, patch in enumerate(four):
        y, x = np.array(divmod(number, 2)) * half
        v, u = rng.integers(0, len(whole) - half + 1, 2)
        whole[y : y + half, x : x + half] = patch[v : v + half, u : u + half]
    return whole


class _Planted:
    """Patches in memory as a split."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self.labels = np.zeros(len(patches), np.int64)
        self.ids = [str(i) for i in range(len(patches))]
        self.fingerprint = ""
        self.patches = patches

    def read(self, indices: Any) -> Patch:
        return np.stack([self.patches[i] for i in indices])


def _described(patches: Sequence[Patch]) -> Measured:
    def described(extract: Callable[[Patch], NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([extract(patch[None]) for patch in patches])

    return Measured(
        split=_Planted(patches),
        values={
            FEATURES: described(leakage.extract),
            KEYPOINTS: described(keypoints.extract),
        },
    )
