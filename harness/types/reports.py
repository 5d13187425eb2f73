"""The type of what writes a leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.analysis.leaderboard import Board

    Indices = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A form in which a leaderboard is written: ``harness leaderboard --report NAME``.

    ``write(board, folder)`` writes files into an existing folder and returns their paths. Files
    ought to be named after the dataset, ``board.dataset["name"]``. ``board.rows`` has a mapping for
    each row, with the fields of the JSON file, and ``board.to_dataframe()`` a pandas DataFrame of
    them; ``board.columns`` are the names of ``--columns``.
    """

    name: str
    title: str
    write: Callable[[Board, Path], Sequence[Path]]
    on_request: bool = False
    """Written only when it is named."""
