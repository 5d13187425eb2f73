"""Functions of a plugin's heavy modules, imported only when they are called."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False  # see harness/__init__.py

if TYPE_CHECKING:
    from typing import Any


def later(name: str) -> Any:
    """The function ``package.module:function``, whose module is imported when it is called."""
    return partial(_call, name)


def named(function: Any) -> str | None:
    """The name that was given to ``later``; None if the function is not from there."""
    if isinstance(function, partial) and function.func is _call and len(function.args) == 1:
        return None if function.keywords else str(function.args[0])
    return None


def _call(name: str, *arguments: Any, **keywords: Any) -> Any:
    from pkgutil import resolve_name

    return resolve_name(name)(*arguments, **keywords)
