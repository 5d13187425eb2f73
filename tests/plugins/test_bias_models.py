"""Probes of models, on logits made by hand: every figure checked against a count."""

import numpy as np
import pytest

from harness import Predictions
from harness.data.jpeg import recompress
from harness.hooks.loader import load_plugins
from harness.statistics import intervals
from harness.statistics.intervals import wilson
from harness.statistics.paired import paired_difference
from harness_bias.measure.as_class import (
    CHROMA,
    COLUMNS,
    EDGE_QUALITY,
    QUALITY,
    recompress_as,
    typical,
)
from harness_bias.models import agreement, reliance, robustness, steering
from harness_bias.models.interval import mean_figure

PERTURBATIONS = load_plugins().perturbations
CLASSES = ("a", "b", "c")
LABELS = np.repeat(np.arange(3), 20)


def one_hot(called):
    return np.eye(3, dtype=np.float32)[np.asarray(called)]


def predictions(clean, under=None, of=None, model="m", **more):
    """Predictions of a model that calls patches ``clean``, and ``under`` a (change, level)."""
    changed = under or {}
    return Predictions(
        model=model,
        classes=CLASSES,
        labels=LABELS,
        ids=[str(i) for i in range(len(LABELS))],
        clean=one_hot(clean),
        perturbations=PERTURBATIONS,
        under=lambda name, level: (
            one_hot(changed[name, level]) if (name, level) in changed else None
        ),
        of=lambda name: (of or {}).get(name),
        **more,
    )


def wrong(count, start=0):
    """Labels with this many patches called wrong."""
    called = LABELS.copy()
    called[start : start + count] = (called[start : start + count] + 1) % 3
    return called


CHANGES = {name: PERTURBATIONS[name].levels for name in robustness.needs(PERTURBATIONS)}


def everything(called, **others):
    """The same answers under every change, but for those under other ones."""
    return {(name, level): others.get(name, called) for name, ls in CHANGES.items() for level in ls}


def test_robustness_counts_accuracies_and_paired_drops():
    under = {("jpeg", 80): wrong(6), ("jpeg", 20): wrong(30), ("grayscale", 1): wrong(60)}
    finding = robustness.measure(predictions(wrong(3), under))
    rows = {row[:2]: row for row in finding.table("levels").rows}
    assert set(rows) == {("clean", None), ("jpeg", 80), ("jpeg", 20)}
    assert rows["jpeg", 80][2:4] == (0.9, pytest.approx(0.05))
    assert rows["jpeg", 20][2:4] == (0.5, pytest.approx(0.45))
    for row in rows.values():
        if row[0] != "clean":
            assert row[4] < row[3] < row[5]
    assert "worst under jpeg 20 (50.0 %)" in finding.summary


def test_robustness_is_a_mean_over_all_changes_or_none():
    under = everything(LABELS)
    full = robustness.measure(predictions(wrong(6), under))
    mean = full.estimate("mean accuracy under change")
    assert (mean.value, mean.high) == (1, 1)
    assert 0.9 < mean.low < 0.97, "sixty patches are not certain"
    assert full.estimate("mean drop").value == pytest.approx(-0.1)
    del under["jpeg", 80]
    partial = robustness.measure(predictions(wrong(6), under))
    assert partial.estimates == ()
    assert "no mean, as 1 levels of changes are not stored" in partial.summary


def test_robustness_weighs_every_kind_of_change_the_same():
    finding = robustness.measure(predictions(LABELS, everything(LABELS, macenko=wrong(60))))
    mean = finding.estimate("mean accuracy under change").value
    assert mean == pytest.approx(1 - 1 / len(CHANGES))


def test_robustness_is_relative_to_a_reference_as_mce_is():
    levels = [("jpeg", 80), ("jpeg", 20), ("macenko", 1)]
    mine = dict(zip(levels, map(wrong, (3, 9, 30)), strict=True))
    theirs = dict(zip(levels, map(wrong, (6, 18, 15)), strict=True))
    reference = predictions(LABELS, theirs, model=robustness.REFERENCE)
    finding = robustness.measure(predictions(LABELS, mine, {robustness.REFERENCE: reference}))
    relative = finding.estimate(robustness.MCE).value
    assert relative == pytest.approx(((3 + 9) / (6 + 18) + 30 / 15) / 2)
    estimate = finding.estimate(robustness.MCE)
    assert estimate.low < relative < estimate.high
    assert f"({estimate.low:.2f} to {estimate.high:.2f})" in finding.summary
    partial = predictions(LABELS, {levels[0]: wrong(6)}, model=robustness.REFERENCE)
    finding = robustness.measure(predictions(LABELS, mine, {robustness.REFERENCE: partial}))
    assert finding.estimates == ()  # other levels: no comparison


def test_changes_on_request_have_rows_and_count_nowhere():
    under = everything(wrong(6))
    usual = robustness.measure(predictions(LABELS, under))
    reference = predictions(LABELS, everything(wrong(3)), model=robustness.REFERENCE)
    of = {robustness.REFERENCE: reference}
    asked = under | {("dust", level): wrong(60) for level in PERTURBATIONS["dust"].levels}
    finding = robustness.measure(predictions(LABELS, asked))
    assert finding.summary == usual.summary
    assert finding.estimates == usual.estimates
    levels = len(PERTURBATIONS["dust"].levels)
    rows, usual_rows = finding.table("levels").rows, usual.table("levels").rows
    assert rows[:-levels] == usual_rows
    assert [row[2] for row in rows[-levels:]] == [0] * levels
    relative = robustness.measure(predictions(LABELS, asked, of)).estimates[-1]
    assert relative.value == pytest.approx(2)  # its errors are 6 where the reference's are 3


def test_changes_on_request_alone_give_no_mean():
    finding = robustness.measure(predictions(LABELS, {("dust", 2): wrong(30)}))
    assert finding.estimates == ()
    assert finding.summary.startswith("worst under dust 2 (50.0 %); no mean, as ")


def test_probes_say_nothing_without_what_they_need():
    bare = predictions(LABELS)
    assert robustness.measure(bare) is None
    assert reliance.measure(bare) is None
    assert steering.measure(bare) is None
    assert agreement.measure(bare) is None


def test_needs_name_changes_by_their_role():
    assert {"hue", "jpeg", "macenko"} < set(robustness.needs(PERTURBATIONS))
    assert not {name for name in robustness.needs(PERTURBATIONS) if PERTURBATIONS[name].on_request}
    assert set(reliance.needs(PERTURBATIONS)) == {"grayscale", "pixels-permuted", "blocks-permuted"}
    assert set(steering.needs(PERTURBATIONS)) == {"color-transfer", "jpeg-as-class"}


def test_reliance_reads_accuracy_with_color_only_and_without():
    under = {("pixels-permuted", 1): wrong(15), ("grayscale", 1): wrong(45)}
    finding = reliance.measure(predictions(LABELS, under))
    assert finding.estimate("color only").value == 0.75
    assert finding.estimate("no color").value == 0.25
    assert finding.estimate("color only").low < 0.75 < finding.estimate("color only").high


def test_steering_subtracts_what_was_called_so_before():
    clean = LABELS.copy()
    clean[:5] = 1  # five patches of a are called b anyway
    to_b = clean.copy()
    to_b[:15] = 1  # and ten more once they look like b
    under = {
        ("color-transfer", 0): clean,
        ("color-transfer", 1): to_b,
        ("color-transfer", 2): clean,
    }
    finding = steering.measure(predictions(clean, under))
    (table,) = finding.tables
    assert table.rows[0] == ("a", None, 0.5, 0.0)
    assert table.rows[1] == ("b", 0.0, None, 0.0)
    estimate = finding.estimate("follows color")
    assert estimate.value == pytest.approx(0.5 / 6)  # six cells of equally many patches
    assert estimate.low < estimate.value < estimate.high


def test_steering_of_a_model_that_follows_color_alone_is_complete():
    under = {("color-transfer", level): np.full(60, level) for level in range(3)}
    finding = steering.measure(predictions(LABELS, under))
    assert finding.estimate("follows color").value == 1
    assert finding.estimate("follows color, not just any change of it").value == 1


def test_a_model_that_any_transfer_throws_off_its_track_does_not_follow_it():
    """Right on clean patches, it calls all that was changed b."""
    under = {("color-transfer", level): np.full(60, 1) for level in range(3)}
    finding = steering.measure(predictions(LABELS, under))
    # Patches of a and c: called b, which none was before. Those of b: nothing moves.
    assert finding.estimate("follows color").value == pytest.approx(2 / 3 * 1 / 2)
    assert finding.estimate("follows color, not just any change of it").value == 0


def test_two_classes_have_no_third_to_compare_with():
    under = {("color-transfer", level): np.full(60, level) for level in range(2)}
    finding = steering.measure(predictions(LABELS, under))
    assert [estimate.name for estimate in finding.estimates] == ["follows color"]


def test_a_model_that_no_color_moves_follows_none():
    under = {("color-transfer", level): LABELS for level in range(3)}
    finding = steering.measure(predictions(LABELS, under))
    assert [estimate.value for estimate in finding.estimates] == [0, 0]


def test_classes_of_which_no_compression_is_known_do_not_count():
    under = {("jpeg-as-class", level): LABELS for level in range(3)}
    finding = steering.measure(predictions(LABELS, under))
    assert finding.summary == "of the compression of too few classes is anything known"
    assert (finding.estimates, finding.tables) == ((), ())
    for level in (0.0, 2.0):
        under["jpeg-as-class", level] = np.full_like(LABELS, level)
    finding = steering.measure(predictions(LABELS, under))
    assert finding.estimate("follows compression").value == 1
    (table,) = finding.tables
    assert [row[2] for row in table.rows] == [None] * 3


def test_agreement_is_kappa_of_right_and_wrong():
    from sklearn.metrics import cohen_kappa_score

    mine, theirs = wrong(12), wrong(18, start=6)
    other = predictions(theirs, model="color-histogram")
    finding = agreement.measure(predictions(mine, of={"color-histogram": other}))
    kappa = cohen_kappa_score(mine == LABELS, theirs == LABELS)
    consistency = finding.estimate("error consistency with color-histogram").value
    assert consistency == pytest.approx(kappa)
    shared = finding.estimate("also right: color-histogram").value
    assert shared == pytest.approx(((mine == LABELS) & (theirs == LABELS)).sum() / 48)

    assert finding.estimate("error consistency with color-histogram").low < kappa
    assert kappa < finding.estimate("error consistency with color-histogram").high


def test_one_accuracy_has_one_interval_on_every_page():
    """That of the leaderboard, in each probe."""
    called = wrong(7, start=5)
    on_board = intervals.of_predictions(LABELS, called, 3)["accuracy"]
    expected = pytest.approx((on_board.value, on_board.low, on_board.high))
    under = {("pixels-permuted", 1): called, ("grayscale", 1): called, ("jpeg", 80): called}
    view = predictions(called, under)
    for row in reliance.measure(view).table("levels").rows:
        assert row[2:5] == expected, row
    for estimate in reliance.measure(view).estimates:
        assert (estimate.value, estimate.low, estimate.high) == expected
    for row in robustness.measure(view).table("levels").rows:
        assert (row[2], *row[6:8]) == expected, row
    mean = robustness.measure(predictions(LABELS, everything(called))).estimate(
        "mean accuracy under change"
    )
    assert (mean.value, mean.low, mean.high) == expected
    other = predictions(called, model="color-histogram")
    shared = agreement.measure(predictions(LABELS, of={"color-histogram": other}))
    estimate = shared.estimate("also right: color-histogram")
    assert (estimate.value, estimate.low, estimate.high) == expected


def every_finding(**more):
    """What each probe finds in one model, with all the changes it asks for."""
    called, moved = wrong(9, start=4), wrong(20, start=10)
    under = everything(called, macenko=moved)
    under |= {("pixels-permuted", 1): moved, ("grayscale", 1): called}
    under |= {("color-transfer", level): np.where(LABELS % 2, level, called) for level in range(3)}
    others = {
        name: predictions(wrong(14, start=8), everything(moved), model=name)
        for name in ("color-histogram", "rgb-means", robustness.REFERENCE)
    }
    view = predictions(called, under, others, **more)
    probes = (robustness, reliance, steering, agreement)
    return {f.name: f for probe in probes for f in probe.measure(view).estimates}


def width(estimate):
    return estimate.high - estimate.low


@pytest.mark.parametrize("name", sorted(every_finding()))
def test_every_figure_has_an_interval_that_knows_groups_and_the_design_effect(name):
    plain, wide = every_finding()[name], every_finding(design_effect=4.0)[name]
    assert plain.low <= plain.value <= plain.high
    assert plain.low < plain.high
    assert wide.value == plain.value
    assert width(wide) > 1.4 * width(plain)
    alone = every_finding(groups=np.arange(60))[name]
    assert width(alone) == pytest.approx(width(plain), rel=0.35)  # groups know no classes
    together = every_finding(groups=np.arange(60) // 12)[name]  # five patients
    assert width(together) > 1.15 * width(plain)
    one_patient = every_finding(groups=np.zeros(60, int))[name]
    assert one_patient.high is None or width(one_patient) >= 1


def test_agreement_of_two_perfect_models_is_undefined_not_an_error():
    right = np.ones(5, bool)
    assert agreement.error_consistency(right, right) is None


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 0), (12, 5), (40, 40)])
def test_the_paired_interval_is_agresti_and_min_s(b, c):
    n = 100
    one = np.arange(n) < b
    other = (np.arange(n) >= b) & (np.arange(n) < b + c)
    difference, low, high = paired_difference(one, other)
    p12, p21, total = (b + 0.5) / (n + 2), (c + 0.5) / (n + 2), n + 2
    half = 1.959964 * np.sqrt((p12 + p21 - (p12 - p21) ** 2) / total)
    assert difference == pytest.approx((b - c) / n)
    assert (low, high) == (
        pytest.approx(p12 - p21 - half),
        pytest.approx(p12 - p21 + half),
    )


def test_one_patch_has_a_mean_but_no_interval():
    estimate = mean_figure("x", np.array([0.5]))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_few_patches_that_are_alike_are_not_certain(n):
    share, none = mean_figure("x", np.ones(n)), mean_figure("x", np.zeros(n), difference=True)
    assert share.high == 1
    assert share.low < wilson(n, n)[0] + 0.02
    assert none.low < -0.5 / n
    assert none.high > 0.5 / n
    drop = mean_figure("x", np.ones(n), difference=True)
    assert drop.low < 1 - 0.5 / n


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 0), (12, 5), (40, 40)])
def test_the_interval_of_a_mean_difference_is_that_of_paired_accuracies(b, c):
    moved = np.repeat([1.0, -1.0, 0.0], [b, c, 100 - b - c])
    estimate = mean_figure("x", moved, difference=True)
    one, other = moved > 0, moved < 0
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
        paired_difference(one, other)
    )


def test_typical_compression_is_known_or_told_by_edges_or_none():
    values = np.zeros((4, len(COLUMNS)), np.float32)
    values[:, CHROMA] = -1
    assert typical(values).tolist() == [0, 1]
    values[:3, EDGE_QUALITY] = 60, 70, 80
    assert typical(values).tolist() == [70, 1]
    values[:2, QUALITY], values[:2, CHROMA] = 50, 0
    assert typical(values).tolist() == [50, 0]
    values[1, QUALITY] = 0  # known of too few
    assert typical(values).tolist() == [70, 0]
    values[:3, EDGE_QUALITY] = 90  # which stands for no compression, too
    assert typical(values).tolist() == [0, 0]


def test_patches_are_recompressed_as_is_typical():
    patch = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    for target, expected in (
        ((0, 1), patch),
        ((80, 1), recompress(patch, 80)),
        ((79.6, 0), recompress(patch, 80, chroma="4:4:4")),
    ):
        assert (recompress_as(patch, 0, None, np.array(target)) == expected).all()
