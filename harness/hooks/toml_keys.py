"""The keys of a TOML file, declared as a class; mistakes are said in words.

    from typing import Annotated
    from pydantic import Field
    from harness.hooks.toml_keys import Keys, MustBe, Number

    class Mine(Keys):
        size: int = Field(224, ge=1, description="side, in pixels, that patches are resized to")
        mean: Annotated[list[Number], MustBe("three numbers")] = Field(min_length=3, max_length=3)

``Reader.keys`` is a function that returns the class, and ``Reader.read`` gets an object of it.
Declaring keys loads pydantic, which takes a good part of a second: do that in a module that is
imported only when a file is read, and name it with ``harness.hooks.later``, or within the function.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from harness.errors import HarnessError
from harness.text.names import suggest
from harness.types.options import in_words

Number = int | float
"""A whole number stays one, as digests are made of what a file says."""


class Keys(BaseModel):
    """The keys of a table, each with its type, limits, default and a description.

    Unknown keys are errors. A whole number is an integer, not 1.0 and not true; a number is finite.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


K = TypeVar("K", bound=Keys)


@dataclass(frozen=True)
class MustBe:
    """What the value of a key must be, in words: where its type and limits do not say it all."""

    words: str


def _some_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            _plain(part)
    elif not isinstance(value, str | int | float) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ValueError("is no text, number, list or table")
    return value


def _different(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("has one twice")
    return values


Text = Annotated[str, AfterValidator(_some_text)]
"""A text that is not empty."""
Arguments = Annotated[
    dict[str, Any], AfterValidator(_plain), MustBe("a table of texts, numbers and lists of them")
]
"""A table of anything that a TOML file can say, but for dates."""
Names = Annotated[list[Text], AfterValidator(_different), MustBe("a list of different names")]


def checked(path: Path, content: Mapping[str, Any] | K, keys: type[K]) -> K:
    """What a TOML file says, with defaults for what it leaves out.

    The key ``kind`` belongs to no class. What is an object of the class already is returned as it
    is. Raises HarnessError naming ``path``, the key and what its value must be.
    """
    if not (isinstance(keys, type) and issubclass(keys, Keys)):
        raise TypeError(
            f"checked needs a subclass of harness.hooks.toml_keys.Keys, not {type(keys).__name__}: "
            "declare the keys as docs/hooks/harness_readers.md shows"
        )
    if isinstance(content, keys):
        return content
    assert isinstance(content, Mapping)
    given = {key: value for key, value in content.items() if key != "kind"}
    try:
        return keys.model_validate(given)
    except ValidationError as error:
        raise HarnessError(f"{path}: {_said(error, given, keys)}") from None


def _said(error: ValidationError, given: Mapping[str, Any], keys: type[Keys]) -> str:
    """The first mistake: a key that there is not, then one that is lacking, then a value."""
    order = {"extra_forbidden": 0, "missing": 1}
    first = min(error.errors(), key=lambda one: order.get(one["type"], 2))
    names, field, table = [], None, keys
    for part in map(str, first["loc"]):
        names.append(part)
        field = table.model_fields.get(part)
        if (inner := _table(field)) is None:
            break
        table = inner
    where = ".".join(names)
    if field is None and names:
        return f"there is no key {where!r}; {suggest(names[-1], table.model_fields)}"
    if field is None or (first["type"] == "value_error" and _table(field)):
        # What a validator of the author says of a whole table.
        what = first["msg"].removeprefix("Value error, ")
        return f"{where}: {what}; correct it" if where else f"{what}; correct it"
    if first["type"] == "missing" and len(names) == len(first["loc"]):
        return f"lacks {where}: {words(field)}; add it"
    value: Any = given
    for name in names:
        value = value[name]
    return f"{where} = {value!r}: must be {words(field)}; correct it"


def _table(field: FieldInfo | None) -> type[Keys] | None:
    """The keys of a table that is the value of a key; None for another value."""
    if field is not None:
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Keys):
                return kind
    return None


def words(field: FieldInfo) -> str:
    """What the value of a key must be."""
    inner = [part for kind in get_args(field.annotation) for part in _metadata(kind)]
    for known in (*reversed(field.metadata), *inner):
        if isinstance(known, MustBe):
            return known.words
    parts = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    kinds = [kind.__origin__ if hasattr(kind, "__metadata__") else kind for kind in parts]
    limits = {
        name: getattr(known, name)
        for known in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(known, name, None) is not None
    }
    if kinds and all(isinstance(kind, str) for kind in kinds):
        return " or ".join(kinds)
    if _table(field):
        return "a table"
    if get_origin(field.annotation) is list:
        return {str: "a list of texts"}.get(kinds[0], "a list")
    kind = field.annotation if not kinds else kinds[0] if len(kinds) == 1 else float
    return in_words(kind, **limits)


def _metadata(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__metadata__", ())


def table(keys: type[Keys], above: str = "") -> list[dict[str, str]]:
    """A row for each key, also of tables within: its name, what it must be, default and meaning."""
    rows: list[dict[str, str]] = []
    for name, field in keys.model_fields.items():
        if inner := _table(field):
            rows += table(inner, f"{above}{name}.")
            continue
        left_out = "required"
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            # What is empty or 0 stands for none.
            left_out = json.dumps(default) if default or default is False else ""
        rows.append(
            {
                "key": f"{above}{name}",
                "must be": words(field),
                "if left out": left_out,
                "meaning": field.description or "",
            }
        )
    return rows
