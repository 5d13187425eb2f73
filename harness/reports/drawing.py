"""How pictures are drawn: the same whatever the user's matplotlib settings, and with any names.

``MPLBACKEND``, ``matplotlibrc`` and styles are the user's own; no picture here depends on them.
Pictures need no backend, as they are drawn without pyplot: make them with ``figure``, and put each
name of a class or a model through ``label``.
"""

from __future__ import annotations

import io
import logging
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from harness.errors import HarnessError
from harness.hooks.guard import contained
from harness.reports import kept_pictures
from harness.store.failures import Collected
from harness.store.store import Key
from harness.text.markup import inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
LONGEST = 60
"""Characters of a name that are drawn; of a longer one the number stands in the picture."""
LONGEST_ON_AXIS = 24
"""The same of names along an axis."""
NO_LETTERS = re.compile(r"last.?resort|blank|color.?emoji", re.IGNORECASE)
"""Fonts that have a glyph for everything, or glyphs that matplotlib cannot draw."""

_numbers: ContextVar[dict[str, int] | None] = ContextVar("_numbers", default=None)
"""Of the picture that is drawn now: names that cannot be drawn, and the numbers in their place."""


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
        except Exception as error:
            raise HarnessError(
                f"matplotlib cannot be loaded ({type(error).__name__}: {error}); correct its "
                "installation, or the file matplotlibrc if you have one"
            ) from error
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matplotlib.rcdefaults()
            yield
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure, in inches, that makes room for its labels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


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


def name_axis(axis: Any, names: Sequence[str], size: float = 10, room: int = 80) -> None:
    """Put names at 0, 1, 2, ... of an axis of matplotlib.

    Along x they stand upright if all together have more characters than there is ``room`` for.
    """
    shown = [label(name, LONGEST_ON_AXIS) for name in names]
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


def write(
    path: Path,
    title: str,
    draw: Callable[[], Any],
    problems: Collected,
    caption: str = "",
    key: Key | None = None,
) -> list[str]:
    """Draw a picture, write it as PNG, and return Markdown that shows it.

    With the ``key`` of what it shows (``kept_pictures.key_of``) it is drawn only if the store has
    no such picture; one whose letters depend on the installed fonts is drawn each time. Nothing is
    returned when ``draw`` returns None, as there is nothing to draw, or when it fails,
    which is added to ``problems``. Raises OSError when the file cannot be written.
    """
    drawn: Drawn | None
    with numbered() as numbers:
        try:
            if key and (kept := kept_pictures.read(problems.store, key)):
                drawn, numbers = Drawn(kept[0]), kept[1]
            else:
                with clean(), contained():
                    if (drawn := png(draw)) is None:
                        return []
                if key and drawn.has_own_fonts and all(map(is_drawable, numbers)):
                    kept_pictures.keep(problems.store, key, drawn.png, numbers)
        except (Exception, SystemExit) as error:
            problems.add(f"picture {path.name}", error)
            return []
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(drawn.png)
        temporary.replace(path)
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
    link = f"![{inline(title.replace('-', ' '))}]({quote(path.name)})"
    return [text for text in (caption, link, " ".join(notes)) if text]


class Drawn(NamedTuple):
    """A picture."""

    png: bytes
    boxes: frozenset[str] = frozenset()
    """Letters that are boxes in it, as no font has them."""
    has_own_fonts: bool = True
    """Whether matplotlib's own fonts have all letters."""


def png(draw: Callable[[], Any]) -> Drawn | None:
    """What ``draw`` draws; None if it returns None.

    Where letters are missing that another installed font has, it is drawn again with that font.
    """
    import matplotlib

    if (picture := draw()) is None:
        return None
    data, missing = _saved(picture)
    if missing and (fonts := fonts_for(missing)[0]):
        with matplotlib.rc_context({"font.family": ["DejaVu Sans", *fonts]}):
            return Drawn(*_saved(draw()), has_own_fonts=False)
    return Drawn(data, missing, has_own_fonts=not missing)


def _saved(picture: Any) -> tuple[bytes, frozenset[str]]:
    """A picture as PNG, and the letters that its fonts do not have."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    found = (re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught)
    return buffer.getvalue(), frozenset(chr(int(match[1])) for match in found if match)
