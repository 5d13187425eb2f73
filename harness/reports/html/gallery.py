"""Patches of a report: what each model called them, and small pictures of some."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.leaderboard import Board
from harness.reports.html.gathered import Gathered
from harness.statistics.metrics import probabilities

SIDE = 96
"""Pixels of the longer side of a picture."""
QUALITY = 80
MOST = 400
"""Patches of the test split that have a picture."""


def context(board: Board) -> dict[str, Any]:
    """For each test patch its class, and for each model what it called it, and how surely (%)."""
    models = []
    for entry in board.entries:
        logits = entry.runs[0].logits()
        sure = None
        if not entry.runs[0].no_probabilities:
            shares = probabilities(entry.runs[0].mean_logits()).max(axis=1)
            sure = np.rint(100 * shares).astype(int).tolist()
        called = logits.argmax(axis=1).tolist()
        models.append({"name": entry.name, "called": called, "sure": sure})
    return {
        "classes": list(board.truth.classes),
        "ids": [str(one) for one in board.truth.ids],
        "labels": board.truth.labels.tolist(),
        "models": models,
    }


def pictured(board: Board) -> list[str]:
    """Ids of the test patches that are worth a picture: wrong in most models first."""
    if not board.entries:
        return []
    wrong = np.sum([~entry.right[0] for entry in board.entries], axis=0)
    order = np.argsort(-wrong, kind="stable")[:MOST]
    return [str(board.truth.ids[at]) for at in order if wrong[at]]


def thumbnails(gathered: Gathered, ids: Iterable[str]) -> dict[str, str]:
    """Small pictures of patches by id, as ``data:`` addresses; none where none can be shown."""
    wanted = list(dict.fromkeys(ids))
    if gathered.read is None:
        return {}
    found: dict[str, str] = {}
    for start in range(0, len(wanted), 64):
        some = wanted[start : start + 64]
        found |= {name: small(image) for name, image in gathered.read(some).items()}
    return found


def small(image: NDArray[np.uint8]) -> str:
    """A patch, uint8 RGB (H, W, 3), as a JPEG of at most ``SIDE`` pixels in a ``data:`` address."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def sheets(
    by_class: Sequence[tuple[str, Sequence[str]]], known: dict[str, str]
) -> list[dict[str, Any]]:
    """Contact sheets: the pictures of some patches of each class."""
    return [
        {"name": name, "pictures": [(one, known[one]) for one in ids if one in known]}
        for name, ids in by_class
    ]
