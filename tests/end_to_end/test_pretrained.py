"""Pretrained classifiers: one fit for all folds, no training patches in their row."""

import json

import pytest

SOURCE = """
import numpy as np
from harness import Model, hookimpl

class Constant:
    def logits(self, images):
        return np.tile(np.arange({n}, dtype=np.float32), (len(images), 1))
    def save(self, folder):
        (folder / "there.txt").write_text("yes")

def fit(train, validation, context):
    return Constant()

@hookimpl
def harness_models():
    return [
        Model(
            name="constant",
            title="Always the same",
            fit=fit,
            load=lambda *_: Constant(),
            trained_on="elsewhere",
            selected_on="test",
            classes={classes},
        )
    ]
"""


@pytest.fixture
def plugin(toy):
    def write(*classes):
        source = SOURCE.format(n=len(classes), classes=classes)
        (toy.folder / "mine.py").write_text(source)
        return ("--plugin", "mine.py")

    return write


@pytest.mark.once
def test_its_row_is_about_what_it_was_fitted_on(toy, plugin):
    asked = ("--dataset", "toy-folds", "--model", "constant", "--model", "toy-mean")
    output = toy("run", *asked, "--no-probes", *plugin("red", "green", "blue"))
    assert "toy-folds: load constant\n" in output
    assert "fit toy-mean, fold 1 of 3" in output
    assert "has not seen it, but for pretrained classifiers" in " ".join(output.split())
    board = json.loads((toy.folder / "reports/toy-folds.json").read_text())
    row = next(row for row in board["rows"] if row["model"] == "constant")
    assert (row["trained_on"], row["selected_on"], row["n_train"]) == ("elsewhere", "test", None)
    assert len(list((toy.folder / "runs/fit/toy-folds/constant").iterdir())) == 1
    toy("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes", "--store", "other")
    page = (toy.folder / "reports/toy-folds.md").read_text()
    assert "pretrained" not in page


@pytest.mark.once
def test_datasets_of_other_classes_are_not_for_it(toy, plugin):
    file = plugin("x", "y")
    output = toy("run", "--all", "--no-probes", "--without", "histo-harness", *file)
    assert "Not run: toy: constant: constant knows the classes x, y, but those of toy are" in output
    output = toy("run", "--dataset", "toy", "--model", "constant", "--no-probes", *file, code=1)
    assert "constant knows the classes x, y" in output


def test_logits_in_an_order_of_its_own_are_an_error(toy, plugin):
    """The constant model does not look at the order of the classes that fit is given."""
    asked = ("--dataset", "toy-folds", "--model", "constant", "--no-probes")
    output = toy("run", *asked, *plugin("blue", "green", "red"), code=1)
    assert "constant: its logits are not in the order of the dataset's classes" in output
    assert "(red, green, blue), but its own is blue, green, red" in output


def test_classes_that_are_spelled_differently_are_named(toy, plugin):
    asked = ("--dataset", "toy", "--model", "constant", "--no-probes")
    output = toy("run", *asked, *plugin("red", "Green", "blue"), code=1)
    assert "'Green' and 'green' are spelled differently" in output


def test_a_model_that_does_not_say_its_classes_has_a_note(toy, plugin):
    file = plugin("red", "green", "blue")
    path = toy.folder / "mine.py"
    path.write_text(path.read_text().replace("classes=('red', 'green', 'blue'),", ""))
    toy("run", "--dataset", "toy", "--model", "constant", "--no-probes", *file)
    board = json.loads((toy.folder / "reports/toy.json").read_text())
    row = next(row for row in board["rows"] if row["model"] == "constant")
    assert row["notes"].startswith("the model does not say which classes its outputs are")
