"""Published results: complete, consistent with their own confusion matrices, with sources."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from harness.statistics.metrics import of_confusion
from harness_published import harness_published_results

RESULTS = harness_published_results()
WITH_MATRIX = [result for result in RESULTS if result.confusion is not None]


def label(result):
    level = "" if result.level is None else f" {result.level:g}"
    return f"{result.name} {result.perturbation}{level}"


@pytest.mark.parametrize("result", WITH_MATRIX, ids=label)
def test_a_confusion_matrix_gives_its_own_accuracies(result):
    accuracy, balanced_accuracy, f1, mcc = of_confusion(result.confusion)
    assert np.sum(result.confusion) == result.n == 7180
    assert accuracy == pytest.approx(result.accuracy, abs=5e-7)
    assert balanced_accuracy == pytest.approx(result.balanced_accuracy, abs=5e-7)
    # The others against scikit-learn, from the labels that the matrix stands for.
    labels = np.repeat(np.arange(9), np.sum(result.confusion, axis=1))
    predicted = np.repeat(np.tile(np.arange(9), 9), np.ravel(result.confusion))
    assert f1 == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-9)
    assert mcc == pytest.approx(matthews_corrcoef(labels, predicted), abs=1e-9)


@pytest.mark.parametrize("result", RESULTS, ids=label)
def test_every_result_names_its_source_and_protocol(result):
    assert result.source
    assert result.checked in ("source", "secondary")
    assert result.trained_on in ("NCT-CRC-HE-100K", "NCT-CRC-HE-100K-NONORM")
    assert result.selected_on in ("test", "unknown", "none")
    assert result.tta in ("none", "flips")
    assert result.accuracy is not None or result.balanced_accuracy is not None
    assert (result.level is None) == (result.perturbation == "clean")


def test_deepcmorph_without_test_time_augmentation_is_the_reference():
    (reference,) = [result for result in RESULTS if result.reference]
    assert (reference.model, reference.tta, reference.perturbation) == (
        "deepcmorph",
        "none",
        "clean",
    )
    assert round(100 * reference.accuracy, 2) == 96.99


def test_no_result_is_there_twice():
    keys = [(r.name, r.trained_on, r.perturbation, r.level) for r in RESULTS]
    assert len(set(keys)) == len(keys) == 91
