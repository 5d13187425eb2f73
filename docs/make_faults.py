"""Write what the pages of docs/faults quote: pictures, and what calibrations found.

Pictures are patches of the sample with the faults that ``harness calibrate --real`` plants. Figures
are those of ``leaderboards/calibration-*.json`` and of the audit of the sample.

python docs/make_faults.py
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import harness_nct_crc
from harness import PlantedFault
from harness.hooks.loader import load_plugins

DOCS = Path(__file__).parent
FOLDER = DOCS / "faults"
BOARDS = DOCS.parent / "leaderboards"
DATASET = "nct-crc-he-sample"
MOST_BYTES = 60_000
Patch = NDArray[np.uint8]


@dataclass(frozen=True)
class Strip:
    """A patch as it is, and with a fault at two doses."""

    fault: str
    doses: tuple[float, float] | None = None
    """By default the detection limit and the largest dose that was tried."""
    side: int = 224
    """Of the part that is shown, from the middle."""
    zoom: int = 1
    tissue: str = "TUM"


STRIPS = {
    "color": [Strip("cast")],
    "compression": [Strip("jpeg-or-none", side=56, zoom=4)],
    "sharpness": [Strip("blur", side=74, zoom=3)],
    "noise": [Strip("noise", side=74, zoom=3)],
    "frame": [Strip("mark"), Strip("vignette")],
    "dynamic-range": [Strip("gamma"), Strip("whites", tissue="ADI")],
    "shift": [Strip("test-stain")],
}
"""By page."""


def pictures() -> dict[Path, bytes]:
    """All pictures as JPEG files."""
    found = {}
    for page, strips in STRIPS.items():
        for strip in strips:
            found[_picture(page, strip.fault)] = _jpeg(_planted(strip))
    found[_picture("corrupt-patches", "sample")] = _jpeg([_patch(id_) for id_ in _corrupt()])
    found[_picture("duplicates", "copies")] = _jpeg(_copies())
    found[_picture("overlap", "crops")] = _jpeg(_crops())
    return found


def _picture(page: str, name: str) -> Path:
    return FOLDER / "pictures" / f"{page}-{name}.jpg"


def _jpeg(tiles: Sequence[Patch]) -> bytes:
    """Patches of one height side by side, (H, W, 3) each."""
    gap = np.full((len(tiles[0]), 8, 3), 255, np.uint8)
    row = np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)
    for quality in range(92, 40, -3):
        buffer = io.BytesIO()
        Image.fromarray(row).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            return buffer.getvalue()
    raise AssertionError("too large a picture")


def _planted(strip: Strip) -> list[Patch]:
    fault = _faults()[strip.fault]
    patch = _patch(next(id_ for id_ in _split().ids if f"/{strip.tissue}-" in id_))
    tiles = [patch]
    for dose in _doses(strip):
        levels = fault.levels(dose)
        level = max(levels) - min(levels)  # as much as classes differ by
        tiles.append(fault.plant(patch, level, np.random.default_rng(0)))
    start = (224 - strip.side) // 2
    inside = slice(start, start + strip.side)
    return [
        tile[inside, inside].repeat(strip.zoom, axis=0).repeat(strip.zoom, axis=1) for tile in tiles
    ]


def _doses(strip: Strip) -> tuple[float, float]:
    if strip.doses:
        return strip.doses
    (limit,) = {row["dose"] for row in _limits() if row["fault"] == strip.fault}
    return limit, _faults()[strip.fault].doses[-1]


def _copies() -> list[Patch]:
    """A patch, recompressed at 60, and turned."""
    patch = _patch(next(id_ for id_ in _split().ids if "/TUM-" in id_))
    buffer = io.BytesIO()
    Image.fromarray(patch).save(buffer, "JPEG", quality=60)
    again = np.asarray(Image.open(buffer).convert("RGB"))
    return [patch, again, np.rot90(patch)]


def _crops() -> list[Patch]:
    """Two crops of one patch, displaced by 29 % of their side."""
    patch = _patch(next(id_ for id_ in _split().ids if "/TUM-" in id_))
    side, step = 174, 50
    return [patch[:side, :side], patch[step:, step:]]


@cache
def _faults() -> Mapping[str, PlantedFault]:
    return load_plugins().faults


@cache
def _split() -> Any:
    return harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)


def _patch(id_: str) -> Patch:
    split = _split()
    return split.read([list(split.ids).index(id_)])[0]


def _corrupt() -> dict[str, str]:
    """Ids of three corrupt test patches of the sample, and what is wrong with each."""
    found = json.loads((BOARDS / f"{DATASET}-audit.json").read_text("utf-8"))["findings"]
    tables = {table["name"]: table for table in found["dynamic-range"]["tables"]}
    rows = [row for row in tables["corrupt"]["rows"] if row[2] == "test"]
    chosen: dict[str, str] = {}
    for class_name in ("DEB", "BACK"):
        of_class = [row for row in rows if row[1] == class_name]
        chosen |= {id_: why for id_, _, _, why in of_class[: 2 if class_name == "DEB" else 1]}
    return chosen


@cache
def _real() -> dict[str, Any]:
    return json.loads((BOARDS / f"calibration-real-{DATASET}.json").read_text("utf-8"))


def _limits() -> list[dict[str, Any]]:
    return _real()["limits"]


def _rows(name: str) -> dict[str, dict[str, Any]]:
    """Rows of a table of the calibration on real patches, by probe."""
    (table,) = [table for table in _real()["tables"] if table["name"] == name]
    return {row[0]: dict(zip(table["headings"], row, strict=True)) for row in table["rows"]}


def found(probe: str) -> str:
    """What the calibration on real patches says of a probe: detection limits and false flags."""
    faults = _faults()
    rows = [row for row in _limits() if row["probe"] == probe]
    parts = []
    if rows:
        lines = ["| planted | found from | doses tried |", "| --- | --- | --- |"]
        for row in rows:
            tried = faults[row["fault"]].doses
            limit = "no dose tried" if row["dose"] is None else f"{row['dose']:g} {row['unit']}"
            range_ = f"{tried[0]:g} to {tried[-1]:g}" if len(tried) > 1 else f"{tried[0]:g}"
            title = faults[row["fault"]].title
            lines.append(f"| {title} (`{row['fault']}`) | {limit} | {range_} |")
        parts.append("\n".join(lines))
    false, cross = _rows("false flags")[probe], _rows("cross-talk")[probe]
    said = (
        f"Of {len(_real()['patches'])} patches of `{DATASET}` in {_real()['draws']} draws of "
        f"labels. Flags where no fault was planted: {_share(false)}. Flags where another fault was "
        f"planted, at its largest dose: {_share(cross)}."
    )
    undecided = (float(false["undecided %"]), float(cross["undecided %"]))
    if max(undecided) > 0:
        said += (
            f" It left {undecided[0]:g} and {undecided[1]:g} % of these open, as too few patches "
            "could tell."
        )
    parts.append(said)
    return "\n\n".join(parts)


def _share(row: dict[str, Any]) -> str:
    interval = f"95 % interval {row['from']} to {row['to']}"
    return f"{row['flags']} of {row['draws']} ({row['%']} %, {interval})"


def summary() -> str:
    """What the calibration on real patches found, over all probes."""
    false, cross = _rows("false flags"), _rows("cross-talk")
    lines = [
        "| probe | flags without a fault | % (95 % interval) | flags on another's fault, largest "
        "dose | % (95 % interval) | faults found, of those tried |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for probe, one in false.items():
        other = cross[probe]
        own = [row["dose"] for row in _limits() if row["probe"] == probe]
        seen = f"{sum(dose is not None for dose in own)} of {len(own)}" if own else ""
        lines.append(
            f"| [{probe}](../faults/{probe}.md) | {one['flags']} of {one['draws']} | "
            f"{one['%']} ({one['from']} to {one['to']}) | {other['flags']} of {other['draws']} | "
            f"{other['%']} ({other['from']} to {other['to']}) | {seen} |"
        )
    named = _faults()
    missed = {named[row["fault"]].title for row in _limits() if row["dose"] is None}
    lines += [
        "",
        f"{len(_real()['patches'])} patches, {_real()['draws']} draws of labels. Found at no dose "
        f"that was tried: {', '.join(sorted(missed))}.",
    ]
    return "\n".join(lines)


def planted(check: str) -> str:
    """How many copies or overlaps that were planted in the sample are found."""
    content = json.loads((BOARDS / "calibration-phantom.json").read_text("utf-8"))
    (table,) = [one for one in content["checks"] if one["name"] == check]
    lines = [
        "| planted | patches | found % | of what is found, right % |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {n:,} | {100 * recall:.1f} | {100 * precision:.1f} |"
        for name, n, recall, precision in table["rows"]
    ]
    return "\n".join(lines)


def shown(page: str) -> str:
    """The pictures of a page, with what stands side by side."""
    parts = []
    for strip in STRIPS[page]:
        fault = _faults()[strip.fault]
        low, high = _doses(strip)
        caption = (
            f"{fault.title[0].upper()}{fault.title[1:]}: without, at the dose from which the audit "
            f"finds it ({low:g}), and at the largest that was tried ({high:g} {fault.unit})."
        )
        if strip.zoom > 1:
            caption += f" Enlarged {strip.zoom} times."
        parts.append(f"![{fault.title}](pictures/{page}-{strip.fault}.jpg)\n\n*{caption}*")
    return "\n\n".join(parts)


def corrupt() -> str:
    """Three corrupt patches of the sample, with the reasons."""
    said = "; ".join(f"`{id_.rpartition('/')[2]}`: {why}" for id_, why in _corrupt().items())
    picture = "![Corrupt patches](pictures/corrupt-patches-sample.jpg)"
    return f"{picture}\n\n*Three test patches of the sample as they are published. {said}.*"


BLOCKS: dict[str, Callable[[str], str]] = {
    "found": found,
    "pictures": shown,
    "planted": planted,
    "corrupt": lambda _: corrupt(),
    "summary": lambda _: summary(),
}
"""What stands between ``<!-- NAME: ARGUMENT -->`` and ``<!-- /NAME -->``."""


def pages() -> dict[Path, str]:
    """What each page says."""
    mark = re.compile(rf"(?s)(<!-- ({'|'.join(BLOCKS)})(?:: (\S+))? -->\n).*?(\n<!-- /\2 -->)")
    texts = {}
    for path in (*sorted(FOLDER.glob("*.md")), DOCS / "explanation/calibration.md"):
        text = path.read_text(encoding="utf-8")
        texts[path] = mark.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]](m[3])}\n{m[4]}", text)
    return texts


if __name__ == "__main__":
    (FOLDER / "pictures").mkdir(exist_ok=True)
    for path, content in pictures().items():
        path.write_bytes(content)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
