"""Tone and dynamic range: curves, clipping, wraparound, and the patches to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Table
from harness.text.numbers import percent, rounded
from harness_bias.audit.curves import Curves, curves
from harness_bias.audit.enough import Opinion, looked, reason, settled, told
from harness_bias.audit.partial import Struck, struck
from harness_bias.audit.predictability import Score, by_class, compared, sentence, surest
from harness_bias.audit.verdict import grade
from harness_bias.measure.color import MEANS
from harness_bias.measure.dynamic_range import CHANNELS, COLUMNS, CORRUPT, WIDE, reasons

FEATURES, COLOR = "bias-range", "bias-color"
LISTED = 200
"""Corrupt patches listed in the report; all of them are counted."""
MANY = 0.02
"""Share of pixels cut off that counts: JPEG's overshoot cuts off up to 0.013 of them at a quality
of 50, in patches where nothing else is wrong."""


def _columns(*starts: str) -> list[int]:
    return [i for i, name in enumerate(COLUMNS) if name.startswith(starts)]


LOW, HIGH = _columns("clipped_low"), _columns("clipped_high")
TONE, WRAP = _columns("gaps", "rough", "comb"), _columns("wraparound")


LOW_CUT, HALF_CUT, ALL_CUT = 0.15, 0.5, 0.09
"""Shares cut off that count as lost: of one channel at 0, as tissue is never black; of one channel,
and of each of the three, at 255. Less of a single channel may be a color cast, or what sharpening
overshoots."""
NEGATIVE = 12.0
"""Mean gray levels by which green exceeds red and blue in a negative. Real patches reach 0.3, and
98 % of their negatives exceed 12."""
GLASS = 198.0
"""Mean green from which a patch is glass behind a green filter: of real negatives that exceed
``NEGATIVE``, 99 % reach 191 at most."""
DIFFERENT = 0.85
"""Smallest difference between tone curves that counts, in octaves. Kinds of tissue differ by up to
0.5, and by 0.8 where all patches went through JPEG of 70 or one curve."""
UNKNOWN = 0.5
"""Share of patches whose histograms are too small or too narrow to show that values were spread or
squeezed, above which there is no all-clear."""
LUCK = 0.005
"""Largest p that counts: 0.01 over two parts."""
BLIND = (
    "brightness or contrast that was different before the values were digitized, which may be "
    "tissue, and shifts by a few levels where nothing was cut off before"
)


def traces(audit: Audit) -> NDArray[np.bool_]:
    """What is wrong with the dynamic range of all patches, bool (N, 4); all False in a sound one.

    Values cut off at 0, at 255, wrapped round, or spread or squeezed after they were digitized.
    """
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    cut = [(values[:, columns] >= MANY).any(axis=1) for columns in (LOW, HIGH)]
    rest = [(values[:, columns] > 0).any(axis=1) for columns in (WRAP, TONE)]
    return np.column_stack([*cut, *rest])


def measure(audit: Audit) -> Finding:
    """Whether classes differ in tone after they were digitized, and which patches are corrupt.

    Three things count, from training to test patches or within either: that classes went through
    different tone curves (``harness_bias.audit.curves``); that most of a channel, or a part of all
    three, is cut off or wrapped round; that values of single patches were spread or squeezed in all
    three channels. The latter are not asked about where all patches went through one curve: whether
    it shows in a patch depends on how wide the histogram of its tissue is. What befell one channel
    alone is a matter of color.
    """
    labels = audit.labels
    corrupt = audit.stacked(FEATURES, [CORRUPT])[:, 0] > 0
    lost, spoiled = faults(audit)
    by_curve = curves(audit)
    is_common = any(one.is_common for one in by_curve.values())
    by_lost = compared(audit, lost[:, None].astype(np.float32))
    by_spoiled = [] if is_common else compared(audit, spoiled[:, None].astype(np.float32))
    differ = {n: c for n, c in by_curve.items() if c.p <= LUCK and c.reading >= DIFFERENT}
    score = surest([*by_lost, *by_spoiled])
    partly = {name: list(_struck(audit, name, lost)) for name in audit.parts}
    seen = looked(audit)
    opinion = settled(
        [
            *(Opinion(True) for those in partly.values() if those),
            *(one.opinion() for one in (*by_lost, *by_spoiled)),
            *(told(name in differ, one.least_p <= LUCK) for name, one in by_curve.items()),
        ],
        seen,
    )
    shows = spoiled | (audit.stacked(FEATURES, [WIDE])[:, 0] > 0)
    text = ""
    if opinion.flag is False and shows.mean() < 1 - UNKNOWN:
        opinion = Opinion(None)
        text = "; not judged: most histograms are too small or too narrow to show a curve"
    text += reason(opinion, seen)
    estimates = [score.estimate("values lost") for score in by_lost]
    estimates += [score.estimate("values spread or squeezed") for score in by_spoiled]
    for name, curve in by_curve.items():
        estimates += [
            Estimate(name=f"difference of tone curves in octaves, {name}", value=curve.reading),
            Estimate(name=f"permutation p of tone curves, {name}", value=curve.p),
        ]
    estimates += [
        Estimate(name="share of patches whose histograms show a curve", value=float(shows.mean())),
        Estimate(name="share of corrupt patches", value=float(corrupt.mean())),
        *seen.estimates(opinion.needed),
    ]

    cells: dict[str, tuple[str, slice | list[int]]] = {
        **{f"{channel} at 0": (FEATURES, _columns(f"low_{channel[0]}")) for channel in CHANNELS},
        **{f"{channel} at 255": (FEATURES, _columns(f"high_{channel[0]}")) for channel in CHANNELS},
        "cut off at 0": (FEATURES, LOW),
        "cut off at 255": (FEATURES, HIGH),
        "gaps": (FEATURES, _columns("gaps")),
        "rough": (FEATURES, _columns("rough")),
        "comb": (FEATURES, _columns("comb")),
        "wraparound": (FEATURES, WRAP),
        "corrupt patches": (FEATURES, [CORRUPT]),
    }
    headings, rows = by_class(audit, cells)
    listed = list(_listed(audit))
    return Finding(
        summary=f"tone: {_text(audit, differ, partly, score, is_common)}; "
        f"{int(corrupt.sum()):,} of {len(labels):,} patches are corrupt{text}",
        estimates=tuple(estimates),
        tables=(
            Table(
                name="classes",
                title="Traces of wrong dynamic range: means over patches and channels",
                headings=headings,
                rows=rows,
            ),
            Table(
                name="corrupt",
                title=f"Patches to look at ({min(len(listed), LISTED):,} of {len(listed):,})",
                headings=("patch", "class", "split", "why"),
                rows=tuple(listed[:LISTED]),
            ),
        ),
        reading=max((one.reading for one in by_curve.values()), default=None),
        flag=opinion.flag,
        grade=grade(opinion.flag, [one for one in (*by_lost, *by_spoiled) if one.verdict()]),
        blind=BLIND,
    )


def stretched(audit: Audit) -> NDArray[np.bool_]:
    """Patches of which two channels or more are cut off at one end, bool (N,)."""
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    ends = [(values[:, columns] >= MANY).sum(axis=1) for columns in (LOW, HIGH)]
    return np.asarray(np.maximum(*ends) > 1)


def faults(audit: Audit) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Patches of which values are lost, and of which they were spread or squeezed, bool (N,) each.

    Lost: a part of a channel cut off at 0, half of one or a tenth of all three at 255, any wrapped
    round, or more green than red and blue, as negatives of stained slides have, without being as
    bright as glass behind a filter. Spread or squeezed:
    as gaps or spikes in the histograms of all three channels show.
    """
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    low, high = (values[:, columns] for columns in (LOW, HIGH))
    lost = np.asarray((values[:, WRAP] > 0).any(axis=1))
    lost |= (low >= LOW_CUT).any(axis=1)
    lost |= (high >= HALF_CUT).any(axis=1) | (high >= ALL_CUT).all(axis=1)
    red, green, blue = audit.stacked(COLOR, MEANS).T
    lost |= (green - np.maximum(red, blue) > NEGATIVE) & (green < GLASS)
    by_channel = values[:, TONE].reshape(len(values), -1, len(CHANNELS)).max(axis=1)
    return lost, (by_channel > 0).all(axis=1)


def _struck(audit: Audit, name: str, lost: NDArray[np.bool_]) -> Iterator[Struck]:
    """Classes of a part of which some patches, and few of others, lost values."""
    start = 0 if name == next(iter(audit.parts)) else len(audit.labels) - len(audit.test.labels)
    part = audit.parts[name]
    own = lost[start : start + len(part.labels)]
    return (one for one in struck(own, part.labels, part.groups) if one.p <= LUCK)


def _text(
    audit: Audit,
    differ: dict[str, Curves],
    partly: dict[str, list[Struck]],
    score: Score | None,
    is_common: bool,
) -> str:
    said = [
        f"{percent(one.share, 0)} % of the {name} patches of {audit.classes[one.label]} lost "
        f"values or are negatives, {percent(one.others, 0)} % of others"
        for name, those in partly.items()
        for one in those
    ]
    for name, one in differ.items():
        most = audit.classes[int(np.nanargmax(one.by_class))]
        said.append(
            f"classes of the {name} patches went through different tone curves, {most} above all "
            f"(p {rounded(one.p, 3)})"
        )
    if not said:
        said.append("no difference between classes in their tone curves")
    if is_common:
        said.append("all patches went through one curve")
    return "; ".join([*said, f"whether values were lost or spread {sentence(score)}"])


def _listed(audit: Audit) -> list[tuple[str | float | None, ...]]:
    rows: list[tuple[str | float | None, ...]] = []
    for name, part in audit.parts.items():
        ids, values = part.split.ids, part.values[FEATURES]
        for index in map(int, np.flatnonzero(values[:, CORRUPT] > 0)):
            class_name = audit.classes[part.labels[index]]
            rows.append((ids[index], class_name, name, reasons(values[index])))
    return rows
