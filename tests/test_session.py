"""The Python interface, as a notebook uses it."""

import base64
import logging
import re
import sys

import cv2
import numpy as np
import pytest

import harness
from harness import HarnessError
from harness.reports.shown import Patches
from harness.store import stored
from harness.system import digests
from harness.system.recent import Recent

pytestmark = pytest.mark.once

DATASET = "nct-crc-he-sample"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session in which two color models were run."""
    session = harness.Session(tmp_path_factory.mktemp("session") / "runs")
    models = ["rgb-means", "color-histogram"]
    assert session.run([DATASET], models, perturbations=["grayscale"]) == {}
    return session


def test_a_board_is_that_of_the_command_and_shows_itself(session, command):
    board = session.leaderboard(DATASET)
    command("leaderboard", "--store", session.store_path)
    page = (command.folder / f"reports/{DATASET}.md").read_text()
    measured = [row for row in board.rows if row["result"] == "measured"]
    assert [row["model"] for row in measured] == ["color-histogram", "rgb-means"]
    for row in measured:
        assert f"{100 * row['accuracy']:.2f}" in page
    shown = board._repr_html_()
    measured, published = shown.split("Published results: ")
    assert measured.count("<tr>") == 3
    assert "color-histogram" in measured
    assert "deepcmorph" in published
    assert "initial weights" in measured
    assert "initial weights" not in published.split("How to read")[0], "a column without a word"
    assert "color-histogram" in str(board)
    assert repr(board).startswith(f"<leaderboard of {DATASET}: 2 measured, ")
    latex = (command.folder / f"reports/{DATASET}.tex").read_text(encoding="utf-8")
    assert board.to_latex() == latex


def test_predictions_have_ids_classes_and_mistakes(session):
    found = session.predictions(DATASET, "rgb-means")
    assert found.logits.shape == (111, 9)
    assert found.accuracy == (found.predicted == found.labels).mean()
    assert found.confusion.sum() == 111
    assert np.trace(found.confusion) == (found.predicted == found.labels).sum()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    wrong = found.wrong()
    assert len(wrong) == len(set(wrong)) == 111 - np.trace(found.confusion)
    gray = session.predictions(DATASET, "rgb-means", perturbation="grayscale", level=1)
    assert gray.accuracy < found.accuracy
    assert (gray.logits != found.logits).any()
    same = session.predictions(DATASET, "rgb-means", perturbation="grayscale")
    assert (same.logits == gray.logits).all()


def test_patches_are_those_of_the_files_and_show_themselves(session):
    ids = session.predictions(DATASET, "rgb-means").wrong()[:3]
    patches = session.patches(DATASET, ids)
    assert np.asarray(patches).shape == (3, 224, 224, 3)
    assert patches.ids == tuple(ids)
    assert len(patches) == 3
    assert (patches[1] == session.patches(DATASET, ids[1:2])[0]).all()
    assert patches.labels == tuple(id_.split("/")[1] for id_ in ids)
    assert len(session.patches(DATASET, [])) == 0
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]+)", patches._repr_html_())
    assert len(encoded) == 3
    for image, text in zip(patches.images, encoded, strict=True):
        data = np.frombuffer(base64.b64decode(text), np.uint8)
        seen = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)
        assert np.abs(seen - image).mean() < 12  # for the eye: JPEG, in the right colors


def test_patches_say_what_was_predicted(session):
    found = session.predictions(DATASET, "rgb-means")
    patches = session.patches(DATASET, found.wrong()[:2], found)
    at = found.ids.index(patches.ids[0])
    guess = found.classes[found.predicted[at]]
    assert patches.predicted[0] == guess != patches.labels[0]
    assert f"{patches.labels[0]}, predicted {guess}" in patches._repr_html_()


def test_names_are_shown_as_they_are():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    shown = Patches(images, ("<b>/a&b",), ("<i>",), ("<s>",))._repr_html_()
    assert "&lt;i&gt;, predicted &lt;s&gt;</b><br>&lt;b&gt;/a&amp;b<" in shown
    assert "<i>" not in shown


def test_two_models_are_compared(session):
    found = session.compare("rgb-means", "color-histogram", DATASET)
    assert found.difference.value < 0
    assert "color-histogram is more accurate than rgb-means" in str(found)
    shown = found._repr_html_()
    assert "<b>color-histogram is more accurate than rgb-means" in shown
    assert all(name in shown for name in found.truth.classes)
    ids = found.differing["ADI"]["other"]
    assert ids[0] in shown
    assert found.p < 0.05


def test_published_results_are_compared_by_their_counts(session):
    found = session.compare("published:deepcmorph", "published:efficientnet-b0-avg")
    assert found.p == pytest.approx(0.005, abs=0.0005)
    gap = found.differences["accuracy"]
    assert gap.low < gap.value < gap.high < 0
    assert [one.name for one in found.recalls] == list(found.one.classes)
    assert "<b>published:efficientnet-b0-avg is more accurate" in found._repr_html_()
    assert "more accurate than published:deepcmorph (p = 0.005" in str(found)


def test_a_dataset_is_audited(session):
    found = session.audit(DATASET, ["dynamic-range", "compression"])
    assert found.failed == {}
    assert set(found.findings) == {"dynamic-range", "compression"}
    assert found.flagged == [name for name, one in found.findings.items() if one.flag]
    assert "dynamic-range" in found.flagged
    shown = found._repr_html_()
    assert shown.count("FLAG") == len(found.flagged)
    assert shown.count("data:image/png;base64,") == len(found.plots()) >= 2
    assert found["compression"].summary in str(found)
    assert found.plots()["dynamic-range"].axes
    # Another probe is asked besides; what is known is not asked again.
    assert set(session.audit(DATASET, ["leakage"]).findings) == {*found.findings, "leakage"}
    pytest.importorskip("pandas")
    frame = found.to_dataframe()
    estimates = [estimate for one in found.findings.values() for estimate in one.estimates]
    assert list(frame.value) == [estimate.value for estimate in estimates]
    table = found["compression"].tables[0]
    assert list(found.to_dataframe("compression", table.name).columns) == list(table.headings)


def test_dataframes_hold_the_same(session):
    pytest.importorskip("pandas")
    predictions = session.predictions(DATASET, "rgb-means")
    frame = predictions.to_dataframe()
    assert list(frame.columns[:3]) == ["id", "label", "predicted"]
    assert list(frame.columns[3:]) == list(predictions.classes)
    assert (frame.label == frame.predicted).mean() == pytest.approx(predictions.accuracy)
    board = session.leaderboard(DATASET)
    frame = board.to_dataframe()
    assert len(frame) == len(board.rows)
    assert set(frame.model) >= {"rgb-means", "color-histogram", "deepcmorph"}


def test_without_pandas_it_is_said_what_to_install(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(HarnessError, match=r"pip install 'histo-harness\[pandas\]'"):
        session.predictions(DATASET, "rgb-means").to_dataframe()


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda s: s.run(DATASET, ["rgb-means"]), "datasets: give a list, such as"),
        (lambda s: s.run([DATASET], []), "models: give a list of names"),
        (lambda s: s.run([DATASET], ["rgb-means"], seeds=()), "seeds: give whole numbers"),
        (lambda s: s.run([DATASET], ["rgb-means"], seeds=3), "seeds: 3 is no list"),
        (lambda s: s.run([DATASET], ["rgb-means"], protocol="publised"), "protocol: 'publised'"),
        (
            lambda s: s.run([DATASET], ["x"], protocol="published", audit_selection=True),
            "leave out protocol",
        ),
        (lambda s: s.run([DATASET], ["rgb-means"], perturbations="blur"), "perturbations: give"),
        (lambda s: harness.Session(plugins="mine.py"), "plugins: give a list"),
        (lambda s: harness.Session(jobs=0), "jobs: 0 is not a whole number"),
        (lambda s: harness.Session(time_limit=0), "time_limit: 0 is not"),
        (lambda s: s.run([DATASET], ["rgb-mean"]), "did you mean rgb-means"),
        (lambda s: s.run([DATASET], ["rgb-means"], settings={"tree": 3}), "did you mean trees"),
        (lambda s: s.leaderboard("nct"), "nothing of nct is in"),
        (lambda s: s.audit("nct-crc"), "did you mean nct-crc-he"),
        (lambda s: s.audit(DATASET, ["robustness"]), "robustness asks a model"),
        (lambda s: s.audit(DATASET, ["leakage"])["tint"], "no probe 'tint' in this audit"),
        (
            lambda s: s.audit(DATASET, ["leakage"]).to_dataframe("leakage", "x"),
            "the probe leakage has the tables",
        ),
        (lambda s: s.contrast(DATASET, DATASET, ["rgb-means"]), "contrasted with itself"),
        (lambda s: s.contrast("a", "b", "rgb-means"), "models: give a list"),
        (lambda s: s.compare("rgb-means", "x"), "no predictions of x for"),
        (lambda s: s.compare("rgb-means", "published:rgb-means"), "measured on other test"),
        (lambda s: s.predictions(DATASET, "rgb"), "no predictions of rgb for"),
        (lambda s: s.predictions(DATASET, "rgb-means", seed=3), "not run with the seed 3"),
        (lambda s: s.patches(DATASET, ["x"]), "has no patch 'x'"),
        (lambda s: s.compare("rgb-means", "rgb-means", DATASET), "compared with itself"),
        (
            lambda s: s.predictions(DATASET, "rgb-means", perturbation="grayscale", level=7),
            "under grayscale 7 is not stored; there is grayscale 1",
        ),
        (
            lambda s: s.predictions(DATASET, "rgb-means", perturbation="blur"),
            "under blur is not stored; there is grayscale 1",
        ),
    ],
)
def test_mistakes_are_named(session, ask, says):
    with pytest.raises(HarnessError, match=says):
        ask(session)


def test_what_fails_is_returned_and_costs_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "bad.py").write_text(
        "from harness import Model, hookimpl\n"
        "def fit(train, validation, context):\n    raise ValueError('on purpose')\n"
        "@hookimpl\ndef harness_models():\n"
        "    return [Model(name='bad', title='', fit=fit, load=fit)]\n"
    )
    session = harness.Session(tmp_path / "runs", plugins=[tmp_path / "bad.py"], jobs=2)
    failed = session.run([DATASET], ["bad", "rgb-means"])
    assert any("ValueError: on purpose" in why for why in failed.values())
    assert session.predictions(DATASET, "rgb-means").accuracy > 0.3
    rows = {row["model"]: row for row in session.leaderboard(DATASET).rows}
    assert rows["bad"]["result"] == "failed"


def test_everything_that_can_run_is_run_without_names(tmp_path, caplog):
    """As ``run --all`` does: what cannot be obtained is named, and is no failure."""
    caplog.set_level(logging.INFO, "harness")
    source = (
        "from harness import Dataset, Model, hookimpl\n"
        "def fit(train, validation, context):\n    raise AssertionError\n"
        "@hookimpl\ndef harness_models():\n"
        "    return [Model(name='far', title='', fit=fit, load=fit, requires=('nowhere',),\n"
        "                  install='pip install nowhere')]\n"
    )
    (tmp_path / "far.py").write_text(source, encoding="utf-8")
    without = ["timm", "ensemble", "phantom", "mlflow"]
    session = harness.Session(tmp_path / "runs", plugins=[tmp_path / "far.py"], without=without)
    assert session.run([DATASET]) == {}
    assert "Not run: model far needs nowhere" in caplog.text
    models = {row["model"] for row in session.leaderboard(DATASET).rows if row["rank"]}
    assert models == {"rgb-means", "color-histogram"}


def test_a_quiet_session_logs_warnings_alone(session, capfd, caplog):
    caplog.set_level(logging.INFO, "harness")
    quiet = harness.Session(session.store_path, quiet=True)
    assert quiet.run([DATASET], ["rgb-means"]) == {}
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []
    assert harness.Session(session.store_path).run([DATASET], ["rgb-means"]) == {}
    assert "nothing to compute" in caplog.text


def test_what_a_process_remembers_of_stores_is_bounded(session, monkeypatch):
    """A notebook may run for weeks."""
    monkeypatch.setattr(stored, "_records", Recent(3))
    monkeypatch.setattr(digests, "_known", Recent(5))
    first = session.leaderboard(DATASET)
    assert len(stored._records) <= 3
    assert len(digests._known) <= 5
    assert session.leaderboard(DATASET).rows == first.rows
