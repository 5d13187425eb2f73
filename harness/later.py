"""Functions of a plugin's heavy modules, imported only when they are called."""

from __future__ import annotations

from functools import partial
from pkgutil import resolve_name
from typing import Any


def later(name: str) -> Any:
    """The function ``package.module:function``, whose module is imported when it is called."""
    return partial(_call, name)


def _call(name: str, *arguments: Any, **keywords: Any) -> Any:
    return resolve_name(name)(*arguments, **keywords)
