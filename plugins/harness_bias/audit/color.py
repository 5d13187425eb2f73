"""Color: how well it predicts the class, and how much of it the stains do not explain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Table
from harness.text.numbers import rounded
from harness_bias.audit import dynamic_range
from harness_bias.audit.enough import FEWEST, Opinion, looked, reason, settled
from harness_bias.audit.frame import light_falls
from harness_bias.audit.groups import DEALS, shuffled, weights
from harness_bias.audit.predictability import by_class, compared, sentence, spread, surest
from harness_bias.audit.verdict import grade
from harness_bias.measure.color import COLUMNS, HISTOGRAM, MEANS

FEATURES, FRAME = "bias-color", "bias-frame"
SPREAD = 0.0085
"""Smallest tint that raises the flag, as a standard deviation over classes in natural optical
density: about two gray levels of 255. Recompression of every patch alike moves the classes of
phantoms apart by 0.006 at a quality of 70 and by 0.008 at 40, as it costs some colors more."""
AT_WHITE = 0.006
"""The same of the tint that a patch would have where there is no stain. With a cast of 3 gray
levels by class it is 0.008 in real patches. With stains made 0.8 to 1.2 times as strong, along
vectors that are not quite their own, it is 0.003, and the spread of tint itself 0.02."""
LIGHT = 0.0018
"""Mean optical density that a patch gains for each gray level by which its corners are darker than
its middle: plain patches of a gray of 200 that lose 5 to 40 % of the light there gain 0.0017 to
0.0018."""
RUIFROK = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
"""Optical density of hematoxylin and eosin: Ruifrok and Johnston, Analytical and Quantitative
Cytology and Histology 23, 2001."""
RIDGE = 0.002
"""Added to the variances of density within a patch, so that plain patches have no steep slopes."""
BLIND = (
    "a cast that a mixture of the two stains makes as well, and casts of fewer than four classes"
)
LUCK = 0.005
"""Largest p of a cast that counts: 0.01 over two parts."""
ENOUGH_CLASSES = 4
"""Three colors always lie in a plane, so that of fewer classes tint would hide in its own plane."""
OD = [COLUMNS.index(f"od_{channel}") for channel in "rgb"]
PRODUCTS = [COLUMNS.index(f"od_{pair}") for pair in ("rr", "rg", "rb", "gg", "gb", "bb")]
N = COLUMNS.index("od_n")
HUE = [COLUMNS.index("hue_x"), COLUMNS.index("hue_y")]


@dataclass(frozen=True)
class _Part:
    """A part of a dataset, of which classes with enough patches that can be judged are compared."""

    name: str
    values: Mapping[str, NDArray[np.float32]]
    """Features of all its patches."""
    rows: NDArray[np.int64]
    """The patches compared, among all of the dataset, (M,)."""
    own: NDArray[np.int64]
    """The same among those of the part."""
    labels: NDArray[np.int64]
    """Their classes, from 0 without gaps."""
    groups: NDArray[np.int64] | None


def measure(audit: Audit) -> Finding:
    """How well color alone predicts the class, and how far classes differ in tint.

    Color may tell classes apart rightly: nuclei are blue, muscle is pink. A *tint* is what no
    mixture of hematoxylin and eosin makes. In optical density, mixtures of two stains lie in a
    plane (Ruifrok and Johnston 2001); the plane is that of the smallest variance of all pixels,
    classes weighing the same, and a patch's tint its mean distance from it. The flag is raised when
    tint predicts the class, from training to test patches or within either, and differs between
    classes by more than ``SPREAD``, and by more than ``AT_WHITE`` where there is no stain: a cast
    is there, too, while stronger stains change dense tissue alone. How strong both stains are is
    shown and does not count, as it may be tissue. Patches that were cut off or wrapped round have
    no color that could be judged; that is the dynamic-range probe's business. Nor is there a
    verdict where light falls off differently toward the corners of classes, by as much as would
    explain the cast: light that all channels lose is no mixture of the stains, and is the frame
    probe's.
    """
    labels = audit.labels
    by_means, by_histogram = (
        [] if audit.only_verdict else compared(audit, audit.stacked(FEATURES, columns))
        for columns in (MEANS, HISTOGRAM)
    )
    estimates = [score.estimate("3 channel means") for score in by_means]
    estimates += [score.estimate("48-bin histogram") for score in by_histogram]
    by_stains = compared(audit, stains(audit))
    estimates += [score.estimate("strength of hematoxylin and eosin") for score in by_stains]
    tint, judged, at_white = tints(audit)
    by_tint = compared(audit, tint[:, None].astype(np.float32), judged)
    spreads = [spread(tint, labels, score) for score in by_tint]
    for tint_score, far in zip(by_tint, spreads, strict=True):
        estimates.append(tint_score.estimate("tint"))
        if far is not None:
            estimates.append(Estimate(name=f"spread of class tints, {tint_score.how}", value=far))
    estimates.append(Estimate(name="share of patches judged for tint", value=float(judged.mean())))
    # The surest of the scores where classes differ by enough to count, else of all.
    pairs = list(zip(by_tint, spreads, strict=True))
    whites = [spread(at_white, labels, score) or 0.0 for score in by_tint]
    counting = [
        score
        for (score, far), white in zip(pairs, whites, strict=True)
        if far is not None and far > SPREAD and white > AT_WHITE
    ]
    score = surest(counting or by_tint)
    reading = next((far for one, far in pairs if one is score), None)
    headings, rows = by_class(
        audit,
        {
            "red": (FEATURES, [COLUMNS.index("mean_r")]),
            "green": (FEATURES, [COLUMNS.index("mean_g")]),
            "blue": (FEATURES, [COLUMNS.index("mean_b")]),
            "saturation": (FEATURES, [COLUMNS.index("saturation")]),
        },
    )
    extra = _by_class(audit, tint, judged)
    table = Table(
        name="classes",
        title="Mean color (0 to 255), hue (degrees), tint and stains (optical density), by class",
        headings=(*headings, "hue", "tint", "tint: SD", "hematoxylin", "eosin"),
        rows=tuple((*row, *extra[row[0], row[1]]) for row in rows),
    )
    where = Table(
        name="signatures",
        title="Quartiles of the channel means, of hue (degrees) and of saturation",
        headings=("class", "split", "channel", "lower quartile", "median", "upper quartile"),
        rows=tuple(_quartiles(audit)),
    )
    color = by_histogram[0] if by_histogram else None
    text = f"color cast not explained by H&E stains {sentence(score)}"
    if reading is not None:
        text += f" and differs between classes by {rounded(reading, 3)} OD" + (
            "" if counting else ", too little to count"
        )
    seen = looked(audit, judged)
    opinions = [one.opinion_of_spread(tint, labels, SPREAD) for one in by_tint]
    stained = [bool(o.flag) and w <= AT_WHITE for o, w in zip(opinions, whites, strict=True)]
    opinions = [Opinion(False) if s else o for o, s in zip(opinions, stained, strict=True)]
    if any(stained):
        text += "; it is in dense tissue only, as of stains or tissue of another color"
    by_part = dict(_cast_p(audit, tint, at_white, judged))
    estimates += [
        Estimate(name=f"permutation p of a cast, {name}", value=p) for name, p in by_part.items()
    ]
    opinions += [Opinion(True) for p in by_part.values() if p <= LUCK]
    opinion = settled(opinions, seen)
    estimates += seen.estimates(opinion.needed)
    flag = opinion.flag
    if len(np.unique(labels[judged])) < ENOUGH_CLASSES:
        flag = None
        text += f"; not judged: that takes {ENOUGH_CLASSES} classes with color"
    else:
        text += reason(opinion, seen, "with color")
    if flag and _is_light(audit, tint, judged):
        flag = None
        text += "; not judged: light falls off differently in classes, which may be the whole cast"
    if not judged.all():
        text += f"; {_left_out(audit, judged)}"
    text += f"; color as a whole, tissue's own too, {sentence(color)}"
    return Finding(
        summary=text,
        estimates=tuple(estimates),
        tables=(table, where),
        reading=reading,
        flag=flag,
        grade=grade(flag, counting),
        blind=BLIND,
    )


def _is_light(audit: Audit, tint: NDArray[np.float64], judged: NDArray[np.bool_]) -> bool:
    """Whether light that falls off differently would explain the cast in each part that has one."""
    far = [(part, _spread(tint[part.rows], part.labels)) for part in _compared(audit, judged)]
    cast = [(part, spread) for part, spread in far if spread > SPREAD]
    return bool(cast) and all(
        spread <= LIGHT * light_falls(part.values[FRAME][part.own], part.labels, part.groups)
        for part, spread in cast
    )


def _cast_p(
    audit: Audit,
    tint: NDArray[np.float64],
    at_white: NDArray[np.float64],
    judged: NDArray[np.bool_],
) -> Iterator[tuple[str, float]]:
    """By part where classes differ in tint by enough to count, how often they do by chance.

    What is compared is the variance over classes of their mean tint, outliers cut off.
    """
    for part in _compared(audit, judged):
        own, labels = tint[part.rows], part.labels
        if _spread(own, labels) <= SPREAD or _spread(at_white[part.rows], labels) <= AT_WHITE:
            continue
        own = np.clip(own, *np.quantile(own, (0.05, 0.95)))
        deals = (_between(own, *deal) for deal in shuffled(labels, part.groups))
        seen = _between(own, labels, weights(labels, part.groups))
        yield part.name, (1 + sum(one >= seen for one in deals)) / (1 + DEALS)


def _compared(audit: Audit, judged: NDArray[np.bool_]) -> Iterator[_Part]:
    """The parts with two classes or more of which enough patches can be judged."""
    start = 0
    for name, part in audit.parts.items():
        own = np.flatnonzero(judged[start : start + len(part.labels)])
        counts = np.bincount(part.labels[own], minlength=len(audit.classes))
        own = own[(counts >= FEWEST)[part.labels[own]]]
        rows = start + own
        start += len(part.labels)
        present, labels = np.unique(part.labels[own], return_inverse=True)
        if len(present) > 1:
            groups = None if audit.groups is None else audit.groups[rows]
            yield _Part(name, part.values, rows, own, labels, groups)


def _spread(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Standard deviation over classes of their medians, of labels without gaps."""
    return float(np.std([np.median(values[labels == k]) for k in range(labels.max() + 1)]))


def _between(
    values: NDArray[np.float64], labels: NDArray[np.int64], weight: NDArray[np.float64]
) -> float:
    """Variance over classes of the weighted means of numbers (N,)."""
    return float(np.var(np.bincount(labels, values * weight) / np.bincount(labels, weight)))


def _left_out(audit: Audit, judged: NDArray[np.bool_]) -> str:
    """Of how many patches, and above all of which classes, the tint cannot be judged."""
    labels = audit.labels
    most = [
        name
        for label, name in enumerate(audit.classes)
        if (labels == label).any() and judged[labels == label].mean() < 0.5
    ]
    text = f"{np.count_nonzero(~judged):,} of {len(judged):,} patches have no color to judge"
    return text + (f", most of {', '.join(most)} among them" if most else "")


def stains(audit: Audit) -> NDArray[np.float32]:
    """Mean amount of hematoxylin and of eosin in each patch, (N, 2), by ``RUIFROK``'s vectors."""
    density = audit.stacked(FEATURES, OD)
    return np.asarray(density @ np.linalg.pinv(RUIFROK), np.float32)


def tints(
    audit: Audit, together: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Tint of each patch, which patches can be judged, and their tint where there is no stain.

    Measured from the plane of the patch's own split, so that a difference between the splits is
    not taken for one between classes; or, ``together``, from one plane for all.
    """
    labels = audit.labels
    density = audit.stacked(FEATURES, OD).astype(np.float64)
    products = audit.stacked(FEATURES, PRODUCTS).astype(np.float64)
    lost = dynamic_range.faults(audit)[0] | dynamic_range.stretched(audit)
    judged = (audit.stacked(FEATURES, [N])[:, 0] > 0.5) & ~lost
    tint, at_white = np.zeros((2, len(labels)))
    parts = [np.arange(len(labels))]
    if not together and audit.train is not None:
        parts = np.split(parts[0], [len(audit.train.labels)])
    for part in parts:
        if judged[part].any():
            tint[part], at_white[part] = _off_plane(
                density[part], products[part], labels[part], judged[part]
            )
    return tint, judged, at_white


def _off_plane(
    density: NDArray[np.float64],
    products: NDArray[np.float64],
    labels: NDArray[np.int64],
    judged: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance of mean densities (N, 3) from the plane of the stains, by their moments.

    And that of a patch's pixels without stain, to which the slope of the distance along the plane,
    pixel by pixel within the patch, leads back.
    """
    present = [judged & (labels == label) for label in np.unique(labels[judged])]
    mean = np.mean([density[chosen].mean(axis=0) for chosen in present], axis=0)
    second = np.empty((3, 3))
    upper = np.triu_indices(3)
    second[upper] = np.mean([products[chosen].mean(axis=0) for chosen in present], axis=0)
    second.T[upper] = second[upper]
    _, vectors = np.linalg.eigh(second - np.outer(mean, mean))
    normal = vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0])
    tint = (density - mean) @ normal
    within = np.empty((len(density), 3, 3))
    within[:, *upper] = products
    within.swapaxes(1, 2)[:, *upper] = products
    within -= density[:, :, None] * density[:, None, :]
    plane = vectors[:, 1:]
    variance = plane.T @ within @ plane + RIDGE * np.eye(2)
    slopes = np.linalg.solve(variance, (plane.T @ within @ normal)[..., None])[..., 0]
    return tint, tint - (slopes * (density @ plane)).sum(axis=1)


def _parts(audit: Audit) -> list[tuple[str, NDArray[np.int64], NDArray[np.float32], int]]:
    """Name, labels, color features and first row of each part, as ``Audit.stacked`` has them."""
    found, start = [], 0
    for name, part in audit.parts.items():
        found.append((name, part.labels, part.values[FEATURES], start))
        start += len(part.labels)
    return found


def _by_class(
    audit: Audit, tint: NDArray[np.float64], judged: NDArray[np.bool_]
) -> dict[tuple[str | float | None, str | float | None], tuple[float | None, ...]]:
    cells: dict[tuple[str | float | None, str | float | None], tuple[float | None, ...]] = {}
    amounts = stains(audit)
    for name, labels, values, start in _parts(audit):
        for label, class_name in enumerate(audit.classes):
            rows = np.flatnonzero(labels == label)
            if not len(rows):
                continue
            x, y = values[rows][:, HUE].mean(axis=0)
            hue = float(np.degrees(np.arctan2(y, x)) % 360)
            chosen = start + rows[judged[start + rows]]
            own = tint[chosen]
            seen = (float(own.mean()), float(own.std())) if len(own) else (None, None)
            both = amounts[start + rows].mean(axis=0).tolist()
            cells[class_name, name] = (hue, *seen, *both)
    return cells


def _quartiles(audit: Audit) -> list[tuple[str | float | None, ...]]:
    rows: list[tuple[str | float | None, ...]] = []
    for name, labels, values, _ in _parts(audit):
        for label, class_name in enumerate(audit.classes):
            chosen = values[labels == label]
            if len(chosen):
                measured = {
                    **{c: chosen[:, i] for i, c in enumerate(("red", "green", "blue"))},
                    "hue": _hues(chosen),
                    "saturation": chosen[:, COLUMNS.index("saturation")],
                }
                rows += [
                    (class_name, name, channel, *map(float, np.percentile(own, (25, 50, 75))))
                    for channel, own in measured.items()
                ]
    return rows


def _hues(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Hue of patches in degrees, within half a turn of their circular mean."""
    x, y = values[:, HUE].astype(np.float64).T
    mean = np.degrees(np.arctan2(y.mean(), x.mean())) % 360
    hues = np.degrees(np.arctan2(y, x))
    return np.asarray(mean + (hues - mean + 180) % 360 - 180)
