"""The accuracy by patient or slide on the page about errors, from stored logits."""

import csv
import json
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

import harness_nct_crc
from harness.analysis import error_analysis
from harness.statistics.intervals import Sampling

MINE = rf"""
kind = "folder"
train = '{harness_nct_crc.SAMPLE / "NCT-CRC-HE-100K.zip"}'
test = '{harness_nct_crc.SAMPLE / "CRC-VAL-HE-7K.zip"}'
group = '([A-Z]|_[a-z]+)\.webp$'  # no patients, but groups of unequal size
"""


def board(sizes, right, effect=1.0):
    """What a board says of groups, and of a model that gets so many patches of each right."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    truth = SimpleNamespace(groups=groups, group_names=[f"slide {n}" for n in range(len(sizes))])
    hits = [np.arange(n) < k for n, k in zip(sizes, right, strict=True)]
    entry = SimpleNamespace(right=np.stack([np.concatenate(hits), np.ones(len(groups), bool)]))
    return SimpleNamespace(truth=truth, sampling=Sampling(groups, effect)), entry


@pytest.mark.parametrize(
    ("sizes", "right", "mean", "median", "worst"),
    [
        ((20, 10, 9), (15, 9, 0), 0.55, 0.75, ("slide 0", 0.75, 20)),  # slide 2 is too small
        ((9, 8), (1, 8), 5 / 9, 5 / 9, None),
        ((10, 40, 20), (8, 32, 16), 0.8, 0.8, ("slide 1", 0.8, 40)),  # the one with most patches
    ],
)
def test_each_group_counts_alike_and_the_worst_is_of_those_with_enough_patches(
    sizes, right, mean, median, worst
):
    found = error_analysis.by_group(*board(sizes, right))
    assert (found.mean.value, found.median) == (pytest.approx(mean), pytest.approx(median))
    assert found.worst == worst
    wide = error_analysis.by_group(*board(sizes, right, effect=4.0)).mean
    assert 0 <= wide.low <= found.mean.low < mean < found.mean.high <= wide.high <= 1
    assert wide.high - wide.low > found.mean.high - found.mean.low or sizes == (9, 8)


def test_where_groups_are_not_known_there_is_nothing():
    of_patches, entry = board((20, 20), (10, 20))
    of_patches.truth.groups = None
    assert error_analysis.by_group(of_patches, entry) is None
    assert error_analysis.group_sizes(of_patches) is None


def test_the_page_and_its_json_say_what_stored_predictions_give(command):
    (command.folder / "mine.toml").write_text(MINE)
    named = ("--dataset", "mine", "--model", "color-histogram")
    command("run", "--plugin", "mine.toml", *named, "--no-probes")
    command("export", "predictions", "p.csv", "--plugin", "mine.toml", *named)
    by_letter = defaultdict(list)
    with (command.folder / "p.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            logits = {name: float(row[name]) for name in row if name.startswith("logit_")}
            right = max(logits, key=logits.get) == f"logit_{row['label']}"
            by_letter[row["id"][-1]].append(right)
    sizes = [len(right) for right in by_letter.values()]
    few = sum(n < 10 for n in sizes)
    assert sum(sizes) == 111
    assert 0 < few < len(sizes)
    shares = {letter: np.mean(right) for letter, right in by_letter.items()}
    large = [letter for letter in shares if len(by_letter[letter]) >= 10]
    worst = min(large, key=shares.get)

    content = json.loads((command.folder / "reports/mine-errors.json").read_text())
    assert (content["groups"], content["groups_with_few_patches"]) == (len(sizes), few)
    (model,) = content["models"]
    found = model["by_group"]
    assert found["mean_accuracy"] == pytest.approx(np.mean(list(shares.values())))
    assert found["median_accuracy"] == pytest.approx(np.median(list(shares.values())))
    assert found["worst_accuracy"] == pytest.approx(shares[worst])
    assert shares[found["worst_group"]] == pytest.approx(shares[worst])
    assert found["worst_n"] == len(by_letter[found["worst_group"]])
    assert found["mean_accuracy_low"] < found["mean_accuracy"] < found["mean_accuracy_high"]

    page = (command.folder / "reports/mine-errors.md").read_text()
    section = page.partition("## Accuracy by group")[2].partition("\n## ")[0]
    assert f"The 111 test patches are of {len(sizes)} groups" in section
    assert f"{few} of {len(sizes)} groups have fewer than 10 patches: they count in" in section
    (row,) = [line for line in section.splitlines() if line.startswith("| color-histogram")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    low, high = (100 * found[f"mean_accuracy_{end}"] for end in ("low", "high"))
    assert cells[1] == f"{100 * found['mean_accuracy']:.1f} ({low:.1f}–{high:.1f})"
    assert cells[3:] == [
        f"{100 * found['worst_accuracy']:.1f}",
        found["worst_group"],
        str(found["worst_n"]),
    ]
