"""The MLflow tracker, against a folder of files and a server that is not there."""

import json
import socket
from importlib.util import find_spec

import pytest

from harness import HarnessError

RUN = ("run", "--dataset", "toy", "--model", "toy-mean")


def logged(folder):
    """Runs of the one experiment, as MLflow itself reads them."""
    import os

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name("histo-harness")
    return client, client.search_runs([experiment.experiment_id])


@pytest.mark.once
def test_without_being_asked_mlflow_gets_nothing(toy):
    toy(*RUN, "--no-probes", MLFLOW_TRACKING_URI="")
    toy(*RUN, "--no-probes", "--seed", 1, "--without", "mlflow", MLFLOW_TRACKING_URI="mlruns")
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
        for row in json.loads((toy.folder / "reports/toy.json").read_text())["rows"]
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
    output = toy(*RUN, "--no-probes", code=1, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    (line,) = [line for line in output.splitlines() if "WARNING" in line]
    assert "harness_run_started of the plugin mlflow failed: MLFLOW_TRACKING_URI is no" in line
    assert "or use --without mlflow" in line
    assert "author" not in line
    assert "runs/errors/tracker-mlflow.txt" in line
    assert json.loads((toy.folder / "reports/toy.json").read_text())["rows"][0]["rank"] == 1


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "databricks", "file://elsewhere/mlruns"])
def test_an_address_that_will_not_do_is_the_users_to_correct(monkeypatch, tmp_path, uri):
    pytest.importorskip("mlflow")
    if uri.startswith("sqlite") and find_spec("sqlalchemy"):
        pytest.skip("it will do")
    import harness_mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(HarnessError, match=r"^MLFLOW_TRACKING_URI .*pip install mlflow.*--without"):
        harness_mlflow.harness_run_started()


@pytest.fixture
def log(monkeypatch, tmp_path):
    """Tracks the prediction of a model, with the name of its metric; MLflow refuses some names."""
    pytest.importorskip("mlflow")
    import harness_mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    harness_mlflow.harness_run_started()

    def store(model, metric="accuracy"):
        key = {"kind": "prediction", "dataset": "toy"}
        record = dict.fromkeys((*harness_mlflow.PARAMETERS, "data", "digest", "plugin"), "any")
        record |= {"key": key, "model": model, "perturbation": "clean", "view": "identity"}
        record |= {"fits": [], "seconds": 1.0, "n": 3}
        harness_mlflow.harness_result_stored(record, tmp_path, {metric: 0.5})

    yield store
    monkeypatch.undo()
    harness_mlflow.harness_run_started()


def test_what_cannot_be_logged_is_a_failed_run_and_the_next_is_logged(
    log, tmp_path, capsys, console
):
    log("a")
    for model in ("b", "d"):
        with pytest.raises(Exception, match="no\\?name"):
            log(model, "no?name")
        log(chr(ord(model) + 1))
    status = {run.data.params["model"]: run.info.status for run in logged(tmp_path / "mlruns")[1]}
    finished = dict.fromkeys("ace", "FINISHED")
    assert status == finished | dict.fromkeys("bd", "FAILED")
    assert capsys.readouterr().err == ""


def test_after_two_failures_in_a_row_nothing_is_logged(log, tmp_path, capsys, console):
    for model in "ab":
        with pytest.raises(Exception, match="no\\?name"):
            log(model, "no?name")
    log("c", "no?name")
    assert len(logged(tmp_path / "mlruns")[1]) == 2
    assert "MLflow failed twice in a row; nothing more" in capsys.readouterr().err
