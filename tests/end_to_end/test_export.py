"""What models predicted, as a table for other programs."""

import csv

import numpy as np
import pytest

RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--seeds", "2")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_as_csv_are_those_of_the_store(toy):
    toy(*RUN)
    output = toy("export", "predictions", "p.csv", "--dataset", "toy", "--model", "toy-mean")
    rows = rows_of(toy.folder / "p.csv")
    assert f"Wrote p.csv: {len(rows)} predictions, 2 for each patch" in output
    columns = [name for name in rows[0] if name.startswith("logit_")]
    classes = [name.removeprefix("logit_") for name in columns]
    assert list(rows[0]) == ["id", "label", "seed", "perturbation", "level", *columns]
    stored = sorted((toy.folder / "runs/prediction/toy/toy-mean").glob("*/logits.npy"))
    clean = [np.load(path) for path in stored if not path.parent.name.startswith("sweep-")]
    for seed in ("0", "1"):
        mine = [row for row in rows if row["seed"] == seed]
        assert {(row["perturbation"], row["level"]) for row in mine} == {("clean", "")}
        values = np.array([[row[name] for name in columns] for row in mine], np.float32)
        assert any(np.array_equal(values, logits) for logits in clean)
    assert {row["label"] for row in rows} <= set(classes)
    assert len({row["id"] for row in rows}) == len(rows) / 2


def test_perturbed_patches_too_and_parquet_says_the_same(toy):
    pq = pytest.importorskip("pyarrow.parquet")
    toy(*RUN)
    for name in ("p.csv", "p.parquet"):
        toy("export", "predictions", name, "--dataset", "toy", "--model", "toy-mean", "--perturbed")
    rows = rows_of(toy.folder / "p.csv")
    assert len({(row["perturbation"], row["level"]) for row in rows}) > 1
    table = pq.read_table(toy.folder / "p.parquet").to_pylist()
    assert len(table) == len(rows)
    for row, other in zip(rows, table, strict=True):
        assert row["id"] == other["id"]
        assert row["level"] == ("" if other["level"] is None else str(other["level"]))
        for name in row:
            if name.startswith("logit_"):
                assert np.float32(row[name]) == np.float32(other[name])


def test_what_cannot_be_exported_is_said(toy):
    toy(*RUN, "--no-probes")
    ask = ("--dataset", "toy", "--model", "toy-mean")
    for arguments, said in (
        (("p.xlsx", *ask), "p.xlsx: must end in .csv or .parquet"),
        (("p.csv", "--dataset", "toy", "--model", "other"), "no predictions of other for toy"),
        (("p.csv", "--dataset", "other", "--model", "toy-mean"), "other"),
        (("p.csv", *ask, "--store", "nowhere"), "--store nowhere: no store there"),
        (("nowhere/p.csv", *ask), "nowhere"),
    ):
        output = toy("export", "predictions", *arguments, code=2)
        assert said in output.splitlines()[-1]
        assert "Traceback" not in output
    assert not list(toy.folder.glob("*p.csv*"))
