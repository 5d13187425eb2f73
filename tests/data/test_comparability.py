"""Published results are compared only on the very test patches that they are about."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Dataset, HarnessError, PublishedResult
from harness.analysis.compare_published import of_result
from harness.data import comparability
from harness.reports import formats

pytestmark = pytest.mark.once

SCHEMA = json.loads(Path(formats.__file__).with_name("leaderboard.schema.json").read_text())
NAMES = ("ADI", "STR", "TUM")
DATASET = {
    "shortfall": "",
    "train_shortfall": "",
    "n_test": 9,
    "classes": list(NAMES),
    "test_counts": [2, 3, 4],
    "test_set": "t",
    "trained_on": "big",
    "test_identity": "",
    "train_identity": "",
    "described_by": "mine.toml",
}
MATRIX = ((2, 0, 0), (0, 2, 1), (1, 0, 3))


def published(**changes):
    fields = {
        **{"test_set": "t", "model": "m", "title": "M", "trained_on": "big"},
        **{"selected_on": "test", "tta": "none", "source": "Paper", "checked": "source"},
        **{"n": 9, "accuracy": 7 / 9, "confusion": MATRIX, "classes": NAMES},
    }
    return PublishedResult(**{**fields, **changes})


@pytest.mark.parametrize(
    "result",
    [
        published(),
        published(confusion=None),
        published(classes=()),
        published(classes=(), confusion=None),
        published(classes=("adi", "str", "Tum")),
    ],
)
def test_the_same_patches_are_compared(result):
    assert comparability.other_test_data(result, DATASET, [result]) == ""


SOURCES = {
    "what the dataset says": ({"shortfall": "9 of 20 test patches"}, {}, "9 of 20 test patches"),
    "fewer": ({"n_test": 8}, {}, "8 of 9 test patches"),
    "more": ({"n_test": 1234}, {}, "1,234 test patches, published on 9"),
    "other counts": (
        {"test_counts": [3, 3, 3]},
        {},
        "other counts a class than published: ADI 3 instead of 2, TUM 3 instead of 4",
    ),
    "classes in another order": (
        {"classes": ["STR", "ADI", "TUM"], "test_counts": [3, 2, 4]},
        {},
        r"classes in another order than published \(ADI, STR, TUM\)",
    ),
    "other classes": ({"classes": ["x", "y", "z"]}, {}, "other classes than published"),
    "fewer classes": (
        {"classes": ["ADI", "STR"], "test_counts": [4, 5]},
        {},
        "2 classes, published for 3",
    ),
    "the order without names": (
        {"classes": ["TUM", "STR", "ADI"], "test_counts": [4, 3, 2]},
        {"classes": ()},
        "other counts a class than published: TUM 4 instead of 2, ADI 2 instead of 4",
    ),
}


@pytest.mark.parametrize(("here", "there", "says"), SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("with_matrix", [True, False])
def test_whatever_differs_is_named(here, there, says, with_matrix):
    """Without a matrix of its own, that of another result on as many patches tells the counts."""
    other = published(**there)
    result = other if with_matrix else published(**there, model="n", confusion=None)
    found = comparability.other_test_data(result, {**DATASET, **here}, [other, result])
    assert found
    assert found == says or re.fullmatch(says + ".*", found)


COUNTS = st.lists(st.integers(0, 5), min_size=2, max_size=4)


@given(ours=COUNTS, theirs=COUNTS)
def test_counts_are_compared_class_by_class(ours, theirs):
    theirs = theirs if sum(theirs) else [1, *theirs[1:]]
    result = published(
        n=sum(theirs),
        accuracy=1.0,
        confusion=tuple(map(tuple, np.diag(theirs).tolist())),
        classes=tuple("abcd"[: len(theirs)]),
    )
    dataset = {
        **DATASET,
        "n_test": sum(ours),
        "test_counts": ours,
        "classes": list("abcd"[: len(ours)]),
    }
    same = comparability.other_test_data(result, dataset, [result]) == ""
    assert same == (ours == theirs)


def test_results_on_other_numbers_of_patches_tell_nothing():
    other = published(n=3, confusion=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    result = published(confusion=None)
    assert comparability.other_test_data(result, DATASET, [other, result]) == ""


def test_two_published_results():
    one, other = published(), published(model="n", n=8, confusion=None)
    assert comparability.between(one, one) == ""
    assert comparability.between(one, published(confusion=None)) == ""
    assert comparability.between(other, one) == "8 of 9 test patches"
    assert "on t, not on u" in comparability.between(one, published(test_set="u"))
    moved = published(confusion=((3, 0, 0), (0, 2, 0), (0, 0, 4)))
    assert "ADI 3 instead of 2" in comparability.between(moved, one)
    assert "another order" in comparability.between(published(classes=NAMES[::-1]), one)


def test_names_of_the_classes_of_a_matrix():
    assert comparability.class_names(published(classes=("Adi", "STR", "x")), DATASET) == (
        "ADI",
        "STR",
        "x",
    )
    assert comparability.class_names(published(classes=()), DATASET) == NAMES
    # Where two classes have as many patches, their order is not known.
    alike = {**DATASET, "test_counts": [3, 3, 3]}
    matrix = ((3, 0, 0), (0, 3, 0), (0, 0, 3))
    assert comparability.class_names(published(classes=(), confusion=matrix), alike) == ()


def test_what_was_not_verified_is_said():
    say = comparability.unverified
    assert say(DATASET, fitted_here=True) == (
        "the test and training patches are what mine.toml says"
    )
    assert say(DATASET, fitted_here=False) == "the test patches are what mine.toml says"
    known = {**DATASET, "test_identity": "md5 verified"}
    assert say(known, fitted_here=False) == ""
    assert say(known, fitted_here=True) == "the training patches are what mine.toml says"
    assert comparability.identity(known, "test") == "md5 verified"
    assert comparability.identity(known, "train") == "not verified; only what mine.toml says"
    assert comparability.identity({**known, "test_set": ""}, "test") is None
    assert comparability.identity({**known, "shortfall": "3 of 9"}, "test") == (
        "not the published patches: 3 of 9"
    )


# From the command: a TOML file that claims to be a published test set.

PUBLISHED = """
from harness import PublishedResult, hookimpl

COMMON = dict(
    test_set="small", title="Paper", trained_on="small train", selected_on="none", tta="none",
    source="a paper, Table 1", checked="source", n=9, classes=("ADI", "STR", "TUM"),
)

@hookimpl
def harness_published_results():
    matrix = ((2, 0, 0), (0, 2, 1), (1, 0, 3))
    return [
        PublishedResult(model="rgb-means", accuracy=7 / 9, confusion=matrix, **COMMON),
        PublishedResult(model="deep", accuracy=8 / 9, reference=True, **COMMON),
        PublishedResult(
            model="rgb-means", accuracy=0.5, perturbation="grayscale", level=1.0, **COMMON
        ),
        PublishedResult(model="part", accuracy=0.5, **{**COMMON, "n": 4}),
    ]
"""


@pytest.fixture
def claims(command, tmp_path):
    """Runs a model on a dataset of so many test patches that claims to be the published one."""

    def run(counts, names=NAMES):
        for part, numbers in (("train", [8] * len(counts)), ("test", counts)):
            for label, (name, n) in enumerate(zip(names, numbers, strict=True)):
                folder = tmp_path / part / name
                folder.mkdir(parents=True)
                for i in range(n):
                    patch = np.full((16, 16, 3), 60 * label + 5 * i + 20, np.uint8)
                    cv2.imwrite(str(folder / f"{i}.png"), patch)
        (tmp_path / "mine.toml").write_text(
            'kind = "folder"\ntrain = "train"\ntest = "test"\n'
            'test_set = "small"\ntrained_on = "small train"\n'
        )
        (tmp_path / "paper.py").write_text(PUBLISHED)
        files = ("--plugin", "mine.toml", "--plugin", "paper.py")
        asked = ("--dataset", "mine", "--model", "rgb-means", "--probe", "reliance")
        command("run", *files, *asked)
        board = json.loads((tmp_path / "reports/mine.json").read_text())
        jsonschema.validate(board, SCHEMA)
        return board, files

    return run


def test_a_claim_with_the_right_counts_is_compared_under_a_condition(claims, command, tmp_path):
    board, files = claims([2, 3, 4])
    row = board["rows"][0]
    assert row["difference_to_published"] is not None
    assert row["difference_to_reference"] is not None
    assert row["reproduced"] != "not comparable"
    condition = "the test and training patches are what mine.toml says"
    assert row["reproduced_if"] == condition
    assert f"not verified that {condition}" in row["notes"]
    assert row["test_identity"] == "not verified; only what mine.toml says"
    page = (tmp_path / "reports/mine.md").read_text()
    assert f"{row['reproduced']}, if {condition}" in page
    assert "Test patches are taken to be those of small: not verified; only what" in page
    others = {r["model"]: r for r in board["rows"] if r["result"] == "published"}
    assert others["part"]["difference_to_reference"] is None
    assert others["part"]["difference_to_reference_empty_because"] == "4 of 9 test patches"
    output = command("compare", *files, "rgb-means", "published:deep")
    assert "Not verified: that the test patches are what mine.toml says." in output
    output = command("compare", *files, "rgb-means", "published:part", code=2)
    assert "different test patches of small (9 test patches, published on 4)" in output
    output = command("compare", *files, "published:deep", "published:part", code=2)
    assert "9 test patches, published on 4" in output


OTHERS = {
    "fewer": ([2, 3, 3], NAMES, "8 of 9 test patches"),
    "other counts": ([3, 3, 3], NAMES, "other counts a class than published: ADI 3 instead of 2"),
    "other classes": ([2, 3, 4], ("A", "B", "C"), "other classes than published (ADI, STR, TUM)"),
    "fewer classes": ([4, 5], ("ADI", "STR"), "2 classes, published for 3"),
}


@pytest.mark.parametrize(("counts", "names", "says"), OTHERS.values(), ids=OTHERS)
def test_a_claim_that_the_counts_refute_is_not_compared_anywhere(
    claims, command, tmp_path, counts, names, says
):
    board, files = claims(counts, names)
    row = board["rows"][0]
    assert row["reproduced"] == "not comparable"
    assert row["reproduced_because"].startswith(says)
    assert row["difference_to_reference_empty_because"].startswith(says)
    assert row["difference_to_published"] is row["difference_to_reference"] is None
    assert row["reproduced_if"] == ""
    folder = tmp_path / "reports"
    assert f"Not the published test set small ({says}" in (folder / "mine.md").read_text()
    errors = json.loads((folder / "mine-errors.json").read_text())
    assert [one["against_published"] for one in errors["models"]] == [[]]
    probes = json.loads((folder / "mine-probes.json").read_text())
    assert [one["not_comparable_because"].startswith(says) for one in probes["published"]] == [True]
    assert "Published on other test patches than" in (folder / "mine-probes.md").read_text()
    output = command("compare", *files, "rgb-means", "published:deep", code=2)
    assert f"are about different test patches of small ({says}" in output


def test_names_of_sets_that_published_results_spell_differently_are_said():
    dataset = Dataset(
        name="d",
        title="",
        classes=NAMES,
        load=lambda _: None,
        test_set="T",
        trained_on="Big",
    )
    assert comparability.misspelled(dataset, [published()]) == [
        "test_set is 'T'; published results call it 't', and are not found by another name",
        "trained_on is 'Big'; published results call it 'big', and are not found by another name",
    ]
    other = replace(dataset, test_set="t", trained_on="elsewhere")
    assert comparability.misspelled(other, [published()]) == []


def test_of_several_published_results_of_one_name_none_is_picked_at_will():
    results = [published(), published(test_set="u"), published(test_set="u", trained_on="small")]
    assert of_result(results, "published:m", "t").test_set == "t"
    with pytest.raises(HarnessError, match=r"2 published .* \(u, trained on big; u, trained on sm"):
        of_result(results, "published:m", "u")
    with pytest.raises(HarnessError, match="3 published results are named 'm'"):
        of_result(results, "published:m")
