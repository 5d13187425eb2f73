"""The type of what reads TOML files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.hooks.toml_keys import Keys

    Indices = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a TOML file becomes contributions: ``harness run --plugin FILE.toml``.

    The file's top-level ``kind`` is the reader's ``name``. ``read(path, content)`` gets the file's
    path and what it says, and returns what it describes; it raises HarnessError naming the file and
    the key when something in it is wrong or lacking.

    With ``keys``, ``content`` is an object of the class that it returns, whose keys, types and
    limits have been checked; otherwise it is a mapping with all that the file says.
    """

    name: str
    title: str
    read: Callable[[Path, Any], Sequence[Any]]
    keys: Callable[[], type[Keys]] | None = None
    """Returns a subclass of ``harness.hooks.toml_keys.Keys``, a pydantic model."""
