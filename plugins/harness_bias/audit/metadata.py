"""Names and metadata: whether a patch's file tells the class beside its pixels."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import Audit, Estimate, Finding, Table
from harness.text.numbers import rounded
from harness_bias.audit.drawn import drawn
from harness_bias.audit.enough import Opinion, looked, reason, settled
from harness_bias.audit.predictability import LUCK, Score, compared, sentence, surest
from harness_bias.audit.verdict import grade

MOST = 1_000
"""Files of a part that are opened; of more, this many are drawn."""
KINDS = ("name", "order", "header", "size")
COUNTING = ("name", "order", "header")
"""Kinds that say nothing of the pixels. The size of a file does: tissue with more detail takes more
bytes."""
BLIND = (
    "names that tell the class in words other than its own name, and what files said before they "
    "were converted"
)


def measure(audit: Audit) -> Finding:
    """Whether names, numbers in names, headers (format, EXIF, ICC) or sizes of files tell it.

    The class's own name is taken out of a file's name first, as folders are named after classes.
    The flag says that the pattern of names, their numbers or headers predict the class, from
    training to test patches or within either; the size of files is shown and does not count.
    """
    read = _read(audit)
    if read is None:
        return Finding(summary="file metadata: not judged, as patches are no single files")
    rows, names, files = read
    keep = np.zeros(len(audit.labels), bool)
    keep[rows] = True
    by_kind: dict[str, list[Score]] = {}
    for kind, own in _numbers(names, files).items():
        values = np.zeros((len(keep), own.shape[1]), np.float32)
        values[rows] = own
        by_kind[kind] = compared(audit, values, keep)
    counting = [score for kind in COUNTING for score in by_kind[kind]]
    seen = looked(audit, keep)
    # Of so many scores one is lucky now and then.
    luck = LUCK / max(len(counting), 1)
    opinion = settled(
        [
            Opinion(False) if score.above_chance() and score.p > luck else score.opinion()
            for score in counting
        ],
        seen,
    )
    told = [k for k in COUNTING if any(s.above_chance() and s.p <= luck for s in by_kind[k])]
    best = surest(score for kind in told for score in by_kind[kind]) or surest(counting)
    text = f"reading {' and '.join(told) or 'names and headers'} of files"
    estimates: list[Estimate] = []
    for kind, scores in by_kind.items():
        estimates += [score.estimate(f"{kind} of files") for score in scores]
    return Finding(
        summary=f"file metadata: {text} {sentence(best)}{reason(opinion, seen)}",
        estimates=(*estimates, *seen.estimates(opinion.needed)),
        tables=(_by_class(audit, rows, names, files),),
        reading=best.value if best else None,
        flag=opinion.flag,
        grade=grade(opinion.flag, counting),
        blind=BLIND,
    )


def _read(audit: Audit) -> tuple[NDArray[np.int64], list[str], list[dict[str, Any]]] | None:
    """Rows, names without their class's, and what their files say; None without files."""
    rows: list[int] = []
    names: list[str] = []
    files: list[dict[str, Any]] = []
    start = 0
    for part in audit.parts.values():
        n = len(part.labels)
        chosen = drawn(np.arange(n), part.labels, MOST)
        for index in audit.progress(chosen.tolist(), total=len(chosen), label="headers of files"):
            file = getattr(part.split, "file", lambda _: None)(index)
            if file is None:
                return None
            rows.append(start + index)
            names.append(_without(file[0], audit.classes))
            files.append(describe(file[1]))
        start += n
    return np.array(rows), names, files


def describe(content: bytes) -> dict[str, Any]:
    """What an image file says beside its pixels; its size alone where Pillow cannot open it."""
    said: dict[str, Any] = {"size in bytes": len(content)}
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")
            said |= {"format": image.format, "mode": image.mode}
            said |= {key: str(image.info.get(key)) for key in ("dpi", "gamma", "compression")}
            said["ICC profile"] = len(image.info.get("icc_profile") or b"")
            said["EXIF"] = str(sorted(image.getexif().items()))
            said["text"] = str(image.info.get("comment"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass
    return said


def _without(name: str, classes: Sequence[str]) -> str:
    """A file's name without folders, and without words that are the name of a class."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    words = "|".join(re.escape(one) for one in sorted(classes, key=len, reverse=True))
    return re.sub(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", "", bare, flags=re.IGNORECASE)


def _numbers(
    names: Sequence[str], files: Sequence[dict[str, Any]]
) -> dict[str, NDArray[np.float32]]:
    """What names and files say as numbers, (N, D), by kind."""
    pattern = [re.sub("[A-Za-z]+", "a", re.sub("[0-9]+", "0", name)) for name in names]
    words = [" ".join(re.findall("[A-Za-z]{2,6}", name)).lower() for name in names]
    sizes = [file["size in bytes"] for file in files]
    header = [_header(file) for file in files]
    return {
        "name": np.column_stack([_codes(pattern), [len(name) for name in names], _codes(words)]),
        "order": np.array([[_last_number(name)] for name in names], np.float32),
        "header": np.column_stack(
            [_codes([str(one.get(k)) for one in header]) for k in _keys(header)]
        ),
        "size": np.array(sizes, np.float32)[:, None],
    }


def _header(file: dict[str, Any]) -> dict[str, Any]:
    """What a file says without its size."""
    return {key: value for key, value in file.items() if key != "size in bytes"}


def _keys(header: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({key for one in header for key in one}) or ["format"]


def _codes(texts: Sequence[str]) -> NDArray[np.float32]:
    """A number for each text, most frequent first; all that occur once are alike."""
    found, code, counts = np.unique(texts, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.where(counts > 1, rank, len(found))[code].astype(np.float32)


def _last_number(name: str) -> float:
    digits = re.findall("[0-9]{1,9}", name)
    return float(digits[-1]) if digits else -1.0


def _by_class(
    audit: Audit, rows: NDArray[np.int64], names: Sequence[str], files: Sequence[dict[str, Any]]
) -> Table:
    labels = audit.labels[rows]
    table: list[tuple[str | float | None, ...]] = []
    for label, class_name in enumerate(audit.classes):
        own = np.flatnonzero(labels == label).tolist()
        if len(own):
            first = files[own[0]]
            sizes = [files[i]["size in bytes"] for i in own]
            headers = {str(_header(files[i])) for i in own}
            table.append(
                (
                    *(class_name, len(own), names[own[0]], str(first.get("format"))),
                    *(len(headers), rounded(float(np.median(sizes)) / 1024, 1)),
                )
            )
    return Table(
        name="classes",
        title="What files say, class by class (names without that of the class)",
        headings=("class", "files", "a name", "format", "different headers", "median size, KiB"),
        rows=tuple(table),
    )
