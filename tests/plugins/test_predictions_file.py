"""Predictions in a file as a model: they get a row, and what does not fit is said."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pandas")

import harness_nct_crc
from harness import HarnessError
from harness_files.by_id import places
from harness_files.predictions import Brought, load

SAMPLE = "nct-crc-he-sample"
MINE = f"""
kind = "predictions"
name = "mine"
file = "mine.csv"
dataset = "{SAMPLE}"
trained_on = "unknown"
"""
RUN = ("run", "--dataset", SAMPLE, "--plugin", "mine.toml", "--model", "mine")


@pytest.fixture(scope="module")
def test_split():
    return harness_nct_crc.load(harness_nct_crc.TRAIN, harness_nct_crc.SAMPLE, folds=5).test


@pytest.fixture
def exported(command):
    """The command in a folder with what color-histogram predicted, in mine.csv."""
    (command.folder / "mine.toml").write_text(MINE)
    model = ("--model", "color-histogram")
    command("run", "--dataset", SAMPLE, *model, "--no-probes", "--perturbation", "jpeg")
    name = ("--dataset", SAMPLE, *model)
    command("export", "predictions", "mine.csv", *name, "--perturbed")
    return command


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def board(command):
    content = json.loads((command.folder / f"reports/{SAMPLE}.json").read_text())
    return {row["model"]: row for row in content["rows"] if row["result"] == "measured"}


def test_what_was_exported_comes_back_as_it_was(exported):
    # Probes are asked of those perturbations that there are predictions for, and of no others.
    exported(*RUN, "--model", "color-histogram", "--perturbation", "jpeg")
    rows = board(exported)
    for name in ("accuracy", "accuracy_low", "balanced_accuracy", "brier"):
        assert rows["mine"][name] == pytest.approx(rows["color-histogram"][name], abs=1e-6), name
    assert rows["mine"]["trained_on"] == "unknown"
    assert "mine.csv" in rows["mine"]["initial_weights"]
    again = ("export", "predictions", "again.csv", "--dataset", SAMPLE, "--model", "mine")
    exported(*again, "--perturbed", "--plugin", "mine.toml")
    before, after = (rows_of(exported.folder / name) for name in ("mine.csv", "again.csv"))
    conditions = {(row["perturbation"], row["level"]) for row in before}
    assert conditions == {(row["perturbation"], row["level"]) for row in after}
    assert len(conditions) == 5
    for row, other in zip(before, after, strict=True):
        assert row["id"] == other["id"]
        for column in row:
            if column.startswith("logit_"):
                assert np.float32(row[column]) == np.float32(other[column])


def test_only_the_class_that_is_called(exported):
    path = exported.folder / "mine.csv"
    rows = [row for row in rows_of(path) if row["perturbation"] == "clean"]
    called = [
        max((name for name in row if name.startswith("logit_")), key=lambda name: float(row[name]))
        for row in rows
    ]
    plain = [
        {"id": f"{row['id'].rpartition('/')[2]}.tif", "predicted": name.removeprefix("logit_")}
        for row, name in zip(rows, called, strict=True)
    ]
    write(path, plain)
    exported(*RUN, "--model", "color-histogram", "--no-probes")
    found = board(exported)
    assert found["mine"]["accuracy"] == found["color-histogram"]["accuracy"]
    assert found["mine"]["brier"] is None  # scores are no probabilities


@pytest.mark.once
def test_for_another_dataset_and_flipped_there_are_none(exported):
    output = exported("run", "--dataset", "kather-2016", "--plugin", "mine.toml", "--model", "mine",
                      "--no-probes", code=2)  # fmt: skip
    assert "kather-2016" in output
    flips = ("run", "--dataset", SAMPLE, "--plugin", "mine.toml", "--model", "mine+flips")
    output = exported(*flips, "--no-probes", code=1)
    assert "mine has predictions for patches as they are, not for flipped ones" in output


def renamed(rows, **names):
    """Rows with other names of columns; those named None are gone."""
    return [
        {names.get(k, k): v for k, v in row.items() if names.get(k, k) is not None} for row in rows
    ]


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda rows: rows[:-2], 1, "2 of 111 test patches are not in it, such as"),
        (lambda rows: [*rows, rows[3]], 1, "1 test patches are there twice, such as"),
        (lambda rows: [{**rows[0], "id": "TUM/x"}, *rows[1:]], 1, "such as 'TUM/x'; a patch is"),
        (lambda rows: [{**r, "seed": 3 + (r is rows[0])} for r in rows], 1, "there is 3, 4; name"),
        (lambda rows: renamed(rows, logit_ADI="logit_XYZ"), 1, "predictions of 'XYZ', which is no"),
        (lambda rows: renamed(rows, logit_ADI=None), 1, "no column for the class ADI; add it"),
        (lambda rows: [{**r, "logit_ADI": "x"} for r in rows], 2, "column logit_ADI: 'x' is no"),
        (lambda rows: [{"id": r["id"]} for r in rows], 2, "has no columns logit_CLASS"),
        (lambda rows: [{**r, "score_ADI": 1} for r in rows], 2, "columns of logit and of score"),
        (lambda rows: renamed(rows, id="name"), 2, "has no column 'id'"),
    ],
)
def test_what_does_not_fit_is_said_by_number_and_example(exported, change, code, said):
    path = exported.folder / "mine.csv"
    rows = [row for row in rows_of(path) if row["perturbation"] == "clean"]
    write(path, change(rows))
    output = exported(*RUN, "--no-probes", code=code)
    assert said in output
    assert "Traceback" not in output


def test_ids_may_be_names_of_files_or_digests_of_pixels(test_split, tmp_path):
    ids, n = test_split.ids, len(test_split.ids)
    for spelled in (
        ids,
        [id_.rpartition("/")[2] for id_ in ids],
        [f"{id_}.tif" for id_ in ids],
        [f"C:\\data\\{id_.split('/', 1)[1]}.TIF".replace("/", "\\") for id_ in ids],
        [hashlib.sha256(test_split.read([i])[0].tobytes()).hexdigest() for i in range(n)],
    ):
        assert places(test_split, spelled, tmp_path) == list(range(n))
    # The folder of the class is part of a name, where it is said.
    name = ids[0].rpartition("/")[2]
    assert places(test_split, [f"TUM/{name}", f"ADI/{name}"], tmp_path) == [None, 0]

    class Alike:
        ids = ("test/ADI/1", "test/TUM/1", "test/TUM/2")
        labels = np.zeros(3, np.int64)

    assert places(Alike(), ["TUM/1.png", "2"], tmp_path) == [1, 2]
    with pytest.raises(HarnessError, match="'1' may mean 'test/ADI/1' and 'test/TUM/1'"):
        places(Alike(), ["1"], tmp_path)


def test_seeds_and_levels_are_told_apart(tmp_path):
    class Two:
        ids = ("a", "b")
        labels = np.array([0, 1])

    path = tmp_path / "p.csv"
    path.write_text(
        "id,seed,perturbation,level,logit_x,logit_y\n"
        "b,0,clean,,1,2\na,0,clean,,3,4\n"
        "a,1,clean,,5,6\nb,1,clean,,7,8\n"
        "a,0,jpeg,80,9,10\nb,0,jpeg,80,11,12\n"
    )
    table = load(path, "id")
    assert table.conditions == {("jpeg", 80.0)}
    zero, one = (Brought(table, seed, ("y", "x")) for seed in (0, 1))
    assert zero.predictions(Two(), "clean", None).tolist() == [[4, 3], [2, 1]]
    assert one.predictions(Two(), "clean", None).tolist() == [[6, 5], [8, 7]]
    assert zero.predictions(Two(), "jpeg", 80.0).tolist() == [[10, 9], [12, 11]]
    with pytest.raises(HarnessError, match="2 of 2 test patches are not in it"):
        zero.predictions(Two(), "jpeg", 60.0)


AWAY = f"{SAMPLE}-to-kather-2016"
KATHER = (
    Path(__file__)
    .parents[1]
    .joinpath("fixtures", "kather-2016", "Kather_texture_2016_image_tiles_5000.zip")
)


@pytest.mark.once
def test_predictions_for_a_cohort_are_tested_away(command):
    (command.folder / "data").mkdir()
    (command.folder / "data" / KATHER.name).symlink_to(KATHER)
    model = ("--model", "color-histogram")
    command("transfer", SAMPLE, "kather-2016", *model)
    for file, dataset in (("mine.csv", SAMPLE), ("away.csv", AWAY)):
        command("export", "predictions", file, "--dataset", dataset, *model)
    rows = rows_of(command.folder / "away.csv")
    other = {**rows[0], "id": "03_COMPLEX/of-a-class-that-is-not-shared"}
    write(command.folder / "away.csv", [*rows[::-1], other])
    (command.folder / "mine.toml").write_text(f'{MINE}[cohorts]\nkather-2016 = "away.csv"\n')
    ask = ("transfer", SAMPLE, "kather-2016", "--plugin", "mine.toml", "--model", "mine")
    output = command(*ask)
    assert "What was brought along counts as it is, that is, of mine:" in output

    def found():
        content = json.loads((command.folder / f"reports/{AWAY}.json").read_text())
        return content["cohorts"]["kather-2016"]["models"]

    models = found()
    for name, value in models["color-histogram"].items():
        if name != "baseline":
            assert models["mine"][name] == value, name
    # Other predictions for the cohort change what is measured there, and nothing at home.
    called = [{"id": row["id"], "predicted": "BACK"} for row in rows]
    write(command.folder / "away.csv", called)
    said = "away.csv: has scores, but"
    assert said in command("list", "models", "--plugin", "mine.toml")
    for row in rows:
        row.update({name: "0" for name in row if name.startswith("logit_")} | {"logit_BACK": "1"})
    write(command.folder / "away.csv", rows)
    assert "results to compute" in command(*ask)
    changed = found()["mine"]
    assert changed["accuracy_home"] == models["mine"]["accuracy_home"]
    assert changed["accuracy_away"] == pytest.approx(4 / 28)
    write(command.folder / "away.csv", rows[1:])
    output = command(*ask, code=1)
    assert "away.csv: 1 of 28 test patches are not in it, such as 'kather-2016/" in output
