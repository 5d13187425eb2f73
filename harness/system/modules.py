"""Modules that other code may have imported."""

from __future__ import annotations

import sys
from typing import Any


def loaded(name: str) -> Any:
    """A module whose import has come to an end; None for any other.

    Another thread may be importing it, and torch can crash when it is called meanwhile.
    """
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module
