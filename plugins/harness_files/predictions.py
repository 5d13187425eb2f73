"""``kind = "predictions"``: what a model predicted elsewhere, in a CSV or Parquet file.

    kind = "predictions"
    name = "mine"
    file = "mine.csv"                   # or .parquet
    dataset = "nct-crc-he"              # whose test patches these are
    trained_on = "NCT-CRC-HE-100K"      # or "unknown"

A row a patch, in the columns that ``harness export predictions`` writes: ``id``; for each class
``logit_CLASS``, ``probability_CLASS`` or ``score_CLASS``, or instead ``predicted``, the name of the
class; and where there are several, ``seed``, ``perturbation`` and ``level``. The predictions for
cohorts, for ``harness transfer``, are in files of the table ``cohorts``: ``starc-9 = "mine.csv"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness import (
    FitContext,
    Given,
    HarnessError,
    InitialWeights,
    Model,
    Outputs,
    Setting,
    Split,
)
from harness.data import cohorts, files
from harness.hooks.toml_keys import Keys, MustBe, Text, checked
from harness.text.names import suggest
from harness_files import by_id

if TYPE_CHECKING:
    import pandas

CLEAN = "clean"
KINDS: dict[str, Outputs] = {"logit": "logits", "probability": "probabilities", "score": "scores"}
"""What begins the names of the columns of classes, and what it means."""
PREDICTED = "predicted"
ABOUT = ("id", "seed", "perturbation", "level")
SEVERAL = ", or tell runs apart by a column seed"
"""What to do about predictions of a patch that is there twice."""


class PredictionsKeys(Keys):
    """What a TOML file of predictions may say."""

    name: Annotated[Text, MustBe("the name of the model")] = Field(description="of the model")
    title: Text | None = Field(None, description="for tables; by default, the name")
    file: Annotated[Text, MustBe("the path of a .csv or .parquet file")] = Field(
        description="the predictions, relative to this file"
    )
    dataset: Text = Field(description="whose test patches they are for")
    trained_on: Annotated[Text, MustBe('the name of the training data, or "unknown"')] = Field(
        description="as published results call it"
    )
    selected_on: Literal["none", "held-out", "validation", "test", "unknown"] = Field(
        "unknown", description="the split that chose the checkpoint"
    )
    id: Text = Field("id", description="the column of ids")
    cohorts: Annotated[dict[str, Text], MustBe('a table such as { starc-9 = "mine.csv" }')] = Field(
        default_factory=dict,
        description="the predictions for other datasets, by name: for harness transfer",
    )


def keys() -> type[PredictionsKeys]:
    """The class of its keys."""
    return PredictionsKeys


def read(path: Path, content: Mapping[str, Any] | PredictionsKeys) -> Sequence[Model]:
    """The model that a file describes. Raises HarnessError naming what is wrong."""
    said = checked(path, content, PredictionsKeys)
    file = path.parent / said.file
    table = load(file, said.id)
    of_cohorts = {name: path.parent / text for name, text in said.cohorts.items()}
    for other in of_cohorts.values():
        if (outputs := load(other, said.id).outputs) != table.outputs:
            raise HarnessError(
                f"{other}: has {outputs}, but {file} has {table.outputs}; save both alike"
            )
    given = Given(
        said.dataset,
        tuple(sorted(table.conditions)),
        {name: partial(by_id.digest_of, other) for name, other in of_cohorts.items()},
    )
    tables = partial(_of_cohort, given, said.id, of_cohorts)
    return [
        Model(
            name=said.name,
            title=said.title or said.name,
            fit=partial(_fit, file, said.id, tables),
            load=partial(_load, tables),
            trained_on=said.trained_on,
            selected_on=said.selected_on,
            outputs=table.outputs,
            given=given,
            initial_weights=lambda settings: InitialWeights(
                label=f"predictions of {file.name}", digest=by_id.digest_of(file), path=file
            ),
        )
    ]


@dataclass(frozen=True)
class Predicted:
    """What is in a file. Rows are those of patches, seeds and conditions."""

    path: Path
    ids: Sequence[str]
    seeds: NDArray[np.int64] | None
    perturbations: Sequence[str]
    levels: NDArray[np.float64]
    """NaN where there is none."""
    classes: Sequence[str]
    values: NDArray[np.float32]
    """(rows, classes)."""
    outputs: Outputs

    @property
    def conditions(self) -> set[tuple[str, float]]:
        """Perturbations with levels."""
        found = zip(self.perturbations, self.levels.tolist(), strict=True)
        return {(name, level) for name, level in found if name != CLEAN}


Tables = Callable[[str], Predicted | None]
"""Finds the predictions for the cohort that a dataset, by name, tests on."""


def load(file: Path, id_column: str) -> Predicted:
    """What a CSV or Parquet file holds, read once while it does not change. Raises HarnessError."""
    status = files.check_file(file)
    return _loaded(file, id_column, (status.st_size, status.st_mtime_ns))


@cache
def _loaded(file: Path, id_column: str, state: tuple[int, int]) -> Predicted:
    frame = by_id.table(file, id_column, PREDICTED, "perturbation")
    names = list(map(str, frame.columns))
    if id_column not in names:
        raise HarnessError(
            f"{file}: has no column {id_column!r}, but {', '.join(names[:8])}; say which one holds "
            "the ids with id = ... in its description"
        )
    classes, values, outputs = _values(file, frame, names, id_column)
    ids = by_id.ids_in(file, frame, id_column)
    n = len(frame)
    return Predicted(
        path=file,
        ids=ids,
        seeds=_numbers(file, frame, "seed").astype(np.int64) if "seed" in names else None,
        perturbations=(
            [CLEAN if text != text or not text else str(text) for text in frame["perturbation"]]
            if "perturbation" in names
            else [CLEAN] * n
        ),
        levels=(
            _numbers(file, frame, "level", may_lack=True)
            if "level" in names
            else np.full(n, np.nan)
        ),
        classes=classes,
        values=values,
        outputs=outputs,
    )


def _values(
    file: Path, frame: pandas.DataFrame, names: Sequence[str], id_column: str
) -> tuple[Sequence[str], NDArray[np.float32], Outputs]:
    """Classes, values (rows, classes), and what they are."""
    by_kind = {
        kind: [name for name in names if name.startswith(f"{kind}_") and name != id_column]
        for kind in KINDS
    }
    there = [kind for kind, columns in by_kind.items() if columns]
    if len(there) > 1:
        raise HarnessError(
            f"{file}: has columns of {' and of '.join(there)}; keep those of one of them"
        )
    if there:
        columns = by_kind[there[0]]
        found = [_numbers(file, frame, name) for name in columns]
        classes = [name.partition("_")[2] for name in columns]
        return classes, np.stack(found, axis=1).astype(np.float32), KINDS[there[0]]
    if PREDICTED not in names:
        raise HarnessError(
            f"{file}: has no columns logit_CLASS, probability_CLASS or score_CLASS, nor "
            f"{PREDICTED!r}; rename its columns"
        )
    called = [str(name).strip() for name in frame[PREDICTED]]
    classes = sorted(set(called))
    places = np.array([classes.index(name) for name in called])
    return classes, np.eye(len(classes), dtype=np.float32)[places], "scores"


def _numbers(
    file: Path, frame: pandas.DataFrame, column: str, may_lack: bool = False
) -> NDArray[np.float64]:
    import pandas as pd

    values: NDArray[np.float64] = np.asarray(
        pd.to_numeric(frame[column], errors="coerce"), np.float64
    )
    wrong = ~np.isfinite(values)
    if may_lack:
        wrong &= frame[column].notna().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise HarnessError(
            f"{file}, line {row + 2}, column {column}: {frame[column].iloc[row]!r} is no finite "
            "number; correct it"
        )
    return values


def _of_cohort(
    given: Given, id_column: str, of_cohorts: Mapping[str, Path], dataset: str
) -> Predicted | None:
    """The predictions for the cohort that a dataset tests on; None for the dataset at home."""
    cohort = cohorts.brought_for(given, dataset)
    return load(of_cohorts[cohort], id_column) if cohort else None


def _fit(
    file: Path,
    id_column: str,
    tables: Tables,
    train: Split,
    validation: Split | None,
    context: FitContext,
) -> Any:
    return Brought(load(file, id_column), context.seed, context.classes, tables)


def _load(tables: Tables, folder: Path, settings: Mapping[str, Setting]) -> Any:
    with np.load(folder / "predictions.npz") as stored:
        levels = stored["levels"]
        found = Predicted(
            path=Path(str(stored["path"])),
            ids=stored["ids"].tolist(),
            seeds=stored["seeds"] if stored["seeds"].size else None,
            perturbations=stored["perturbations"].tolist(),
            levels=levels,
            classes=stored["names"].tolist(),
            values=stored["values"],
            outputs=str(stored["outputs"]),  # type: ignore[arg-type]
        )
        return Brought(found, int(stored["seed"]), tuple(stored["classes"].tolist()), tables)


class Brought:
    """Predictions in the place of a classifier; see ``Model.given``.

    ``tables`` finds those for a cohort.
    """

    def __init__(
        self,
        table: Predicted,
        seed: int,
        classes: Sequence[str],
        tables: Tables = lambda dataset: None,
    ) -> None:
        self.table = table
        self.seed = seed
        self.classes = tuple(classes)
        self.tables = tables
        self._check(table)

    def _check(self, table: Predicted) -> None:
        """Raise HarnessError unless a table has the classes of the dataset."""
        classes = self.classes
        unknown = [name for name in table.classes if name not in classes]
        lacking = [name for name in classes if name not in table.classes]
        if unknown:
            raise HarnessError(
                f"{table.path}: has predictions of {unknown[0]!r}, which is no class of the "
                f"dataset; {suggest(unknown[0], classes)}"
            )
        values = table.values
        labels = table.outputs == "scores" and bool(((values == 0) | (values == 1)).all())
        if lacking and not labels:  # where only the class that is called is known, it may be rare
            raise HarnessError(f"{table.path}: has no column for the class {lacking[0]}; add it")

    def logits(self, inputs: Any) -> NDArray[np.float32]:
        """There is none: only predictions are known."""
        raise HarnessError(f"{self.table.path}: has predictions, and no model that predicts")

    def predictions(
        self, split: Split, perturbation: str, level: float | None, dataset: str = ""
    ) -> NDArray[np.float32]:
        """What was predicted for all patches of a split, (N, C). Raises HarnessError."""
        away = self.tables(dataset)
        if away is not None:
            self._check(away)
        table = away or self.table
        rows = np.array([name == perturbation for name in table.perturbations])
        if level is not None:
            rows &= table.levels == level
        if table.seeds is not None:
            there = sorted(set(table.seeds[rows].tolist()))
            if len(there) > 1 or (there and self.seed in there):
                if self.seed not in there:
                    known = ", ".join(map(str, there))
                    raise HarnessError(
                        f"{table.path}: has no predictions of the seed {self.seed}; there is "
                        f"{known}; name one with --seed"
                    )
                rows &= table.seeds == self.seed
        chosen = np.flatnonzero(rows)
        ids = [table.ids[row] for row in chosen.tolist()]
        order = by_id.order(split, ids, table.path, several=SEVERAL, others=away is not None)
        values = np.zeros((len(order), len(self.classes)), np.float32)
        for place, name in enumerate(table.classes):
            values[:, self.classes.index(name)] = table.values[chosen[order], place]
        return values

    def save(self, folder: Path) -> None:
        """Write ``predictions.npz``."""
        table = self.table
        np.savez_compressed(
            folder / "predictions.npz",
            path=str(table.path),
            ids=np.array(table.ids, dtype=str),
            seeds=np.empty(0, np.int64) if table.seeds is None else table.seeds,
            perturbations=np.array(table.perturbations, dtype=str),
            levels=table.levels,
            names=np.array(table.classes, dtype=str),
            values=table.values,
            outputs=table.outputs,
            seed=self.seed,
            classes=np.array(self.classes, dtype=str),
        )
