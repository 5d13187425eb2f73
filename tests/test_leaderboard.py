"""The table: columns, formats, ranks."""

import csv
import io
import json

import numpy as np
import pytest

from harness import PublishedResult, formats
from harness.leaderboard import build
from harness.store import Key, Store

DATASET = {
    "name": "d",
    "title": "D",
    "classes": ["a", "b"],
    "license": "CC0",
    "source": "Somewhere.",
    "test_set": "t",
    "trained_on": "big",
    "shortfall": "",
    "train_shortfall": "",
    "folds": 0,
    "n_train": 10,
    "n_test": 4,
    "test_counts": [2, 2],
}


def fit(name, seconds, number):
    return {"digest": f"{name}{number}", "seconds": seconds}


def published(**changes):
    fields = {
        "test_set": "t",
        "model": "m",
        "title": "M",
        "trained_on": "big",
        "selected_on": "test",
        "tta": "none",
        "source": "Paper, Table 1",
        "checked": "source",
        "n": 4,
        "accuracy": 0.75,
    }
    return PublishedResult(**{**fields, **changes})


@pytest.fixture
def make(tmp_path):
    """A store with a dataset of four patches and models that get some of them right."""

    def build_store(correct, copy="copy", **dataset):
        store = Store(tmp_path / "runs")
        labels = np.array([0, 0, 1, 1])
        described = Key("dataset", "d", "splits", {"data": copy, **dataset})
        with store.write(described) as (folder, record):
            np.save(folder / "labels.npy", labels)
            record |= {**DATASET, **dataset}
        store.set_current(described)
        for number, (model, right) in enumerate(correct):
            predicted = labels ^ (np.arange(4) >= right)
            key = Key("prediction", "d", model, {"number": number, "data": copy})
            with store.write(key) as (folder, record):
                np.save(folder / "logits.npy", np.eye(2, dtype=np.float32)[predicted])
                record |= {
                    **{"model": model, "title": model.upper(), "data": copy},
                    **{"perturbation": "clean", "view": "identity", "seed": number},
                    **{"selected_on": "held-out", "initial_weights": "none", "device": "CPU"},
                    **{"fits": [fit("a", 2, number), fit("b", 3, number)], "seconds": 0.5, "n": 4},
                    **{"deviations": "", "plugin": "p 1", "features": [{"seconds": 1}]},
                }
        return store

    return build_store


def test_rows_are_ranked_by_accuracy_and_ties_share_a_rank(make):
    board = build(make([("x", 2), ("m", 4), ("y", 2), ("z", 1)]), "d", [published()])
    ranks = [(row["model"], row["rank"]) for row in board.rows]
    assert ranks == [("m", 1), ("x", 2), ("y", 2), ("z", 4)]
    assert board.rows[0]["fit_seconds"] == 6
    assert board.rows[0]["patches_per_second"] == 8


def test_a_published_row_stands_only_where_nobody_ran_the_model(make):
    results = [
        published(),
        published(model="other", accuracy=0.9, reference=True),
        published(model="m", tta="flips", accuracy=0.99),
        published(model="raw", trained_on="raw", accuracy=None, balanced_accuracy=0.8),
        published(model="hue", perturbation="hue", level=10),
        published(model="elsewhere", test_set="u"),
    ]
    board = build(make([("m", 4)]), "d", results)
    assert [(r["result"], r["model"]) for r in board.rows] == [
        ("measured", "m"),
        ("published", "m+flips"),
        ("published", "other"),
        ("published", "raw"),
    ]
    mine = board.rows[0]
    assert mine["difference_to_published"] == pytest.approx(0.25)
    assert mine["published_source"] == "Paper, Table 1"
    assert mine["published_selected_on"] == "test"
    assert mine["difference_to_reference"] == pytest.approx(0.1)
    assert board.rows[1]["rank"] is None
    assert "+25.00" in formats.table(board, "github")
    assert "Δ M" in formats.table(board, "github")


def test_trained_on_other_data_is_not_the_same_published_model(make):
    board = build(make([("m", 4)]), "d", [published(trained_on="raw")])
    assert board.rows[0]["published_accuracy"] is None
    assert board.rows[1]["model"] == "m"


def test_on_other_test_data_there_is_no_difference_but_a_reason(make):
    store = make([("m", 4)], shortfall="4 of 9 test patches")
    board = build(store, "d", [published(reference=True)])
    row = board.rows[0]
    assert row["difference_to_published"] is row["difference_to_reference"] is None
    table = formats.table(board, "github")
    assert table.count("(4 of 9 test patches)") == 2
    assert "no difference to them is shown" in formats.markdown(board)


def test_only_results_of_the_current_copy_are_shown(make):
    make([("old", 4)], copy="before")
    board = build(make([("new", 3)]), "d", [])
    assert [row["model"] for row in board.rows] == ["new"]


def test_json_and_csv_hold_the_figures(make, tmp_path):
    board = build(make([("m", 3)]), "d", [published(model="other", confusion=((2, 0), (1, 1)))])
    paths = formats.write(board, tmp_path / "boards")
    assert [path.name for path in paths] == ["d.md", "d.csv", "d.json"]
    content = json.loads(paths[2].read_text())
    assert content["schema"] == formats.SCHEMA
    mine, other = content["rows"]
    assert mine["accuracy"] == 0.75
    assert mine["confusion"] == [[2, 0], [1, 1]]
    assert mine["recall"] == [1.0, 0.5]
    assert other["recall"] == [1.0, 0.5]
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text())))
    assert rows[0]["accuracy"] == "0.75"
    assert float(rows[0]["accuracy_low"]) == pytest.approx(mine["accuracy_low"])
    assert "confusion" not in rows[0]


def test_a_published_class_without_patches_has_no_recall(make):
    board = build(make([]), "d", [published(confusion=((4, 0), (0, 0)))])
    assert board.rows[0]["recall"] == [1.0, None]
    assert json.loads(formats.to_json(board))


def test_an_empty_column_is_left_out_of_the_table_for_people(make):
    board = build(make([]), "d", [published()])
    heading = formats.table(board, "github").splitlines()[0]
    assert "rank" in heading
    assert "device" not in heading
