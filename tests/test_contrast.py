"""Two versions of the same training patches: the color-normalized ones and others."""

import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest

from harness_nct_crc import SAMPLE, TEST, TRAIN, TRAIN_RAW

ARGUMENTS = ("contrast", "nct-crc-he", "nct-crc-he-nonorm", "--data", "data")


@pytest.fixture
def versions(command):
    """Real patches, and the same ones in other colors, but for one that is lacking."""
    data = command.folder / "data"
    data.mkdir()
    for name in (TRAIN, TEST):
        shutil.copy(SAMPLE / f"{name}.zip", data)
    with zipfile.ZipFile(data / f"{TRAIN}.zip") as source:
        members = [name for name in source.namelist() if not name.endswith("/")]
        with zipfile.ZipFile(data / f"{TRAIN_RAW}.zip", "w") as target:
            for name in members[1:]:
                image = cv2.imdecode(np.frombuffer(source.read(name), np.uint8), cv2.IMREAD_COLOR)
                tinted = np.clip(image * np.array([0.8, 1.0, 0.9]), 0, 255).astype(np.uint8)
                encoded = cv2.imencode(".png", tinted)[1].tobytes()
                stem = name.rpartition(".")[0].replace(TRAIN, TRAIN_RAW)
                target.writestr(f"{stem}.png", encoded)
    return command, len(members)


def test_the_same_patches_in_two_versions_one_table(versions):
    command, n = versions
    models = ("--model", "color-histogram", "--model", "rgb-means")
    output = command(*ARGUMENTS, *models)
    assert f"the {n - 1} training patches that nct-crc-he-common and nct-crc-he-nonorm" in output
    path = command.folder / "leaderboards/nct-crc-he-common-against-nct-crc-he-nonorm.json"
    found = json.loads(path.read_text())
    assert found["n_train"] == n - 1
    one, other = found["models"]["rgb-means"]["models"]
    gap = found["models"]["rgb-means"]["differences"]["accuracy"]
    figures = [{f["name"]: f["value"] for f in side["figures"]} for side in (one, other)]
    assert gap["value"] == pytest.approx(figures[0]["accuracy"] - figures[1]["accuracy"])
    assert gap["low"] <= gap["value"] <= gap["high"]
    # The test patches have the colors of the one version, so color classifiers do better with it.
    assert figures[0]["accuracy"] > figures[1]["accuracy"]
    page = path.with_suffix(".md").read_text()
    assert "| color-histogram |" in page
    assert "| STR " in page
    assert "Everything is in the store" in command(*ARGUMENTS, *models)


def test_a_version_that_loses_no_patch_shares_its_results_with_other_runs(versions):
    command, _ = versions
    command(*ARGUMENTS, "--model", "rgb-means")
    more = ("--data", "data", "--model", "rgb-means", "--no-probes")
    assert "Everything is in the store" in command("run", "--dataset", "nct-crc-he-nonorm", *more)
    assert "results to compute" in command("run", "--dataset", "nct-crc-he", *more)


def test_seeds_are_compared_together(versions):
    command, _ = versions
    output = command(*ARGUMENTS, "--model", "rgb-means", "--seeds", 2)
    assert "0, 1" in output


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("nct-crc-he", "nct-crc-he"), "contrasted with itself"),
        (("nct-crc-he-sample", "nct-crc-he"), "other test patches"),
        (("nct-crc-he", "nct-crc-he-nonrm"), "did you mean nct-crc-he-nonorm"),
    ],
)
def test_what_cannot_be_contrasted_is_said(command, names, says):
    data = command.folder / "data"
    data.mkdir()
    shutil.copy(SAMPLE / f"{TRAIN}.zip", data)
    with zipfile.ZipFile(SAMPLE / f"{TEST}.zip") as source:
        members = [name for name in source.namelist() if not name.endswith("/")]
        with zipfile.ZipFile(data / f"{TEST}.zip", "w") as target:
            for name in members[::2]:
                target.writestr(name, source.read(name))
    assert says in command("contrast", *names, "--model", "rgb-means", code=2)


def test_patches_of_other_names_have_nothing_in_common(versions):
    command, _ = versions
    path = command.folder / f"data/{TRAIN_RAW}.zip"
    with zipfile.ZipFile(path) as source:
        renamed = {name.replace("/", "/x-"): source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in renamed.items():
            folder, _, file = name.rpartition("/x-")
            target.writestr(f"{folder.replace('/x-', '/')}/x-{file}", content)
    output = command(*ARGUMENTS, "--model", "rgb-means", code=2)
    assert "no training patch in common" in output
