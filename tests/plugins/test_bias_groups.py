"""Patients and slides: a probe that recognizes one has found no fault of a class."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness_bias
from harness.hooks.loader import load_plugins
from harness_bias.audit import groups, predictability
from harness_bias.audit.groups import shuffled, weights
from harness_bias.audit.partial import struck
from harness_bias.audit.predictability import cross_validated, score
from harness_bias.audit.verdict import NONE, PRESENT, STRONG, grade
from harness_faults import color

FEATURES = (
    *(harness_bias.COLOR, harness_bias.RANGE, harness_bias.COMPRESSION),
    *(harness_bias.FINE, harness_bias.FRAME, harness_bias.LEVELS),
    *(harness_bias.PATTERN, harness_bias.RESAMPLING),
)
PROBES = ("color", "compression", "sharpness", "noise", "frame", "dynamic-range")
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)


def dense(labels):
    return np.unique(np.asarray(labels, np.int64), return_inverse=True)[1]


def test_patches_of_one_class_and_patient_count_one_together():
    labels, patients = np.array([0, 0, 0, 1, 1]), np.array([7, 7, 2, 2, 2])
    assert weights(labels, patients).tolist() == [0.5, 0.5, 1, 0.5, 0.5]
    assert weights(labels, None).tolist() == [1] * 5


@given(drawn=pairs)
def test_weights_add_up_to_the_number_of_patients_in_each_class(drawn):
    labels, patients = np.array(drawn).T
    of_patch = weights(labels, patients)
    for label in np.unique(labels):
        own = labels == label
        assert of_patch[own].sum() == pytest.approx(len(np.unique(patients[own])))


@given(of_patient=st.lists(st.integers(0, 2), min_size=2, max_size=6), data=st.data())
def test_patients_of_one_class_are_dealt_as_a_whole(of_patient, data):
    patients = np.array(
        [*range(len(of_patient)), *data.draw(st.lists(st.integers(0, len(of_patient) - 1)))]
    )
    of_patient = dense(of_patient)
    for dealt, weight in islice(shuffled(of_patient[patients], patients), 5):
        first = dealt[: len(of_patient)]
        assert (dealt == first[patients]).all()
        assert sorted(first) == sorted(of_patient)
        assert weight == pytest.approx(weights(dealt, patients))


@given(drawn=pairs)
def test_patients_of_several_classes_keep_them_and_others_change_theirs_as_a_whole(drawn):
    labels, patients = np.array([*drawn, (0, 9), (1, 9)]).T  # one at least has several
    labels = dense(labels)
    parts = [patients == patient for patient in np.unique(patients)]
    pure = [own for own in parts if len(set(labels[own])) == 1]
    for dealt, weight in islice(shuffled(labels, patients), 5):
        for own in parts:
            if len(set(labels[own])) > 1:
                assert sorted(dealt[own]) == sorted(labels[own])
        assert all(len(set(dealt[own])) == 1 for own in pure)
        assert sorted(dealt[own][0] for own in pure) == sorted(labels[own][0] for own in pure)
        assert weight == pytest.approx(weights(dealt, patients))


def test_labels_are_dealt_the_same_in_every_run_and_all_alike_without_patients():
    labels = np.arange(30) % 3
    once, again = (np.stack([d for d, _ in shuffled(labels, None)]) for _ in range(2))
    assert len(once) == groups.DEALS
    assert (once == again).all()
    assert (np.sort(once, axis=1) == np.sort(labels)).all()
    assert len(np.unique(once, axis=0)) > 490


@pytest.fixture(scope="module")
def patients():
    """Features by which a patch's patient is told, and its class only by the patient."""
    rng = np.random.default_rng(0)
    numbers = np.repeat(np.arange(40), 8)
    labels = rng.permutation(np.arange(40) % 2)[numbers]
    values = (rng.normal(size=(40, 2))[numbers] + rng.normal(0, 0.01, (320, 2))).astype(np.float32)
    return values, labels, numbers


def test_to_recognize_a_patient_is_no_fault_once_patients_are_known(patients):
    values, labels, numbers = patients
    everything = np.arange(len(labels))
    blind = cross_validated(values, labels, everything)
    assert blind.value > 0.95
    assert blind.p == 1 / (1 + groups.DEALS)
    known = cross_validated(values, labels, everything, groups=numbers)
    assert abs(known.value - 0.5) < 0.25
    assert not known.above_chance()
    assert known.half > 2 * blind.half, "40 patients say less than 320 patches"


def test_no_patient_is_both_fitted_on_and_asked_about(patients, monkeypatch):
    values, labels, numbers = patients
    seen = []

    def spy(values, labels, folds, *_, **__):
        seen.extend(folds)
        return np.zeros_like(labels)

    monkeypatch.setattr(predictability, "_predict", spy)
    cross_validated(values, labels, np.arange(len(labels)), groups=numbers)
    assert sorted(np.concatenate([asked for _, asked in seen])) == list(range(len(labels)))
    for fitted, asked in seen:
        assert len(fitted)
        assert not set(numbers[fitted]) & set(numbers[asked])


def test_classes_of_one_patient_cannot_be_asked_about_by_patients():
    labels = np.repeat([0, 1, 2], 20)
    values = labels[:, None].astype(np.float32)
    everything = np.arange(60)
    numbers = labels * 2 + np.arange(60) % 2
    assert cross_validated(values, labels, everything, groups=numbers).value == 1
    numbers[labels == 2] = 4
    found = cross_validated(values, labels, everything, groups=numbers)
    assert found.chance == 0.5
    assert (found.predicted[labels == 2] == -1).all()
    assert cross_validated(values, labels, everything, groups=labels) is None


def test_p_is_small_for_what_predicts_and_large_for_what_does_not():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    right = np.where(rng.random(120) < 0.6, labels, rng.integers(0, 3, 120))
    assert score(labels, right).p == 1 / (1 + groups.DEALS)
    by_luck = [score(labels, rng.permutation(labels)).p for _ in range(30)]
    assert np.mean(np.array(by_luck) <= predictability.LUCK) <= 0.1
    assert 0.3 < np.mean(by_luck) < 0.7
    assert score(labels, np.zeros(120, int)).p == 1, "always the same answer is as good as any deal"


def test_of_many_columns_the_strongest_are_fitted():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    values = rng.normal(size=(120, 500)).astype(np.float32)
    values[:, 321] += 2 * labels
    values[:, 0] = 1  # never changes
    chosen = predictability._strongest(values, labels, np.arange(120), 3)
    assert len(chosen) == 3
    assert chosen[0] == 321
    few = cross_validated(values, labels, np.arange(120), strongest=3)
    every = cross_validated(values, labels, np.arange(120))
    assert few.value > 0.75 > every.value


@pytest.mark.once
def test_white_balance_of_patients_is_no_fault_of_classes(real):
    rng = np.random.default_rng(0)
    n_patients, shares = 24, (-0.045, -0.015, 0.015, 0.045)  # 3 % on average
    numbers = rng.integers(0, n_patients, len(real.tissue))
    labels = rng.permutation(np.arange(n_patients) % 4)[numbers]
    level = rng.permutation(np.arange(n_patients) // 6)[numbers]
    steps = [((color.white_balance, share),) for share in shares]
    audit = real.audit(labels, level, *steps, features=FEATURES, groups=numbers)
    probes = load_plugins().probes
    raised = [name for name in PROBES if probes[name].measure(audit).flag]
    assert raised == []
    level = labels  # the same shares, but by class
    audit = real.audit(labels, level, *steps, features=FEATURES, groups=numbers)
    assert probes["color"].measure(audit).flag is True


@pytest.mark.filterwarnings("error")
def test_a_share_of_one_class_is_struck_and_patients_count_once():
    labels = np.repeat([0, 1, 2], 40)
    strikes = (labels == 1) & (np.arange(120) % 4 == 0)
    (found,) = struck(strikes, labels, None)
    assert (found.label, found.share, found.others) == (1, 0.25, 0)
    assert found.p < 0.001
    (of_one_patient,) = struck(strikes, labels, np.where(strikes, 999, np.arange(120)))
    assert of_one_patient.p > 0.1 > 100 * found.p
    assert list(struck(np.arange(120) % 4 == 0, labels, None)) == []
    assert list(struck(strikes[:40], labels[:40], None)) == []
    assert list(struck(strikes[40:80], labels[40:80], None)) == [], "nothing to compare with"


@pytest.mark.filterwarnings("error")
def test_a_class_of_a_single_patch_is_no_warning():
    labels = np.array([0] * 20 + [1] * 20 + [2] * 2)
    values = np.random.default_rng(0).normal(size=(42, 5)).astype(np.float32)
    assert cross_validated(values, labels, np.arange(42), linear=True).chance == 1 / 3


def test_a_grade_is_how_well_the_fault_alone_tells_the_class():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    weak = score(labels, np.where(rng.random(200) < 0.62, labels, 1 - labels))
    strong = score(labels, np.where(rng.random(200) < 0.85, labels, 1 - labels))
    assert grade(None, [strong]) == ""
    assert grade(False, [strong]) == NONE
    assert grade(True, []) == grade(True, [None]) == grade(True, [weak]) == PRESENT
    assert grade(True, [None, weak, strong]) == STRONG
