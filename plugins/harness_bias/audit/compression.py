"""Compression: which patches were stored as JPEG, how, and what that says of the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Split, Table
from harness.data.jpeg import recompress
from harness_bias.audit.enough import Opinion, looked, reason, settled
from harness_bias.audit.predictability import compared, sentence, spread, surest
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
SPREAD = 5.0
"""Smallest difference of edge quality that counts, a standard deviation over classes. Compressed
all alike and then recolored, classes of phantoms differ by up to 3 at qualities of 50 to 90."""
UNKNOWN = 0.5
"""Share of patches whose coding, or whose edge quality, cannot be told above which nothing is said
of it."""


def measure(audit: Audit) -> Finding:
    """How well traces of JPEG alone predict the class. The flag says that they do.

    From training to test patches or within either; by how patches were coded, or by the quality
    that their edges tell, where classes differ in it by more than ``SPREAD``. Patches that show a
    grid but were changed since, so that nothing tells how they were coded, count for the latter
    only. It depends on contrast, too: where that was raised after compression, so were the edges.
    """
    labels = audit.labels
    values = audit.stacked(FEATURES, slice(0, len(COLUMNS)))
    edges, told = values[:, [EDGE_QUALITY]], values[:, EDGE_QUALITY] > 0
    unspoilt = (values[:, QUALITY] > 0) | (values[:, DETECTED] == 0)
    enough = unspoilt.mean() >= 1 - UNKNOWN
    by_coding = compared(audit, values[:, CODING], unspoilt) if enough else []
    by_edges = compared(audit, edges, told)
    spreads = [spread(edges[:, 0], labels, score) for score in by_edges]
    differ = [score for score, far in zip(by_edges, spreads, strict=True) if (far or 0) >= SPREAD]
    counting = [*by_coding, *differ]
    score = surest(counting or by_edges)
    estimates = [score.estimate("JPEG coding") for score in by_coding]
    for edge_score, far in zip(by_edges, spreads, strict=True):
        estimates.append(edge_score.estimate("edge quality"))
        name = f"spread of the classes in edge quality, {edge_score.how}"
        if far is not None:
            estimates.append(Estimate(name=name, value=far))
    estimates += [score.estimate("blockiness") for score in compared(audit, values[:, EDGES])]
    estimates.append(
        Estimate(name="share of patches whose edge quality is told", value=told.mean())
    )
    found = 100 * float((values[:, DETECTED] > 0).mean())
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
    text = f"compression {sentence(score)}; {found:.0f} % of the patches show it"
    if not (values[:, QUALITY] > 0).any() and found:
        text += ", none as the decoder left it"
    far = max((far for far in spreads if far is not None), default=None)
    if far is not None:
        text += (
            f"; by the edges of blocks, classes differ by {far:.0f} points of JPEG quality, or in "
            "contrast raised after it"
        )
    seen = looked(audit)
    opinions = [one.opinion() for one in by_coding]
    with_edges = looked(audit, told)
    for one in by_edges:
        found_by_edges = one.opinion_of_spread(edges[:, 0], labels, SPREAD)
        takes = with_edges.takes(found_by_edges.needed)
        opinions.append(replace(found_by_edges, needed=takes))
    opinion = settled(opinions, seen)
    if not opinion.flag and told.mean() < UNKNOWN:
        opinion = Opinion(None, opinion.needed)
        text += "; in most patches edges do not tell"
    text += reason(opinion, seen)
    text += _not_told(audit, told | (unspoilt & enough))
    estimates += seen.estimates(opinion.needed)
    return Finding(
        summary=text,
        estimates=tuple(estimates),
        tables=(table,),
        reading=score.value if score else None,
        flag=opinion.flag,
    )


def _not_told(audit: Audit, judged: NDArray[np.bool_]) -> str:
    """Which classes have too few patches that tell, whether by their edges or by their coding."""
    silent = dict.fromkeys(one.class_name for one in looked(audit, judged).lacking)
    return f"; not told of {', '.join(silent)}" if silent else ""


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
