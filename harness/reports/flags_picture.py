"""The picture of a calibration: in how many draws probes find what is planted, by dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.statistics.intervals import wilson
from harness.store.failures import Collected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shares = Mapping[str, Sequence[tuple[float, int, int]]]
"""Of each probe that ought to find a fault: doses, and in how many of how many draws it does."""


def write(
    panels: Sequence[tuple[str, Shares]], path: Path, problems: Collected
) -> tuple[list[str], list[Path]]:
    """Write a panel for each fault; returns Markdown that shows it, and the paths."""
    caption = "How often the probes that ought to find a fault do, by dose, with 95 % intervals."
    filled = [panel for panel in panels if panel[1]]
    key = key_of(path.stem, path.stem, _draw, filled)
    shown = drawing.write(path, "flags by dose", partial(_draw, filled), problems, caption, key)
    return shown, drawing.files(path) if shown else []


def _draw(panels: Sequence[tuple[str, Shares]]) -> Figure | None:
    if not panels:
        return None
    probes = drawing.styles(dict.fromkeys(name for _, shares in panels for name in shares))
    across = 4
    down = -(-len(panels) // across)
    picture = drawing.figure(drawing.DOUBLE, 1.35 * down + 0.5)
    grid = drawing.grid(picture, len(panels), across, sharey=True)
    for axes, (title, shares) in zip(grid, panels, strict=True):
        doses = sorted({dose for own in shares.values() for dose, *_ in own})
        for place, (name, own) in enumerate(shares.items()):
            color, marker = probes[name]
            shift = 0.4 * ((place + 0.5) / len(shares) - 0.5)  # or intervals hide each other
            points = [(raised / n, *wilson(raised, n)) for _, raised, n in own]
            value, low, high = ([100 * end for end in ends] for ends in zip(*points, strict=True))
            x = [doses.index(dose) + shift for dose, *_ in own]
            ends = drawing.lengths(value, low, high)
            axes.errorbar(x, value, ends, color=color, marker=marker, elinewidth=0.6)
        drawing.mark_levels(axes, doses)
        axes.set_ylim(0, 100)
        axes.grid(axis="y")
        axes.set_title(drawing.label(title, drawing.LONGEST_ON_AXIS))
    for axes in grid[::across]:
        axes.set_ylabel("flags, %")
    first = picture.axes[0]
    handles = [
        first.plot([], [], color=color, marker=marker, label=drawing.in_legend(name))[0]
        for name, (color, marker) in probes.items()
    ]
    picture.legend(handles=handles, loc="outside lower center", ncols=4)
    return picture
