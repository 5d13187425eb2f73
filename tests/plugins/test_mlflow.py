"""The MLflow tracker, against a folder of files and a server that is not there."""

import json
import socket

import pytest

RUN = ("run", "--dataset", "toy", "--model", "toy-mean")


def logged(folder):
    """Runs of the one experiment, as MLflow itself reads them."""
    import os

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name("histo-harness")
    return client, client.search_runs([experiment.experiment_id])


def test_without_being_asked_mlflow_gets_nothing(toy):
    toy(*RUN, "--no-probes", MLFLOW_TRACKING_URI="")
    toy(*RUN, "--no-probes", "--seed", 1, MLFLOW_TRACKING_URI="mlruns", HARNESS_MLFLOW="0")
    assert not (toy.folder / "mlruns").exists()


def test_each_clean_prediction_is_a_run_of_mlflow(toy):
    pytest.importorskip("mlflow")
    tracked = {"MLFLOW_TRACKING_URI": (toy.folder / "mlruns").as_uri()}
    output = toy(*RUN, "--model", "toy-mean+flips", "--set", "scale=2", **tracked)
    assert "WARNING" not in output
    client, found = logged(toy.folder / "mlruns")
    runs = {run.data.params["model"]: run for run in found}
    assert len(found) == 2
    run = runs["toy-mean"]
    row = {
        row["model"]: row
        for row in json.loads((toy.folder / "leaderboards/toy.json").read_text())["rows"]
        if row["rank"]
    }["toy-mean"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auroc"):
        assert run.data.metrics[name] == pytest.approx(row[name])
    assert run.data.params["dataset"] == "toy"
    assert run.data.params["settings.scale"] == "2.0"
    assert run.data.params["seed"] == "0"
    assert run.data.params["selected_on"] == "held-out"
    assert run.data.tags["harness.digest"] in row["source"]
    assert run.data.tags["harness.plugin"] == "toy-harness 1.0"
    assert run.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["record.json"]
    assert {"toy-noise/5/accuracy", "toy-noise/50/accuracy"} <= set(run.data.metrics)
    toy(*RUN, **tracked)
    assert len(logged(toy.folder / "mlruns")[1]) == 3, "other settings"
    toy(*RUN, **tracked)
    assert len(logged(toy.folder / "mlruns")[1]) == 3, "nothing was computed"


def test_what_is_predicted_later_joins_the_same_run_of_mlflow(toy):
    pytest.importorskip("mlflow")
    tracked = {"MLFLOW_TRACKING_URI": "mlruns"}
    toy(*RUN, "--no-probes", **tracked)
    (run,) = logged(toy.folder / "mlruns")[1]
    assert "toy-noise/5/accuracy" not in run.data.metrics
    toy(*RUN, **tracked)
    (run,) = logged(toy.folder / "mlruns")[1]
    assert "toy-noise/5/accuracy" in run.data.metrics


def test_a_server_of_mlflow_that_is_not_there_costs_a_line(toy):
    pytest.importorskip("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = toy(*RUN, "--no-probes", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    (line,) = [line for line in output.splitlines() if "WARNING" in line]
    assert "harness_run_started of the plugin mlflow failed" in line
    assert "runs/errors/tracker-mlflow.txt" in line
    assert json.loads((toy.folder / "leaderboards/toy.json").read_text())["rows"][0]["rank"] == 1
