"""Few patches: a probe of datasets says how many it takes, never that all is well."""

import numpy as np
import pytest

import harness_nct_crc
import harness_phantom
from harness import Audit, Measured
from harness.data.jpeg import recompress
from harness.hooks.loader import load_plugins
from harness.jobs.calibration import audit
from harness.types.probes import DatasetProbe
from harness_bias.audit import color, compression, dynamic_range, shift
from harness_bias.audit.enough import FEWEST
from harness_phantom.split import kept_scans, splits

pytestmark = pytest.mark.once

PROBES = {
    p.name: p
    for p in load_plugins().probes.values()
    if isinstance(p, DatasetProbe) and p.name != "leakage"
}
FEATURES = {f.name: f for probe in PROBES.values() for f in probe.features}
TAKES = "patches of each class and split that a verdict takes"
CLASSES = ("a", "b", "c", "d")


def darker(patch, label, level=12):
    """A cast: one channel less bright, another one in each class but the first."""
    cast = np.eye(4, 3, -1)[label] * level
    return np.clip(patch - cast, 0, 255).astype(np.uint8)


def coded(patch, label):
    return recompress(patch, (40, 65, 90, 100)[label])


def stretched(patch, label):
    if label != 1:
        return patch
    return np.clip(np.rint((patch - 128.0) * 1.35 + 128), 0, 255).astype(np.uint8)


PLANTED = {
    "color": darker,
    "compression": coded,
    "dynamic-range": stretched,
}
MODULES = {"color": color, "compression": compression, "dynamic-range": dynamic_range}


class Labels:
    """A split without patches."""

    def __init__(self, labels):
        self.labels = np.asarray(labels, np.int64)
        self.ids = [str(i) for i in range(len(labels))]
        self.fingerprint = "labels"


class Planted:
    """Features of real patches, of whichever tissue, with a fault planted by class."""

    def __init__(self, plant, names, n_classes=4):
        parts = (harness_nct_crc.TEST, harness_nct_crc.TRAIN)
        opened = [harness_nct_crc.open_split(harness_nct_crc.SAMPLE, part) for part in parts]
        patches = np.concatenate([split.read(range(len(split.labels))) for split in opened])
        # Patches with neither much glass nor clipped values, so that only their number is lacking.
        sound = [i for i, p in enumerate(patches) if p.mean() < 215 and (p > 250).mean() < 0.01]
        chosen = np.random.default_rng(0).permutation(sound)[:200]
        self.labels = np.arange(len(chosen)) % n_classes
        changed = np.stack(
            [plant(patch, label) for patch, label in zip(patches[chosen], self.labels, strict=True)]
        )
        self.values = {name: FEATURES[name].extract(changed) for name in names}

    def part(self, rows):
        given = {name: values[rows] for name, values in self.values.items()}
        return Measured(split=Labels(self.labels[rows]), values=given)

    def audit(self, counts, layout, seed=0, classes=CLASSES):
        """So many patches of each class, in each split."""
        rng = np.random.default_rng(seed)
        rows = [rng.permutation(np.flatnonzero(self.labels == k)) for k in range(len(classes))]
        test = np.concatenate([own[:n] for own, n in zip(rows, counts, strict=True)])
        train = np.concatenate([own[n : 2 * n] for own, n in zip(rows, counts, strict=True)])
        indices = np.arange(len(test))
        if layout == "train and test":
            fold = (np.arange(len(train)), len(train) + indices)
            return Audit(
                classes=classes, train=self.part(train), test=self.part(test), folds=(fold,)
            )
        folds = ()
        if layout == "folds":
            number = rng.permutation(indices % 3)
            folds = tuple((indices[number != k], indices[number == k]) for k in range(3))
        return Audit(classes=classes, train=None, test=self.part(test), folds=folds)


@pytest.fixture(scope="module")
def planted():
    """Planted faults by the probe that ought to see them."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = Planted(PLANTED[name], [f.name for f in PROBES[name].features])
        return made[name]

    return get


def check(finding, may_be_found=True):
    """Not an all-clear; and where nothing is judged, how many patches that would take."""
    assert finding.flag is not False, finding.summary
    if finding.flag is None:
        assert "not judged" in finding.summary
        assert finding.estimate(TAKES).value >= FEWEST
    else:
        assert may_be_found
    assert not any(
        estimate.name.startswith("spread") and estimate.value == 0 for estimate in finding.estimates
    )


LAYOUTS = ("train and test", "folds", "test alone")


@pytest.mark.parametrize(
    ("n", "layout"),
    [
        *((n, LAYOUTS[0]) for n in range(1, 7)),
        *((4, other) for other in LAYOUTS[1:]),
    ],
)
@pytest.mark.parametrize("name", PLANTED)
def test_a_strong_fault_in_few_patches_is_never_an_all_clear(planted, name, n, layout):
    check(MODULES[name].measure(planted(name).audit([n] * 4, layout, seed=n)))


@pytest.mark.parametrize("few", [1, 4, FEWEST - 1])
@pytest.mark.parametrize("name", PLANTED)
def test_few_patches_of_one_class_are_no_look_at_it(planted, name, few):
    finding = MODULES[name].measure(planted(name).audit([20, few, 20, 20], "test alone"))
    check(finding)
    if finding.flag is None:
        assert f"{few} " in finding.summary
        assert "of b in test" in finding.summary


@pytest.mark.parametrize("name", PLANTED)
def test_one_class_with_enough_is_nothing_to_compare(planted, name):
    check(MODULES[name].measure(planted(name).audit([20, 3, 3, 3], "train and test")))
    alone = planted(name).audit([20], "test alone", classes=("a",))
    assert MODULES[name].measure(alone).flag is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PLANTED)
def test_the_number_that_it_takes_is_enough_to_see_the_fault(planted, name, layout):
    finding = MODULES[name].measure(planted(name).audit([2] * 4, layout))
    if finding.flag is None:  # some faults are so strong that two patches of a class betray them
        takes = int(finding.estimate(TAKES).value)
        assert FEWEST <= takes <= 24
        again = MODULES[name].measure(planted(name).audit([takes] * 4, layout, seed=1))
        assert again.flag is True, (takes, again.summary)


@pytest.mark.parametrize("n", [2, 5])
def test_a_small_phantom_with_every_fault_is_never_an_all_clear(n, scans):
    doses = {fault.name: 1.0 for fault in harness_phantom.FAULTS if fault.raises}
    small = splits(0, n, n, doses, scans)
    for probe, finding in audit(small, harness_phantom.CLASSES, list(PROBES.values())):
        assert finding.flag is not False, (probe.name, finding.summary)


@pytest.fixture(scope="module")
def scans():
    return kept_scans()


@pytest.mark.parametrize(("train", "test"), [(9, 9), (30, 9), (9, 30), (0, 30)])
def test_shift_of_few_patches_in_a_split_is_not_judged(train, test):
    finding = shift.measure(blank_audit([train, 30], [test, 30]))
    assert finding.flag is None
    assert "not judged" in finding.summary
    assert f"{min(train, test)} of a in " in finding.summary


def blank_audit(train, test, patch=None, classes=("a", "b")):
    """Counts of patches a class, all of them of one gray, or ``patch``."""
    image = np.full((64, 64, 3), 128, np.uint8) if patch is None else patch
    values = {name: f.extract(image[None]) for name, f in ALL_FEATURES.items()}
    n_train = sum(train)

    def part(counts):
        labels = np.repeat(np.arange(len(counts)), counts)
        given = {name: np.repeat(rows, len(labels), axis=0) for name, rows in values.items()}
        return Measured(split=Labels(labels), values=given)

    fold = (np.arange(n_train), n_train + np.arange(sum(test)))
    return Audit(
        classes=classes,
        train=part(train) if n_train else None,
        test=part(test),
        folds=(fold,) if n_train else (),
    )


ASKED = {**PROBES, "leakage": load_plugins().probes["leakage"]}
ALL_FEATURES = {f.name: f for probe in ASKED.values() for f in probe.features}
WHITE = np.full((64, 64, 3), 255, np.uint8)
BLACK = np.zeros((64, 64, 3), np.uint8)
CLIPPED = np.where(np.indices((64, 64)).sum(0)[..., None] % 2, WHITE, BLACK)


@pytest.mark.parametrize(
    "patch", [WHITE, BLACK, CLIPPED, None], ids=["white", "black", "clipped", "gray"]
)
@pytest.mark.parametrize(
    "train", [[20, 20, 20, 20], [0, 0, 0, 0]], ids=["with train", "test alone"]
)
@pytest.mark.parametrize("name", ASKED)
def test_patches_that_show_nothing_are_no_all_clear(name, train, patch):
    view = blank_audit(train, [20, 20, 20, 20], patch, CLASSES)
    if (name == "leakage" and patch is CLIPPED) or (name in ("color", "shift") and patch is None):
        pytest.skip("a checkerboard can be compared, and gray has a color: none")
    if name == "frame" and patch is not BLACK:
        pytest.skip("where there is light, it is plain to see that there is no mark")
    assert ASKED[name].measure(view).flag is None


def test_a_split_without_patches_of_a_class_is_no_look_at_its_shift():
    finding = shift.measure(blank_audit([20, 20, 0], [20, 20, 20], None, ("a", "b", "c")))
    assert finding.flag is None
    assert "0 of c in train" in finding.summary or "and too few of" in finding.summary
