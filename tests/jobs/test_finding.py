"""What a probe of datasets is given: numbers of patients, the same in both parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness import Audit, Measured, Splits
from harness.jobs.finding import group_numbers

names = st.none() | st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12)


class Part:
    def __init__(self, n):
        self.labels = np.zeros(n, np.int64)
        self.ids = [str(i) for i in range(n)]
        self.fingerprint = "part"


def measured(groups, n=3):
    numbers = None if groups is None else np.array(groups)
    return Measured(split=Part(n if groups is None else len(groups)), values={}, groups=numbers)


@given(train=names, test=names)
def test_a_patient_has_one_number_in_both_parts(train, test):
    splits = Splits(train=None, test=Part(1), groups=test, train_groups=train)
    numbered = group_numbers(splits)
    number = {}
    for given_names, numbers in zip((train, test), numbered, strict=True):
        assert (numbers is None) is (given_names is None)
        if numbers is not None:
            assert numbers.dtype == np.int64
            assert not numbers.flags.writeable
            for name, value in zip(given_names, numbers.tolist(), strict=True):
                assert number.setdefault(name, value) == value
    assert len(set(number.values())) == len(number)


def groups_of(train, test):
    found = Audit(classes=("a",), train=train, test=test, folds=()).groups
    return None if found is None else found.tolist()


def test_patches_of_unknown_patients_are_groups_of_their_own():
    assert groups_of(measured([0, 0, 2]), measured([2, 1])) == [0, 0, 2, 2, 1]
    assert groups_of(None, measured([4, 4])) == [4, 4]
    assert groups_of(measured(None), measured([0, 0, 3])) == [4, 5, 6, 0, 0, 3]
    assert groups_of(measured([1, 1]), measured(None)) == [1, 1, 2, 3, 4]
    assert groups_of(measured(None), measured(None)) is None
    assert groups_of(None, measured(None)) is None
