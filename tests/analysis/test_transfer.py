"""Models at home and on patches of other origin, end to end."""

import json
import zipfile

import cv2
import numpy as np
import pytest

import harness
from harness import HarnessError
from harness.reports import transfer_text
from harness.statistics.intervals import wilson
from harness.store.store import Store
from harness_nct_crc import CLASSES, SAMPLE, TEST, TRAIN

pytestmark = pytest.mark.once

OTHER = {"ADI": "fat", "LYM": "immune", "MUS": "MUS", "NORM": "glands", "STR": "odd"}
"""Classes of the cohort, for those at home; "odd" has no counterpart."""
TOML = """\
kind = "folder"
folder = "{folder}"
title = "Patches scanned elsewhere"
map = {{ fat = "ADI", immune = "LYM", glands = "{glands}" }}
micrometers_per_pixel = 1.0
"""


@pytest.fixture
def elsewhere(command):
    """Real patches at half the scale, in other colors, under other names of their classes."""
    data = command.folder / "data"
    data.mkdir()
    for part in (TRAIN, TEST):
        (data / f"{part}.zip").symlink_to(SAMPLE / f"{part}.zip")
    with zipfile.ZipFile(SAMPLE / f"{TEST}.zip") as source:
        for name in source.namelist():
            own = None if name.endswith("/") else OTHER.get(name.split("/")[-2])
            if own:
                image = cv2.imdecode(np.frombuffer(source.read(name), np.uint8), cv2.IMREAD_COLOR)
                small = cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA)
                tinted = np.clip(small * np.array([0.8, 1.0, 0.9]), 0, 255).astype(np.uint8)
                path = command.folder / "patches" / own / f"{name.split('/')[-1]}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), tinted)
    describe(command)
    return command


def describe(command, name="away", folder="patches", glands="NORM"):
    path = command.folder / f"{name}.toml"
    path.write_text(TOML.format(folder=folder, glands=glands), encoding="utf-8")
    return path


ARGUMENTS = ("transfer", "nct-crc-he", "away", "--plugin", "away.toml", "--data", "data")
MODELS = ("--model", "color-histogram")


def test_the_same_fit_at_home_and_away(elsewhere):
    output = elsewhere(*ARGUMENTS, *MODELS)
    assert "nct-crc-he to away: 4 shared classes" in output
    assert "color-histogram (baseline)" in output
    assert "rgb-means (baseline)" in output, "baselines join"
    assert "Left out: odd" in output
    assert "made 2 times as large" in output
    path = elsewhere.folder / "reports" / "nct-crc-he-to-away.json"
    found = json.loads(path.read_text(encoding="utf-8"))["cohorts"]["away"]
    assert found["classes"] == {"fat": "ADI", "MUS": "MUS", "glands": "NORM", "immune": "LYM"}
    store = Store(elsewhere.folder / "runs")
    fits = [record["model"] for _, record in store.records("fit", "_shared")]
    assert sorted(fits) == ["color-histogram", "rgb-means"], "one fit serves both"
    session = harness.Session(
        elsewhere.folder / "runs",
        elsewhere.folder / "data",
        plugins=[elsewhere.folder / "away.toml"],
        quiet=True,
    )
    labels = [CLASSES.index(name) for name in ("ADI", "LYM", "MUS", "NORM")]
    for name, side in (("nct-crc-he", "home"), ("nct-crc-he-to-away", "away")):
        predictions = session.predictions(name, "color-histogram")
        chosen = np.isin(predictions.labels, labels)
        right = (predictions.logits.argmax(axis=1) == predictions.labels)[chosen]
        said = found["models"]["color-histogram"]
        assert said[f"accuracy_{side}"] == pytest.approx(right.mean())
        by_class = [right[predictions.labels[chosen] == label].mean() for label in labels]
        assert said[f"balanced_accuracy_{side}"] == pytest.approx(np.mean(by_class))
        lone = labels[0]
        own = right[predictions.labels[chosen] == lone]
        ends = said["recall"]["ADI"][side]
        assert ends == pytest.approx(own.mean())
        low, _ = wilson(own.sum(), len(own))
        assert said["recall"]["ADI"][f"{side}_low"] == pytest.approx(low, abs=0.02)
        assert found[f"n_{side}"] == chosen.sum()
    drop = said["accuracy_home"] - said["accuracy_away"]
    assert said["accuracy_drop"] == pytest.approx(drop)
    assert said["accuracy_drop_low"] < drop < said["accuracy_drop_high"]
    # Other colors: what sees color alone falls.
    assert drop > 0
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "| glands " in page
    assert "Everything is in the store" in elsewhere(*ARGUMENTS, *MODELS)


def test_a_session_transfers_as_the_command_does(elsewhere):
    elsewhere(*ARGUMENTS, *MODELS)
    session = harness.Session(
        elsewhere.folder / "runs",
        elsewhere.folder / "data",
        plugins=[elsewhere.folder / "away.toml"],
        quiet=True,
    )
    found = session.transfer("nct-crc-he", ["away"], ["color-histogram"])
    path = elsewhere.folder / "reports" / "nct-crc-he-to-away.json"
    assert transfer_text.as_json(found) == json.loads(path.read_text(encoding="utf-8"))
    assert "Patches scanned elsewhere" in str(found)
    assert found._repr_html_().count("<table") == 2
    pytest.importorskip("pandas")
    frame = found.to_dataframe().set_index("model")
    gap = frame["accuracy_home"] - frame["accuracy_away"]
    assert np.allclose(gap, frame["accuracy_drop"])
    with pytest.raises(HarnessError, match="no cohort of its own"):
        session.transfer("nct-crc-he", ["nct-crc-he"], ["rgb-means"])


def test_what_is_wrong_with_a_cohort_costs_one_line(elsewhere):
    describe(elsewhere, "typo", glands="NROM")
    arguments = ("transfer", "nct-crc-he", "typo", "--plugin", "typo.toml", "--data", "data")
    output = elsewhere(*arguments, *MODELS, code=2)
    assert "glands is mapped to NROM" in output
    assert "did you mean NORM?" in output
    text = TOML.format(folder="patches", glands="NORM").replace("fat =", "fet =")
    (elsewhere.folder / "away.toml").write_text(text, encoding="utf-8")
    output = elsewhere(*ARGUMENTS, *MODELS, code=2)
    assert "away.toml: map names 'fet', which is no class; did you mean fat?" in output
    for bad in ("starc-9", "nothing"):
        output = elsewhere("transfer", "nct-crc-he-sample", bad, *MODELS, code=2)
        assert "Traceback" not in output
        assert bad in output
    assert not (elsewhere.folder / "runs" / "fit").exists()
    describe(elsewhere)
    output = elsewhere(*ARGUMENTS, *MODELS, "--protocol", "published", code=2)
    assert "unrecognized arguments: --protocol published" in output
    text = TOML.format(folder="patches", glands="NORM").replace("1.0", "250")
    (elsewhere.folder / "away.toml").write_text(text, encoding="utf-8")
    output = elsewhere(*ARGUMENTS, *MODELS, code=2)
    assert "micrometers_per_pixel = 250: must be a number from 0.02 to 50, such as 0.5" in output
    describe(elsewhere)
    output = elsewhere("transfer", "kather-2016", "away", "--plugin", "away.toml", *MODELS, code=2)
    assert "kather-2016" in output


def test_datasets_that_are_made_of_others_are_homes_and_cohorts(elsewhere):
    arguments = ("--plugin", "away.toml", "--data", "data", "--model", "rgb-means")
    home = "nct-crc-he-planted-with-blur-at-1"
    output = elsewhere("transfer", home, "away", *arguments)
    assert f"{home} to away: 4 shared classes" in output
    name = "nct-crc-he-to-away-planted-with-blur-at-1"
    output = elsewhere("run", "--dataset", name, "--no-probes", *arguments)
    assert f"{name}: rgb-means predicts" in output


def test_robustness_at_home_is_set_against_the_fall(elsewhere):
    """With five models and stored probes the page says whether they foretell it."""
    plugin = elsewhere.folder / "five.py"
    plugin.write_text(FIVE, encoding="utf-8")
    models = [part for n in range(5) for part in ("--model", f"pixels-{n}")]
    changed = ("--perturbation", "gamma", "--probe", "robustness", "--probe", "steering")
    home = ("--dataset", "nct-crc-he", "--data", "data", "--plugin", plugin.name)
    elsewhere("run", *home, *models, *changed)
    output = elsewhere(*ARGUMENTS, "--plugin", plugin.name, *models)
    assert "Does a figure at home foretell how models do elsewhere?" in output
    path = elsewhere.folder / "reports" / "nct-crc-he-to-away.json"
    foretold = {f["figure"]: f for f in json.loads(path.read_text(encoding="utf-8"))["foretold"]}
    at_home = foretold["balanced_accuracy"]
    assert at_home["models"] == 7
    assert at_home["with_drop"] is None, "it is a part of the drop"
    assert at_home["with_away_low"] <= at_home["with_away"] <= at_home["with_away_high"]
    robust = foretold["mean accuracy under change"]
    assert robust["models"] == 5, "the baselines were not asked"
    assert robust["with_drop_low"] <= robust["with_drop"] <= robust["with_drop_high"]
    assert robust["with_away"] is not None


FIVE = """
from harness import Features, estimator_model, hookimpl


def extract(images):
    return images.mean(axis=(1, 2)).astype("float32")


def nearest(n):
    def make(settings, seed):
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(1 + 4 * n)

    return make


@hookimpl
def harness_models():
    means = Features(name="five-means", extract=extract)
    return [
        estimator_model(name=f"pixels-{n}", title="", estimator=nearest(n), features=means)
        for n in range(5)
    ]
"""
