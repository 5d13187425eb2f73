"""The type of commands that plugins add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from harness.session import Session

    Indices = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that a plugin adds: ``harness NAME``.

    ``run(session, options)`` gets a ``harness.Session`` of the store, the data and the plugins that
    the user named, and what the command line says. It returns the exit code, 0 when all is well,
    and raises HarnessError for mistakes of the user.
    """

    name: str
    title: str
    """What it does, in a line, for ``harness NAME --help``."""
    run: Callable[[Session, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], Any] = lambda parser: None
    """Adds the command's own arguments to those that all commands of plugins have: ``--store``,
    ``--data``, ``--plugin``, ``--without``, ``--time-limit``, ``--strict``, ``--trace-hooks``."""
