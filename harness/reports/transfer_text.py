"""Transfers as tables and text for a person, and as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.transfer import FIGURES, Cohort, Transfer, Transferred
from harness.reports import drawing
from harness.reports.kept_pictures import key_of
from harness.reports.report import render, write_page
from harness.statistics.estimates import Estimate
from harness.store.failures import Collected
from harness.text.markup import inline, visible
from harness.text.numbers import percent, points
from harness.types.findings import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1
LONGEST = 200
"""Characters of a file's name, which some systems limit to 255 bytes."""
TITLES = {"balanced_accuracy": "balanced accuracy", "accuracy": "accuracy"}


def tables(found: Transfer) -> list[Table]:
    """For each cohort accuracies at home and away, and recall by class; and what foretells it."""
    made = []
    for cohort in found.cohorts:
        if cohort.models:
            made += [_accuracies(found, cohort), _recalls(found, cohort)]
        if cohort.published:
            made.append(_published(cohort))
    if any(of.away for of in found.foretold):
        made.append(_foretold(found))
    return made


def _accuracies(found: Transfer, cohort: Cohort) -> Table:
    probes = [figure for figure in found.headings if figure in found.figures]

    def cells(model: Transferred) -> tuple[str, ...]:
        home, away = model.home.figures, model.away.figures
        by_probe = (found.figures[figure].get(model.model) for figure in probes)
        return (
            model.model + (" (baseline)" if model.baseline else ""),
            *(
                text
                for name in FIGURES
                for text in (
                    percent(home[name].value),
                    percent(away[name].value),
                    _points(model.drops[name]),
                )
            ),
            percent(model.away.elsewhere),
            *("" if known is None else f"{100 * known.value:.1f}" for known in by_probe),
        )

    ordered = sorted(
        cohort.models.values(), key=lambda model: -model.away.figures[FIGURES[0]].value
    )
    n_shared = len(set(cohort.mapped.values()))
    return Table(
        name=f"{cohort.dataset.name}-accuracy",
        title=f"{found.home.name} to {cohort.dataset.name}: {n_shared} shared classes",
        headings=(
            "model",
            *("balanced % home", "away", "drop (95 %)", "accuracy % home", "accuracy away"),
            *("accuracy drop (95 %)", "called another class %"),
            *(f"{found.headings[figure]} (home)" for figure in probes),
        ),
        rows=tuple(cells(model) for model in ordered),
    )


def _recalls(found: Transfer, cohort: Cohort) -> Table:
    own: dict[str, str] = {}
    for name, at_home in cohort.mapped.items():
        own[at_home] = f"{own[at_home]}, {name}" if at_home in own else name
    names = [name for name in found.home.classes if name in own]

    def cell(model: Transferred, name: str) -> str:
        if name not in model.home.recall or name not in model.away.recall:
            return ""
        ends = (percent(side.recall[name].value, 1) for side in (model.home, model.away))
        return f"{' to '.join(ends)}: {_points(model.falls[name])}"

    return Table(
        name=f"{cohort.dataset.name}-recall",
        title=f"{found.home.name} to {cohort.dataset.name}: recall % by class, and its drop (95 %)",
        headings=("class", "in the cohort", *cohort.models),
        rows=tuple(
            (name, own[name], *(cell(model, name) for model in cohort.models.values()))
            for name in names
        ),
    )


def _published(cohort: Cohort) -> Table:
    return Table(
        name=f"{cohort.dataset.name}-published",
        title=f"Published on {cohort.dataset.test_set}, for reference only",
        headings=("model", "trained on", "accuracy %", "read", "source"),
        rows=tuple(
            (
                result.title,
                result.trained_on,
                "" if result.accuracy is None else percent(result.accuracy),
                "in the source" if result.checked == "source" else "second-hand",
                result.source,
            )
            for result in cohort.published
        ),
    )


def _foretold(found: Transfer) -> Table:
    headings = {**TITLES, **found.headings}
    return Table(
        name="foretold",
        title="Does a figure at home foretell how models do elsewhere? Rank correlations (95 %)",
        headings=(
            *("cohort", "figure at home", "models"),
            *("with the drop of balanced accuracy", "with balanced accuracy away"),
        ),
        rows=tuple(
            (
                of.cohort,
                headings[of.figure],
                of.n_models,
                "" if of.figure == FIGURES[0] else _correlation(of.drop),
                _correlation(of.away),
            )
            for of in found.foretold
        ),
    )


def _points(gap: Estimate) -> str:
    return f"{points(gap.value)} ({points(gap.low or 0)} to {points(gap.high or 0)})"


def _correlation(rho: Estimate | None) -> str:
    if rho is None:
        return "too few models"
    return f"{rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"


def about(found: Transfer, name: Callable[[str], str] = visible) -> str:
    """What was done, for the page and the terminal. ``name`` escapes the names of datasets."""
    home = name(found.home.name)
    fitted = f"Each model is fitted once on {home} and tested there and on each cohort"
    if found.folds:
        fitted = (
            f"Each model is cross-validated on {home} over {found.folds} folds; another fit, on "
            "all its patches, is tested on each cohort"
        )
    return (
        f"{fitted}, on patches of the classes that both have. Its prediction may be any class that "
        "it knows; one that the two do not share is wrong. A drop is the figure at home minus that "
        "away, with the 95 % interval of two independent sets of patches. Balanced accuracy is the "
        "mean recall of the shared classes, so it does not depend on how many patches there are of "
        "each. Pretrained classifiers are not fitted. Baselines see no structure of tissue: where "
        "they fall as far as others, color alone may explain it." + _of_foretold(found)
    )


def _of_foretold(found: Transfer) -> str:
    """How to read the table of rank correlations, if there is one."""
    if not any(of.away for of in found.foretold):
        return ""
    return (
        " Rank correlations are over models, baselines among them where they have the figure, and "
        "not adjusted for their number. Balanced accuracy at home is a part of the drop, so it is "
        "set against that away alone; other figures are of the same patches at home, too, so that "
        "a weak correlation with the drop comes about by itself."
    )


def of_cohort(found: Transfer, cohort: Cohort, name: Callable[[str], str] = visible) -> str:
    """What the patches of a cohort are, and how its classes are mapped."""
    dataset, truth = cohort.dataset, cohort.truth
    mapped = ", ".join(
        own if own == at_home else f"{own} as {at_home}" for own, at_home in cohort.mapped.items()
    )
    left = [own for own in dataset.classes if own not in cohort.mapped]
    text = (
        f"{name(dataset.name)}: {name(dataset.title)}, {len(truth.labels):,} patches; "
        f"{cohort.n_home:,} at home. Classes: {name(mapped)}."
    )
    if left:
        text += f" Left out: {name(', '.join(left))}."
    if truth.described["shortfall"]:
        text += f" {name(truth.described['shortfall'])}."
    if dataset.test_set and dataset.test_set == found.home.test_set:
        text += " Its test set is that at home: the two are not independent."
    sides = {"home": found.grouped, "this cohort": truth.groups is not None}
    if unknown := [where for where, grouped in sides.items() if not grouped]:
        text += (
            f" Which patches are of one patient is not known of {' and of '.join(unknown)}: "
            "intervals are too narrow."
        )
    if dataset.counterparts_source:
        text += f" The map of classes is from: {name(dataset.counterparts_source)}."
    if cohort.scale != 1:
        text += (
            f" Its patches have {dataset.micrometers:g} µm a pixel and were made "
            f"{cohort.scale:.3g} times as large, as those at home have {found.home.micrometers:g}."
        )
    elif not (dataset.micrometers and found.home.micrometers):
        text += (
            " Not all scales are known: patches are as they are, and a network brings them to the "
            "size that it takes."
        )
    else:
        text += " Its scale is that at home."
    if dataset.micrometers and found.home.micrometers:
        text += " Patches of another shape are cut, or continued by their mirror images."
    given = [model.model for model in cohort.models.values() if model.given]
    if given:
        text += (
            f" What was brought along counts as it is, that is, of {name(', '.join(given))}: at "
            "which scale its patches were read is not known."
        )
    return text


def draw(found: Transfer) -> Figure:
    """Balanced accuracy at home (hollow) and away (filled), one panel a cohort, a line a model."""
    cohorts = [cohort for cohort in found.cohorts if cohort.models]
    names = list(dict.fromkeys(model for cohort in cohorts for model in cohort.models))
    models = drawing.styles(names)
    across = min(3, len(cohorts))
    down = -(-len(cohorts) // across)
    picture = drawing.figure(drawing.DOUBLE, (0.22 * len(names) + 0.6) * down + 0.5)
    panels = drawing.grid(picture, len(cohorts), across, sharex=True, sharey=True)
    for axes, cohort in zip(panels, cohorts, strict=True):
        for place, name in enumerate(names):
            if name in cohort.models:
                _sides(axes, place, cohort.models[name], models[name])
        axes.set_title(drawing.label(cohort.dataset.name, drawing.LONGEST_IN_LEGEND))
        axes.set_xlim(0, 100)
        axes.grid(axis="x")
        axes.xaxis.set_tick_params(labelbottom=True)
        axes.set_xlabel("balanced accuracy, %")
    first = picture.axes[0]
    drawing.name_axis(first.yaxis, names, longest=drawing.LONGEST_IN_LEGEND)
    first.set_ylim(len(names) - 0.4, -0.6)
    handles = [
        first.plot([], [], "o-", color="0.3", mfc=fill, label=where)[0]
        for where, fill in ((f"on {found.home.name}", "white"), ("on the cohort", "0.3"))
    ]
    picture.legend(handles=handles, loc="outside lower center", ncols=2)
    picture.suptitle("At home and away, other patches of the same classes (95 % intervals)")
    return picture


def _sides(axes: Any, place: int, model: Transferred, style: drawing.Style) -> None:
    """The two figures of a model, each on a line of its own, as they are of other patches."""
    for side, fill, y in (
        (model.home, "white", place - 0.17),
        (model.away, style.color, place + 0.17),
    ):
        figure = side.figures[FIGURES[0]]
        value, low, high = (
            100 * (figure.value if end is None else end)
            for end in (figure.value, figure.low, figure.high)
        )
        ends = drawing.lengths([value], [low], [high])
        shown = {"color": style.color, "marker": style.marker, "mfc": fill, "elinewidth": 1}
        axes.errorbar(value, y, xerr=ends, **shown)


def write(found: Transfer, folder: Path, problems: Collected) -> list[Path]:
    """Write ``<home>-to-<cohorts>.md``, ``.json`` and a picture.

    A picture that cannot be drawn is added to ``problems``.
    """
    name = f"{found.home.name}-to-{'-and-'.join(c.dataset.name for c in found.cohorts)}"
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    page = [f"# {inline(found.home.name)} on cohorts of other origin", about(found, inline)]
    page += [of_cohort(found, cohort, inline) for cohort in found.cohorts]
    picture = folder / f"{name}.png"
    content = as_json(found)
    key = key_of(found.home.name, picture.stem, draw, content)
    drawn = partial(draw, found)
    shown = drawing.write(picture, "at home and away", drawn, problems, key=key)
    page += shown
    for table in tables(found):
        page += [f"## {inline(table.title)}", render(table, "github")]
    written = write_page(folder / f"{name}.md", page, content)
    return [*written, *drawing.files(picture)] if shown else written


def as_json(found: Transfer) -> dict[str, Any]:
    """All figures, for programs."""
    return {
        "schema": SCHEMA,
        "home": found.home.name,
        "cohorts": {
            cohort.dataset.name: {
                "classes": dict(cohort.mapped),
                "n_home": cohort.n_home,
                "n_away": len(cohort.truth.labels),
                "scale": cohort.scale,
                "models": {model: _model(of) for model, of in cohort.models.items()},
            }
            for cohort in found.cohorts
        },
        "foretold": [
            {
                "cohort": of.cohort,
                "figure": of.figure,
                "models": of.n_models,
                **_ends("with_drop", of.drop),
                **_ends("with_away", of.away),
            }
            for of in found.foretold
        ],
        "failed": dict(found.failed),
    }


def _model(of: Transferred) -> dict[str, Any]:
    said: dict[str, Any] = {"baseline": of.baseline, "seeds": list(of.seeds)}
    for figure in FIGURES:
        said |= _ends(f"{figure}_home", of.home.figures[figure])
        said |= _ends(f"{figure}_away", of.away.figures[figure])
        said |= _ends(f"{figure}_drop", of.drops[figure])
    recalls = {
        name: {
            **_ends("home", of.home.recall[name]),
            **_ends("away", of.away.recall[name]),
            **_ends("drop", fall),
        }
        for name, fall in of.falls.items()
    }
    return {**said, "called_another_class": of.away.elsewhere, "recall": recalls}


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    ends = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
