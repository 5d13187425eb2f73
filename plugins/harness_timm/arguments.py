"""Arguments of a network as a user writes them after its name: ``timm:NAME,ARGUMENT=VALUE,...``.

Values are Python literals, or JSON's true, false and null; names of classes are those of
``timm.layers`` and ``torch.nn``; all else is text. Kept as JSON, a class as its full name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from harness import HarnessError

LIBRARIES = ("timm.layers", "torch.nn")
"""Where names of classes are looked up, in this order."""
OURS_TOO = "harness_timm.stem"
"""Where those are that timm lacks, by their full names alone."""
TAKES_CLASS = re.compile(r"(^|_)(layers?|layer_cl|fn|func|cls|block|mixers?|norm|act)$")
"""Names of arguments that take a class or a function."""
WORDS = {"true": True, "false": False, "null": None}
"""JSON's constants."""
PLAIN = re.compile(r"[\w.:/@-]+")
"""Texts that need no quotes."""
NUMBERS = (bool, int, float)
UNCLEAR = ("true", "false", "yes", "no", "on", "off")
OURS = frozenset(
    {
        *("model_name", "num_classes", "in_chans", "pretrained", "pretrained_cfg"),
        *("pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"),
        *("features_only", "feature_cls", "feature_cfg", "out_indices", "scriptable"),
        *("exportable", "no_jit", "pruned", "device", "dtype"),
    }
)
"""Arguments of ``timm.create_model`` that the harness itself decides on, or that make no
classifier."""


def parse(listed: str, name: str) -> dict[str, Any]:
    """Arguments by name, of the text after the comma. Raises HarnessError naming the argument.

    ``name`` is the network's, for errors.
    """
    found: dict[str, Any] = {}
    for argument in _split(listed):
        key, equals, text = (part.strip() for part in argument.partition("="))
        if not (equals and text and key.isidentifier()):
            raise HarnessError(
                f"timm:{name},{listed}: write timm:{name},ARGUMENT=VALUE; {argument!r} is none"
            )
        if key in found:
            raise HarnessError(f"timm:{name},{listed}: {key} stands there twice; remove one")
        if key in OURS:
            raise HarnessError(
                f"timm:{name},{listed}: {key} is not to be given, the harness decides it; remove it"
            )
        try:
            found[key] = _value(key, text)
        except ValueError as error:
            raise HarnessError(f"timm:{name}: argument {key}={text}: {error}") from error
    return found


def spell(arguments: Mapping[str, Any]) -> str:
    """The same arguments as text, always in the same way: sorted, without spaces."""
    return ",".join(f"{key}={_spelled(key, arguments[key])}" for key in sorted(arguments))


def resolved(value: Any) -> Any:
    """What is passed to a network: the class, where a value names one."""
    if isinstance(value, str) and (found := _of_library(value)) is not None:
        return found
    return value


def check(name: str, model: Any, arguments: Mapping[str, Any]) -> None:
    """Raise HarnessError for an argument that a network took, but as something else.

    A text is true and a class is no number: Python does not mind, and the network is another one.
    """
    for key, value in arguments.items():
        base: Any
        for base in type(model).__mro__:
            parameter = inspect.signature(base.__init__).parameters.get(key)
            if parameter is None:
                continue
            if wanted := _mismatch(key, value, parameter):
                raise HarnessError(
                    f"timm:{name}: argument {key}={_spelled(key, value)}: "
                    f"{type(model).__name__} takes {wanted}; correct it"
                )
            break


def _mismatch(key: str, value: Any, parameter: inspect.Parameter) -> str:
    """What an argument should be, if it is not; "" if it is or if that is not known."""
    kinds = _kinds(parameter)
    if kinds is None or (TAKES_CLASS.search(key) and not kinds <= {*NUMBERS, type(None)}):
        return ""
    wanted = " or ".join(sorted(kind.__name__ for kind in kinds if kind is not type(None)))
    if resolved(value) is not value:
        return "" if not kinds <= {*NUMBERS, str, type(None)} else wanted
    if isinstance(value, str):
        return "" if str in kinds else wanted
    if isinstance(value, list | tuple | dict | set) and kinds <= {*NUMBERS, str, type(None)}:
        # Without an annotation, a default of 224 may be given as (224, 224).
        known = parameter.annotation is not inspect.Parameter.empty or kinds == {bool}
        return wanted if known else ""
    if isinstance(value, bool):
        return "" if bool in kinds or not kinds & {int, float} else wanted
    if isinstance(value, int | float) and kinds - {type(None)} == {bool} and value not in (0, 1):
        return "True or False"
    return ""


def _kinds(parameter: inspect.Parameter) -> set[type] | None:
    """Types that a parameter may have, as far as they are simple; None where it does not say."""

    def of(annotation: Any) -> set[type] | None:
        origin = typing.get_origin(annotation)
        if origin in (typing.Union, types.UnionType):
            parts = [of(part) for part in typing.get_args(annotation)]
            return None if None in parts else set().union(*(part or set() for part in parts))
        if origin is typing.Literal:
            return {type(choice) for choice in typing.get_args(annotation)}
        if annotation in (typing.Any, inspect.Parameter.empty) or isinstance(annotation, str):
            return None
        found = origin or annotation
        return {found} if isinstance(found, type) else None

    kinds = of(parameter.annotation)
    if kinds is None and isinstance(parameter.default, bool | int | float):
        return {type(parameter.default)}
    return kinds


def _split(text: str) -> list[str]:
    """The parts between commas that stand outside of brackets and quotes."""
    parts, depth, quote, escaped = [""], 0, "", False
    for character in text:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth <= 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def _value(key: str, text: str) -> Any:
    """The value of an argument. Raises ValueError, in words for the user."""
    if text in WORDS:
        return WORDS[text]
    try:
        literal = ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        pass
    else:
        return _plain(literal)
    if text[0] in "([{'\"":
        try:
            return json.loads(text)  # with true, false and null in it
        except ValueError:
            raise ValueError("it is no Python literal; correct it") from None
    if text.lower() in UNCLEAR:
        raise ValueError("write True or False")
    return _named(key, text)


def _plain(value: Any) -> Any:
    """A literal as JSON has it; a tuple is a list there, as in the configurations of timm's hub."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("only numbers, texts, True, False, None and lists of them can be given")


def _named(key: str, text: str) -> str:
    """The full name of the class that a word names, or the word where it names none."""
    takes_class = TAKES_CLASS.search(key)
    if "." in text and text.split(".")[0] in ("timm", "torch", "nn"):
        full = re.sub(r"^nn\.", "torch.nn.", text)
        if _of_library(full) is None:
            raise ValueError(f"{_none_there(text.rpartition('.')[2])}")
        return full
    if not text.isidentifier() or not (text[0].isupper() or key.endswith(("_fn", "_func"))):
        return text
    full = next((f"{lib}.{text}" for lib in LIBRARIES if _of_library(f"{lib}.{text}")), "")
    if not full and takes_class and text[0].isupper():
        raise ValueError(_none_there(text))
    return full if takes_class and full else text


def _none_there(name: str) -> str:
    known = [
        one for lib in LIBRARIES for one in dir(importlib.import_module(lib)) if one[0].isupper()
    ]
    near = [one for one in dict.fromkeys(known) if one.lower() == name.lower()]
    near = near or get_close_matches(name, dict.fromkeys(known), n=3)
    return f"neither {' nor '.join(LIBRARIES)} has a class {name}; " + (
        f"did you mean {' or '.join(near)}?" if near else "correct it, or write a plugin"
    )


def _of_library(full: str) -> Any:
    """The class or function of a full name in one of the libraries; None for other texts."""
    library, _, name = full.rpartition(".")
    if library not in (*LIBRARIES, OURS_TOO) or not name.isidentifier():
        return None
    found = getattr(importlib.import_module(library), name, None)
    return found if callable(found) else None


def _spelled(key: str, value: Any) -> str:
    if isinstance(value, float):
        return re.sub(r"e([+-]?)0*(\d)", lambda m: f"e{m[1].strip('+')}{m[2]}", repr(value))
    if isinstance(value, list):
        return f"[{','.join(_spelled('', part) for part in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k!r}:{_spelled('', part)}" for k, part in value.items()) + "}"
    if not isinstance(value, str):
        return repr(value)
    bare = value.rpartition(".")[2] if _of_library(value) is not None else value
    for text in (bare, value):
        try:
            if key and PLAIN.fullmatch(text) and _value(key, text) == value:
                return text
        except ValueError:
            continue
    return repr(value)
