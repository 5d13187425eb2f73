"""Few-shot curves as tables, text, a picture, and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.few_shot import FewShot, Point, spread, standard_error
from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.reports.report import render, write_page
from harness.store.failures import Collected
from harness.system.atomic import write_atomically
from harness.text.markup import code, csv_table, inline, visible
from harness.text.numbers import percent
from harness.types.findings import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
TITLES = {
    "simpleshot": "SimpleShot",
    "linear": "logistic regression",
    "linear-uni": "logistic regression, UNI's penalty",
}
SAID = {
    "simpleshot": "the class with the nearest mean of centered features of unit length "
    "(SimpleShot, Wang et al., arXiv:1911.04623)",
    "linear": "logistic regression on standardized features with C = 1, as nothing is held out to "
    "choose it on",
    "linear-uni": "logistic regression with the fixed penalty of UNI's notebook",
}
"""What a head is, by its name."""


def tables(found: FewShot) -> list[Table]:
    """Balanced accuracy of each model by size, a table for each head."""
    return [
        Table(
            name=f"balanced-{head}",
            title=f"{TITLES[head]}: balanced accuracy % by labeled patches of each class (middle "
            "95 % of episodes)",
            headings=("model", *map(str, found.sizes)),
            rows=tuple(
                (source.name, *(_cell(point) for point in found.curve(source.name, head)))
                for source in found.sources
            ),
        )
        for head in found.heads
    ]


def _cell(point: Point) -> str:
    low, high = spread(point.balanced)
    return f"{percent(float(point.balanced.mean()), 1)} ({percent(low, 0)}–{percent(high, 0)})"


def details(found: FewShot) -> Table:
    """Every figure of every curve."""

    def figures(point: Point) -> tuple[str, ...]:
        cells: list[str] = []
        for values in (point.balanced, point.accuracy):
            low, high = spread(values)
            cells += [
                f"{percent(float(values.mean()))} ({percent(low)} to {percent(high)})",
                percent(standard_error(values)),
            ]
        return tuple(cells)

    return Table(
        name="figures",
        title="All figures",
        headings=(
            *("model", "head", "patches of each class"),
            *("balanced accuracy % (middle 95 %)", "standard error"),
            *("accuracy % (middle 95 %)", "standard error"),
        ),
        rows=tuple((p.model, p.head, str(p.size), *figures(p)) for p in found.points),
    )


def about(found: FewShot, name: Callable[[str], str] = visible) -> list[str]:
    """What was done, and what the figures mean. ``name`` escapes names."""
    heads = "; or ".join(SAID[head] for head in found.heads)
    sizes = " or ".join(filter(None, (", ".join(map(str, found.sizes[:-1])), str(found.sizes[-1]))))
    texts = [
        f"In each of {found.episodes:,} episodes (seed {found.seed}), {sizes} training patches of "
        f"each of the {len(found.classes)} classes are drawn, the same for all models; those of a "
        "smaller number are among those of a larger one. A head is fitted on their frozen features "
        f"alone and predicts all {found.n_test:,} test patches: {heads}. A guess would have a "
        f"balanced accuracy of {percent(found.chance, 1)} %.",
        "Figures are means over episodes. The middle 95 % of episodes lies in parentheses: what "
        "one such draw of training patches may give. It is about these test patches, and does not "
        "say how figures vary with others, nor how well the mean is known, of which the standard "
        "error is on the page.",
    ]
    if found.folds:
        texts.append(
            f"Patches are cross-validated in {found.folds} folds: an episode draws from those that "
            "are fitted on in a fold, predicts those of the fold, and does so for each fold. As "
            f"these are {found.folds} draws, episodes differ less than single draws would."
        )
    if found.grouped:
        texts.append(
            "Patients or slides of the patches that are drawn are known; patches are drawn without "
            "regard to them, so that several may be of one."
        )
    by_reason: dict[str, list[int]] = {}
    for size, why in found.left_out.items():
        by_reason.setdefault(why, []).append(size)
    for why, left_out in by_reason.items():
        listed = ", ".join(map(str, left_out))
        texts.append(f"Left out: {listed} patches of each class, as {name(why)}.")
    return texts


def features(found: FewShot) -> Table:
    """What the curves are of."""
    return Table(
        name="features",
        title="Features",
        headings=("model", "numbers", "initial weights", "settings that differ"),
        rows=tuple((s.name, f"{s.width:,}", s.weights, s.notes) for s in found.sources),
    )


def draw(found: FewShot) -> Figure:
    """Balanced accuracy by size with the middle 95 % of episodes, a column of panels a head."""
    return draw_rows([point.as_row() for point in found.points], found.chance, found.title)


def draw_rows(rows: Sequence[Mapping[str, Any]], chance: float, title: str) -> Figure:
    """``draw`` of the rows of points (``Point.as_row``), one or more."""
    names, heads, sizes = (
        list(dict.fromkeys(row[key] for row in rows)) for key in ("model", "head", "per_class")
    )
    models, groups = drawing.styles(names), drawing.groups(names)
    picture = drawing.figure(drawing.DOUBLE, 2.6 * len(groups) + 0.2)
    panels = picture.subplots(len(groups), len(heads), sharex=True, sharey=True, squeeze=False)
    for line, group in zip(panels, groups, strict=True):
        for axes, head in zip(line, heads, strict=True):
            for name in group:
                curve = [row for row in rows if (row["model"], row["head"]) == (name, head)]
                _curve(axes, curve, *models[name])
            axes.axhline(100 * chance, color="0.4", linestyle=(0, (4, 3)), label="chance")
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, map(str, sizes))
            axes.minorticks_off()
            axes.grid(axis="y")
            axes.set_ylim(0, 100)
        line[0].set_ylabel("balanced accuracy, %")
        drawing.legend(line[-1], title="mean, and in the band\nthe middle 95 % of episodes")
    for axes, head in zip(panels[0], heads, strict=True):
        axes.set_title(TITLES.get(head, head))
    for axes in panels[-1]:
        axes.set_xlabel("labeled patches of each class")
    picture.suptitle(drawing.label(title))
    return picture


def _curve(axes: Any, curve: Sequence[Mapping[str, Any]], color: str, marker: str) -> None:
    """A model's curve, with its band."""
    sizes = [row["per_class"] for row in curve]
    means, lower, upper = (
        [100 * row[f"balanced_accuracy{end}"] for row in curve] for end in ("", "_low", "_high")
    )
    shown = drawing.in_legend(curve[0]["model"])
    axes.plot(sizes, means, color=color, marker=marker, label=shown, clip_on=False, zorder=3)
    axes.fill_between(sizes, lower, upper, color=color, alpha=0.15, linewidth=0)


def as_json(found: FewShot) -> dict[str, Any]:
    """Everything, the figures of every episode included."""
    return {
        "schema": SCHEMA,
        "dataset": found.dataset,
        "classes": list(found.classes),
        "n_test": found.n_test,
        "folds": found.folds,
        "groups_known": found.grouped,
        "episodes": found.episodes,
        "seed": found.seed,
        "chance": found.chance,
        "sizes": list(found.sizes),
        "left_out": {str(size): why for size, why in found.left_out.items()},
        "features": [asdict(source) for source in found.sources],
        "curves": [
            {
                **point.as_row(),
                "episodes": {
                    "balanced_accuracy": point.balanced.tolist(),
                    "accuracy": point.accuracy.tolist(),
                },
            }
            for point in found.points
        ],
        "failed": dict(found.failed),
    }


def write(found: FewShot, command: str, folder: Path, problems: Collected) -> list[Path]:
    """Write ``<dataset>-few-shot`` as Markdown, JSON, CSV and a picture; returns their paths.

    A picture that cannot be drawn is added to ``problems``.
    """
    path = folder / f"{found.dataset}-few-shot.md"
    picture = path.with_suffix(".png")
    content = as_json(found)
    key = key_of(found.dataset, picture.stem, draw, content)
    shown = drawing.write(picture, "few-shot curves", partial(draw, found), problems, key=key)
    page = [f"# {inline(found.title)}: few-shot curves", *about(found, inline), *shown]
    for table in (*tables(found), details(found), features(found)):
        page += [f"## {inline(table.title)}", render(table)]
    page += [f"Failed: {inline(label)}: {inline(why)}" for label, why in found.failed.items()]
    page.append(f"Written by {code(command)}.")
    rows = [point.as_row() for point in found.points]
    table_path = path.with_suffix(".csv")
    write_atomically(table_path, csv_table([*rows[0]], rows))
    written = [*write_page(path, page, {**content, "command": command}), table_path]
    return [*written, *drawing.files(picture)] if shown else written
