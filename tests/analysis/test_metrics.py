"""Metrics of plugins: columns of the leaderboard, made of stored logits."""

import json

import jsonschema
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, top_k_accuracy_score

from harness import Estimate, Metric, MetricInput
from harness.analysis.measuring import measure
from harness.hooks.loader import load_plugins
from harness.reports import formats
from harness.statistics.intervals import of_predictions
from harness.statistics.metrics import probabilities

MINE = """
from harness import Metric, hookimpl

def sure(given):
    {body}

@hookimpl
def harness_metrics():
    return [Metric(name="sure", title="Confidence", heading="sure %", value=sure, percent=True)]
"""
SURE = "return given.mean(given.predicted == 0)"
RUN = ("run", "--dataset", "toy-groups", "--model", "toy-mean", "--no-probes")


def drawn(n=600, n_classes=4, noise=1.0, seed=0, **more):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(0, noise, (n, n_classes)).astype(np.float32)
    logits[np.arange(n), labels] += 1
    return MetricInput(
        model="m",
        classes=tuple("abcdefgh"[:n_classes]),
        labels=labels,
        logits=logits,
        probabilities=probabilities(logits),
        **more,
    )


def built_in(name):
    return load_plugins().of(Metric).find(name)


@pytest.mark.parametrize("noise", [0.5, 1, 3])
def test_values_are_those_of_scikit_learn(noise):
    given = drawn(noise=noise)
    kappa, top2 = (measure(built_in(name), given) for name in ("kappa", "top2"))
    assert kappa.value == pytest.approx(cohen_kappa_score(given.labels, given.predicted))
    assert top2.value == pytest.approx(top_k_accuracy_score(given.labels, given.logits, k=2))
    for estimate in (kappa, top2):
        assert estimate.low < estimate.value < estimate.high


def test_ties_go_to_the_lower_class():
    given = drawn(3, 3)
    labels, logits = np.array([0, 1, 2]), np.ones((3, 3), np.float32)
    tied = MetricInput(
        model="m", classes=given.classes, labels=labels, logits=logits, probabilities=None
    )
    assert measure(built_in("top2"), tied).value == pytest.approx(2 / 3)


def test_kappa_is_not_defined_where_all_is_one_class():
    given = drawn(5, 2)
    one = np.zeros((5, 2), np.float32)
    alone = MetricInput(
        model="m",
        classes=given.classes,
        labels=np.zeros(5, np.int64),
        logits=one,
        probabilities=None,
    )
    assert measure(built_in("kappa"), alone) is None


def test_the_interval_of_kappa_covers_the_truth():
    """The kappa of very many patches lies in about 95 of 100 intervals of 200 patches each."""
    truth = measure(built_in("kappa"), drawn(200_000, seed=1)).value
    found = [measure(built_in("kappa"), drawn(200, seed=seed)) for seed in range(400)]
    held = np.mean([estimate.low <= truth <= estimate.high for estimate in found])
    assert 0.92 <= held <= 0.98


def test_groups_and_a_design_effect_widen_intervals():
    plain = measure(built_in("kappa"), drawn())
    wide = measure(built_in("kappa"), drawn(design_effect=4.0))
    assert wide.value == plain.value
    assert wide.high - wide.low > 1.8 * (plain.high - plain.low)
    alike = measure(built_in("kappa"), drawn(groups=np.sort(drawn().labels)))
    assert alike.value == plain.value
    assert alike.high - alike.low != plain.high - plain.low


def test_the_mean_of_what_is_right_is_the_accuracy():
    given = drawn()
    expected = of_predictions(given.labels, given.predicted, 4)["accuracy"]
    found = given.mean(given.predicted == given.labels)
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (0.5, "value returned 0.5 where an Estimate is expected"),
        (Estimate(name="x", value=float("nan")), "return None where it is not defined"),
        (
            Estimate(name="x", value=0.5, low=0.6, high=0.7),
            "whose interval does not hold its value",
        ),
        (Estimate(name="x", value=0.5, low=0.4), "whose interval does not hold its value"),
    ],
)
def test_what_is_no_figure_is_refused(returned, says):
    metric = Metric(name="m", title="M", value=lambda given: returned)
    with pytest.raises((TypeError, ValueError), match=says):
        measure(metric, drawn(9))


def test_it_is_a_column_of_the_board(toy):
    (toy.folder / "mine.py").write_text(MINE.format(body=SURE))
    output = toy(*RUN, "--seeds", "2", "--plugin", "mine.py", "--columns", "default,kappa")
    assert "sure %" in output
    page = (toy.folder / "reports/toy-groups.md").read_text("utf-8")
    assert "“sure %”: Confidence. Higher is better." in page
    assert "kappa" in output
    path = toy.folder / "reports/toy-groups.json"
    content = json.loads(path.read_text())
    with_name = formats.__file__.replace("formats.py", "leaderboard.schema.json")
    with open(with_name, encoding="utf-8") as file:  # noqa: PTH123
        jsonschema.validate(content, json.load(file))
    row = content["rows"][0]
    assert row["seeds"] == [0, 1]
    assert 0 < row["metric.sure_low"] < row["metric.sure"] < row["metric.sure_high"] < 1
    assert row["metric.kappa"] is not None
    published = [row for row in content["rows"] if row["result"] == "published"]
    assert all(row["metric.sure"] is None for row in published)
    text = path.with_suffix(".csv").read_text()
    assert "metric.sure_low" in text.splitlines()[0]
    # Without it, all else stays as it is.
    toy("leaderboard")
    for old, new in zip(content["rows"], json.loads(path.read_text())["rows"], strict=True):
        assert new == {name: value for name, value in old.items() if ".sure" not in name}


@pytest.mark.parametrize("body", ["raise KeyError('k')", "return 3", "given.labels[:] = 0"])
def test_one_that_fails_costs_its_own_column_alone(body, toy):
    (toy.folder / "mine.py").write_text(MINE.format(body=body))
    output = toy(*RUN, "--plugin", "mine.py", code=1)
    assert "harness: failed: metric sure of toy-mean: " in output
    row = json.loads((toy.folder / "reports/toy-groups.json").read_text())["rows"][0]
    assert row["metric.sure"] is None
    assert row["accuracy"] > 0
    assert row["metric.kappa"] is not None


def test_columns_of_metrics_are_found_by_name(toy):
    toy(*RUN)
    assert "did you mean kappa?" in toy("leaderboard", "--columns", "kapa", code=2)
    assert "kappa" in toy("leaderboard", "--columns", "metric.kappa")
    assert "kappa" not in toy("leaderboard")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "percent=True",
            "columns='mine'",
            "sure: columns = 'mine' must be one of default, figures, calibration",
        ),
        ('"sure"', '"probes"', "probes: is a set of columns; choose another name"),
    ],
)
def test_what_does_not_go_with_sets_of_columns_is_refused(tmp_path, old, new, says):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(body=SURE).replace(old, new))
    registry = load_plugins(files=[path])
    assert [plugin.status for plugin in registry.broken] == [f"ValueError: {says}"]
