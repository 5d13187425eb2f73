"""Names that a person takes for the same, though their characters differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches

LOOKALIKES = str.maketrans(
    "АВЕЗКМНОРСТУХЅІЈаеорсухѕіјΑΒΕΖΗΙΚΜΝΟΡΤΥΧο",
    "ABE3KMHOPCTYXSIJaeopcyxsijABEZHIKMNOPTYXo",
)
"""Cyrillic and Greek letters that look like Latin ones."""
NUMBER = re.compile(r"(?![+-]?\d{1,3},\d{3}$)[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d{1,2})?")
"""A number with a decimal point or comma; not 1,000, where the comma may part thousands."""
DECIMALS = re.compile(r"(?<![0-9.])([0-9]+)\.0+(?![0-9.])")
"""A whole number with decimals inside a name; not part of a version such as 1.0.2."""
SEPARATORS = re.compile(r"(?<![0-9])[\s_-]+|[\s_-]+(?![0-9])")
"""Spaces, underscores and hyphens, but for those between two digits."""


def folded(name: str) -> str:
    """A form that is the same for names that a person takes for the same.

    Names are the same but for case, Unicode form (composed or not, full-width), letters of other
    alphabets that look alike, characters that are not visible, the kind of space and hyphen and
    whether there is any, and how a number is written (1, 01, 1.0, 1,0, 1e0; in a name 1, 01, 1.0).
    """
    text = unicodedata.normalize("NFKC", name)
    kinds = ((character, unicodedata.category(character)) for character in text)
    text = "".join(
        "-" if kind == "Pd" or character == "\N{MINUS SIGN}" else character
        for character, kind in kinds
        if kind not in ("Cf", "Cc") or character.isspace()
    )
    text = unicodedata.normalize("NFKC", text.translate(LOOKALIKES).casefold()).strip()
    if NUMBER.fullmatch(text):
        number = Decimal(text.replace(",", "."))
        if not number:
            return "0"  # there is no minus zero
        digits = f"{number:f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    text = DECIMALS.sub(r"\1", text)
    text = re.sub(r"[0-9]+", lambda digits: digits[0].lstrip("0") or "0", text)
    return SEPARATORS.sub("", text)


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Of the known names, the others that are the same as ``name`` when folded."""
    wanted = folded(name)
    return [other for other in known if other != name and folded(other) == wanted]


def nearest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Names that may have been meant: those that are the same when folded, else similar ones."""
    names = sorted(set(known) - {name})
    return alike(name, names) or get_close_matches(name, names, n=most, cutoff=0.6)


def quoted(name: str, beside: Iterable[str] = ()) -> str:
    """A name in quotes; with escapes if one of the names ``beside`` it would look the same."""
    looks = unicodedata.normalize("NFKC", name).translate(LOOKALIKES)
    same = any(
        other != name and unicodedata.normalize("NFKC", other).translate(LOOKALIKES) == looks
        for other in beside
    )
    return ascii(name) if same else repr(name)


def suggest(name: str, known: Iterable[str]) -> str:
    """What to say about a name that is not among the known ones."""
    names = sorted(set(known))
    if near := nearest(name, names):
        return f"did you mean {' or '.join(near)}?"
    return f"there is {', '.join(names)}" if names else "there is none"
