"""How pictures are drawn: the same whatever the user's matplotlib settings, and with any names.

``MPLBACKEND``, ``matplotlibrc`` and styles are the user's own; no picture here depends on them.
Pictures need no backend, as they are drawn without pyplot: make them with ``figure``, as wide as a
paper prints them, put each name of a class or a model through ``label``, and ask ``styles`` for
colors and markers of models. Text then has 7 points or more in print.

Pictures are saved as PNG, or in the formats of ``saved_as``. SVG has text as text and PDF has its
fonts in it; neither has a date, so that the same picture is the same file.
"""

from __future__ import annotations

import io
import logging
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.reports import kept_pictures, palette
from harness.reports.palette import COLORS
from harness.reports.palette import Style as Style
from harness.reports.palette import groups as groups
from harness.store.failures import Collected
from harness.store.store import Key
from harness.text.markup import inline
from harness.text.numbers import given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
SINGLE, DOUBLE = 3.5, 7.0
"""Inches that a column of a paper is wide, and two with the room between them."""
PHOTO = ("jpg",)
"""What pictures of patches are saved as, whatever other pictures are: losslessly they would be
several times as large, and they are of pixels."""
LARGEST_PHOTO = 300_000
"""Bytes of a picture of patches, at most."""
STYLE: dict[Any, Any] = {
    **{"font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "figure.titlesize": 9},
    **{"xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7},
    **{"legend.title_fontsize": 7, "legend.frameon": False, "legend.borderaxespad": 0.2},
    **{"axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6},
    **{"lines.linewidth": 1.2, "lines.markersize": 4, "hatch.linewidth": 0.6},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"errorbar.capsize": 0, "grid.color": "0.9", "grid.linewidth": 0.6},
    **{"svg.fonttype": "none", "pdf.fonttype": 42},
}
"""What is other than matplotlib's defaults."""
LONGEST = 60
"""Characters of a name that are drawn; of a longer one the number stands in the picture."""
LONGEST_ON_AXIS = 24
"""The same of names along an axis."""
LONGEST_IN_LEGEND = 40
"""The same of names in a legend."""
NO_LETTERS = re.compile(r"last.?resort|blank|color.?emoji", re.IGNORECASE)
"""Fonts that have a glyph for everything, or glyphs that matplotlib cannot draw."""

_numbers: ContextVar[dict[str, int] | None] = ContextVar("_numbers", default=None)
"""Of the picture that is drawn now: names that cannot be drawn, and the numbers in their place."""
_formats: ContextVar[tuple[str, ...]] = ContextVar("_formats", default=("png",))
_models: ContextVar[tuple[str, ...]] = ContextVar("_models", default=())


@contextmanager
def saved_as(formats: Sequence[str]) -> Iterator[None]:
    """Pictures are written as these of png, svg and pdf; pages show the first that can be shown."""
    token = _formats.set(tuple(formats))
    try:
        yield
    finally:
        _formats.reset(token)


@contextmanager
def of_models(names: Iterable[str]) -> Iterator[None]:
    """Models of these names have their colors before any others, the same in all pictures."""
    token = _models.set(tuple(sorted(set(names))))
    try:
        yield
    finally:
        _models.reset(token)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Color and marker of each model of a picture; see ``harness.reports.palette``."""
    known, names = _models.get(), list(names)
    more = [n for n in names if not any(other.startswith(f"{n}+") for other in known)]
    found = palette.styles(known, more)
    return {name: palette.own(name, found) for name in names}


@contextmanager
def clean() -> Iterator[None]:
    """Matplotlib with its own defaults, saying nothing, while a picture is drawn.

    Raises HarnessError when matplotlib cannot be loaded.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        try:
            import matplotlib
            from matplotlib import font_manager  # noqa: F401
            from matplotlib.rcsetup import cycler
        except Exception as error:
            raise HarnessError(
                f"matplotlib cannot be loaded ({type(error).__name__}: {error}); correct its "
                "installation, or the file matplotlibrc if you have one"
            ) from error
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            matplotlib.rcParams["axes.prop_cycle"] = cycler(color=COLORS)
            yield
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure, in inches, that makes room for its labels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.05)
    return Figure(figsize=(width, height), layout=room)


def panels(names: Sequence[str], high: float = 2.6) -> tuple[Figure, list[tuple[Any, list[str]]]]:
    """A figure with axes one above the other, and which of the names each is for.

    More curves than there are colors would not be distinguished.
    """
    found = groups(names)
    picture = figure(DOUBLE, high * len(found) + 0.2)
    axes = picture.subplots(len(found), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    return picture, list(zip(axes, found, strict=True))


def grid(picture: Figure, n: int, across: int, **more: Any) -> list[Any]:
    """So many axes in lines of at most ``across``; ``more`` is for matplotlib's ``subplots``."""
    across = min(across, n)
    axes = picture.subplots(-(-n // across), across, squeeze=False, **more).flatten()
    for spare in axes[n:]:
        spare.remove()
    return list(axes[:n])


def mark_levels(axes: Any, levels: Sequence[float], room: int = 14) -> None:
    """Put levels, such as doses, at 0, 1, 2, ... of x; only some if there is no room for all."""
    texts = list(map(given, levels))
    step = max(1, -(-sum(map(len, texts)) // room))
    axes.set_xticks(
        range(len(levels)), [text if at % step == 0 else "" for at, text in enumerate(texts)]
    )


def lengths(values: Any, low: Any, high: Any) -> Any:
    """How far the ends of intervals are from the values, (2, N), for matplotlib's ``errorbar``."""
    import numpy as np

    values = np.asarray(values, float)
    return np.maximum(0, [values - np.asarray(low, float), np.asarray(high, float) - values])


def legend(axes: Axes, title: str = "") -> None:
    """The legend of some axes, on the right of them, where it hides nothing."""
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.02), title=title or None, alignment="left"
    )


def in_legend(name: str) -> str:
    """What stands for a name in a legend."""
    return label(name, LONGEST_IN_LEGEND)


def label(name: str, longest: int = LONGEST) -> str:
    """What stands for a name in a picture: itself, or a number in parentheses.

    A number stands for a name that is longer than ``longest`` or that no installed font can show;
    the text below the picture says which name it is.
    """
    shown = unicodedata.normalize("NFC", name)
    if len(shown) <= longest and shown.strip() and is_drawable(shown):
        return shown.replace("$", r"\$")  # or what is between two would be read as a formula
    numbers = _numbers.get()
    if numbers is None:  # drawn outside of a page
        return f"{shown[:longest]!a}"
    return f"({numbers.setdefault(name, len(numbers) + 1)})"


def name_axis(
    axis: Any,
    names: Sequence[str],
    size: float = 7,
    room: int = 95,
    longest: int = LONGEST_ON_AXIS,
) -> None:
    """Put names at 0, 1, 2, ... of an axis of matplotlib.

    Along x they stand upright if all together have more characters than there is ``room`` for.
    """
    shown = [label(name, longest) for name in names]
    upright = axis.axis_name == "x" and sum(map(len, shown)) + 2 * len(shown) > room
    axis.set_ticks(range(len(names)), shown, fontsize=size, rotation=90 if upright else 0)


@contextmanager
def numbered() -> Iterator[dict[str, int]]:
    """While a picture is drawn: the names that it has numbers for, and these numbers."""
    numbers: dict[str, int] = {}
    token = _numbers.set(numbers)
    try:
        yield numbers
    finally:
        _numbers.reset(token)


def is_drawable(text: str) -> bool:
    """Whether matplotlib can show a text as it is read.

    It can draw letters one after the other from left to right. Scripts that are written from right
    to left, or whose signs join, need more than that.
    """
    for character in text:
        if not character.isprintable() or unicodedata.combining(character):
            return False
        if unicodedata.category(character) in ("Mn", "Mc", "Me"):
            return False
        if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
            return False
    return not fonts_for(frozenset(text))[1]


@cache
def fonts_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of further installed fonts that have these characters, and which none has."""
    lacking = frozenset(map(ord, characters)) - _letters(_default_font())
    chosen: list[str] = []
    if lacking:
        fonts = _installed()
        while lacking:
            best = max(fonts, key=lambda name: (len(lacking & _letters(fonts[name])), name))
            if not lacking & _letters(fonts[best]):
                break
            chosen.append(best)
            lacking -= _letters(fonts[best])
    return tuple(chosen), frozenset(map(chr, lacking))


@cache
def _letters(path: str) -> frozenset[int]:
    """The characters that a font file has."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except Exception:  # broken, or of a kind that matplotlib cannot read
        return frozenset()


def _default_font() -> str:
    from matplotlib.font_manager import FontProperties, fontManager

    return str(fontManager.findfont(FontProperties(family="DejaVu Sans")))


@cache
def _installed() -> dict[str, str]:
    """Files of all upright fonts by name; of several weights, that nearest to normal."""
    from matplotlib.font_manager import fontManager

    found: dict[str, tuple[int, str]] = {}
    for font in fontManager.ttflist:
        if font.style == "normal" and not NO_LETTERS.search(font.name):
            weight = font.weight if isinstance(font.weight, int) else 400
            entry = (abs(weight - 400), str(font.fname))
            found[font.name] = min(entry, found.get(font.name, entry))
    return {name: path for name, (_, path) in sorted(found.items())}


def with_models(key: Key | None) -> Key | None:
    """The key of a picture with the models that have colors before others (``of_models``)."""
    return key and replace(key, fields={**key.fields, "models": list(_models.get())})


def write(
    path: Path,
    title: str,
    draw: Callable[[], Any],
    problems: Collected,
    caption: str = "",
    key: Key | None = None,
) -> list[str]:
    """Draw a picture, write it in all formats of ``saved_as``, and return Markdown that shows it.

    The suffix of ``path`` is put in place of by each of the formats; ``files`` names them all. With
    the ``key`` of what it shows (``kept_pictures.key_of``) it is drawn only if the store has no
    such picture; one whose letters depend on the installed fonts is drawn each time. Nothing is
    returned when ``draw`` returns None, as there is nothing to draw, or when it fails,
    which is added to ``problems``. Raises OSError when a file cannot be written.
    """
    formats = _formats.get()
    drawn: Drawn | None
    key = with_models(key)
    with numbered() as numbers:
        try:
            kept = kept_pictures.read(problems.store, key) if key else None
            if kept and set(formats) <= set(kept[0]):
                drawn, numbers = Drawn(kept[0]), kept[1]
            else:
                with clean(), contained():
                    if (drawn := save(draw, formats, path.stem)) is None:
                        return []
                if key and drawn.has_own_fonts and all(map(is_drawable, numbers)):
                    every = {**(kept[0] if kept else {}), **drawn.files}
                    kept_pictures.keep(problems.store, key, every, numbers)
        except (Exception, SystemExit) as error:
            problems.add(f"picture {path.name}", error)
            return []
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in files(path):
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(drawn.files[file.suffix[1:]])
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    notes = []
    if numbers:
        names = ", ".join(f"({number}) is {inline(name)}" for name, number in numbers.items())
        notes.append(f"In the picture {names}.")
    if drawn.boxes:
        notes.append(
            "Boxes in the picture stand for letters that no installed font has: "
            f"{inline(' '.join(sorted(drawn.boxes)))}."
        )
    shown = next((form for form in formats if form != "pdf"), "pdf")
    link = f"[{inline(title.replace('-', ' '))}]({quote(path.with_suffix(f'.{shown}').name)})"
    if shown != "pdf":  # which no page can show
        link = f"!{link}"
    return [text for text in (caption, link, " ".join(notes)) if text]


def files(path: Path) -> list[Path]:
    """The files that ``write`` writes for a path: one in each format."""
    return [path.with_suffix(f".{form}") for form in _formats.get()]


class Drawn(NamedTuple):
    """A picture."""

    files: Mapping[str, bytes]
    """By format."""
    boxes: frozenset[str] = frozenset()
    """Letters that are boxes in it, as no font has them."""
    has_own_fonts: bool = True
    """Whether matplotlib's own fonts have all letters."""

    @property
    def png(self) -> bytes:
        """As PNG."""
        return self.files["png"]


def save(draw: Callable[[], Any], formats: Sequence[str], name: str) -> Drawn | None:
    """What ``draw`` draws, in some formats; None if it returns None. To be called in ``clean``.

    Where letters are missing that another installed font has, it is drawn again with that font.
    Ids in SVG begin with the ``name``.
    """
    import matplotlib

    if (picture := draw()) is None:
        return None
    found, missing = _saved(picture, formats, name)
    if missing and (fonts := fonts_for(missing)[0]):
        with matplotlib.rc_context({"font.family": ["DejaVu Sans", *fonts]}):
            return Drawn(*_saved(draw(), formats, name), has_own_fonts=False)
    return Drawn(found, missing, has_own_fonts=not missing)


def png(draw: Callable[[], Any]) -> Drawn | None:
    """What ``draw`` draws, as PNG; None if it returns None. To be called in ``clean``."""
    return save(draw, ("png",), "picture")


def svg(draw: Callable[[], Any], name: str, title: str) -> tuple[str, dict[str, int]] | None:
    """A picture as an element of HTML, and the numbers in it that stand for names.

    Text in it is text. Its ids begin with ``name``, so that several fit in one page; ``title`` is
    what a screen reader says. None if ``draw`` returns None. Raises what ``draw`` raises.
    """
    with numbered() as numbers, clean(), contained():
        if (drawn := save(draw, ("svg",), name)) is None:
            return None
    text = drawn.files["svg"].decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    said = f'<svg role="img" aria-label="{escape(title)}"'
    return text.replace("<svg", said, 1).strip(), numbers


def _saved(
    picture: Any, formats: Sequence[str], name: str
) -> tuple[dict[str, bytes], frozenset[str]]:
    """A picture by format, and the letters that its fonts do not have."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = {form: SAVE[form](picture, name) for form in formats}
    warned = (re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught)
    return found, frozenset(chr(int(match[1])) for match in warned if match)


def _as(picture: Any, form: str, *unsaid: str, **more: Any) -> bytes:
    """A picture as a file, without some metadata, such as the date."""
    buffer = io.BytesIO()
    metadata = dict.fromkeys(unsaid) or None
    picture.savefig(buffer, format=form, dpi=DPI, metadata=metadata, **more)
    return buffer.getvalue()


def _png(picture: Any, name: str) -> bytes:
    return _as(picture, "png", "Software")


def _pdf(picture: Any, name: str) -> bytes:
    return _as(picture, "pdf", "CreationDate", "Creator", "Producer")


def _svg(picture: Any, name: str) -> bytes:
    """Matplotlib counts some ids and makes others of ``svg.hashsalt``; all get the name before."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": name}):
        text = _as(picture, "svg", "Date", "Creator").decode()
    before = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    ids = re.compile(r'(?<=[ :](?:id|ID)=")|(?<=href="#)|(?<=url\(#)')
    return re.sub(r"<[^>]*>", lambda tag: ids.sub(f"{before}-", tag[0]), text).encode()


def _jpg(picture: Any, name: str) -> bytes:
    """As good as it can be without being too large."""
    for quality in (90, 80, 70, 55, 40, 25):
        options = {"quality": quality, "optimize": True}
        found = _as(picture, "jpg", pil_kwargs=options)
        if len(found) <= LARGEST_PHOTO:
            break
    return found


SAVE: Mapping[str, Callable[[Any, str], bytes]] = {
    "png": _png,
    "svg": _svg,
    "pdf": _pdf,
    "jpg": _jpg,
}
