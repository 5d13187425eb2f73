"""Pictures that the store keeps: drawn again when what they show changes, and only then."""

import importlib
import sys
from functools import partial

import numpy as np
import pytest

from harness.hooks.later import later
from harness.hooks.loader import load_plugins
from harness.reports import drawing, flags_picture, kept_pictures
from harness.store.failures import Collected
from harness.store.store import Store

DRAW = """
from harness.reports import drawing


def draw(heights):
    drawn.append(heights)
    picture = drawing.figure(3, 2)
    axes = picture.subplots()
    axes.bar(range(len(heights)), heights)
    drawing.name_axis(axes.xaxis, [NAME] * len(heights))
    return picture


drawn = []
NAME = "TUM"
"""


@pytest.fixture
def others(tmp_path, monkeypatch):
    """A package of others that draws, and counts how often."""
    (tmp_path / "own_plots").mkdir()
    (tmp_path / "own_plots" / "__init__.py").write_text(DRAW)
    monkeypatch.syspath_prepend(tmp_path)
    return anew()


@pytest.fixture
def plots(others, monkeypatch):
    """The same, as if it were one of the built-in plugins."""
    monkeypatch.setattr(kept_pictures, "_own_packages", lambda: {"harness", "own_plots"})
    return others


def anew():
    """Import it as in a new process."""
    sys.modules.pop("own_plots", None)
    importlib.invalidate_caches()
    kept_pictures._code_of.cache_clear()
    return importlib.import_module("own_plots")


@pytest.fixture
def write(tmp_path):
    """Writes the picture of some heights as in a new run, and returns it and what stands below."""

    def write(draw, heights, content=None):
        problems = Collected(Store(tmp_path / "runs"))
        key = kept_pictures.key_of("toy", "p", draw, heights if content is None else content)
        path = tmp_path / "p.png"
        path.unlink(missing_ok=True)
        shown = drawing.write(path, "a-plot", partial(draw, heights), problems, key=key)
        assert not problems
        return path.read_bytes() if path.exists() else b"", shown

    return write


def kept(tmp_path):
    return sorted((tmp_path / "runs" / "picture" / "toy" / "p").glob("*"))


@pytest.mark.parametrize("how", ["function", "later"])
def test_a_picture_is_drawn_again_when_its_content_changes_and_only_then(
    how, plots, write, tmp_path
):
    draw = plots.draw if how == "function" else later("own_plots:draw")
    first = write(draw, [1, 2])
    assert write(draw, [1, 2]) == first
    assert plots.drawn == [[1, 2]]
    assert write(draw, [2, 1])[0] != first[0]
    assert plots.drawn == [[1, 2], [2, 1]]
    assert len(kept(tmp_path)) == 1, "the one before is of no use any more"


@pytest.mark.parametrize("file", ["__init__.py", "another.py"])
def test_a_picture_is_drawn_again_when_a_file_of_the_package_changes(file, plots, write, tmp_path):
    write(later("own_plots:draw"), [1, 2])
    (tmp_path / "own_plots" / file).write_text(DRAW.replace("TUM", "NORM"))
    changed = anew()
    write(later("own_plots:draw"), [1, 2])
    assert len(changed.drawn) == 1


def test_pictures_of_other_plugins_are_drawn_each_time(others, write, tmp_path):
    """What else they use, and how that changes, is not known."""
    for draw in (others.draw, later("own_plots:draw")):
        assert write(draw, [1, 2]) == write(draw, [1, 2])
    assert len(others.drawn) == 4
    assert not kept(tmp_path)


def test_pictures_of_built_in_plugins_are_kept():
    draws = [draw for probe in load_plugins().probes.values() for draw in probe.plots.values()]
    assert len(draws) > 4
    assert all(kept_pictures.key_of("toy", "p", draw, [1]) for draw in draws)


@pytest.mark.parametrize("damage", [b"", b"\x89PNG of something else"])
def test_a_damaged_picture_is_drawn_again(damage, plots, write, tmp_path):
    first = write(plots.draw, [1, 2])
    (kept(tmp_path)[0] / f"{kept_pictures.FILE}png").write_bytes(damage)
    assert write(plots.draw, [1, 2]) == first
    assert len(plots.drawn) == 2
    assert write(plots.draw, [1, 2]) == first
    assert len(plots.drawn) == 2


def test_numbers_of_long_names_are_kept_with_the_picture(plots, write):
    plots.NAME = "x" * 70
    first = write(plots.draw, [1, 2])
    assert first[1][-1].startswith("In the picture (1) is xxx")
    assert write(plots.draw, [1, 2]) == first
    assert len(plots.drawn) == 1


def test_what_depends_on_installed_fonts_is_drawn_each_time(plots, write, tmp_path):
    plots.NAME = "肿瘤"
    assert write(plots.draw, [1, 2]) == write(plots.draw, [1, 2])
    assert len(plots.drawn) >= 2
    assert not kept(tmp_path)


def test_what_cannot_be_told_is_drawn_each_time(plots, write, tmp_path):
    def closure(heights):
        return plots.draw(heights)

    for draw, content in [
        (closure, None),
        (partial(plots.draw), None),
        (later("own_plots:draw"), {"a set": {1}}),
    ]:
        assert kept_pictures.key_of("toy", "p", draw, [1] if content is None else content) is None
    assert write(closure, [1, 2]) == write(closure, [1, 2])
    assert len(plots.drawn) == 2
    assert not kept(tmp_path)


def test_arrays_are_told_apart_by_type_shape_and_content():
    arrays = [
        *(np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.ones(4)),
        np.zeros(8)[::2] + 2,
    ]
    keys = [kept_pictures.key_of("toy", "p", drawing.figure, [array]) for array in arrays]
    assert len({key.digest for key in keys}) == len(arrays)
    again = kept_pictures.key_of("toy", "p", drawing.figure, [np.full(4, 2.0)])
    assert again == keys[-1]


def test_a_store_that_cannot_be_written_to_costs_no_picture(plots, write, monkeypatch):
    def full(store, key):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "write", full)
    assert write(plots.draw, [1, 2]) == write(plots.draw, [1, 2])
    assert len(plots.drawn) == 2


def test_every_format_is_kept_and_none_is_drawn_twice(plots, write, tmp_path):
    png, _ = write(plots.draw, [1, 2])
    with drawing.saved_as(("svg", "pdf")):
        write(plots.draw, [1, 2])
    svg = (tmp_path / "p.svg").read_bytes()
    assert len(plots.drawn) == 2
    with drawing.saved_as(("pdf", "svg", "png")):
        assert write(plots.draw, [1, 2])[0] == png
    assert (tmp_path / "p.svg").read_bytes() == svg
    assert len(plots.drawn) == 2
    assert len(kept(tmp_path)) == 1


def test_a_picture_is_drawn_again_when_other_models_share_its_colors(plots, write):
    with drawing.of_models(["m"]):
        write(plots.draw, [1, 2])
        write(plots.draw, [1, 2])
    assert len(plots.drawn) == 1
    with drawing.of_models(["m", "n"]):
        write(plots.draw, [1, 2])
    assert len(plots.drawn) == 2


def test_the_picture_of_flags_is_drawn_once(tmp_path, monkeypatch):
    def write(raised, folder):
        panels = [("tint", {"color": [(0, 0, 5), (1, raised, 5)]})]
        store = Collected(Store(tmp_path / "store"))
        (path,) = flags_picture.write(panels, tmp_path / folder / "flags.png", store)[1]
        return path.read_bytes()

    first, other = write(5, "first"), write(3, "other")
    assert first != other
    monkeypatch.setattr(drawing, "save", None)
    assert write(3, "again") == other
