"""The main job with the toy plugin, in real subprocesses: run, run again, kill, break, resume."""

import functools
import http.server
import json
import os
import re
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from harness.store.store import Store

TOY = ("--dataset", "toy", "--model", "toy-mean", "--model", "toy-features", "--no-probes")


def board(command, name="toy", folder="reports"):
    return json.loads((command.folder / folder / f"{name}.json").read_text())


def measured(command, **where):
    return {row["model"]: row for row in board(command, **where)["rows"] if row["rank"]}


def without_times(command, **where):
    """The board less what a clock decides."""
    content = board(command, **where)
    for row in content["rows"]:
        row["fit_seconds"] = row["patches_per_second"] = None
    return content


def logits(command, model, store="runs"):
    paths = sorted((command.folder / store / "prediction").glob(f"*/{model}/*/logits.npy"))
    return [np.load(path) for path in paths]


def by_view(command, model):
    folders = (command.folder / "runs/prediction").glob(f"*/{model}/*")
    records = {path: json.loads((path / "record.json").read_text()) for path in folders}
    return {record["view"]: np.load(path / "logits.npy") for path, record in records.items()}


def count(log, start):
    return sum(line.startswith(start) for line in log)


def test_run_all_runs_what_can_run_and_says_what_cannot(toy):
    output = toy("run", "--all", "--without", "histo-harness")
    assert "Not run: dataset toy-absent: no absent.zip in data" in output
    assert "Not run: model toy-itself" in output
    assert "is derived from itself" in output
    assert "toy-impossible needs surely_not_installed: pip install surely-not-installed" in output
    for name in ("toy", "toy-folds"):
        assert {"toy-mean", "toy-features", "toy-mean+flips"} < set(measured(toy, name=name))
        assert {path.suffix for path in (toy.folder / "reports").glob(f"{name}.*")} == {
            ".md",
            ".tex",
            ".csv",
            ".json",
        }


def test_a_second_run_computes_nothing_and_writes_the_same(toy):
    arguments = ("run", "--dataset", "toy", "--dataset", "toy-folds", "--model", "toy-mean+flips")
    first = toy(*arguments)
    assert "results to compute" in first
    boards = {p.name: p.read_bytes() for p in (toy.folder / "reports").iterdir()}
    # Tables and their picture; pages, data and pictures of errors and of probes.
    assert len(boards) == 2 * (5 + 6 + 3)
    before = toy.toy_log
    second = toy(*arguments)
    assert "Everything is in the store" in second
    new = toy.toy_log[len(before) :]
    assert new == ["run started with 0 jobs", "run ended with 0 failures"]
    assert boards == {p.name: p.read_bytes() for p in (toy.folder / "reports").iterdir()}


@pytest.mark.once
def test_another_seed_setting_protocol_or_data_is_another_result(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean")
    toy(*arguments)
    steps = 3
    assert count(toy.toy_log, "step") == steps
    for more in (
        ["--seed", 1],
        ["--set", "scale=2"],
        ["--protocol", "published"],
    ):
        toy(*arguments, *more)
        steps += 3
        assert count(toy.toy_log, "step") == steps, more
    toy(*arguments, "--set", "workers=9")
    assert count(toy.toy_log, "step") == steps
    rows = [row for row in board(toy)["rows"] if row["rank"]]
    assert [row["seeds"] for row in rows] == [[0, 1], [0], [0]]  # seeds share a row
    assert [row["notes"].partition("; ")[0] for row in rows].count("scale 2.0 (default 1.0)") == 1
    assert {row["selected_on"] for row in rows} == {"held-out", "test"}
    toy(*arguments, TOY_TRAIN="90")
    assert count(toy.toy_log, "step") == steps + 3
    rows = [row for row in board(toy)["rows"] if row["rank"]]
    assert [row["n_train"] + row["n_held_out"] for row in rows] == [90]
    toy(*arguments)
    assert count(toy.toy_log, "step") == steps + 3
    rows = [row for row in board(toy)["rows"] if row["rank"]]
    assert [row["n_train"] + (row["n_held_out"] or 0) for row in rows] == [60] * 3


@pytest.mark.once
def test_several_seeds_make_one_row_with_their_spread(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean+flips", "--no-probes")
    output = toy(*arguments, "--seed", 5, "--seeds", 3)
    assert count(toy.toy_log, "step") == 3 * 3
    assert "fit toy-mean, seed 6" in output
    row = measured(toy)["toy-mean+flips"]
    assert row["seeds"] == [5, 6, 7]
    assert row["accuracy_min"] <= row["accuracy"] <= row["accuracy_max"]
    assert row["accuracy_sd"] is not None
    assert "± seeds" in (toy.folder / "reports/toy.md").read_text()
    toy(*arguments, "--seed", 8)
    assert measured(toy)["toy-mean+flips"]["seeds"] == [5, 6, 7, 8]


def test_changed_patches_are_predicted_with_the_first_seed_alone(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--seeds", 2)
    found = [record for record, _ in Store(toy.folder / "runs").each("prediction", "toy")]
    seeds = [(record["perturbation"] == "clean", record["seed"]) for record in found]
    assert sorted(seeds) == [(False, 0), (False, 0), (True, 0), (True, 1)]
    assert measured(toy)["toy-mean"]["toy-share.share of red"] is not None


@pytest.mark.once
def test_groups_are_kept_together_and_resampled(toy):
    toy("run", "--dataset", "toy-groups", "--model", "toy-mean", "--no-probes")
    content = board(toy, "toy-groups")
    assert content["groups"] == 6
    page = (toy.folder / "reports/toy-groups.md").read_text()
    assert "Patches come from 6 groups" in page
    (folder,) = (toy.folder / "runs/dataset/toy-groups/splits").glob("*")
    assert len(set(json.loads((folder / "groups.json").read_text()))) == 6
    output = toy("run", "--dataset", "toy-groups", "--model", "toy-mean", code=2, TOY_LACK="2")
    assert "dataset toy-groups: 28 groups for 30 test patches" in output


def test_two_models_are_compared_from_the_store(toy):
    toy("run", *TOY, "--seeds", 2, "--no-probes")
    log = toy.toy_log
    output = toy("compare", "toy-mean", "toy-features")
    assert "toy-mean and toy-features on toy, 30 test patches." in output
    assert "Patches count as independent" in output
    assert "Of the variance, " in output
    assert re.search(r"all +30 +\d+ +\d+ +\d+", output)
    assert toy.toy_log == log, "nothing runs"
    assert "That it is within ±0.5 points is not shown (90 % interval" in output
    wide = toy("compare", "toy-mean", "toy-features", "--design-effect", 5, "--margin", 99)
    assert "Intervals and p values assume a design effect of 5." in wide
    assert "within ±99 points (90 % interval" in wide
    assert "Patches count as independent" not in wide
    found = json.loads(toy("compare", "toy-mean", "toy-features", "--json"))
    counted = dict.fromkeys(("one", "other", "neither"), 0)
    for kinds in found["patches"].values():
        for kind, ids in kinds.items():
            counted[kind] += len(ids)
    assert (counted["one"], counted["other"]) == (found["only_one"], found["only_other"])
    gap = found["differences"]["accuracy"]["value"]
    assert gap == pytest.approx((found["only_one"] - found["only_other"]) / 30)
    output = toy("compare", "toy-mean", "toy-featurs", code=2)
    assert "no predictions of toy-featurs for toy are stored; did you mean toy-features" in output
    assert "is compared with itself" in toy("compare", "toy-mean", "toy-mean", code=2)
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes", "--protocol", "published")
    output = toy("compare", "toy-mean", "toy-features", code=2)
    assert "toy-mean was run in several ways; name a result: " in output
    output = toy("compare", "toy-mean:test", "toy-mean:held-out")
    setups = [
        one["selected_on"]
        for one in json.loads(toy("compare", "toy-mean:test", "toy-mean:held-out", "--json"))[
            "models"
        ]
    ]
    assert setups == ["test", "held-out"]
    names = re.match(r"(toy-mean:\w{16}) and (toy-mean:\w{16}) on toy", output)
    assert names[1] != names[2]
    assert names[0] in toy("compare", names[1], names[2])
    toy("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    assert "give --dataset, one of toy, toy-folds" in toy("compare", "a", "b", code=2)


@pytest.mark.once
def test_models_are_compared_over_datasets(toy):
    models = ("toy-mean", "toy-features", "toy-mean+flips")
    datasets = ("--dataset", "toy", "--dataset", "toy-folds")
    named = [part for model in models for part in ("--model", model)]
    toy("run", *datasets, *named, "--no-probes")
    log = toy.toy_log
    output = toy("compare", *models, *datasets, "--diagram", "cd.png")
    assert toy.toy_log == log, "nothing runs"
    assert "toy-mean, toy-features, toy-mean+flips on 2 datasets." in output
    assert "(Friedman's test)" in output
    assert (toy.folder / "cd.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(toy("compare", *models, *datasets, "--json"))
    for dataset, accuracies in zip(found["datasets"], found["accuracies"], strict=True):
        rows = measured(toy, name=dataset)
        assert accuracies == pytest.approx([rows[model]["accuracy"] for model in models])
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        assert pair["worse"] + pair["equal"] + pair["better"] == pytest.approx(1)
    two = toy("compare", *models[:2], *datasets, "--margin", 99)
    assert "within ±99 points" in two
    assert "Friedman" not in two
    for arguments, said in (
        ((*models[:2], *datasets, "--diagram", "cd.png"), "name three or more models"),
        ((*models, *datasets, "--diagram", "cd.jpg"), "a file that ends in .png"),
        ((*models, "--dataset", "toy"), "on one dataset, name two models"),
        ((*models[:2], "--dataset", "toy", "--diagram", "cd.png"), "several datasets"),
        ((*models[:2], *datasets, "--positive", "a"), "of two models on one dataset"),
        ((*models[:2], "toy-mean", *datasets), "toy-mean is compared with itself"),
        ((*models[:2], "--dataset", "toy", "--dataset", "toy"), "toy is given twice"),
        ((*models[:2], *datasets, "--design-effect", 2), "datasets are what is sampled"),
        (("toy-mean", "published:toy-deep", *datasets), "only measured models are compared"),
        (("toy-mean", "toy-featurs", *datasets), "did you mean toy-features"),
        ((*models[:2], *datasets, "--dataset", "toy-fold"), "did you mean toy-folds"),
    ):
        assert said in toy("compare", *arguments, code=2)


@pytest.mark.once
def test_the_selection_is_audited_in_one_training(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    output = toy(*arguments, "--audit-selection")
    assert "toy-selection.md" in output
    found = json.loads((toy.folder / "reports/toy-selection.json").read_text())
    (audit,) = found["models"]["toy-mean"]
    # Scores fall from epoch to epoch; after the first the toy mixes classes up.
    assert audit["epochs"] == {"held-out": [1], "last": [3], "test": [1]}
    assert audit["optimism"]["value"] == 0
    assert audit["accuracies"]["last"] < audit["accuracies"]["held-out"]
    assert len(audit["curve"]) == 3
    page = (toy.folder / "reports/toy-selection.md").read_text()
    assert "| toy-mean " in page
    assert (toy.folder / "reports/toy-selection-epochs.png").exists()
    steps = count(toy.toy_log, "step")
    assert "Everything is in the store" in toy(*arguments), "an audited fit is a fit"
    assert "toy-selection.md" in toy("leaderboard")
    assert count(toy.toy_log, "step") == steps


@pytest.mark.once
def test_an_audited_fit_that_was_killed_keeps_the_epochs_it_had(toy):
    arguments = ("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    process = toy.start(*arguments, "--audit-selection", TOY_SLOW_STEP="0.5")
    toy.wait_for("step 0 of toy-mean", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    toy(*arguments, "--audit-selection")
    found = json.loads((toy.folder / "reports/toy-folds-selection.json").read_text())
    (audit,) = found["models"]["toy-mean"]
    assert audit["epochs"] == {"held-out": [1] * 3, "last": [2] * 3, "test": [1] * 3}


def test_what_an_audit_of_the_selection_cannot_do_is_said(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean", "--audit-selection")
    assert "leave out --protocol" in toy(*arguments, "--protocol", "published", code=2)
    assert "the model reported no epochs" in toy(*arguments, code=1, TOY_MUTE="1")


@pytest.mark.once
def test_a_temperature_makes_a_row_of_its_own(toy):
    names = ["toy-mean", "toy-features", "toy-mean+flips"]
    models = [part for name in names for part in ("--model", name)]
    toy("run", "--dataset", "toy-folds", *models, "--no-probes", "--temperature")
    rows = {row["model"]: row for row in board(toy, "toy-folds")["rows"]}
    plain, scaled = rows["toy-mean"], rows["toy-mean+temperature"]
    assert scaled["result"] == "scaled"
    assert scaled["rank"] is None
    assert scaled["accuracy"] == plain["accuracy"]
    assert scaled["nll"] <= plain["nll"]
    assert re.fullmatch(r"temperature [\d., ]+; steps 2 \(default 3\)", scaled["notes"])
    assert scaled["reproduced"] is None
    # Nothing was held out for the one; held-out patches were not flipped for the other.
    assert "toy-features+temperature" not in rows
    assert "toy-mean+flips+temperature" not in rows


@pytest.mark.once
def test_published_results_are_compared_by_their_counts(toy):
    output = toy("compare", "published:deepcmorph", "published:efficientnet-b0-ensemble")
    assert "published:efficientnet-b0-ensemble is more accurate than published:deepcmorph" in output
    assert re.search(r"accuracy +0.9699 +0.9808 +-0.0109 +-0.01\d\d to -0.00\d\d", output)
    assert re.search(r"DEB +\S+ +\S+ to \S+ +\d", output)
    output = toy("compare", "published:deepcmorph", "published:deepcmorph+flips")
    assert "They cannot be distinguished in accuracy" in output
    output = toy("compare", "published:virchow2-eva", "published:deepcmorph")
    assert re.search(r"balanced accuracy +0.9670 +0.9559 *$", output, re.MULTILINE)
    output = toy("compare", "published:deepcmorf", "published:deepcmorph", code=2)
    assert "did you mean deepcmorph" in output
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    output = toy("compare", "toy-mean", "published:toy-deep")
    assert "toy-mean and published:toy-deep on toy test" in output
    output = toy("compare", "toy-mean", "published:deepcmorph", code=2)
    assert "toy-mean is about toy test, published:deepcmorph about CRC-VAL-HE-7K" in output
    toy("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    output = toy("compare", "toy-mean", "published:toy-deep", "--dataset", "toy-folds", code=2)
    assert "other test patches than those of toy test (30 of 90)" in output


def test_folds_store_the_logits_of_all_test_patches_together(toy):
    toy("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    (values,) = logits(toy, "toy-mean")
    assert values.shape == (30, 3)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert len(list((toy.folder / "runs/fit/toy-folds/toy-mean").iterdir())) == 3
    row = measured(toy, name="toy-folds")["toy-mean"]
    assert (row["n_train"], row["n_train_max"]) == (17, 17)
    assert (row["n_held_out"], row["n_held_out_max"]) == (3, 3)  # of the 20 of each fold
    assert row["notes"] == "steps 2 (default 3)"


def test_a_derived_model_is_the_sum_of_stored_logits(toy):
    derived = ["toy-mean+flips", "toy-mean+flips+flips", "toy-mean+flips+hflip"]
    chosen = [word for name in derived for word in ("--model", name)]
    toy("run", "--dataset", "toy", "--no-probes", *chosen)
    views = by_view(toy, "toy-mean")
    assert set(views) == {"identity", "vflip", "hflip", "both"}
    assert (views["identity"] == views["vflip"]).all()  # the toy tells only left from right
    assert (views["identity"] != views["hflip"]).any()
    total = by_view(toy, "toy-mean+flips")["identity"]
    assert total == pytest.approx(sum(views.values()), abs=1e-4)
    assert count(toy.toy_log, "step") == 3
    assert set(measured(toy)) == {"toy-mean", *derived}
    # Flipping the patches of a sum over all flips only changes the order of its terms.
    (again,) = logits(toy, "toy-mean+flips+flips")
    assert again == pytest.approx(4 * total, abs=1e-2)
    (once,) = logits(toy, "toy-mean+flips+hflip")
    assert once == pytest.approx(total, abs=1e-3)


def test_features_are_extracted_once_and_shared(toy):
    toy("run", "--dataset", "toy-folds", "--model", "toy-features", "--no-probes")
    assert count(toy.toy_log, "extract") == 1  # 30 patches are one batch, for all folds


def test_perturbed_predictions_are_stored_and_stay_off_the_board(toy):
    toy("run", *TOY, "--perturbation", "toy-noise")
    assert len(board(toy)["rows"]) == 3  # two measured, one published
    for model in ("toy-mean", "toy-features"):
        clean, perturbed = sorted(logits(toy, model), key=np.ndim)
        assert perturbed.shape == (2, *clean.shape)  # a sweep of two levels
        assert len({values.tobytes() for values in (clean, *perturbed)}) == 3


@pytest.mark.once
def test_published_rows_are_never_mixed_with_measured_ones(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean")
    rows = board(toy)["rows"]
    assert [(row["result"], row["model"], row["rank"]) for row in rows] == [
        ("measured", "toy-mean", 1),
        ("published", "toy-deep", None),
    ]
    mine = rows[0]
    assert mine["published_accuracy"] == 0.5
    assert mine["difference_to_published"] == pytest.approx(mine["accuracy"] - 0.5)
    assert mine["difference_to_reference"] == pytest.approx(mine["accuracy"] - 0.9)
    assert mine["difference_to_published_low"] < mine["difference_to_published"]
    assert mine["reproduced"] == "not comparable"
    assert mine["reproduced_because"] == "selected on held-out, published on test"
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--protocol", "published")
    rows = {row["selected_on"]: row for row in board(toy)["rows"] if row["rank"]}
    low = rows["test"]["difference_to_published_low"]
    assert rows["test"]["reproduced"] == ("higher" if low > 0 else "inconclusive")
    assert "two trainings" in (toy.folder / "reports/toy.md").read_text() or low <= 0
    page = (toy.folder / "reports/toy.md").read_text()
    assert "Δ ToyDeep" in page
    toy("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    row = measured(toy, name="toy-folds")["toy-mean"]
    assert row["difference_to_published"] is None
    assert row["reproduced"] == "not comparable"
    assert row["reproduced_because"] == "30 of 90"
    assert "not comparable: 30 of 90" in (toy.folder / "reports/toy-folds.md").read_text()


@pytest.mark.once
def test_the_leaderboard_is_rebuilt_from_the_store_alone(toy):
    toy("run", "--dataset", "toy", "--dataset", "toy-folds", "--model", "toy-mean+flips")
    before = {p.name: p.read_bytes() for p in (toy.folder / "reports").iterdir()}
    shutil.rmtree(toy.folder / "reports")
    log = toy.toy_log
    toy("leaderboard")
    assert {p.name: p.read_bytes() for p in (toy.folder / "reports").iterdir()} == before
    assert toy.toy_log == log


def test_a_pruned_fit_is_not_fitted_again_while_its_predictions_are_there(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean")
    shutil.rmtree(toy.folder / "runs/fit")
    assert "Everything is in the store" in toy("run", "--dataset", "toy", "--model", "toy-mean")


@pytest.mark.parametrize(
    ("line", "slow"),
    [("step 1 of toy-mean", "TOY_SLOW_STEP"), ("saving toy-mean", "TOY_SLOW_SAVE")],
)
def test_kill_in_a_fit_or_in_a_write_then_the_same_command(toy, line, slow):
    toy("run", *TOY, "--store", "undisturbed", "--leaderboards", "undisturbed-boards")
    (toy.folder / "toy.log").unlink()
    process = toy.start("run", *TOY, **{slow: "0.5"})
    toy.wait_for(line, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list((toy.folder / "runs").glob("fit/*/toy-mean/*"))
    killed = toy.toy_log
    toy("run", *TOY)
    resumed = toy.toy_log[len(killed) :]
    if slow == "TOY_SLOW_STEP":
        assert "step 0 of toy-mean" not in resumed
        assert "step 2 of toy-mean" in resumed
    finished = [entry for entry in killed if entry.startswith("stored")]
    assert not set(finished) & set(resumed)
    assert without_times(toy) == without_times(toy, folder="undisturbed-boards")
    for model in ("toy-mean", "toy-features"):
        for mine, theirs in zip(logits(toy, model), logits(toy, model, "undisturbed"), strict=True):
            assert (mine == theirs).all()
    assert list((toy.folder / "runs/unfinished").iterdir()) == []


def test_ctrl_c_says_so_and_keeps_what_is_finished(toy):
    process = toy.start("run", *TOY, TOY_SLOW_STEP="2")
    toy.wait_for("stored features", process)
    time.sleep(1)  # now it sleeps in a step; where Python tidies up it would swallow an interrupt
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "interrupted; finished results are kept" in errors
    assert "Traceback" not in errors
    assert list((toy.folder / "runs/features").rglob("values.npy"))


@pytest.mark.once
def test_a_model_that_fails_costs_the_others_nothing(toy):
    output = toy("run", *TOY, "--set", "fail=true", code=1)
    assert "failed: toy: fit toy-mean: RuntimeError: the toy model was told to fail" in output
    assert set(measured(toy)) == {"toy-features"}
    (trace,) = (toy.folder / "runs/errors").iterdir()
    assert "Traceback" in trace.read_text()
    toy("run", *TOY)
    assert set(measured(toy)) == {"toy-features", "toy-mean"}


def test_a_full_disk_ends_the_run_at_once_and_keeps_what_is_finished(toy):
    output = toy("run", *TOY, code=1, TOY_DISK_FULL="toy-mean")
    assert output.count("no space left on the disk; make room") == 2  # when it happens, at the end
    assert "further results were not computed" in output
    before = toy.toy_log
    toy("run", *TOY)
    assert set(measured(toy)) == {"toy-features", "toy-mean"}
    finished = [line for line in before if line.startswith("stored")]
    assert finished
    assert not set(finished) & set(toy.toy_log[len(before) :])


def test_lifecycle_hooks_tell_the_story(toy):
    toy("run", "--dataset", "toy", "--model", "toy-features", "--no-probes")
    log = toy.toy_log
    assert log[0] == "run started with 5 jobs"
    assert count(log, "stored dataset") == 1
    assert count(log, "stored features") == 2
    assert count(log, "stored fit") == 1
    assert count(log, "stored prediction") == 1
    assert log[-1] == "run ended with 0 failures"


def test_a_tracker_that_fails_does_not_end_the_run(toy, make_distribution):
    source = (
        "from harness import hookimpl\n@hookimpl\ndef harness_run_started(jobs):\n"
        "    raise OSError('the tracker is down')\n"
    )
    toy.path.append(make_distribution("x-tracker", {"tracker": source}))
    output = toy("run", "--dataset", "toy", "--model", "toy-mean", code=1)
    assert (
        "WARNING: harness_run_started of the plugin tracker failed: OSError: the tracker is down; "
        "report it to the plugin's author (details in runs/errors/tracker-tracker.txt)"
    ) in output
    assert "Traceback" in (toy.folder / "runs/errors/tracker-tracker.txt").read_text()
    assert toy.toy_log[0] == "run started with 5 jobs", "the other tracker is told"
    assert measured(toy)


def test_a_record_says_how_the_result_came_about(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean")
    (path,) = (toy.folder / "runs/fit/_shared/toy-mean").glob("*/record.json")
    record = json.loads(path.read_text())
    assert record["selected_on"] == "held-out"
    assert record["initial_weights"] == "none"
    assert record["n"] == 54
    assert record["n_selection"] == 6
    assert record["seconds"] > 0
    assert record["versions"]["numpy"] == np.__version__
    assert record["device"].startswith("CPU")
    assert {"created", "platform", "revision"} <= set(record)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "give --all"),
        (["run", "--all", "--model", "toy-mean"], "either --all or"),
        (["run", "--model", "toy-meen"], "no model named 'toy-meen'; did you mean toy-mean"),
        (["run", "--dataset", "toi"], "no dataset named 'toi'; did you mean toy"),
        (["run", "--dataset", "toy-absent"], "no absent.zip in data"),
        (["run", "--model", "toy-impossible"], "pip install surely-not-installed"),
        (
            ["run", "--all", "--data", "nowhere"],
            "--data nowhere (or $HARNESS_DATA): no such folder",
        ),
        (["run", "--dataset", "toy", "--perturbation", "hew"], "did you mean hue"),
        (["run", "--dataset", "toy", "--set", "steps=x"], "--set steps=x"),
        (["run", "--dataset", "toy", "--columns", "rnak"], "did you mean rank"),
        (["run", "--dataset", "toy", "--columns", ""], "--columns: name some"),
        (["leaderboard"], "--store runs: no store there"),
        (["compare", "toy-mean", "toy-features"], "--store runs: no store there"),
        (["data", "get", "toy"], "toy has nothing to download"),
        (["list", "--without", "toi"], "--without: no plugin named 'toi'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(toy, arguments, says):
    output = toy(*arguments, code=2)
    (line,) = [line for line in output.splitlines() if line.startswith("harness: error:")]
    assert says in line
    assert not (toy.folder / "runs").exists()


@pytest.mark.once
def test_two_runs_share_the_work_of_one_store(toy):
    first = toy.start("run", *TOY, TOY_SLOW_STEP="1")
    toy.wait_for("step 0 of toy-mean", first)
    output = toy("run", *TOY)
    assert "Waiting for results that process" in output
    assert first.wait(timeout=60) == 0, first.communicate()
    first.communicate()
    steps = [line for line in toy.toy_log if line.startswith("step")]
    assert sorted(steps) == sorted(set(steps)), "each fit was made once"
    assert len(measured(toy)) == 2
    assert not list((toy.folder / "runs/claims").iterdir())
    assert "Everything is in the store" in toy("run", *TOY)


@pytest.mark.once
def test_what_a_killed_run_was_computing_is_computed_by_another_at_once(toy):
    process = toy.start("run", *TOY, TOY_SLOW_STEP="2")
    toy.wait_for("step 0 of toy-mean", process)
    removing = ("results", "remove", "--model", "toy-mean", "--yes")
    assert f"process {process.pid} on" in toy(*removing, code=2)
    process.kill()
    process.communicate()
    output = toy("run", *TOY)
    assert "Waiting" not in output
    assert len(measured(toy)) == 2


@pytest.mark.once
def test_what_killed_runs_left_of_results_that_others_have_stored_goes_away(toy):
    toy("run", *TOY, "--perturbation", "toy-noise")
    unfinished = toy.folder / "runs/unfinished"
    records = [
        json.loads(p.read_text()) for p in toy.folder.glob("runs/prediction/*/*/*/record.json")
    ]
    clean = next(record for record in records if "conditions" not in record["key"]["fields"])
    half = unfinished / f"{clean['digest']}.99999-aaaaaaaa.tmp"
    half.mkdir()
    (half / "logits.npy").write_bytes(b"half")
    killed = unfinished / "0123456789abcdef"
    killed.mkdir()
    (killed / "jobs.json").write_text(json.dumps([clean["key"]]))
    toy("run", *TOY)
    assert list(unfinished.iterdir()) == []


@pytest.mark.once
def test_a_dry_run_keeps_no_failures_in_a_store(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    before = sorted((toy.folder / "runs").rglob("*"))
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean", "--set", "steps=9")
    output = toy(*arguments, "--dry-run", code=1, TOY_NO_WEIGHTS="1")
    assert "Not run: toy: toy-mean: weights.bin: not there" in output
    assert sorted((toy.folder / "runs").rglob("*")) == before


@pytest.mark.once
def test_a_dry_run_says_what_would_be_computed_and_stores_nothing(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")
    output = toy(*arguments, "--perturbation", "toy-noise", "--dry-run")
    rows = [line.split() for line in output.splitlines()]
    assert ["toy", "toy-mean", "1", "1", "2"] in rows
    assert ["toy", "(toy-means", "features)", "2", "2"] in rows
    assert "results to compute, by 1 process of this machine (cores: " in output
    assert "how long 2 of 2 fits take is not known. Nothing was computed." in output
    assert list(toy.folder.iterdir()) == []
    toy(*arguments, "--no-probes")
    before = sorted(toy.folder.rglob("*"))
    rows = [
        line.split()
        for line in toy(*arguments, "--perturbation", "toy-noise", "--dry-run").splitlines()
    ]
    assert ["toy", "toy-mean", "2"] in rows
    assert sorted(toy.folder.rglob("*")) == before
    assert "Everything is in the store" in toy(*arguments, "--no-probes", "--dry-run")


@pytest.mark.once
def test_stores_of_two_machines_make_one_board(toy, new_toy, tmp_path):
    (tmp_path / "other").mkdir()
    other = new_toy(tmp_path / "other")
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    other("run", "--dataset", "toy", "--model", "toy-features", "--no-probes")
    other("run", "--dataset", "toy-folds", "--model", "toy-features", "--no-probes")
    output = toy("store", "merge", "runs", "other/runs")
    assert "other/runs into runs: " in output
    assert "1 were there" in output, "the dataset"
    toy("leaderboard")
    assert set(measured(toy)) == {"toy-mean", "toy-features"}
    assert "Everything is in the store" in toy("run", *TOY)
    assert (toy.folder / "reports/toy-folds.md").exists()
    assert "into itself" in toy("store", "merge", "runs", "other/../runs", code=2)
    refused = toy("store", "merge", "runs", "nowhere", code=2)
    assert (
        "store merge: nowhere is no store (it has no store.json); name the folder that" in refused
    )
    assert "run --all" not in refused


@pytest.mark.once
def test_several_processes_compute_what_one_does(toy, new_toy, tmp_path):
    models = ("--model", "toy-mean", "--model", "toy-features", "--model", "toy-mean+flips")
    more = ("--dataset", "toy", "--dataset", "toy-folds", *models, "--perturbation", "toy-noise")
    toy("run", *more, "--jobs", 1)
    (tmp_path / "other").mkdir()
    other = new_toy(tmp_path / "other")
    other("run", *more, "--jobs", 3)
    stored = [
        {
            path.relative_to(command.folder): path.read_bytes()
            for path in (command.folder / "runs/prediction").rglob("logits.npy")
        }
        for command in (toy, other)
    ]
    assert stored[0].keys() == stored[1].keys()
    assert stored[0] == stored[1]
    boards = [without_times(command)["rows"] for command in (toy, other)]
    for rows in boards:
        for row in rows:
            row["device"] = None  # one has fewer cores
    assert boards[0] == boards[1]


@pytest.mark.once
def test_a_workspace_file_cut_short_does_not_stop_a_fit(toy):
    process = toy.start("run", *TOY, TOY_SLOW_STEP="0.3")
    toy.wait_for("step 0 of toy-mean", process)
    process.kill()
    process.communicate()
    (seconds,) = (toy.folder / "runs/unfinished").glob("*/seconds.json")
    seconds.write_text("")
    toy("run", *TOY)
    assert len(measured(toy)) == 2


@pytest.mark.once
def test_data_with_a_like_fingerprint_or_other_class_order_is_other_data(toy):
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean")
    toy(*arguments, TOY_FINGERPRINT="the same forty characters in the front, one")
    before = count(toy.toy_log, "step")
    toy(*arguments, TOY_FINGERPRINT="the same forty characters in the front, two")
    assert count(toy.toy_log, "step") == 2 * before
    toy(*arguments, TOY_CLASSES="blue,green,red")
    assert count(toy.toy_log, "step") == 3 * before
    assert board(toy)["dataset"]["classes"] == ["blue", "green", "red"]
    assert measured(toy)


def test_what_a_fit_takes_is_said_or_said_to_be_unknown(toy):
    output = toy("run", *TOY)
    assert "how long fitting toy-mean on toy, toy-features on toy takes is not known" in output
    assert "takes about 0 s" not in output


def test_a_model_that_cannot_be_planned_costs_the_others_nothing(toy):
    output = toy("run", *TOY, code=1, TOY_NO_WEIGHTS="1")
    assert "failed: toy: toy-mean: weights.bin: not there" in output
    assert set(measured(toy)) == {"toy-features"}


def test_data_get_downloads_what_a_dataset_needs(toy):
    served = toy.folder / "served"
    served.mkdir()
    (served / "absent.zip").write_bytes(bytes(range(256)) * 1000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        assert "no absent.zip" in toy("run", "--dataset", "toy-absent", code=2)
        output = toy("data", "get", "toy-absent", "--mirror", mirror)
        assert "toy-absent is ready in data" in output
        assert "already there" in toy("data", "get", "toy-absent", "--mirror", mirror)
        server.shutdown()
    found = (toy.folder / "data/absent.zip").read_bytes()
    assert found == (served / "absent.zip").read_bytes()
    toy("run", "--dataset", "toy-absent", "--model", "toy-features")
    assert "/files/absent.zip" in toy("data", "get", "toy-absent", "--data", "other", code=2)


@pytest.mark.once
def test_a_broken_plugin_is_named_and_turned_into_an_exit_code(toy, make_distribution):
    toy.path.append(make_distribution("x-broken", {"broken": "import nothing_of_that_name"}))
    arguments = ("run", "--dataset", "toy", "--model", "toy-mean")
    output = toy("run", "--model", "toy-meen", code=2)
    assert "plugin broken of x-broken is left out" in output, "it may be why a name is not known"
    assert not (toy.folder / "runs").exists()
    output = toy(*arguments, code=3)
    assert "plugin broken of x-broken is left out" in output
    assert "(details in runs/errors/plugin-broken.txt)" in output
    assert "Traceback" in (toy.folder / "runs/errors/plugin-broken.txt").read_text()
    assert measured(toy)
    assert "plugin broken of x-broken is left out" in toy("leaderboard")
    toy("leaderboard", "--strict", code=3)
    table = toy("plugins")
    assert "No module named 'nothing_of_that_name'" in table
    assert "toy-harness" in table
    assert "broken" not in toy("list", HARNESS_WITHOUT="broken")


def test_list_shows_everything_and_whether_it_can_run(toy):
    output = toy("list")
    for line in (
        "toy-absent",
        "no absent.zip in data",
        "needs surely_not_installed: pip install surely-not-installed",
        "toy-noise",
        "toy-share",
        "a toy paper, Table 1",
        "toy (toy-harness 1.0)",
        "`harness data get NAME` downloads a dataset that is not there",
    ):
        assert line in output, line


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["plugins"], ["run", "--help"]])
def test_help_and_list_import_nothing_heavy(arguments):
    import subprocess
    import sys

    code = (
        "import sys; from harness.cli import main\n"
        f"try: code = main({arguments!r})\n"
        "except SystemExit as end: code = end.code\n"
        "assert code == 0, code\n"
        "heavy = {'torch', 'sklearn', 'cv2', 'timm', 'scipy', 'skimage', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_distribution(command):
    from importlib.metadata import version

    assert command("--version") == f"harness {version('histo-harness')}\n"
