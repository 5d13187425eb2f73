"""The Python interface, as a notebook uses it."""

import sys

import numpy as np
import pytest

import harness
from harness import HarnessError

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
    page = (command.folder / f"leaderboards/{DATASET}.md").read_text()
    measured = [row for row in board.rows if row["result"] == "measured"]
    assert [row["model"] for row in measured] == ["color-histogram", "rgb-means"]
    for row in measured:
        assert f"{100 * row['accuracy']:.2f}" in page
    shown = board._repr_html_()
    assert shown.startswith("<table>")
    assert "color-histogram" in shown


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
    assert patches._repr_html_().count("data:image/png;base64,") == 3
    assert len(session.patches(DATASET, [])) == 0


def test_two_models_are_compared(session):
    found = session.compare("rgb-means", "color-histogram", DATASET)
    assert found.difference.value < 0
    assert "color-histogram is more accurate than rgb-means" in str(found)
    assert "<pre>" in found._repr_html_()


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
        (lambda s: harness.Session(jobs=0), "jobs: 0 is less than 1"),
        (lambda s: harness.Session(time_limit=0), "time_limit: 0 is not"),
        (lambda s: s.run([DATASET], ["rgb-mean"]), "did you mean rgb-means"),
        (lambda s: s.run([DATASET], ["rgb-means"], settings={"tree": 3}), "did you mean trees"),
        (lambda s: s.leaderboard("nct"), "nothing of nct is in"),
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
