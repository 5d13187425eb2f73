"""The table: columns, formats, ranks."""

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from harness import HarnessError, PublishedResult
from harness.analysis import compare, decision, error_analysis, estimates
from harness.analysis.leaderboard import build
from harness.reports import (
    board_pictures,
    columns,
    compare_text,
    decision_text,
    drawing,
    error_pages,
    formats,
)
from harness.statistics import ranking
from harness.store.failures import Collected
from harness.store.store import Key, Store
from harness.store.stored import DamagedError
from harness.system.digests import sealed
from harness.text.markup import inline

SCHEMA = Path(formats.__file__).with_name("leaderboard.schema.json")
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
    "n_train_max": 10,
    "n_train_own": 10,
    "n_test": 4,
    "test_counts": [2, 2],
    "test_identity": "md5 of t.zip verified",
    "train_identity": "",
    "described_by": "d.toml",
    "unfitted": [],
    "untested": [],
    "not_selected_on": {},
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

    def build_store(correct, copy="copy", groups=None, **dataset):
        store = Store(tmp_path / "runs")
        labels = np.array([0, 0, 1, 1])
        described = Key("dataset", "d", "splits", {"data": copy, **dataset})
        with store.write(described) as (folder, record):
            np.save(folder / "labels.npy", labels)
            np.save(folder / "folds.npy", np.arange(4) % max(1, dataset.get("folds", 0)))
            (folder / "ids.json").write_text('["p", "q", "r", "s"]')
            if groups:
                (folder / "groups.json").write_text(json.dumps(groups))
            record |= {**DATASET, **dataset}
        store.set_current(described)
        for number, (model, right, *more) in enumerate(correct):
            seed = more[0] if more else 0
            predicted = labels ^ (np.arange(4) >= right)
            key = Key("prediction", "d", model, {"number": number, "data": copy})
            with store.write(key) as (folder, record):
                np.save(folder / "logits.npy", 3 * np.eye(2, dtype=np.float32)[predicted])
                record |= {
                    **{"model": model, "title": model.upper(), "data": copy},
                    **{"perturbation": "clean", "view": "identity", "seed": seed},
                    **{"created": f"2026-01-01T00:00:{number:02}"},
                    **{"selected_on": "held-out", "initial_weights": "none", "device": "CPU"},
                    **{"fits": [fit("a", 2, number), fit("b", 3, number)], "seconds": 0.5, "n": 4},
                    **{
                        "deviations": "",
                        "plugin": "p 1",
                        "features": [{"digest": "f", "seconds": 1}],
                    },
                }
        return store

    return build_store


def test_rows_are_ranked_by_accuracy_and_ties_share_a_rank(make):
    board = build(make([("x", 2), ("m", 4), ("y", 2), ("z", 1)]), "d", [published()])
    ranks = [(row["model"], row["rank"]) for row in board.rows]
    assert ranks == [("m", 1), ("x", 2), ("y", 2), ("z", 4)]
    assert {(row["rank_best"], row["rank_worst"]) for row in board.rows} == {(1, 4)}
    assert "| 1–4 " in formats.table(board, "github")  # four patches tell nothing apart
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
    table = formats.table(board, "github", ["published"])
    assert "+25.00 (-28.08 to +69.94)" in table  # as Newcombe's in statsmodels
    assert "Δ M" in table


def test_trained_on_other_data_is_not_the_same_published_model(make):
    board = build(make([("m", 4)]), "d", [published(trained_on="raw")])
    assert board.rows[0]["published_accuracy"] is None
    assert board.rows[1]["model"] == "m"


def test_on_other_test_data_there_is_no_difference_but_a_reason(make):
    store = make([("m", 4)], shortfall="4 of 9 test patches")
    board = build(store, "d", [published(reference=True)])
    row = board.rows[0]
    assert row["difference_to_published"] is row["difference_to_reference"] is None
    assert row["reproduced"] == "not comparable"
    assert row["difference_to_reference_empty_because"] == "4 of 9 test patches"
    assert "not comparable: 4 of 9 test patches" in formats.table(board, "github")
    page = formats.markdown(board)
    assert "no difference between a measured and a published result is shown" in page


def test_only_results_of_the_current_copy_are_shown(make):
    make([("old", 4)], copy="before")
    board = build(make([("new", 3)]), "d", [])
    assert [row["model"] for row in board.rows] == ["new"]


def test_json_and_csv_hold_the_figures(make, tmp_path):
    other = published(model="other", confusion=((2, 0), (1, 1)), classes=("a", "b"))
    board = build(make([("m", 3)]), "d", [other])
    paths = [path for suffix in formats.FORMATS for path in formats.write(suffix, board, tmp_path)]
    assert [path.name for path in paths] == ["d.md", "d.tex", "d.csv", "d.json"]
    content = json.loads(paths[3].read_text())
    assert content["schema"] == formats.SCHEMA
    mine, other = content["rows"]
    assert mine["accuracy"] == 0.75
    assert mine["confusion"] == [[2, 0], [1, 1]]
    for row in (mine, other):
        assert [line["recall"] for line in row["recall"]] == [1.0, 0.5]
        assert [line["class"] for line in row["recall"]] == ["a", "b"]
    rows = list(csv.DictReader(io.StringIO(paths[2].read_text())))
    assert rows[0]["accuracy"] == "0.75"
    assert float(rows[0]["accuracy_low"]) == pytest.approx(mine["accuracy_low"])
    assert "confusion" not in rows[0]


def test_a_published_class_without_patches_has_no_recall(make):
    board = build(make([]), "d", [published(confusion=((4, 0), (0, 0)), classes=("a", "b"))])
    assert [line["recall"] for line in board.rows[0]["recall"]] == [1.0, None]
    assert json.loads(formats.to_json(board))


def test_an_empty_column_is_left_out_of_the_table_for_people(make):
    board = build(make([]), "d", [published()])
    heading = formats.table(board, "github").splitlines()[0]
    assert "rank" in heading
    assert "device" not in heading


def test_a_table_that_can_be_read_by_machines_follows_its_schema(make, tmp_path):
    probed = published(model="other", confusion=((2, 0), (1, 1)))
    board = build(make([("m", 3, 0), ("m", 4, 1), ("n", 2)]), "d", [probed])
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(formats.to_json(board))
    jsonschema.validate(content, schema)
    assert schema["properties"]["schema"]["const"] == content["schema"]
    content["rows"][0]["accuracy"] = 1.2
    with pytest.raises(jsonschema.ValidationError, match="maximum of 1"):
        jsonschema.validate(content, schema)


def test_the_leaderboard_in_the_repository_follows_the_schema():
    path = Path(__file__).parents[2] / "leaderboards" / "nct-crc-he-sample.json"
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))


def test_trainings_with_several_seeds_are_one_row(make):
    runs = [("m", 2, 0), ("m", 4, 1), ("m", 3, 2), ("other", 4)]
    board = build(make(runs), "d", [])
    assert [row["model"] for row in board.rows] == ["other", "m"]
    row = board.rows[1]
    assert row["seeds"] == [0, 1, 2]
    assert row["accuracy"] == pytest.approx(0.75)
    assert row["accuracy_sd"] == pytest.approx(0.25)
    assert (row["accuracy_min"], row["accuracy_max"]) == (0.5, 1)
    assert row["confusion"] == [[6, 0], [3, 3]]
    assert row["fit_seconds"] == 3 * 5 + 1
    table = formats.table(board, "github", ["default", "seeds"])
    assert "25.00 (50.00–100.00)" in table
    assert "0–2" in table


def test_of_two_runs_with_one_seed_the_latest_counts(make):
    board = build(make([("m", 1, 0), ("m", 3, 0)]), "d", [])
    (row,) = board.rows
    assert row["accuracy"] == 0.75
    assert row["accuracy_sd"] is None


def test_figures_are_computed_once(make, monkeypatch):
    store = make([("m", 3)])
    first = build(store, "d", [])
    monkeypatch.setattr(estimates, "_compute", None)
    assert formats.to_json(build(store, "d", [])) == formats.to_json(first)
    with pytest.raises(TypeError):
        build(store, "d", [], design_effect=2)


def test_figures_follow_logits_that_were_computed_again(make):
    store = make([("m", 3)])
    assert build(store, "d", []).rows[0]["accuracy"] == 0.75
    (path,) = store.root.glob("prediction/d/m/*/logits.npy")
    np.save(path, 3 * np.eye(2, dtype=np.float32)[[0, 0, 1, 1]])
    with pytest.raises(DamagedError, match=f"{path}: is damaged .*harness run .*--model m"):
        build(store, "d", [])
    make([("m", 4)])  # what is damaged is written again
    assert build(store, "d", []).rows[0]["accuracy"] == 1


def test_fits_of_another_version_are_not_a_seed_of_this_one(make):
    store = make([("m", 1, 0), ("m", 3, 1)])
    for path in store.root.glob("prediction/d/m/*/record.json"):
        record = json.loads(path.read_text())
        version = {"version": 2, "created": "9999"} if record["seed"] == 1 else {"version": 1}
        plain = {name: value for name, value in record.items() if name != "sha256"}
        path.write_text(json.dumps(sealed(plain | version)))
    assert [row["seeds"] for row in build(store, "d", []).rows] == [[1]], "the latest counts"
    for installed, seeds in {1: [0], 2: [1], 3: [1]}.items():
        board = build(store, "d", [], versions={"m": installed})
        assert [row["seeds"] for row in board.rows] == [seeds]


def test_a_store_that_cannot_be_written_to_still_gives_a_board(make, monkeypatch):
    store = make([("m", 3)])

    def full(key):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write", full)
    assert build(store, "d", []).rows[0]["accuracy"] == 0.75


def test_columns_are_chosen_by_set_and_by_name(make):
    board = build(make([("m", 3)]), "d", [published()])
    headings = {
        name: formats.table(board, "tsv", [name]).splitlines()[0].split("\t")
        for name in (*columns.SETS, "brier")
    }
    stripped = {name: [heading.strip() for heading in row] for name, row in headings.items()}
    assert stripped["brier"] == ["rank", "result", "model", "Brier"]
    assert stripped["figures"][3:] == [
        "accuracy % (95 % interval)",
        "balanced %",
        "macro F1 %",
        "MCC",
        "macro AUROC",
    ]
    assert len(stripped["default"]) < len(stripped["all"])
    for row in stripped.values():
        assert set(row) <= set(stripped["all"])
    with pytest.raises(HarnessError, match="--columns: there is no 'brie'; did you mean brier"):
        formats.table(board, "tsv", ["brie"])


def test_latex_has_booktabs_and_nothing_that_latex_does_not_know(make):
    board = build(make([("m_1", 3)], shortfall="4 of 9"), "d", [published(reference=True)])
    text = formats.latex(board, ["all"])
    assert "\\toprule" in text
    assert "m\\_1" in text
    assert "95 \\%" in text
    assert text.replace("“", "").isascii()


def test_what_stands_under_the_table_is_true_of_it(make):
    one, other, several = ("m", 4), ("n", 2), [("m", 4, 0), ("m", 3, 1)]
    groups = ["i", "i", "j", "k"]

    def under(results, rows, **dataset):
        return formats.markdown(build(make(rows, **dataset), "d", results))

    plain = under([], [one, other])
    assert "McNemar" in plain
    assert "several seeds" not in plain
    assert "published rows" not in plain
    assert "one seed is about that training" in plain
    by_groups = under([published(model="other")], [one, other], copy="groups", groups=groups)
    assert "McNemar" not in by_groups
    assert "summed over groups" in by_groups
    assert "Intervals of published rows count patches as independent" in by_groups
    assert "published rows were not run here" in by_groups
    seeds = under([], [*several, other], copy="seeds")
    assert "spread over seeds" in seeds
    assert "McNemar" not in seeds, "no two models have one training each"
    alone = under([], [one], copy="alone")
    assert "not statistically distinguishable" not in alone
    none = under([published()], [], copy="none")
    assert "not statistically distinguishable" not in none
    mixed = under([], [*several, other, ("o", 1)], copy="mixed")
    assert "McNemar's test, mid-p; where there are several seeds" in mixed


@pytest.mark.parametrize(
    "name", ["a|b", "x_1*", "<b>", "$m$", "50 %", "a&b", "{x}~^", "C#", "肿瘤"]
)
def test_names_of_models_and_texts_of_datasets_break_no_page(make, name):
    board = build(make([(name, 3), ("n", 2)], title=name, source=name, license=name), "d", [])
    page = formats.markdown(board)
    table = [line for line in page.splitlines() if line.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert len(bars) == 1
    assert inline(name) in table[2] + table[3]
    assert page.splitlines()[2].startswith(f"{inline(name)}: 4 test patches")
    text = formats.latex(board)
    assert text.count("\\\\\n") == 3
    rows = list(csv.DictReader(io.StringIO(formats.to_csv(board))))
    assert {row["model"] for row in rows} == {name, "n"}


def test_one_error_among_very_many_patches_is_not_a_hundred_percent(make):
    board = build(make([("m", 4)]), "d", [])
    n = 100_000
    row = board.rows[0] | {"accuracy": 1 - 1 / n, "accuracy_low": 1 - 6 / n, "accuracy_high": 1}
    row |= {"difference_to_reference": -1 / n, "difference_to_reference_low": -6 / n}
    row |= {"difference_to_reference_high": 0.0}
    shown = formats.table(dataclasses.replace(board, rows=[row]), "github")
    assert "99.999 (99.99–100.00)" in shown
    assert "-0.001 (-0.01 to +0.00)" in shown


def test_a_design_effect_widens_intervals_and_says_so(make):
    store, other = make([("m", 3)]), published(model="other")
    plain, wide = (build(store, "d", [other], design_effect=effect) for effect in (1, 4))
    assert wide.rows[0]["accuracy_low"] < plain.rows[0]["accuracy_low"]
    assert wide.rows[1]["accuracy_low"] < plain.rows[1]["accuracy_low"], "of published rows, too"
    assert "design effect 4" in formats.table(wide, "github")
    assert "assume a design effect of 4" in formats.markdown(wide)
    assert "With a design effect of 5" in formats.markdown(plain)


def test_a_design_effect_reaches_ranks(make, monkeypatch):
    """Ranks are open between models that only independent patches distinguish."""
    monkeypatch.setattr(ranking, "mcnemar", lambda one, other: np.full(np.shape(one), 0.02))
    store = make([("m", 3), ("n", 2)])
    plain, wide = (build(store, "d", [], design_effect=effect) for effect in (1, 5))
    assert [row["rank_worst"] for row in plain.rows] == [1, 2]
    assert [row["rank_worst"] for row in wide.rows] == [2, 2]
    assert "so do ranks and verdicts" in formats.markdown(wide)


@pytest.mark.parametrize("runs", [1, 2], ids=["one training", "two"])
@pytest.mark.parametrize("groups", [None, ["a", "b", "c", "d"]], ids=["patches", "groups"])
def test_a_design_effect_reaches_comparisons(make, groups, runs):
    models = [(model, right, seed) for model, right in (("m", 4), ("n", 1)) for seed in range(runs)]
    store = make(models, groups=groups)
    found = []
    for effect in (1, 4):
        truth, (one, other) = compare.measured(store, "d", design_effect=effect)
        found.append(compare.compare(truth, one, other, effect))
    plain, wide = found
    assert wide.first.p > plain.first.p
    assert runs == 1 or wide.seeds.p > plain.seeds.p
    for name, gap in plain.first.differences.items():
        assert wide.first.differences[name].low <= gap.low <= gap.high
        assert gap.high <= wide.first.differences[name].high
    assert wide.ends90[0] <= plain.ends90[0] < plain.ends90[1] <= wide.ends90[1]
    assert (
        wide.one.found[0].estimates["accuracy"].low < plain.one.found[0].estimates["accuracy"].low
    )
    assert any("assume a design effect of 4" in line for line in compare_text.text(wide))
    assert not any("design effect" in line for line in compare_text.text(plain))


def test_json_has_every_pair_and_the_page_which_differences_show(make):
    board = build(make([("x", 4), ("m", 2), ("y", 3)]), "d", [])
    found = json.loads(formats.to_json(board))
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    pairs = found["pairs"]
    assert pairs["models"] == [row["model"] for row in found["rows"]] == ["x", "y", "m"]
    assert pairs["p"][0][2] == pairs["p"][2][0] == 0.25  # two patches, mid-p
    assert pairs["p"][0][1] == 0.5
    assert pairs["p_holm"][0][2] == 0.75
    assert pairs["p"][1][1] == 1
    assert pairs["discordance"] == 0.25
    assert pairs["detectable"] == pairs["detectable_holm"] == 1  # four patches show nothing
    (said,) = (line for line in formats.about(board) if "80 % of trials" in line)
    assert "100.0 points or more, and 100.0 after Holm's correction for 3 pairs" in said
    assert "only one is right on 25.0 % of the patches" in said
    assert "folds" not in said
    alone = build(make([("x", 4)], copy="alone"), "d", [])
    assert json.loads(formats.to_json(alone))["pairs"] is None
    assert not any("80 % of trials" in line for line in formats.about(alone))


def test_pages_say_of_pooled_folds_that_ranks_are_about_these_trainings(make):
    board = build(make([("m", 2), ("x", 4)], folds=2), "d", [])
    assert any("Ranks pool the folds" in line for line in formats.about(board, brief=True))


@pytest.mark.parametrize(("folds", "seeds"), [(0, 1), (2, 1), (2, 2), (0, 2)])
def test_a_comparison_says_which_question_p_answers(make, folds, seeds):
    models = [(name, right, seed) for name, right in (("m", 4), ("x", 2)) for seed in range(seeds)]
    truth, entries = compare.measured(make(models, folds=folds), "d")
    found = compare.compare(truth, *entries)
    text = " ".join(compare_text.text(found))
    assert ("p answers whether these trainings would" in text) == (seeds == 1)
    assert ("not which method is better" in text) == (seeds == 1 and not folds)
    assert ("It pools the folds" in text) == (seeds == 1 and folds > 0)
    assert ("The methods cannot be distinguished (p = " in text) == (folds > 0)
    methods = compare_text.as_json(found)["methods"]
    assert (methods is not None) == (folds > 0)
    if methods:
        assert methods["difference"]["value"] == 0.5
        assert f"p = {methods['p']:.3f}, corrected t-test over 2 folds" in text


def test_nobody_trains_a_pretrained_classifier_again(make):
    truth, entries = compare.measured(make([("m", 2), ("x", 4)], folds=2), "d")
    for number, entry in enumerate(entries):
        entry.record["trained_on"] = "elsewhere"
        found = compare.compare(truth, *entries)
        assert (found.methods is None) == (number == 1)
        assert any("Would the methods differ" in t for t in compare_text.text(found)) != number


def test_decision_curves_of_two_models(make):
    models = [("m", 4, 0), ("m", 4, 1), ("x", 2, 0)]  # x calls every patch "a"
    truth, entries = compare.measured(make(models), "d")
    found = compare.compare(truth, *entries)
    curves = decision.decision_curves(found, "b", (0.1, 0.5))
    assert curves.prevalence == 0.5
    assert curves.one == (0.5, 0.5)
    assert curves.other == (0, 0)
    assert curves.act_on_all == (pytest.approx(0.5 - 0.5 / 9), 0)
    for gap in curves.differences:
        assert gap.value == 0.5
        assert gap.low < 0.5 < gap.high
    text = " ".join(decision_text.text(found, curves))
    assert "Net benefit where b is the positive class, which 50.0 %" in text
    assert "+0.500 (" in text
    with drawing.clean():
        picture = decision_text.draw(found, curves)
    of_m = picture.axes[0].lines[0]
    assert of_m.get_label() == "m"
    assert list(of_m.get_xdata()) == [10, 50]
    assert list(of_m.get_ydata()) == [0.5, 0.5]
    wide = compare.compare(truth, *entries, design_effect=4)
    (less, _), (more, _) = (
        decision.decision_curves(one, "b", (0.1, 0.5)).differences for one in (found, wide)
    )
    assert more.low < less.low
    with pytest.raises(HarnessError, match="--positive c: there is a, b"):
        decision.decision_curves(found, "c", (0.1,))
    for run in entries[1].runs:
        run.record["outputs"] = "scores"
    with pytest.raises(HarnessError, match="x: its outputs are scores"):
        decision.decision_curves(found, "b", (0.1,))


def test_pages_say_that_intervals_assume_the_design_effect(make, tmp_path):
    store = make([("m", 3)])
    plain, wide = (build(store, "d", [], design_effect=effect) for effect in (1, 4))
    for board, said in ((plain, False), (wide, True)):
        page, *_ = error_pages.write(board, tmp_path, Collected(store))
        assert ("assume a design effect of 4" in page.read_text()) == said


@pytest.mark.parametrize(
    ("margin", "seeds", "expected"),
    [
        (0.005, 1, "inconclusive: about "),
        (0.9, 1, "reproduced; two trainings"),
        (0.9, 2, "reproduced"),
    ],
)
def test_a_verdict_goes_by_the_margin_and_says_of_how_many_trainings(make, margin, seeds, expected):
    store = make([("m", 3, seed) for seed in range(seeds)])
    board = build(store, "d", [published(selected_on="held-out")], margin=margin)
    (row,) = board.rows
    row["reproduced_if"] = ""
    assert board.margin == margin
    (column,) = (c for c in columns.every([], "r", 1.0, margin) if c.name == "reproduced")
    assert column.cell(row).startswith(expected)
    page = formats.markdown(board)
    assert f"within ±{100 * margin:g} points" in page
    assert ("“Two trainings”" in page) == ("two trainings" in expected)
    assert row["reproduced_low90"] < 0 < row["reproduced_high90"]
    assert (row["reproduced_patches_needed"] or 0) > 4 or margin > 0.5
    jsonschema.validate(json.loads(formats.to_json(board)), json.loads(SCHEMA.read_text()))


def test_the_page_about_errors(make, tmp_path):
    other = published(model="m", confusion=((2, 0), (0, 2)), classes=("a", "b"))
    board = build(make([("m", 3), ("n", 2)]), "d", [other])
    page, data, *pictures = error_pages.write(board, tmp_path, Collected(Store(tmp_path)))
    text = page.read_text()
    assert "1 of 4 test patches are wrong in all 2 models" in text
    assert "| s       | b       | a " in text
    assert "| 50.0 (9.5–90.5) " in text
    assert "of 1 errors: b as a 1 (50.0 % of the class)" in text
    assert "Against the published confusion matrix" in text
    content = json.loads(data.read_text())
    assert content["wrong_in_every_model"] == [
        {"id": "s", "class": "b", "predicted": "a", "models": 2}
    ]
    assert content["published"] == [{"model": "m", "confused": []}]
    of_m = next(one for one in content["models"] if one["model"] == "m")
    moved = {one["class"]: one["moved_to"] for one in of_m["against_published"]}
    assert moved == {"a": "", "b": "a (+50.0 points)"}
    for picture in pictures:
        assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_picture_of_intervals_sets_other_test_patches_apart(make):
    other = published(model="n", n=7, accuracy=0.5)
    unseen = published(model="o", title="O", accuracy=0.5)
    store = make([("m", 4), ("n", 2), ("gray", 3)])
    board = build(store, "d", [published(reference=True), unseen, other])
    content = board_pictures.intervals(board, {"gray"})
    assert [name for name, *_ in content["measured"]] == ["m", "gray", "n"]
    assert [name for name, *_ in content["counterparts"]] == ["m"]
    assert [name for name, *_ in content["published"]] == ["o"]
    assert [name for name, *_ in content["apart"]] == ["n"], "of 7 patches, and these are 4"
    assert content["reference"] == ("M", 75)
    assert (content["color"], content["random"]) == (75, None)
    with drawing.clean():
        top, apart = board_pictures.draw_intervals(content).axes
        assert [label.get_text() for label in top.get_yticklabels()] == ["m", "gray", "n", "o"]
        assert [label.get_text() for label in apart.get_yticklabels()] == ["n"]
    assert apart.get_title(loc="left").startswith("published on other test patches (7)")
    assert top.get_xlim() == apart.get_xlim() == (0, 100)
    marks = [line for line in top.lines if len(line.get_xdata()) == 1]
    drawn = [(line.get_xdata()[0], line.get_markerfacecolor() != "white") for line in marks]
    assert drawn == [(100, True), (75, False), (75, True), (50, True), (50, False)]
    ends = [line for line in top.lines if len(line.get_xdata()) == 2]
    solid = [not line.is_dashed() for line in ends if line.get_ydata()[0] == line.get_ydata()[1]]
    assert solid == [True, False, True, True, False]
    alone = board_pictures.intervals(build(store, "d", [published(model="x", n=7)]))
    assert (alone["apart"], alone["reference"], alone["published"]) == ([], None, [])


def test_points_of_the_picture_of_coverage_stand_at_their_coverage(make):
    board = build(make([("m", 4), ("n", 2), ("o", 1)]), "d", [])
    curves = error_analysis.coverages(board, error_analysis.risks(board))
    with drawing.clean():
        (axes,) = error_pages.draw_coverage(curves).axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 100), (0, 100))
    points = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "None"]
    assert np.allclose(points, [[50, 80, 90, 95, 100]] * 3)
    ends = np.array([c.get_segments() for c in axes.collections])[..., 0]
    assert len(ends) == 3
    assert (ends <= 100).all()
    assert len(set(ends[:, 0, 0])) == 3, "side by side"


def test_where_most_are_near_a_hundred_they_are_shown_once_more(make):
    content = board_pictures.intervals(build(make([("m", 4), ("n", 4), ("o", 2)]), "d", []))
    with drawing.clean():
        whole, close = board_pictures.draw_intervals(content).axes
    assert (whole.get_xlim(), close.get_xlim()) == ((0, 100), (90, 100))


def test_a_confusion_matrix_has_shares_of_rows_and_counts():
    with drawing.clean():
        (axes,) = board_pictures.draw_confusion([[3, 1], [0, 2]], ("a", "b"), "m").axes
        many = board_pictures.draw_confusion(np.eye(50, dtype=int).tolist(), ["x"] * 50, "m")
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "75\n3", (1, 0): "25\n1", (1, 1): "100\n2"}
    assert not many.axes[0].texts


def latex_rows(text):
    """Cells of the rows of measured and published models."""
    lines = [line.removesuffix(" \\\\") for line in text.splitlines() if line.endswith("\\\\")]
    return [line.split(" & ") for line in lines[1:]]


def test_latex_has_the_chosen_rows_and_columns(make):
    store = make([("m", 4), ("n", 2)])
    results = [published(model="o", accuracy=0.5), published(model="n", n=7)]
    board = build(store, "d", results)
    text = board.to_latex(["accuracy"], ["m", "o*"])
    assert latex_rows(text) == [
        ["1--2", "m", "100.00", "(51.01--100.00)"],
        ["\\multicolumn{4}{l}{\\itshape Published}"],
        ["", "o", "50.00", "(15.00--85.00)"],
    ]
    assert "\\label{tab:d}" in text
    assert "4 test patches, 2 classes" in text
    assert "Evaluation: a fixed test split" in text
    assert "Wilson's score" in text
    assert "o &" not in board.to_latex(), "as in the terminal: not measured, not the reference"
    apart = build(store, "d", [published(model="o", n=7)]).to_latex(["accuracy"], ["*"])
    assert "Published, on other test patches" in apart
    with pytest.raises(HarnessError, match="--model x: no row is of such a model"):
        board.to_latex(models=["x"])
    with pytest.raises(HarnessError, match="there is no 'acuracy'"):
        board.to_latex(["acuracy"])


def test_latex_sets_models_apart_that_fell_back_to_random_weights(make):
    board = build(make([("m", 4), ("n", 2)]), "d", [published(model="o", accuracy=0.5)])
    board.rows[0]["initial_weights_fallback"] = True
    assert board.rows[0]["model"] == "m"
    text = board.to_latex(["accuracy"], ["m", "n", "o"])
    assert [row[:2] for row in latex_rows(text)] == [
        ["1--2", "n"],
        ["\\multicolumn{4}{l}{\\itshape Published}"],
        ["", "o"],
        ["\\multicolumn{4}{l}{\\itshape Started from random weights}"],
        ["1--2", "m"],
    ]
    caption = next(line for line in text.splitlines() if line.startswith("\\caption"))
    assert "Started from random weights: the pretrained weights of these models" in caption
    assert "random weights" not in board.to_latex(["accuracy"], ["n", "o"])


def test_latex_aligns_decimals_and_has_real_minus_signs(make):
    board = build(make([("m", 4), ("n", 1)]), "d", [published(reference=True)])
    for row, nll in zip(board.rows, (12.5, 3), strict=True):
        row |= {"nll": nll, "nll_low": None, "nll_high": None}
    text = board.to_latex(["difference_to_reference", "nll"])
    first, second, *_ = latex_rows(text)
    assert (first[2], second[2]) == ("12.500", "3.000")
    assert (first[3], second[3]) == ("+25.00", "$-$50.00")
    assert re.fullmatch(r"\((\$-\$|\+)[\d.]+ to (\$-\$|\+)[\d.]+\)", second[4])
    assert not re.search(r"[ (]-\d", text)
    assert "{llrr@{ }r}" in text


def test_latex_compiles(make, tmp_path):
    """With every column, and with a name that has every sign that LaTeX reads."""
    program = shutil.which("pdflatex") or shutil.which("tectonic")
    if program is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    name = r"a_b&c%d$e#f{g}~h^i\j<k>"
    board = build(make([(name, 3), ("n", 2)]), "d", [published(reference=True)])
    board.rows[1]["initial_weights_fallback"] = True
    for columns_ in (["default"], ["all"]):
        source = f"{PREAMBLE}\n{board.to_latex(columns_)}\\end{{document}}\n"
        (tmp_path / "paper.tex").write_text(source, encoding="utf-8")
        options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdf" in program else []
        done = subprocess.run(
            [program, *options, "paper.tex"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


PREAMBLE = (
    "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n\\begin{document}"
)
