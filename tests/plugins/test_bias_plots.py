"""Pictures of what the probes found."""

import numpy as np
import pytest

from harness import Finding, Table
from harness.reports import drawing
from harness.statistics.intervals import wilson
from harness_bias import plots


def followed(classes, kinds):
    """What the probe of steering finds: tables of a class by a class."""
    rows = tuple((name, *(0.5,) * len(classes)) for name in classes)
    headings = ("class", *classes)
    tables = (Table(name=kind, title=kind, headings=headings, rows=rows) for kind in kinds)
    return Finding(summary="", estimates=(), tables=tuple(tables))


@pytest.mark.parametrize(
    ("models", "classes", "kinds", "shown"),
    [
        (1, 9, 2, 1),
        (4, 9, 2, 4),
        (5, 9, 2, 5),
        (8, 9, 2, 8),
        (9, 9, 2, 8),
        (20, 9, 1, 8),
        (5, 9, 3, 2),
        (5, 20, 2, 1),
    ],
)
def test_steering_fits_a_page_and_says_how_many_models_it_has(models, classes, kinds, shown):
    classes = [f"C{number}" for number in range(classes)]
    findings = {f"m{n}": followed(classes, ["x", "y", "z"][:kinds]) for n in range(models)}
    with drawing.clean():
        picture = plots.steering(findings, (), classes)
    assert picture.get_size_inches()[1] <= plots.PAGE
    titles = [axes.get_title(loc="left") for axes in picture.axes[:-1]]
    assert len(titles) == shown * kinds
    assert {title.split("\n")[0] for title in titles} - {""} == set(list(findings)[:shown])
    said = picture.get_suptitle()
    assert said == (
        f"The first {shown} of {models} models of the leaderboard" if shown < models else ""
    )


def test_numbers_stand_in_cells_that_have_room_for_them():
    classes = list(map(str, range(9)))
    for models, has_numbers in ((4, True), (8, False)):
        findings = {f"m{n}": followed(classes, ["x", "y"]) for n in range(models)}
        with drawing.clean():
            picture = plots.steering(findings, (), classes)
        assert bool(picture.axes[0].texts) is has_numbers


def test_steering_without_a_finding_has_no_picture():
    assert plots.steering({}, (), ["a"]) is None


@pytest.mark.parametrize(("share", "is_whole"), [(0.17, False), (1, True)])
def test_axes_of_the_dynamic_range_end_at_a_hundred_or_say_that_they_do_not(share, is_whole):
    headings = ("class", "split", "patches", "cut off at 0", "cut off at 255", "corrupt patches")
    rows = (("A", "test", 12, 0.0, share, 0.25), ("B", "test", 4, 0.01, 0.0, 0.0))
    table = Table(name="classes", title="", headings=headings, rows=rows)
    finding = Finding(summary="", estimates=(), tables=(table,))
    with drawing.clean():
        cut, corrupt = plots.dynamic_range(finding).axes
    assert ("ends before 100 %" in cut.get_ylabel()) is not is_whole
    assert bool(cut.get_ylim()[1] == 100) is is_whole
    assert corrupt.get_ylim() == (0, 100)
    ends = [bars.get_segments()[0][:, 1] for bars in corrupt.collections]
    expected = 100 * np.array([wilson(3, 12), wilson(0, 4)])
    assert np.allclose(np.sort(ends), expected)
