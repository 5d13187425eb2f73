"""Verdicts on reproduction."""

import numpy as np
import pytest

from harness import Figure, PublishedResult
from harness.reproduction import by_class, judge, of_counts
from harness_published import harness_published_results

DATASET = {"shortfall": "", "train_shortfall": ""}
RECORD = {"deviations": "", "selected_on": "test", "initial_weights": "ImageNet"}
PUBLISHED = PublishedResult(
    test_set="t",
    model="m",
    title="M",
    trained_on="big",
    selected_on="test",
    tta="none",
    source="Paper",
    checked="source",
    n=7180,
    accuracy=0.977,
)


def verdict(accuracy, per_seed=(), record=RECORD, dataset=DATASET, published=PUBLISHED):
    measured = of_counts("accuracy", accuracy, 7180)
    return judge(measured, per_seed or [accuracy], published, record, dataset)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0.977, "reproduced"), (0.974, "reproduced"), (0.985, "higher"), (0.97, "lower")],
)
def test_a_difference_beyond_chance_is_one(accuracy, expected):
    found = verdict(accuracy)
    assert found.verdict == expected
    assert found.because == ""
    assert found.difference.value == pytest.approx(accuracy - 0.977)
    assert found.difference.low < found.difference.value < found.difference.high


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"dataset": DATASET | {"shortfall": "111 of 7,180 test patches"}}, "111 of 7,180"),
        ({"dataset": DATASET | {"train_shortfall": "half of the patches"}}, "half of"),
        ({"record": RECORD | {"deviations": "epochs 5 (default 100)"}}, "epochs 5"),
        (
            {"record": RECORD | {"selected_on": "held-out"}},
            "selected on held-out, published on test",
        ),
        (
            {"record": RECORD | {"initial_weights": "random", "initial_weights_fallback": True}},
            "random",
        ),
    ],
)
def test_what_is_not_comparable_says_why(changes, because):
    found = verdict(0.9, **changes)
    assert found.verdict == "not comparable"
    assert because in found.because


def test_on_other_patches_there_is_no_difference():
    assert verdict(0.9, dataset=DATASET | {"shortfall": "a subset"}).difference is None
    assert verdict(0.9, record=RECORD | {"deviations": "epochs 5"}).difference is not None


def test_a_spread_over_seeds_makes_room():
    """What no test of patches would call the same is what trainings differ by anyhow."""
    assert verdict(0.97).verdict == "lower"
    wide = verdict(0.97, per_seed=[0.96, 0.97, 0.98])
    assert wide.verdict == "reproduced"
    narrow = verdict(0.97, per_seed=[0.9699, 0.97, 0.9701])
    assert narrow.verdict == "lower"


def test_an_unknown_protocol_is_compared():
    published = PublishedResult(**{**vars(PUBLISHED), "selected_on": "unknown"})
    assert verdict(0.977, published=published).verdict == "reproduced"


def test_differences_by_class_find_the_class_that_moved():
    published = next(r for r in harness_published_results() if r.name == "efficientnet-b0-avg")
    matrix = np.array(published.confusion)
    classes = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
    same = by_class(matrix.tolist(), published.confusion, classes)
    assert [one.name for one in same] == list(classes)
    assert {one.p for one in same} == {1.0}
    moved = matrix.copy()
    moved[7, 7] -= 80
    moved[7, 5] += 80  # STR as MUS
    found = {one.name: one for one in by_class(moved.tolist(), published.confusion, classes)}
    assert found["STR"].p < 0.001
    assert found["STR"].moved_to.startswith("MUS (+19.0")
    assert found["STR"].difference.high < 0
    assert all(one.p == 1 for name, one in found.items() if name != "STR")


def test_a_figure_is_what_was_published_not_what_is_counted():
    assert of_counts("accuracy", 0.9774, 7180) == Figure(
        name="accuracy",
        value=0.9774,
        low=pytest.approx(0.9737, abs=1e-4),
        high=pytest.approx(0.9806, abs=1e-4),
    )
