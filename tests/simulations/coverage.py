"""How often 95 % intervals hold the truth, and equal models are called different: by simulation.

    python tests/simulations/coverage.py            writes coverage.md beside this file

Test sets have as many patches of each class as CRC-VAL-HE-7K, or as the sample of it that comes
with the package. Models err as EfficientNet-B0 did where it was published, or evenly, at a given
accuracy, so what they truly score is known exactly. What depends on their logits is taken from a
very large test set. The rules that intervals followed before are in ``before.py``; they are asked
on every fourth of the test sets.
"""

import argparse
import os
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import before
import numpy as np
from tabulate import tabulate

import harness_published
from harness.statistics import (
    calibration,
    intervals,
    metrics,
    paired,
    ranking,
    reliability,
    selection,
)
from harness.statistics.auroc import macro_auroc
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import OF_CONFUSION
from harness_bias.models.agreement import consistency

ACCURACIES = (0.54, 0.82, 0.977, 0.999)
PUBLISHED = next(
    np.array(result.confusion)
    for result in harness_published.harness_published_results()
    if result.name == "efficientnet-b0-avg" and result.perturbation == "clean"
)
N_OF = PUBLISHED.sum(axis=1)
SAMPLE = np.array([13, 12, 12, 12, 12, 12, 14, 12, 12])
N = N_OF.sum()
C = len(N_OF)
LABELS = np.repeat(np.arange(C), N_OF)
RESAMPLES = Sampling(resamples=200)
"""Fewer than in use: the noise that this adds to intervals of calibration errors is small beside
others."""
COVERAGES = (0.5, 0.8, 0.95)
LOSSES = ("nll", "brier")
EVERY = 4
"""Test sets, of which one is judged by the rules before."""


def labels_of(n_of):
    """As many labels of each class."""
    return np.repeat(np.arange(len(n_of)), n_of)


def population(accuracy, errors, n_of=N_OF):
    """How a model of this accuracy predicts, (C, C), rows add up to 1."""
    shape = np.ones((C, C)) if errors == "even" else PUBLISHED / N_OF[:, None] + 1e-4
    np.fill_diagonal(shape, 0)
    scale = 1.0
    for _ in range(100):  # no class may lose all
        wrong = shape * scale
        wrong *= np.minimum(1, 0.95 / wrong.sum(axis=1, keepdims=True))
        scale *= (1 - accuracy) / (n_of / n_of.sum() @ wrong.sum(axis=1))
    return wrong + np.diag(1 - wrong.sum(axis=1))


def estimates(accuracy, errors, trials, rng, n_of=N_OF, old=None):
    """Share of test sets whose interval holds the truth, by figure; by the rules before in old."""
    truly = population(accuracy, errors, n_of)
    truth = np.append(metrics.of_confusion(truly * n_of[:, None]), np.diag(truly))
    labels, names = labels_of(n_of), tuple(map(str, range(C)))
    held, held_before = [], []
    for trial in range(trials):
        confusion = np.stack([rng.multinomial(n, p) for n, p in zip(n_of, truly, strict=True)])
        predicted = predictions(confusion)
        found = intervals.of_predictions(labels, predicted, C)
        found = [*found.values(), *intervals.recalls(labels, predicted, names).values()]
        held.append([f.low <= true <= f.high for f, true in zip(found, truth, strict=True)])
        if old is not None and trial % EVERY == 0:
            ends = before.single(confusion, rng)
            held_before.append(
                [low <= true <= high for (low, high), true in zip(ends, truth, strict=True)]
            )
    if old is not None:
        old |= _by_figure(held_before)
    return _by_figure(held)


def _by_figure(held):
    shares = np.mean(held, axis=0)
    return dict(zip(OF_CONFUSION, shares, strict=False)) | {"recall": shares[4:].mean()}


def predictions(confusion):
    """Predicted labels of LABELS that make this matrix."""
    return np.repeat(np.tile(np.arange(C), C), confusion.ravel())


def joint(one, other, alike):
    """Joint distribution of two models' predictions by label, (C, C, C): a share is coupled."""
    same = np.minimum(one, other)
    left, right = one - same, other - same
    rest = left.sum(axis=1)
    coupled = np.einsum("kp,kq->kpq", left, right) / np.maximum(rest, 1e-12)[:, None, None]
    coupled += np.einsum("kp,pq->kpq", same, np.eye(C))
    return alike * coupled + (1 - alike) * np.einsum("kp,kq->kpq", one, other)


def differences(accuracy, errors, better, alike, trials, rng, n_of=N_OF, old=None):
    """Share of intervals of paired differences that hold the truth, and of p values below 0.05.

    The other model makes ``better`` times as many errors.
    """
    one = population(accuracy, errors, n_of)
    other = population(1 - (1 - accuracy) * better, errors, n_of)
    both = joint(one, other, alike)
    truth = metrics.of_confusion(one * n_of[:, None]) - metrics.of_confusion(other * n_of[:, None])
    labels = labels_of(n_of)
    held, held_before, different = [], [], []
    for trial in range(trials):
        drawn = np.array([rng.multinomial(n, p.ravel()) for n, p in zip(n_of, both, strict=True)])
        first, second = np.divmod(np.repeat(np.tile(np.arange(C * C), C), drawn.ravel()), C)
        found = paired.of_predictions(labels, first, second, C)
        gaps = list(found.differences.values())
        held.append([f.low <= true <= f.high for f, true in zip(gaps, truth, strict=True)])
        different.append(found.p < 0.05)
        if old is not None and trial % EVERY == 0:
            halves = before.paired(drawn.reshape(C, C, C), rng)
            inside = np.abs([gap.value for gap in gaps] - truth) <= halves
            held_before.append([held[-1][0], *inside[1:]])
    if old is not None:
        old |= dict(zip(OF_CONFUSION, np.mean(held_before, axis=0), strict=True))
    return dict(zip(OF_CONFUSION, np.mean(held, axis=0), strict=True)), np.mean(different)


def scores(separation, labels, rng, noise=1):
    """Logits that are normal."""
    logits = noise * rng.standard_normal((len(labels), C))
    logits[np.arange(len(labels)), labels] += separation * np.linspace(0.8, 1.2, C)[labels]
    return 1.5 * logits


def two_scores(separation, labels, rng):
    """Those of two models that share half of their noise."""
    shared, *own = rng.standard_normal((3, len(labels), C))
    signal = scores(separation, labels, rng, noise=0)
    return [signal + 1.5 * np.sqrt(0.5) * (shared + noise) for noise in own]


def separation_of(accuracy):
    """The separation at which the largest score is right so often."""
    from scipy.optimize import brentq

    many = np.tile(LABELS, 8)

    def excess(separation):
        rng = np.random.default_rng(1)
        return (scores(separation, many, rng).argmax(axis=1) == many).mean() - accuracy

    return brentq(excess, 0.1, 12, xtol=1e-3)


def areas(accuracy, trials, rng, n_of=N_OF):
    """Share of test sets whose interval of the macro AUROC holds the truth, and of differences."""
    separation, many = separation_of(accuracy), np.tile(LABELS, 10)
    large = [
        macro_auroc(many, metrics.probabilities(scores(separation, many, rng))).value
        for _ in range(20)
    ]
    truth, labels = np.mean(large), labels_of(n_of)
    held, same = [], []
    for _ in range(trials):
        one, other = two_scores(separation, labels, rng)
        found = intervals.auroc(labels, one)
        held.append(found.low <= truth <= found.high)
        gap = paired.auroc_difference(labels, one, other)
        same.append(gap.low <= 0 <= gap.high)
    return np.mean(held), np.mean(same)


def confident(separation, scale, labels, rng, drawn=False):
    """Labels, and logits that are too sure if the scale is above 1.

    With ``drawn``, labels are drawn from the softmax of the logits before they are scaled, which
    are perfectly calibrated then.
    """
    logits = scores(separation, labels, rng)
    if drawn:
        below = metrics.probabilities(logits).cumsum(axis=1) > rng.random((len(labels), 1))
        labels = below.argmax(axis=1)
    return labels, scale * logits


def losses(accuracy, scale, trials, rng, n_of=N_OF, old=None):
    """Share of intervals that hold the truth: of losses, and of errors against coverage."""
    separation, labels = separation_of(accuracy), labels_of(n_of)
    parts = []
    for _ in range(10):
        many, logits = confident(separation, scale, np.tile(labels, 200_000 // len(labels)), rng)
        curve = reliability.risk_coverage(many, logits)[1]
        at = [curve[int(np.ceil(c * len(curve))) - 1] for c in COVERAGES]
        parts.append([*(x.mean() for x in each_loss(many, logits)), curve.mean(), *at])
    truth = np.mean(parts, axis=0)
    names = [*LOSSES, "AURC", *(f"error at {100 * c:g} %" for c in COVERAGES)]
    held, held_before = [], []
    for trial in range(trials):
        _, logits = confident(separation, scale, labels, rng)
        found = reliability.losses(labels, logits)
        area, at = reliability.risk(labels, logits, COVERAGES)
        found = [*(found[name] for name in LOSSES), area, *at]
        held.append([f.low <= true <= f.high for f, true in zip(found, truth, strict=True)])
        if old is not None and trial % EVERY == 0:
            ends = [before.mean(values) for values in each_loss(labels, logits)]
            held_before.append(
                [low <= true <= high for (low, high), true in zip(ends, truth, strict=False)]
            )
    if old is not None:
        old |= dict(zip(LOSSES, np.mean(held_before, axis=0), strict=True))
    return dict(zip(names, np.mean(held, axis=0), strict=True))


def each_loss(labels, logits):
    """NLL and Brier score of each patch."""
    p = metrics.probabilities(logits)
    own = np.take_along_axis(p, labels[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own, 1e-300)), (p**2).sum(axis=1) - 2 * own + 1


def calibration_error(accuracy, scale, trials, rng, n_of=N_OF):
    """Of a calibrated model (scale 1) or not: the true ECE, and means over test sets, by name."""
    separation, labels = separation_of(accuracy), labels_of(n_of)
    truth = 0.0
    if scale != 1:
        many = np.tile(labels, 1_000_000 // len(labels))
        drawn, logits = confident(separation, scale, many, rng, drawn=True)
        truth = calibration.bins(drawn, metrics.probabilities(logits)).error
    rows = []
    for _ in range(trials):
        drawn, logits = confident(separation, scale, labels, rng, drawn=True)
        found = calibration.calibration_errors(
            "ece", drawn, metrics.probabilities(logits), sampling=RESAMPLES
        )
        one = found["ece_debiased"]
        null = found["ece_if_calibrated"].value
        rows.append([found["ece"].value, null, one.value, one.low <= truth <= one.high])
    names = ("plain", "if calibrated", "debiased", "covers")
    return {"truth": truth} | dict(zip(names, np.mean(rows, axis=0), strict=True))


def agreement(accuracy, trials, rng, n_of=N_OF):
    """Share of intervals that hold the truth: of a kappa, and of a ratio of two models' errors."""
    labels = labels_of(n_of)
    both = joint(population(accuracy, "even", n_of), population(0.82, "even", n_of), 0.5)
    own = np.arange(C)
    right = np.diag(both.sum(axis=2))
    other_right = np.diag(both.sum(axis=1))
    together = both[own, own, own]
    p, q, pq = (n_of @ x / n_of.sum() for x in (right, other_right, together))
    expected = p * q + (1 - p) * (1 - q)
    kappa, relative = (1 + 2 * pq - p - q - expected) / (1 - expected), (1 - p) / (1 - q)
    held = []
    for _ in range(trials):
        drawn = np.array([rng.multinomial(n, x.ravel()) for n, x in zip(n_of, both, strict=True)])
        first, second = np.divmod(np.repeat(np.tile(np.arange(C * C), C), drawn.ravel()), C)
        one, other = first == labels, second == labels
        found = consistency("kappa", one, other, labels, intervals.INDEPENDENT)
        errors, rate = 1.0 - one, (1.0 - other).mean()
        if found is None or not rate:
            continue
        value, n = errors.mean() / rate, len(labels)
        moves = (errors - value * (1.0 - other)) / (rate * n)
        ratio = intervals.ratio("ratio", value, moves, 1 / (rate * n), labels)
        held.append([found.low <= kappa <= found.high, ratio.low <= relative <= ratio.high])
    return np.mean(held, axis=0)


def epochs(qualities, honest, sizes, trials, rng):
    """The optimism of choosing on test patches: before, now, and in truth; and intervals that hold.

    Epochs of these true accuracies, that tend to err on the same patches, are chosen on folds of
    these sizes; the held-out part chooses the epoch ``honest``, or any if it is None.
    """
    from scipy.stats import norm

    rows, limits = [], norm.ppf(qualities)[:, None]
    for _ in range(trials):
        trainings = []
        for size in sizes:
            latent = np.sqrt(0.6) * rng.standard_normal(size)
            own = np.sqrt(0.4) * rng.standard_normal((len(qualities), size))
            chosen = rng.integers(len(qualities)) if honest is None else honest
            right = latent + own < limits
            trainings.append(selection.Trajectory(right, np.eye(len(qualities))[chosen]))
        found = selection.audit(trainings)
        gained = np.subtract(
            *(np.array(qualities)[np.array(found.epochs[how]) - 1] for how in ("test", "held-out"))
        )
        truth = np.average(gained, weights=sizes)
        value, low, high = before.optimism(trainings, rng)
        one = found.optimism
        rows.append([truth, value, low <= truth <= high, one.value, one.low <= truth <= one.high])
    return np.mean(rows, axis=0)


def family(accuracy, n_models, trials, rng):
    """Among equal models: share of trials in which any pair is called different; and of pairs.

    Patches differ in difficulty, so that models tend to err on the same ones.
    """
    concentration = 0.3
    any_pair, first_pair = [], []
    for _ in range(trials):
        easy = rng.beta(accuracy * concentration, (1 - accuracy) * concentration, N)
        right = rng.random((n_models, N)) < easy
        any_pair.append((ranking.pairwise(list(right[:, None])).holm < 0.05).any())
        first_pair.append(ranking.pairwise(list(right[:2, None])).p[0, 1] < 0.05)
    return np.mean(any_pair), np.mean(first_pair)


UNEQUAL = {
    "one of three lost": ([10, 15, 15], [0, 0.95, 0.95]),
    "one of nine lost": ([12] * 9, [0, *[0.98] * 8]),
    "two of nine lost": ([12] * 9, [0, 0, *[0.98] * 7]),
    "three of nine lost": ([12] * 9, [0, 0, 0, *[0.97] * 6]),
    "one of nine lost, 800 each": ([800] * 9, [0, *[0.999] * 8]),
    "nearly all called one class": ([10, 10, 10], [0.03, 0.94, 0.03]),
    "one of one patch": ([1, 15, 15], [0.7, 0.98, 0.98]),
    "twenty of one patch": ([1] * 20 + [10], [0.5] * 20 + [0.9]),
}
"""Patches of each class, and the recalls of classes that are nothing alike."""


def unequal(kind, trials, rng):
    """Share of test sets of ``UNEQUAL`` whose intervals hold the truth; and by the rules before.

    Of accuracy and balanced accuracy, and of the difference in the latter of two such models.
    """
    n_of, recall = map(np.array, UNEQUAL[kind])
    labels, n_classes = labels_of(n_of), len(n_of)
    truth = np.average(recall, weights=n_of), recall.mean()
    held, held_before = [], []
    for trial in range(trials):
        one, other = (
            np.where(rng.random(len(labels)) < recall[labels], labels, (labels + 1) % n_classes)
            for _ in range(2)
        )
        found = intervals.of_predictions(labels, one, n_classes)
        gap = paired.of_predictions(labels, one, other, n_classes).differences["balanced_accuracy"]
        ends = [found["accuracy"], found["balanced_accuracy"], gap]
        inside = [f.low <= true <= f.high for f, true in zip(ends, (*truth, 0), strict=True)]
        held.append(inside)
        if trial % EVERY == 0:
            ends = before.single(metrics.confusion_matrix(labels, one, n_classes), rng)
            held_before.append(
                [low <= true <= high for (low, high), true in zip(ends, truth, strict=False)]
            )
    return np.mean(held, axis=0), np.mean(held_before, axis=0)


SETS = {"111": SAMPLE, "7,180": N_OF}
EPOCHS = {
    "ten equally good": ([0.8] * 10, None),
    "from 70 to 85 %, the fourth held out": (list(np.linspace(0.7, 0.85, 10)), 3),
}


def _run(wanted):
    """Any of the above by its name, with a seed of its own; and what the rules before give."""
    name, *arguments = wanted
    rng, old = np.random.default_rng(zlib.crc32(repr(wanted).encode())), {}
    *given, size, trials = arguments
    if name == "unequal":
        return unequal(*given, size, trials, rng)
    if name == "epochs":
        return epochs(*EPOCHS[given[0]], size, trials, rng), old
    more = {"n_of": SETS[size]}
    if name in ("figures", "differences", "losses"):
        more["old"] = old
    return globals()[name](*given, trials, rng, **more), old


def _shares(found, names, old=None):
    """Percentages, with those before in brackets."""
    cells = [f"{100 * found[name]:.1f}" for name in names]
    if old is None:
        return cells
    return [
        f"{cell} ({100 * old[name]:.1f})" if name in old else cell
        for cell, name in zip(cells, names, strict=True)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="test sets of each kind")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    trials = arguments.trials
    fewer = max(1, trials // 5)
    wanted = []
    for size in SETS:
        for a in ACCURACIES:
            for errors in ("published", "even"):
                wanted.append(("figures", a, errors, size, trials))
                for better, alike in ((1, 0.5), (1.2, 0.8)):
                    wanted.append(("differences", a, errors, better, alike, size, trials))
            for scale in (1, 3):
                wanted.append(("losses", a, scale, size, trials))
                wanted.append(("calibration_error", a, scale, size, fewer))
            wanted.append(("areas", a, size, fewer))
            wanted.append(("agreement", a, size, trials))
    for kind in EPOCHS:
        for sizes in ((111,), (37, 37, 37), (7180,), (2394, 2393, 2393)):
            wanted.append(("epochs", kind, sizes, fewer))
    wanted += [("unequal", kind, trials) for kind in UNEQUAL]
    with ProcessPoolExecutor(arguments.processes) as pool:
        done = {}
        for one, found in zip(wanted, pool.map(_run, wanted), strict=True):
            done[one[:-1]] = found
            print(*one, flush=True)
    rng = np.random.default_rng(0)
    ten = [[a, *(f"{100 * x:.1f}" for x in family(a, 10, fewer, rng))] for a in ACCURACIES]
    Path(__file__).with_suffix(".md").write_text(page(done, ten, trials, fewer))


def page(done, ten, trials, fewer):
    """What was found, as Markdown."""
    tables = {
        name: [] for name in ("figures", "differences", "losses", "calibration_error", "areas")
    }
    tables |= {"agreement": [], "epochs": [], "unequal": []}
    names = [*OF_CONFUSION, "recall"]
    risks = [*LOSSES, "AURC", *(f"error at {100 * c:g} %" for c in COVERAGES)]
    errors = ("truth", "plain", "if calibrated", "debiased", "covers")
    for (name, *given, size), (found, old) in done.items():
        if name == "figures":
            row = _shares(found, names, old)
        elif name == "differences":
            row = [*_shares(found[0], OF_CONFUSION, old), f"{100 * found[1]:.1f}"]
        elif name == "unequal":
            row = [f"{100 * x:.1f}" for x in found]
            row[:2] = [f"{x} ({100 * y:.1f})" for x, y in zip(row, old, strict=False)]
            n_of = UNEQUAL[size][0]
            tables[name].append([f"{sum(n_of):,}", size, *row])
            continue
        elif name == "losses":
            row = _shares(found, risks, old)
        elif name == "calibration_error":
            row = _shares(found, errors)
        else:
            row = [f"{100 * x:.1f}" for x in found]
        size = " + ".join(f"{n:,}" for n in size) if name == "epochs" else size
        tables[name].append([size, *given, *row])

    def table(name, *headings):
        return tabulate(tables[name], ["n", *headings], "github", disable_numparse=True)

    error, few = (100 * np.sqrt(0.95 * 0.05 / n) for n in (trials, fewer))
    parts = [
        "# Coverage of intervals",
        f"Written by `python tests/simulations/coverage.py --trials {trials}`. Test sets of "
        "7,180 patches, as many of each class as in CRC-VAL-HE-7K, and of 111, as in the "
        f"sample; {trials:,} of each kind, and {fewer:,} where it says so. Figures are "
        f"percentages; the standard error of a share of 95 % is {error:.1f}, or {few:.1f}. In "
        "brackets: by the rules before (`before.py`), on every fourth of the test sets "
        f"(standard error {2 * error:.1f}).",
        "## 95 % intervals that hold the truth",
        "`recall`: mean over classes. Errors as published for EfficientNet-B0 avg, or even.",
        table("figures", "accuracy", "errors", *names),
        "## Classes that are nothing alike",
        "A class that is all right or all wrong shows no spread, and neither does one of a single "
        "patch. Of equal models, the difference in balanced accuracy.",
        table("unequal", "classes", "accuracy", "balanced_accuracy", "difference"),
        "## 95 % intervals of paired differences that hold the truth",
        "`times`: errors of the second model relative to the first. `alike`: share of "
        "predictions in which the models are coupled as closely as can be. `p < .05`: called "
        "different; for equal models (times 1) this is the error that may be 5 %. The interval "
        "of the accuracy is as before.",
        table(
            *("differences", "accuracy", "errors", "times", "alike"),
            *OF_CONFUSION,
            "p < .05",
        ),
        "## Losses, and error against coverage",
        "Normal logits. `scale`: what they are multiplied by; three times as large ones are "
        "much too sure. NLL and Brier score hang on rare patches then, of which 111 may show "
        "none: where next to none is wrong, intervals are now wide and hold the truth "
        "more often than 95 %.",
        table("losses", "accuracy", "scale", *risks),
        "## Expected calibration error",
        f"In 15 bins of equal width; {fewer:,} test sets. Labels are drawn from the softmax: "
        "at scale 1 the model is perfectly calibrated. Means over test sets of the plain "
        "error, of what it would be if the model were calibrated, and of the debiased error; "
        "and the share of its intervals that hold the true one.",
        table("calibration_error", "accuracy", "scale", *errors),
        "## Macro AUROC",
        f"Of one model, and of the difference of two equal ones; {fewer:,} test sets.",
        table("areas", "accuracy", "one", "difference"),
        "## Error consistency and relative errors",
        "Kappa of right and wrong, and ratio of the errors, of a model and one at 82 %.",
        table("agreement", "accuracy", "kappa", "ratio"),
        "## Optimism of choosing an epoch on test patches",
        f"Points, means over {fewer:,} trainings of ten epochs that err on the same patches "
        "(correlation 0.6), chosen in each fold by its test patches. `truth`: how much better "
        "the chosen epochs truly are than those that the held-out part chose. Before, what is "
        "reported more was the optimism.",
        table("epochs", "epochs", "truth", "before", "held before", "optimism", "held"),
        "## Equal models called different",
        f"Ten equal models that tend to err on the same patches, 7,180 of them; {fewer:,} test "
        "sets: trials in which any of the 45 pairs is called different after Holm's "
        "correction, and in which one given pair is before.",
        tabulate(ten, ["accuracy", "any of 45", "one pair"], "github", disable_numparse=True),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
