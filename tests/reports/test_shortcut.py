"""A fault planted by class: what a model makes of it without the fault, and with it swapped."""

import csv
import json

import numpy as np
import pytest

from harness import HarnessError
from harness.data import planting
from harness.hooks.registry import Datasets
from harness.workflows import shortcutting

ARGUMENTS = ("shortcut", "--dataset", "toy", "--model", "toy-mean", "--fault", "toy-tinted")
STEM = "reports/toy-shortcut-toy-tinted-of-toy-mean"


def accuracies(command):
    with (command.folder / f"{STEM}.csv").open() as file:
        return {(float(r["dose"]), r["tested"]): float(r["accuracy"]) for r in csv.DictReader(file)}


def test_a_model_that_goes_by_the_fault_falls_without_it(toy):
    output = toy(*ARGUMENTS)
    found = accuracies(toy)
    assert set(found) == {(dose, tested) for dose in (5, 60) for tested in planting.TESTED}
    assert found[60, "planted"] == 1
    assert found[60, "clean"] < 0.7
    assert found[60, "swapped"] < 0.4
    assert toy.toy_log.count("step 0 of toy-mean") == 2  # one fit a dose
    content = json.loads((toy.folder / f"{STEM}.json").read_text())
    assert content["accuracies"][0]["low"] <= content["accuracies"][0]["accuracy"]
    assert (toy.folder / f"{STEM}.png").read_bytes().startswith(b"\x89PNG")
    page = (toy.folder / f"{STEM}.md").read_text()
    assert "100.00 (" in page
    assert f"{STEM}.md; also .csv, .json, .png" in output


def test_what_is_stored_is_read_back(toy):
    toy(*ARGUMENTS, "--dose", 60)
    before = len([line for line in toy.toy_log if line.startswith(("step", "predict"))])
    toy(*ARGUMENTS, "--dose", 60)
    assert len([line for line in toy.toy_log if line.startswith(("step", "predict"))]) == before


def test_seeds_are_averaged(toy):
    toy(*ARGUMENTS, "--dose", 60, "--seeds", 2)
    content = json.loads((toy.folder / f"{STEM}.json").read_text())
    assert {row["seeds"] for row in content["accuracies"]} == {"0 1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fault", "toy-tintet"), "did you mean toy-tinted"),
        (("--fault", "toy-lighter"), "toy-lighter does not differ between classes"),
        (("--fault", "toy-darker-test"), "toy-darker-test does not differ between classes"),
        (("--fault", "toy-tinted", "--dose", "-3"), "--dose -3: a dose is a number above 0"),
        (("--fault", "toy-tinted", "--dose", "nan"), "--dose nan: a dose is a number above 0"),
    ],
)
def test_mistakes_are_named(toy, arguments, message):
    assert message in toy(*ARGUMENTS[:5], *arguments, code=2)


def test_names_say_what_is_planted():
    for tested in planting.TESTED:
        name = planting.name("some-data", "jpeg-twice", 0.5, tested)
        assert planting.base(name) == "some-data"
        assert planting.base(planting.name("some-data", "jpeg", 1e-7, tested)) == "some-data"
    assert planting.base("some-data") == "some-data"
    with pytest.raises(HarnessError, match="no dataset named"):
        Datasets().find(planting.name("some-data", "jpeg", 1, "clean"))


def test_levels_are_those_of_classes_in_turn():
    labels = np.arange(6)
    planted = planting.by_class(Fake(labels), None, np.array([0.0, 0.0, 3.0, 3.0]))
    assert planted.levels.tolist() == [0, 0, 3, 3, 0, 0]


class Fake:
    def __init__(self, labels):
        self.labels = labels


@pytest.mark.parametrize(
    ("doses", "tried"),
    [
        ((1, 2, 3, 4, 5, 7, 10, 15, 20, 25), (1, 3, 5, 10, 25)),
        ((1, 2, 3), (1, 2, 3)),
        ((1,), (1,)),
    ],
)
def test_models_are_trained_at_a_few_doses_from_the_smallest_to_the_largest(doses, tried):
    assert shortcutting.some(doses) == tried
