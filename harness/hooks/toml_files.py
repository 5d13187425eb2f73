"""Reading TOML files as editors save them; what is wrong is said with the line and what to do."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.types.readers import Reader

LONGEST = 80
"""Characters of a line that are shown."""
UNICODE_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, of which its mark begins with that
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What Notepad, Excel and PowerShell put at the beginning of a file, and the encoding it means."""
ESCAPES = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", "\x1b": r"\e"}
WINDOWS_PATH = re.compile(r"([A-Za-z]:)?[^\s\\\"]*(\\[^\s\\\"]+)+\\?")
BACKSLASH = (
    'in "..." a backslash begins an escape such as \\t: write a path with / or in single quotes, '
    "such as 'C:\\data'"
)


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises HarnessError naming the file, the line and what to do; also for a path in "..." whose
    backslashes were taken for escapes, such as "data\\train" with a tab in it.
    """
    try:
        text = _decoded(path, path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; check the path") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _explained(path, text, str(error)) from error
    except RecursionError as error:
        raise HarnessError(f"{path}: not a TOML file: too many brackets in brackets") from error
    for key, value in _texts("", content):
        written = "".join(ESCAPES.get(character, character) for character in value.rstrip())
        if written != value.rstrip() and WINDOWS_PATH.fullmatch(written):
            raise HarnessError(
                f'{path}: {key} = "{written}" is not the path that it seems to be: {BACKSLASH}'
            )
    return content


def described(reader: Reader, path: Path, content: Mapping[str, Any]) -> list[Any]:
    """What a file of the reader's kind describes. Raises HarnessError, also for wrong keys."""
    if reader.keys is None:
        return list(reader.read(path, content))
    from harness.hooks.toml_keys import checked

    return list(reader.read(path, checked(path, content, reader.keys())))


def _decoded(path: Path, raw: bytes) -> str:
    encoding = next((name for mark, name in UNICODE_MARKS if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw:
        raise HarnessError(
            f"{path}: not a TOML file: holds zero bytes, as UTF-16 without a byte order mark does; "
            "save it as UTF-8 if it is a text"
        )
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise HarnessError(
            f"{path}: not a TOML file: line {line} is no text in {encoding.upper()}; save the file "
            "as UTF-8"
        ) from error


def _explained(path: Path, text: str, said: str) -> HarnessError:
    """What the parser says, with the line that it means and what is most likely wrong with it."""
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    place = re.search(r" ?\(at (?:line (\d+), column (\d+)|end of document)\)", said)
    number = int(place[1]) if place and place[1] else len(lines)
    line = lines[min(number, len(lines)) - 1]
    column = int(place[2]) if place and place[2] else len(line)
    reason = said[: place.start()] if place else said
    strange = line[column - 1 : column]
    if re.search(r"[\u2018-\u201f\u00ab\u00bb]", line):
        advice = "use straight quotes"
    elif re.search(r'"[^"]*\\', line):
        advice = BACKSLASH
    elif strange and not (strange.isascii() or strange.isprintable()):
        advice = f"remove the character U+{ord(strange):04X}, which cannot be seen"
    elif re.search("overwrite|twice|mutate|redefine|already", reason):
        advice = "it says a key or a table a second time: remove one"
    elif re.search(r"=\s*(true|false)\b", line, re.IGNORECASE):
        advice = "write true or false in small letters"
    elif re.search(r"=\s*[^\s\"'\[{\d+-]", line):
        advice = 'put texts in quotes: key = "text"'
    else:
        advice = "correct it"
    shown = one_line(line, LONGEST)
    return HarnessError(f"{path}: not a TOML file: line {number}: {shown}: {reason}; {advice}")


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each text and its key; not the arguments of a network, which may be anything."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(where, item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "arguments":
                yield from _texts(f"{where}.{key}" if where else key, item)
