"""Dynamic range: clipping, combs, wraparound, what they predict, and the patches to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Table
from harness_bias.audit.enough import Opinion, looked, reason, settled
from harness_bias.audit.predictability import by_class, compared, sentence, surest
from harness_bias.measure.dynamic_range import CHANNELS, COLUMNS, CORRUPT, WIDE, reasons

FEATURES = "bias-range"
LISTED = 200
"""Corrupt patches listed in the report; all of them are counted."""
MANY = 0.02
"""Share of pixels cut off that counts: JPEG's overshoot cuts off up to 0.013 of them at a quality
of 50, in patches where nothing else is wrong."""


def _columns(*starts: str) -> list[int]:
    return [i for i, name in enumerate(COLUMNS) if name.startswith(starts)]


LOW, HIGH = _columns("clipped_low"), _columns("clipped_high")
TONE, WRAP = _columns("gaps", "rough", "comb"), _columns("wraparound")


LOST, SPOILED = slice(0, 3), slice(3, 4)
"""Columns of ``traces``: values, and with them the color, are lost; or they were spread or squeezed
after they were digitized."""
UNKNOWN = 0.5
"""Share of patches not judged for the latter above which nothing is said: of a class at all, of all
classes without a finding."""


def traces(audit: Audit) -> NDArray[np.bool_]:
    """What is wrong with the dynamic range of all patches, bool (N, 4); all False in a sound one.

    Values cut off at 0, at 255, wrapped round, or spread or squeezed after they were digitized.
    """
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    cut = [(values[:, columns] >= MANY).any(axis=1) for columns in (LOW, HIGH)]
    rest = [(values[:, columns] > 0).any(axis=1) for columns in (WRAP, TONE)]
    return np.column_stack([*cut, *rest])


def measure(audit: Audit) -> Finding:
    """How well traces of wrong dynamic range predict the class, and which patches are corrupt.

    The flag says that they do, from training to test patches or within either. What predicts is
    whether there is a trace: legitimately bright patches have none, and how strong it is depends on
    the tissue. Patches whose histograms are too narrow to show that values were spread or squeezed
    are asked about lost values only, and so are classes that are mostly made of such patches: a
    few that show it all the same would stand for the class.
    """
    labels = audit.labels
    corrupt = audit.stacked(FEATURES, [CORRUPT])[:, 0] > 0
    found = traces(audit)
    judged = (audit.stacked(FEATURES, [WIDE])[:, 0] > 0) | found[:, SPOILED].any(axis=1)
    for label in np.unique(labels):
        if judged[labels == label].mean() < 1 - UNKNOWN:
            judged[labels == label] = False
    by_lost = compared(audit, found[:, LOST].astype(np.float32))
    by_spoiled = compared(audit, found[:, SPOILED].astype(np.float32), judged)
    score = surest([*by_lost, *by_spoiled])
    seen = looked(audit)
    opinion = settled([one.opinion() for one in (*by_lost, *by_spoiled)], seen)
    text = ""
    if not opinion.flag and judged.mean() < UNKNOWN:
        opinion = Opinion(None, opinion.needed)
        text = "; most histograms are too narrow to tell whether values were spread or squeezed"
    elif narrow := [c for k, c in enumerate(audit.classes) if _is_narrow(labels == k, judged)]:
        text = f"; whether values were spread or squeezed is not told of {', '.join(narrow)}"
    text += reason(opinion, seen)
    estimates = [score.estimate("values cut off or wrapped round") for score in by_lost]
    estimates += [score.estimate("values spread or squeezed") for score in by_spoiled]
    estimates += [
        Estimate(name="share of patches judged for the latter", value=float(judged.mean())),
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
        summary=f"dynamic range {sentence(score)}; {int(corrupt.sum()):,} of {len(labels):,} "
        f"patches are corrupt{text}",
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
        reading=score.value if score else None,
        flag=opinion.flag,
    )


def _is_narrow(of_class: NDArray[np.bool_], judged: NDArray[np.bool_]) -> bool:
    """Whether a class has patches, but none that is judged."""
    return bool(of_class.any() and not judged[of_class].any())


def _listed(audit: Audit) -> list[tuple[str | float | None, ...]]:
    rows: list[tuple[str | float | None, ...]] = []
    for name, part in audit.parts.items():
        ids, values = part.split.ids, part.values[FEATURES]
        for index in map(int, np.flatnonzero(values[:, CORRUPT] > 0)):
            class_name = audit.classes[part.labels[index]]
            rows.append((ids[index], class_name, name, reasons(values[index])))
    return rows
