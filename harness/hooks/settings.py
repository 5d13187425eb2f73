"""Settings of a model: defaults, what a demo dataset calls for, and what the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from harness.errors import HarnessError
from harness.text.names import suggest
from harness.types.models import Model, Setting
from harness.types.options import check

NAMES = {int: "int (a whole number)", float: "float (a number)", str: "str (a text)"}


def parse(assignments: Sequence[str], models: Sequence[Model]) -> dict[str, dict[str, Setting]]:
    """Turn "KEY=VALUE" (every chosen model that has it) and "MODEL.KEY=VALUE" into settings.

    Returns, for each model name, the settings the user gave, typed like the defaults. Values are
    written as in Python: True or true, 1e-5, and 5.0 for the whole number 5. Raises HarnessError
    for an unknown key, a value of the wrong type, or one that its ``Option`` does not allow.
    """
    chosen: dict[str, dict[str, Setting]] = {model.name: {} for model in models}
    for assignment in assignments:
        if "=" not in assignment:
            raise HarnessError(f"--set {assignment}: say KEY=VALUE or MODEL.KEY=VALUE")
        found = False
        known: set[str] = set()
        for model in models:
            defaults = {**model.settings, **model.execution}
            known |= defaults.keys()
            # The name of a model may hold dots and equals signs.
            key, equals, text = assignment.removeprefix(f"{model.name}.").partition("=")
            if equals and key in defaults:
                found = True
                value = _typed(assignment, text, defaults[key])
                option = model.options.get(key)
                if option is not None and not option.allows(value):
                    raise HarnessError(f"--set {assignment}: must be {option.allowed}")
                chosen[model.name][key] = value
        if not found:
            own = (m.name for m in models if assignment.startswith(f"{m.name}."))
            key = assignment.removeprefix(f"{next(own, '')}.").partition("=")[0]
            key = key.rpartition(".")[2]
            raise HarnessError(
                f"--set {assignment}: no chosen model has the setting {key!r}; "
                f"{suggest(key, known)}"
            )
    return chosen


def resolve(model: Model, demo: bool, given: Mapping[str, Setting]) -> Mapping[str, Setting]:
    """All settings of a model for one dataset, read-only: what the user gave comes first.

    Raises HarnessError for a value that its ``Option`` does not allow.
    """
    settings = {**model.settings, **model.execution}
    settings |= dict(model.demo_settings) if demo else {}
    settings |= dict(given)
    check(model.options, settings)
    return MappingProxyType(settings)


def deviations(model: Model, settings: Mapping[str, Setting]) -> str:
    """In what these settings differ from the model's defaults, for its row."""
    changed = [key for key in model.settings if settings[key] != model.settings[key]]
    return ", ".join(f"{key} {settings[key]} (default {model.settings[key]})" for key in changed)


def _typed(assignment: str, text: str, default: Setting) -> Setting:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, str):
            return _text(text)
        if isinstance(default, int) and not text.lstrip("+-").isdecimal():
            number = float(text)  # 5.0 and 1e3 are whole numbers, too
            if not number.is_integer():
                raise ValueError
            return int(number)
        value = type(default)(text)
        if value != value:  # not a number
            raise ValueError
        return value
    except (ValueError, KeyError, OverflowError):
        wanted = "true or false" if isinstance(default, bool) else NAMES[type(default)]
        raise HarnessError(
            f"--set {assignment}: {text!r} is not a value of type {wanted}"
        ) from None


def _text(text: str) -> str:
    """A text, without quotes around it if there are some. Raises ValueError for None."""
    if text == "None":
        raise ValueError
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text
