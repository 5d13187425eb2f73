"""What a report of a dataset is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.audits import DatasetAudit
from harness.analysis.leaderboard import Board
from harness.types.models import Setting

ReadPatches = Callable[[Sequence[str]], dict[str, NDArray[np.uint8]]]
"""``read(ids)``: patches by id, uint8 RGB (H, W, 3) each, those that there are."""


@dataclass(frozen=True)
class Loaded:
    """What is loaded of a model and a dataset, to compute a result again."""

    settings: Mapping[str, Setting]
    """Of the model, if none are given."""
    options: tuple[str, ...]
    """Those of the command line that name the data folder and files of plugins."""
    missing: str = ""
    """Why it cannot be computed again, and what to do; "" if it can."""


FindLoaded = Callable[[str, Mapping[str, Any]], Loaded]
"""``loaded(dataset, record)``: what is loaded of a dataset and of the model of a result."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A board, and what else is known of its dataset."""

    board: Board
    audit: DatasetAudit | None
    no_audit: str
    """Why there is no audit, and what to do; "" if there is one."""
    read: ReadPatches | None
    no_patches: str
    """Why no patch can be shown; "" if they can."""
    by_class: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Ids of some training and test patches of each class, for contact sheets."""
    few_shot: tuple[Mapping[str, Any], ...] = ()
    """Points of few-shot curves that ``harness few-shot`` wrote beside, as in its JSON file."""
    few_shot_chance: float = 0.0
    """Balanced accuracy of a guess at the classes of these curves."""
    models: tuple[str, ...] = ()
    """Models of the dataset in the store, which have their colors before others."""
    baselines: frozenset[str] = frozenset()
    """Models that see nothing but color."""
