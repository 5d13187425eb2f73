"""Pictures of patches: some of each class, and those that a probe has found."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.hooks.guard import contained
from harness.jobs.dataset import Instance
from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.store.failures import Collected
from harness.types.datasets import Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 96
"""Pixels that a patch is shown with, at most: what ``drawing.DPI`` has on its place."""
GAP = 4
"""Pixels between patches."""
EACH, FEW = 10, 5
"""Patches of a class; with more than ``MANY`` classes, the second."""
MANY = 12
MOST = 12
"""Patches, or pairs, of a gallery."""
Shown = tuple[str, tuple[str, ...]]
"""A caption, and the ids of patches that are shown side by side."""


def write_sheet(instance: Instance, folder: Path, problems: Collected) -> list[str]:
    """Write ``<dataset>-audit-patches.jpg``, some test patches of each class; returns Markdown."""
    name = instance.dataset.name
    path = folder / f"{name}-audit-patches.jpg"
    key = key_of(name, path.stem, draw_sheet, instance.fingerprint)
    caption = "Test patches of each class, chosen by a digest of their ids:"
    draw = partial(draw_sheet, instance)
    with drawing.saved_as(drawing.PHOTO):
        return drawing.write(path, "patches of each class", draw, problems, caption, key)


def write_gallery(
    instance: Instance,
    gallery: str,
    choose: Callable[[], Sequence[Shown]],
    folder: Path,
    problems: Collected,
) -> list[str]:
    """Write ``<dataset>-audit-<gallery>.jpg``, the first of the patches that a probe chooses.

    Returns Markdown; nothing where there is no patch, or where ``choose`` fails, which is added to
    ``problems``.
    """
    name = instance.dataset.name
    path = folder / f"{name}-audit-{gallery}.jpg"
    try:
        with contained():
            shown = list(choose())
    except (Exception, SystemExit) as error:
        problems.add(f"picture {path.name}", error)
        return []
    if not shown:
        return []
    first = shown[:MOST]
    key = key_of(name, path.stem, draw_gallery, [instance.fingerprint, first])
    title = gallery.replace("-", " ").capitalize()
    caption = f"{title}, {len(first):,} of {len(shown):,}:"
    draw = partial(draw_gallery, instance, first)
    with drawing.saved_as(drawing.PHOTO):
        return drawing.write(path, gallery, draw, problems, caption, key)


def chosen(split: Split, n_classes: int) -> list[list[int]]:
    """Some patches of each class, the same on every machine: those whose ids have the lowest
    digests."""
    each = EACH if n_classes <= MANY else FEW
    labels, ids = np.asarray(split.labels), split.ids
    return [
        sorted(
            np.flatnonzero(labels == label).tolist(),
            key=lambda at: sha256(ids[at].encode("utf-8", "surrogatepass")).digest(),
        )[:each]
        for label in range(n_classes)
    ]


def draw_sheet(instance: Instance) -> Figure:
    """A line of test patches for each class."""
    split, classes = instance.splits.test, instance.dataset.classes
    lines = [[_small(split.read([at])[0]) for at in some] for some in chosen(split, len(classes))]
    high = max(patch.shape[0] for line in lines for patch in line)
    across = max(map(len, lines))
    wide = max(patch.shape[1] for line in lines for patch in line)
    sheet = np.full((len(lines) * (high + GAP), across * (wide + GAP), 3), 255, np.uint8)
    for row, line in enumerate(lines):
        for column, patch in enumerate(line):
            y, x = row * (high + GAP), column * (wide + GAP)
            sheet[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    picture = drawing.figure(drawing.DOUBLE, (high + GAP) / drawing.DPI * len(lines) + 0.1)
    axes = picture.subplots()
    place = (0, sheet.shape[1] / (high + GAP), len(lines) - 0.5, -0.5)  # a line is 1 high
    axes.imshow(sheet, extent=place, interpolation="antialiased")
    drawing.name_axis(axes.yaxis, classes)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return picture


def draw_gallery(instance: Instance, shown: Sequence[Shown]) -> Figure:
    """Patches with captions; those of a pair side by side."""
    several = max(len(ids) for _, ids in shown)
    across = 5 if several == 1 else 3 if several == 2 else 1
    down = -(-len(shown) // across)
    wide = drawing.DOUBLE / across
    picture = drawing.figure(drawing.DOUBLE, down * (wide / several + 0.45))
    panels = drawing.grid(picture, len(shown), across)
    for axes, (caption, ids) in zip(panels, shown, strict=True):
        found = [instance.places[id_] for id_ in ids]
        patches = [_small(part.read([at])[0], 160) for part, at in found]
        gap = np.full((patches[0].shape[0], GAP, 3), 255, np.uint8)
        row = [one for patch in patches for one in (gap, patch)][1:]
        axes.imshow(np.concatenate(row, axis=1), interpolation="antialiased")
        room = int(17 * wide)
        lines = textwrap.wrap(drawing.label(caption, 200), room, max_lines=2, placeholder=" …")
        names = " | ".join(PurePath(id_).stem for id_ in ids)
        axes.set_axis_off()
        axes.set_title("\n".join([drawing.label(names, room), *lines]), fontsize=7)
    return picture


def _small(patch: NDArray[Any], side: int = SIDE) -> NDArray[np.uint8]:
    """A patch with at most so many pixels on its longer side."""
    import cv2

    factor = side / max(patch.shape[:2])
    size = [max(1, round(factor * pixels)) for pixels in patch.shape[1::-1]]
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(patch, size, interpolation=how), np.uint8)
