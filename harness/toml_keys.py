"""The keys of a TOML file, checked against a JSON Schema; mistakes are said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.registry import suggest


def checked(path: Path, content: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a TOML file says, with defaults for what it leaves out.

    ``schema`` is a JSON Schema (draft 2020-12) of a table. Each of its properties has a
    "description", which says in words what the value must be, such as "a whole number, at least 1",
    and may have a "default". Keys that are none of the properties are an error, also in tables
    within the table that have "properties" of their own. A whole number is an integer, not 1.0, and
    a number is finite. Raises HarnessError naming ``path`` and the key.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: (
                type(value) is int or (type(value) is float and math.isfinite(value))
            ),
        }
    )
    validator = extend(Draft202012Validator, type_checker=types)(schema)
    return _table(path, "", content, schema, validator)


def _table(
    path: Path, where: str, table: Mapping[str, Any], schema: Mapping[str, Any], validator: Any
) -> dict[str, Any]:
    """The same for one table; ``where`` is what stands before its keys, such as ``input.``."""
    properties = schema["properties"]
    for key in table:
        if key not in properties:
            raise HarnessError(
                f"{path}: there is no key {where + key!r}; {suggest(key, properties)}"
            )
    for key in schema.get("required", ()):
        if key not in table:
            raise HarnessError(
                f"{path}: lacks {where}{key}: {properties[key]['description']}; add it"
            )
    found: dict[str, Any] = {}
    for key, rule in properties.items():
        if key in table:
            found[key] = table[key]
        elif "default" in rule:
            found[key] = deepcopy(rule["default"])
        else:
            continue
        if "properties" in rule and isinstance(found[key], Mapping):
            found[key] = _table(path, f"{where}{key}.", found[key], rule, validator)
        elif key in table and not validator.evolve(schema=rule).is_valid(table[key]):
            raise HarnessError(
                f"{path}: {where}{key} = {table[key]!r}: must be {rule['description']}; correct it"
            )
    return found
