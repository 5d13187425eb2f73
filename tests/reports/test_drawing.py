"""Pictures: whatever the user's matplotlib settings are, and whatever classes are called."""

import hashlib
import io
import os
import re
import subprocess
import sys
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from harness.reports import drawing
from harness.store.failures import Collected
from harness.store.store import Store

WITHOUT_FONT = {
    "Chinese": "肿瘤",
    "Korean": "종양",
    "Arabic": "ورم",
    "Hebrew": "גידול",
    "Devanagari": "ट्यूमर",
    "Thai": "เนื้องอก",
    "emoji": "🧬",
    "joined emoji": "👩‍🔬",
    "line break": "a\nb",
    "empty": " ",
    "turned round": "\u202eabc",
    "undecodable": "\udc80",
    "very long": "x" * 61,
}
AS_THEY_ARE = ["TUM", "Größe", "опухоль", "όγκος", "a_b", "50 % {x}", "e\u0301"]


@pytest.fixture
def problems(tmp_path):
    return Collected(Store(tmp_path / "runs"))


def bars(names):
    picture = drawing.figure(6, 3)
    axes = picture.subplots()
    axes.bar(range(len(names)), range(1, len(names) + 1), label=drawing.label(names[0]))
    drawing.name_axis(axes.xaxis, names)
    axes.set_title(drawing.label(names[-1]))
    axes.legend()
    return picture


def texts(picture):
    axes = picture.axes[0]
    return [*(text.get_text() for text in axes.get_xticklabels()), axes.get_title()]


@pytest.mark.parametrize("name", WITHOUT_FONT.values(), ids=WITHOUT_FONT)
def test_a_name_that_no_font_shows_is_a_number_and_stands_in_the_text(
    name, tmp_path, problems, capfd, recwarn
):
    drawn = []

    def draw():
        drawn.append(bars(["NORM", name]))
        return drawn[0]

    shown = drawing.write(tmp_path / "p.png", "a-plot", draw, problems, "What it is.")
    assert not problems
    assert texts(drawn[0]) == ["NORM", "(1)", "(1)"]
    caption, link, note = shown
    assert (caption, link) == ("What it is.", "![a plot](p.png)")
    assert note.startswith("In the picture (1) is ")
    assert "\n" not in note
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    # An old matplotlib with a new pyparsing warns of deprecated names.
    assert not [w for w in recwarn if not issubclass(w.category, DeprecationWarning)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_other_names_are_drawn_as_they_are(name, tmp_path, problems):
    shown = drawing.write(tmp_path / "p.png", "plot", lambda: bars(["NORM", name]), problems)
    assert shown == ["![plot](p.png)"]


def test_what_is_between_dollars_is_no_formula(tmp_path, problems):
    names = ["$x^2$", "$\\frac{$", "5 $"]
    drawn = []

    def draw():
        drawn.append(bars(names))
        return drawn[0]

    assert drawing.write(tmp_path / "p.png", "plot", draw, problems) == ["![plot](p.png)"]
    assert not problems
    labels = drawn[0].axes[0].get_xticklabels()
    assert [label._preprocess_math(label.get_text()) for label in labels] == [
        (name, False) for name in names
    ]


def test_forty_long_names_keep_their_places_apart(tmp_path, problems):
    names = [f"a rather long name {k:02}" for k in range(40)]
    drawn = []

    def draw():
        drawn.append(bars(names))
        return drawn[0]

    assert drawing.write(tmp_path / "p.png", "plot", draw, problems)
    assert {label.get_rotation() for label in drawn[0].axes[0].get_xticklabels()} == {90}
    assert drawn[0].axes[0].get_position().height > 0.2, "the axes have room beside the names"


def test_nothing_to_draw_and_what_fails(tmp_path, problems):
    assert drawing.write(tmp_path / "p.png", "plot", lambda: None, problems) == []
    assert not problems
    assert drawing.write(tmp_path / "p.png", "plot", lambda: 1 / 0, problems) == []
    assert list(problems) == ["picture p.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def square_font(path, family, characters):
    """A font with a square for each of some characters."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = {ord(character): f"u{ord(character):04X}" for character in characters}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    builder.setupGlyf({name: pen.glyph() for name in (".notdef", *names.values())})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", *names.values()), (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def install(tmp_path):
    """A function that installs a font for the time of a test."""
    from matplotlib.font_manager import fontManager

    before = list(fontManager.ttflist)

    def forget():
        drawing.fonts_for.cache_clear()
        drawing._installed.cache_clear()

    def add(family, characters):
        path = tmp_path / f"{family}.ttf"
        square_font(path, family, characters)
        fontManager.addfont(path)
        forget()

    yield add
    fontManager.ttflist[:] = before
    forget()


def test_a_font_that_has_the_letters_is_found_and_used(install, tmp_path, problems):
    install("Half Test", "肿x")
    install("Whole Test", "肿瘤x")
    with drawing.clean():
        assert drawing.fonts_for(frozenset("肿瘤T"))[0] == ("Whole Test",)
        assert drawing.fonts_for(frozenset("肿瘤癌"))[1] == {"癌"}
    shown = drawing.write(tmp_path / "p.png", "plot", lambda: bars(["肿瘤", "癌"]), problems)
    assert shown[1:] == ["In the picture (1) is 癌."]


def test_letters_of_others_that_no_font_has_are_named(tmp_path, problems, install, recwarn):
    """A plot that does not know of ``label``."""

    def draw():
        picture = drawing.figure(4, 3)
        picture.subplots().set_title("肿瘤")
        return picture

    _, note = drawing.write(tmp_path / "p.png", "plot", draw, problems)
    assert note == "Boxes in the picture stand for letters that no installed font has: 瘤 肿."
    before = (tmp_path / "p.png").read_bytes()
    install("Whole Test", "肿瘤")
    assert drawing.write(tmp_path / "p.png", "plot", draw, problems) == ["![plot](p.png)"]
    assert (tmp_path / "p.png").read_bytes() != before
    assert not list(recwarn)


def test_what_a_plot_warns_of_stays_out_of_the_terminal(tmp_path, problems, capfd, recwarn):
    def draw():
        warnings.warn("of no use to the user", RuntimeWarning, stacklevel=1)
        return bars(["a"])

    assert drawing.write(tmp_path / "p.png", "plot", draw, problems)
    # An old matplotlib with a new pyparsing warns of deprecated names.
    assert not [w for w in recwarn if not issubclass(w.category, DeprecationWarning)]
    assert capfd.readouterr().err == ""


DRAW = """
import sys, types
sys.path.insert(0, {tests!r})
from test_drawing import bars
from harness.reports import drawing
from pathlib import Path
problems = {{}}
assert drawing.write(Path("p.png"), "plot", lambda: bars(["a_1", "b$"]), problems), problems
"""
HOSTILE = """
backend: module://not.installed
text.usetex: True
font.family: Not Installed
axes.facecolor: red
axes.formatter.use_locale: True
savefig.bbox: tight
savefig.dpi: 30
figure.autolayout: True
this.is.no.key: 1
axes.titlesize: not a size
"""


@pytest.mark.parametrize("settings", ["none", "backend", "in the folder", "named", "configured"])
def test_the_settings_of_the_user_do_not_reach_pictures(settings, tmp_path):
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "config")}
    (tmp_path / "config").mkdir()
    if settings == "backend":
        environment["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    if settings == "in the folder":
        (tmp_path / "matplotlibrc").write_text(HOSTILE)
    if settings == "named":
        (tmp_path / "mine").write_text(HOSTILE)
        environment["MATPLOTLIBRC"] = str(tmp_path / "mine")
    if settings == "configured":
        (tmp_path / "config/matplotlibrc").write_text(HOSTILE)
    code = DRAW.format(tests=os.path.dirname(__file__))  # noqa: PTH120
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with drawing.clean():
        expected = drawing.png(lambda: bars(["a_1", "b$"])).png
    digests = [
        hashlib.sha256(data).digest() for data in ((tmp_path / "p.png").read_bytes(), expected)
    ]
    assert digests[0] == digests[1]


def test_a_run_in_a_jupyter_cell_draws_as_ever(toy):
    """The kernel's backend is not installed where the harness is."""
    backend = "module://matplotlib_inline.backend_inline"
    toy("audit", "--dataset", "toy", MPLBACKEND=backend)
    plain = (toy.folder / "reports/toy-audit-bright.png").read_bytes()
    toy("audit", "--dataset", "toy", MPLBACKEND="")
    assert (toy.folder / "reports/toy-audit-bright.png").read_bytes() == plain


def curve():
    """A picture with what SVG needs ids for: markers, and curves that are clipped."""
    picture = drawing.figure(drawing.SINGLE, 2)
    axes = picture.subplots()
    axes.plot([0, 1, 2], [0, 90, 40], marker="o", label=drawing.in_legend("m<1> & $2"))
    axes.set_xlim(0, 1.5)
    drawing.legend(axes)
    return picture


FORMATS = """
import sys
sys.path.insert(0, {tests!r})
from test_drawing import curve
from harness.reports import drawing
from pathlib import Path
with drawing.saved_as(("svg", "pdf", "png")):
    print(drawing.write(Path(sys.argv[1]) / "p.png", "a-plot", curve, {{}}))
"""


def test_every_format_is_the_same_file_in_every_process(tmp_path):
    code = FORMATS.format(tests=os.path.dirname(__file__))  # noqa: PTH120
    written = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": seed}
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("['![a plot](p.svg)']\n", "")
        written.append({path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()})
    assert set(written[0]) == {"p.svg", "p.pdf", "p.png"}
    assert written[0] == written[1]
    svg, pdf = written[0]["p.svg"].decode(), written[0]["p.pdf"]
    assert "m&lt;1&gt; &amp; $2</text>" in svg, "text is text"
    assert "date" not in svg.lower()
    assert b"/FontFile2" in pdf, "fonts are in it, as Type 42"
    assert b"/Type3" not in pdf
    assert b"Date" not in pdf


def test_pages_can_hold_several_pictures_as_svg():
    (one, numbers), (other, _) = (
        drawing.svg(curve, name, 'accuracy of "m"') for name in ("one", "other plot")
    )
    assert not numbers
    assert one.startswith('<svg role="img" aria-label="accuracy of &quot;m&quot;"')
    assert "<metadata" not in one
    ids = re.findall(r'\bid="([^"]+)"', one + other)
    assert len(ids) == len(set(ids))
    root = ElementTree.fromstring(f"<page>{one}{other}</page>")
    known = {element.get("id") for element in root.iter()}
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', one + other)
    assert used
    assert set(used) <= known
    assert drawing.svg(lambda: None, "none", "") is None


def test_a_picture_that_no_page_can_show_is_a_link(tmp_path, problems):
    with drawing.saved_as(("pdf",)):
        assert drawing.write(tmp_path / "p.png", "plot", curve, problems) == ["[plot](p.pdf)"]
        assert drawing.files(tmp_path / "p.png") == [tmp_path / "p.pdf"]
    assert not (tmp_path / "p.png").exists()


def test_a_picture_of_patches_is_small_whatever_is_in_it(tmp_path, problems):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)

    def draw():
        picture = drawing.figure(drawing.DOUBLE, 6.5)
        picture.subplots().imshow(noise)
        return picture

    with drawing.saved_as(drawing.PHOTO):
        assert drawing.write(tmp_path / "p.jpg", "noise", draw, problems) == ["![noise](p.jpg)"]
    data = (tmp_path / "p.jpg").read_bytes()
    assert len(data) <= drawing.LARGEST_PHOTO
    assert Image.open(io.BytesIO(data)).width == drawing.DOUBLE * drawing.DPI


def test_no_text_is_smaller_than_seven_points_in_print():
    with drawing.clean():
        picture = curve()
        picture.draw_without_rendering()
        sizes = [text.get_fontsize() for text in picture.findobj(match=is_text)]
    assert picture.get_figwidth() == drawing.SINGLE
    assert min(sizes) >= 7


def is_text(artist):
    return hasattr(artist, "get_fontsize") and hasattr(artist, "get_text") and artist.get_text()
