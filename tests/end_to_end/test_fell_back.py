"""Rows of models that fell back to random weights stand apart, however accurate they are."""

import json

import pytest

from harness.reports.formats import FELL_BACK

pytestmark = pytest.mark.once

PLUGIN = """
import numpy as np
from harness import InitialWeights, Model, hookimpl

class Fixed:
    def __init__(self, named):
        self.named = named

    def logits(self, images):
        # Red, green and blue patches: the channel that is brightest, or always the first class.
        means = images.mean(axis=(1, 2)).astype(np.float32)
        return means if self.named == "right" else means * 0 + np.float32([1, 0, 0])

    def save(self, folder):
        (folder / "empty").write_text("")

def model(name, named, **more):
    return Model(
        name=name,
        title=name,
        fit=lambda train, validation, context: Fixed(named),
        load=lambda folder, settings: Fixed(named),
        **more,
    )

RANDOM = InitialWeights(label="random initialization", digest="random", warning="no hub here")

@hookimpl
def harness_models():
    return [
        model("mostly-wrong", "wrong"),
        model("fell-back", "right", initial_weights=lambda settings: RANDOM),
    ]
"""


def test_they_stand_below_the_others_in_a_table_of_their_own(toy):
    (toy.folder / "mine.py").write_text(PLUGIN)
    models = ("--model", "mostly-wrong", "--model", "fell-back")
    toy("run", "--plugin", "mine.py", "--dataset", "toy", *models, HARNESS_NO_REPORT="")
    board = json.loads((toy.folder / "reports/toy.json").read_text())
    measured = [row for row in board["rows"] if row["result"] == "measured"]
    assert [row["model"] for row in measured] == ["mostly-wrong", "fell-back"]
    assert measured[0]["accuracy"] < measured[1]["accuracy"]
    assert [row["rank"] for row in measured] == [2, 1], "the rank is that of the accuracy"
    assert [row["initial_weights_fallback"] for row in measured] == [False, True]
    page = (toy.folder / "reports/toy.md").read_text("utf-8")
    first, second = page.split("## Started from random weights")
    assert "| mostly-wrong" in first
    assert "| fell-back" not in first
    assert "| fell-back" in second
    report = (toy.folder / "reports/toy.html").read_text("utf-8")
    assert report.count("(random weights)") == 1
    assert f"Rows with “random weights”: {FELL_BACK}" in report


def test_without_such_rows_there_is_one_table(toy):
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")
    page = (toy.folder / "reports/toy.md").read_text("utf-8")
    assert "Started from random weights" not in page
    assert page.count("|-") >= 1
