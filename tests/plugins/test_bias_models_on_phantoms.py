"""Probes of models on phantoms, with classifiers of which it is known what they go by."""

from functools import cache

import cv2
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import harness_phantom
from harness import Predictions
from harness.data.perturb import perturb
from harness.hooks.loader import load_plugins
from harness_bias.audit.compression import BLOCKINESS, CODING
from harness_bias.measure import color, compression
from harness_bias.models import reliance, steering

pytestmark = pytest.mark.once

PERTURBATIONS = load_plugins().perturbations
WANTED = ("color-transfer", "jpeg-as-class", "pixels-permuted", "grayscale")


def by_color(images):
    return color.extract(images)[:, color.HISTOGRAM]


def by_compression(images):
    return compression.extract(images)[:, [*CODING, BLOCKINESS]]


def by_texture(images):
    """Histograms of luma's slopes at four scales, in units of their mean: no color, no contrast."""
    rows = []
    for image in images:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        row = []
        for scale in (1, 2, 4, 8):
            smooth = cv2.GaussianBlur(gray, (0, 0), scale)
            slopes = cv2.magnitude(*(cv2.Sobel(smooth, -1, x, 1 - x) for x in (0, 1)))
            slopes /= slopes.mean() + 1e-6
            row.append(np.histogram(slopes, np.linspace(0, 4, 11))[0] / slopes.size)
        rows.append(np.concatenate(row))
    return np.array(rows, np.float32)


@cache
def patches(fault):
    """Training and test patches of a phantom, with their labels."""
    splits = harness_phantom.make(0)({fault: 1.0})
    return [(s.read(range(len(s.labels))), s.labels, s.ids) for s in (splits.train, splits.test)]


@cache
def findings(fault, cue):
    """What two probes find in a forest that sees nothing but a cue of the patches of a phantom."""
    (train, train_labels, _), (test, labels, ids) = patches(fault)
    classes = harness_phantom.CLASSES
    forest = RandomForestClassifier(100, random_state=0).fit(cue(train), train_labels)
    changed = {}
    for name in WANTED:
        perturbation, targets = PERTURBATIONS[name], None
        if perturbation.learns:
            learned = perturbation.learns.extract(train)
            typical = perturbation.typical or (lambda values: np.median(values, axis=0))
            targets = np.array([typical(learned[train_labels == c]) for c in range(len(classes))])
        for level in perturbation.levels_for(classes):
            images = perturb(test, ids, perturbation, level, targets)
            changed[name, level] = forest.predict_proba(cue(images)).astype(np.float32)
    predictions = Predictions(
        model="forest",
        classes=classes,
        labels=labels,
        ids=ids,
        clean=forest.predict_proba(cue(test)).astype(np.float32),
        perturbations=PERTURBATIONS,
        under=lambda name, level: changed.get((name, level)),
        of=lambda name: None,
    )
    estimates = [*reliance.measure(predictions).estimates, *steering.measure(predictions).estimates]
    found = {estimate.name: estimate.value for estimate in estimates}
    return {"clean": float((predictions.clean.argmax(axis=1) == labels).mean()), **found}


def test_a_model_of_color_is_seen_to_go_by_color_alone():
    found = findings("tint", by_color)
    assert found["clean"] > 0.6
    assert found["color only"] == pytest.approx(found["clean"])
    assert found["no color"] < found["clean"] - 0.3
    assert found["follows color"] > 0.3
    assert found["follows color, not just any change of it"] > 0.3


def test_a_model_of_compression_is_seen_to_follow_compression_and_not_color():
    found = findings("jpeg", by_compression)
    assert found["clean"] > 0.4  # three classes of nine are compressed
    assert found["follows compression"] > 0.15
    assert found["follows compression, not just any change of it"] > 0.15
    assert abs(found["follows color, not just any change of it"]) < 0.03


def test_a_model_of_texture_is_seen_to_need_no_color_and_to_follow_nothing():
    found = findings("tint", by_texture)
    assert found["clean"] > 0.6
    assert found["color only"] < 0.25
    assert found["no color"] == pytest.approx(found["clean"], abs=0.05)
    assert abs(found["follows color"]) < 0.03
    assert abs(found["follows color, not just any change of it"]) < 0.03
    assert "follows compression" not in found  # nothing is compressed, so nothing is changed


def test_a_model_of_color_does_not_follow_compression():
    assert abs(findings("jpeg", by_color).get("follows compression", 0)) < 0.03
