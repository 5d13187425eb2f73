"""Compression: which patches were stored as JPEG, how, and what that says of the class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Split, Table
from harness.data.jpeg import recompress
from harness_bias.audit import families
from harness_bias.audit.enough import looked, reason, settled
from harness_bias.audit.predictability import Score, compared, sentence, spread, surest
from harness_bias.audit.verdict import grade
from harness_bias.measure.compression import COLUMNS, extract

FEATURES = "bias-compression"
DETECTED, BLOCKINESS = COLUMNS.index("detected"), COLUMNS.index("blockiness")
QUALITY, CHROMA = COLUMNS.index("quality"), COLUMNS.index("chroma_subsampled")
EDGE_QUALITY = COLUMNS.index("edge_quality")
CODING = [QUALITY, CHROMA]
"""What is read from values that a decoder made; it does not depend on tissue. The place of the grid
is left out: it says where a patch was cut, not how it was stored."""
EDGES = [DETECTED, BLOCKINESS]
"""These predict, too, but rightly so: smooth tissue shows edges that other tissue hides."""
UNKNOWN = 0.5
"""Share of patches whose coding cannot be told above which nothing is said of it."""
SHOWN = 10
"""Patches that are shown of the most and of the least compressed, at most."""
BLIND = (
    "JPEG of qualities that differ by less than about 3 points above 85 in patches changed since, "
    "and compression of every patch alike"
)


def measure(audit: Audit) -> Finding:
    """How well traces of compression alone predict the class. The flag says that they do.

    Two kinds of trace count. How patches were coded as JPEG, where their values still are those
    that a decoder made: from training to test patches or within either. And fine detail that lossy
    compression of any kind takes away, mostly of color, whatever was done to the patches since
    (``harness_bias.audit.fine``).

    What the edges of blocks tell is shown and does not count: a normalization that raises contrast
    patch by patch raises edges as well, as much as stronger compression would.
    """
    labels = audit.labels
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    edges, told = values[:, [EDGE_QUALITY]], values[:, EDGE_QUALITY] > 0
    unspoilt = (values[:, QUALITY] > 0) | (values[:, DETECTED] == 0)
    enough = unspoilt.mean() >= 1 - UNKNOWN
    by_coding = compared(audit, values[:, CODING], unspoilt) if enough else []
    by_edges, by_blockiness = [], []
    if not audit.only_verdict:
        by_edges = compared(audit, edges, told)
        by_blockiness = compared(audit, values[:, EDGES])
    fine = families.look(audit, "compression")
    coded = surest(by_coding)
    estimates = [score.estimate("JPEG coding") for score in by_coding]
    for edge_score in by_edges:
        estimates.append(edge_score.estimate("edge quality"))
        far = spread(edges[:, 0], labels, edge_score)
        name = f"spread of the classes in edge quality, {edge_score.how}"
        if far is not None:
            estimates.append(Estimate(name=name, value=far))
    estimates += [score.estimate("blockiness") for score in by_blockiness]
    estimates.append(
        Estimate(name="share of patches whose edge quality is told", value=told.mean())
    )
    seen = looked(audit)
    opinion = settled([fine.opinion, *(one.opinion() for one in by_coding)], seen)
    table = Table(
        name="classes",
        title="Traces of JPEG compression, class by class",
        headings=(
            *("class", "split", "patches", "compressed", "blockiness: median"),
            *("edge quality told", "edge quality (20 to 90 or more): median"),
            *("lower quartile", "upper quartile"),
            *("quality known", "quality: median", "quality: lowest", "chroma subsampled"),
        ),
        rows=tuple(_rows(audit)),
    )
    return Finding(
        summary=f"compression: {_text(values, coded, fine, by_edges)}{reason(opinion, seen)}",
        estimates=(*estimates, *fine.estimates),
        tables=(table, *_extremes(audit), *fine.tables),
        reading=max(
            (score.value for score in (coded, fine.score) if score is not None), default=None
        ),
        flag=opinion.flag,
        grade=grade(
            opinion.flag,
            [
                *(score for score in by_coding if score.verdict()),
                *([fine.score] if fine.opinion.flag else []),
            ],
        ),
        blind=BLIND,
    )


def _text(
    values: NDArray[np.float32],
    coded: Score | None,
    fine: families.Seen,
    by_edges: list[Score],
) -> str:
    """What was found, in clauses."""
    said = [fine.text or "too few patches with fine detail to compare"]
    if fine.score is not None and fine.opinion.flag:
        said[0] += f", which {sentence(fine.score)}"
    if coded is not None:
        said.append(f"JPEG coding {sentence(coded)}")
    found = 100 * float((values[:, DETECTED] > 0).mean())
    whole = "" if (values[:, QUALITY] > 0).any() or not found else ", none as the decoder left it"
    said.append(f"{found:.0f} % of the patches show JPEG blocks{whole}")
    if (score := surest(by_edges)) is not None and score.above_chance():
        said.append(
            f"strength of block edges {sentence(score)}: compressed differently or normalized "
            "patch by patch, which cannot be distinguished and does not count"
        )
    return "; ".join(said)


def _rows(audit: Audit) -> list[tuple[str | float | None, ...]]:
    rows: list[tuple[str | float | None, ...]] = []
    for label, class_name in enumerate(audit.classes):
        for name, part in reversed(audit.parts.items()):
            values = part.values[FEATURES][part.labels == label]
            if not len(values):
                continue
            seen = values[values[:, DETECTED] > 0]
            known = seen[seen[:, QUALITY] > 0][:, QUALITY]
            chroma = seen[seen[:, CHROMA] >= 0][:, CHROMA]
            edges = values[values[:, EDGE_QUALITY] > 0][:, EDGE_QUALITY]
            quartiles = np.percentile(edges, (50, 25, 75)).tolist() if len(edges) else [None] * 3
            rows.append(
                (
                    *(class_name, name, len(values), len(seen) / len(values)),
                    float(np.median(seen[:, BLOCKINESS])) if len(seen) else None,
                    len(edges) / len(values),
                    *quartiles,
                    len(known) / len(values),
                    float(np.median(known)) if len(known) else None,
                    float(known.min()) if len(known) else None,
                    float(chroma.mean()) if len(chroma) else None,
                )
            )
    return rows


Told = tuple[str, str, str, float, str]
"""Id, class and part of a patch, the JPEG quality that it tells, and what tells it."""


def _extremes(audit: Audit) -> list[Table]:
    """The most and the least compressed patches, as far as they tell; none if all tell the same."""
    if audit.only_verdict:
        return []
    told: list[Told] = []
    for part_name, part in audit.parts.items():
        values = part.values[FEATURES]
        known = values[:, QUALITY] > 0
        quality = np.where(known, values[:, QUALITY], values[:, EDGE_QUALITY])
        for at in np.flatnonzero(quality > 0).tolist():
            how = "values" if known[at] else "block edges"
            class_name = audit.classes[part.labels[at]]
            told.append((part.split.ids[at], class_name, part_name, float(quality[at]), how))
    if len({quality for _, _, _, quality, _ in told}) < 2:
        return []
    number = min(SHOWN, len(told) // 2)
    ends = {"strongest": _in_turns(told, 1)[:number], "weakest": _in_turns(told, -1)[:number]}
    return [
        Table(
            name="extremes",
            title="The most and the least compressed patches (block edges of 90: 90 or more)",
            headings=("patch", "class", "split", "JPEG quality", "told by", "compression"),
            rows=tuple((*one, end) for end, some in ends.items() for one in some),
        )
    ]


def _in_turns(told: list[Told], sign: int) -> list[Told]:
    """In the order of ``sign`` times quality; of equal ones, the first of each class first."""
    before = Counter[tuple[float, str]]()
    keyed = []
    for one in told:
        _, class_name, _, quality, _ = one
        keyed.append(((sign * quality, before[quality, class_name]), one))
        before[quality, class_name] += 1
    return [one for _, one in sorted(keyed, key=lambda pair: pair[0])]


QUALITIES = (*range(30, 91, 10), 95, 98, 100)
EDGES_OF = (40, 50, 60, 70)
"""Qualities that edges are checked for; those of real patches may be compressed at better ones."""
CHECKED = 400
"""Patches of a dataset that are recompressed to check the estimate, at most."""


def check(split: Split, progress: Callable[..., Any]) -> list[Table]:
    """How well the quality of real patches is estimated that were recompressed at a known one.

    As the decoder left them, on the patch's own corner or shifted against it by 1 to 7 pixels each
    way, with full and with subsampled chroma; and by their edges, after a change of color.
    """
    rng = np.random.default_rng(0)
    n = len(split.labels)
    patches = np.sort(rng.choice(n, min(n, CHECKED), replace=False))
    return [_of_coding(split, patches, rng, progress), _of_edges(split, patches, rng, progress)]


def _of_coding(
    split: Split,
    patches: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Callable[..., Any],
) -> Table:
    shifts = rng.integers(1, 8, (len(patches), 2))
    rows = []
    for quality in progress(QUALITIES, total=len(QUALITIES), label="qualities"):
        cells: list[float] = []
        detected = []
        for shifted in (False, True):
            for chroma in ("4:4:4", "4:2:0"):
                close = []
                for index, shift in zip(patches, shifts, strict=True):
                    y, x = shift if shifted else (0, 0)
                    patch = split.read([index])[0]
                    larger = np.pad(patch, ((y, 0), (x, 0), (0, 0)), mode="reflect")
                    found = extract(recompress(larger, quality, chroma=chroma)[None, y:, x:])[0]
                    close.append(abs(found[QUALITY] - quality) <= 5)
                    detected.append(found[DETECTED])
                cells.append(float(np.mean(close)))
        rows.append((quality, *cells, float(np.mean(detected))))
    return Table(
        name="quality",
        title=f"Share of {len(patches)} patches whose quality, set by us, is told within 5",
        headings=(
            *("quality", "aligned 4:4:4", "aligned 4:2:0", "shifted 4:4:4", "shifted 4:2:0"),
            "compression detected",
        ),
        rows=tuple(rows),
    )


def _of_edges(
    split: Split,
    patches: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Callable[..., Any],
) -> Table:
    # A tone curve for each channel of each patch, as color normalization gives it.
    exponents = rng.uniform(0.85, 1.2, (len(patches), 1, 3))
    rows = []
    for quality in progress(EDGES_OF, total=len(EDGES_OF), label="edge qualities"):
        told = np.empty(len(patches))
        for number, (index, exponent) in enumerate(zip(patches, exponents, strict=True)):
            decoded = recompress(split.read([index])[0], quality)
            changed = np.rint(255 * (decoded / 255) ** exponent).astype(np.uint8)
            told[number] = extract(changed[None])[0, EDGE_QUALITY]
        told = told[told > 0]
        away = np.abs(told - quality)
        rows.append(
            (
                *(quality, len(told) / len(patches), float(np.median(told))),
                *(float((away <= limit).mean()) for limit in (5, 10)),
            )
        )
    return Table(
        name="edges",
        title=f"Quality that edges of {len(patches)} patches tell, compressed by us and recolored",
        headings=("quality", "told", "median", "of these within 5", "within 10"),
        rows=tuple(rows),
    )
