"""Settings of a model: defaults, what a dataset for show calls for, and what the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import HarnessError
from harness.registry import suggest
from harness.types import Model, Setting


def parse(assignments: Sequence[str], models: Sequence[Model]) -> dict[str, dict[str, Setting]]:
    """Turn "KEY=VALUE" (every chosen model that has it) and "MODEL.KEY=VALUE" into settings.

    Returns, for each model name, the settings the user gave, typed like the defaults. Raises
    HarnessError for an unknown key or a value of the wrong type.
    """
    chosen: dict[str, dict[str, Setting]] = {model.name: {} for model in models}
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        if not equals:
            raise HarnessError(f"--set {assignment}: say KEY=VALUE or MODEL.KEY=VALUE")
        found = False
        known: set[str] = set()
        for model in models:
            defaults = {**model.settings, **model.execution}
            known |= defaults.keys()
            key = target.removeprefix(f"{model.name}.")
            if key in defaults:
                found = True
                chosen[model.name][key] = _typed(assignment, text, defaults[key])
        if not found:
            key = target.rpartition(".")[2]
            raise HarnessError(
                f"--set {assignment}: no chosen model has the setting {key!r}; "
                f"{suggest(key, known)}"
            )
    return chosen


def resolve(model: Model, demo: bool, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """All settings of a model for one dataset: what the user gave comes first."""
    settings = {**model.settings, **model.execution}
    return settings | (dict(model.demo_settings) if demo else {}) | dict(given)


def deviations(model: Model, settings: Mapping[str, Setting]) -> str:
    """In what these settings differ from the model's defaults, for its row."""
    changed = [key for key in model.settings if settings[key] != model.settings[key]]
    return ", ".join(f"{key} {settings[key]} (default {model.settings[key]})" for key in changed)


def _typed(assignment: str, text: str, default: Setting) -> Setting:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, str):
            return text
        return type(default)(text)
    except (ValueError, KeyError):
        wanted = "true or false" if isinstance(default, bool) else type(default).__name__
        raise HarnessError(
            f"--set {assignment}: {text!r} is not a value of type {wanted}"
        ) from None
