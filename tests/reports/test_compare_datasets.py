"""Comparisons over several datasets: text, JSON and the critical difference diagram."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from harness import HarnessError
from harness.analysis.compare_datasets import compare_datasets
from harness.reports import compare_datasets_text as report
from harness.reports import drawing


def compared(accuracies, names, margin=0.005, test_sets=()):
    """Of datasets with 1,000 patches, of which so many are right."""
    measured = []
    for number, row in enumerate(accuracies):
        test_set = test_sets[number] if test_sets else f"t{number}"
        truth = SimpleNamespace(
            dataset=f"d{number}", described={"test_set": test_set, "digest": f"{number}"}
        )
        rights = [np.arange(1000)[None] < 1000 * accuracy for accuracy in row]
        measured.append((truth, [SimpleNamespace(right=right) for right in rights]))
    return compare_datasets(names, measured, margin)


CLEAR = [[0.9 - 0.05 * m + 0.01 * d for m in range(4)] for d in range(8)]


def test_text_and_json_say_the_same():
    found = compared(CLEAR, ("a", "b", "c", "d"))
    text = "\n".join(report.text(found))
    content = json.loads(json.dumps(report.as_json(found), allow_nan=False))
    assert content["mean_ranks"] == [1, 2, 3, 4]
    assert content["p"] < 0.001
    assert "p < 0.001 (Friedman's test)" in text
    assert f"differ by {content['critical_difference']:.2f} or more" in text
    assert "cannot be distinguished: a, b; b, c; c, d" in text
    assert content["accuracies"][0] == pytest.approx(CLEAR[0])
    of_pair = {(pair["model"], pair["beside"]): pair for pair in content["pairs"]}
    assert of_pair["b", "a"]["worse"] > 0.99
    assert "WARNING" not in text


def test_where_friedmans_test_shows_nothing_no_two_are_told_apart():
    found = compared([[0.8, 0.7, 0.75], [0.7, 0.75, 0.8]], ("a", "b", "c"))
    assert found.ranks.p > 0.05
    assert "So no two can be distinguished." in " ".join(report.text(found))
    with drawing.clean():
        picture = report.diagram(found, found.ranks)
    thick = [line for line in picture.axes[0].lines if line.get_linewidth() == 4]
    assert [sorted(line.get_xdata()) for line in thick] == [[1.5, 2.5]]


@pytest.mark.parametrize("name", ["a_$b$", "肿瘤", "x" * 80])
def test_the_diagram_has_each_model_at_its_mean_rank(name):
    found = compared(CLEAR, (name, "b", "c", "d"))
    with drawing.clean(), drawing.numbered():
        picture = report.diagram(found, found.ranks)
        picture.canvas.draw()
    axes = picture.axes[0]
    elbows = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    assert sorted(elbows) == [1, 2, 3, 4]
    thick = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 4]
    assert [list(map(float, ends)) for ends in thick] == [[1, 2], [2, 3], [3, 4]]
    assert f"{found.ranks.critical_difference:.2f}" in " ".join(t.get_text() for t in axes.texts)


def test_parts_of_one_test_set_are_no_independent_datasets():
    found = compared(CLEAR[:3], ("a", "b", "c", "d"), test_sets=("x", "y", "x"))
    assert found.same_patches == (("d0", "d2"),)
    assert any("WARNING: d0, d2 share test patches" in line for line in report.text(found))


def test_a_model_is_not_compared_with_itself():
    with pytest.raises(HarnessError, match="a is compared with itself"):
        compared([[0.8, 0.7, 0.8]] * 2, ("a", "b", "a"))
