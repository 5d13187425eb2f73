"""How often 95 % intervals hold the truth, and equal models are called different: by simulation.

    python tests/simulations/coverage.py            writes coverage.md beside this file

Test sets have as many patches of each class as CRC-VAL-HE-7K. Models err as EfficientNet-B0 did
where it was published, or evenly, at a given accuracy, so what they truly score is known exactly.
Only for the AUROC it is taken from a test set two hundred times as large.
"""

import argparse
from pathlib import Path

import numpy as np
from tabulate import tabulate

import harness_published
from harness.statistics import intervals, metrics, paired, ranking
from harness.statistics.auroc import macro_auroc
from harness.statistics.intervals import Sampling
from harness.statistics.metrics import OF_CONFUSION

ACCURACIES = (0.54, 0.82, 0.977, 0.999)
PUBLISHED = next(
    np.array(result.confusion)
    for result in harness_published.harness_published_results()
    if result.name == "efficientnet-b0-avg" and result.perturbation == "clean"
)
N_OF = PUBLISHED.sum(axis=1)
N = N_OF.sum()
C = len(N_OF)
LABELS = np.repeat(np.arange(C), N_OF)
RESAMPLES = Sampling(resamples=500)
"""Fewer than in use: the noise that this adds to a standard error, 3 %, is small beside others."""


def population(accuracy, errors):
    """How a model of this accuracy predicts, (C, C), rows add up to 1."""
    shape = np.ones((C, C)) if errors == "even" else PUBLISHED / N_OF[:, None] + 1e-4
    np.fill_diagonal(shape, 0)
    scale = 1.0
    for _ in range(100):  # no class may lose all
        wrong = shape * scale
        wrong *= np.minimum(1, 0.95 / wrong.sum(axis=1, keepdims=True))
        scale *= (1 - accuracy) / (N_OF / N @ wrong.sum(axis=1))
    return wrong + np.diag(1 - wrong.sum(axis=1))


def figures(accuracy, errors, trials, rng):
    """Share of test sets whose interval holds the truth, by figure."""
    truly = population(accuracy, errors)
    truth = dict(zip(OF_CONFUSION, metrics.of_confusion(truly * N_OF[:, None]), strict=True))
    names = tuple(map(str, range(C)))
    held = []
    for _ in range(trials):
        confusion = np.stack([rng.multinomial(n, p) for n, p in zip(N_OF, truly, strict=True)])
        found = intervals.of_matrix(confusion, RESAMPLES)
        row = [found[name].low <= truth[name] <= found[name].high for name in OF_CONFUSION]
        recalled = intervals.recalls(LABELS, predictions(confusion), names).values()
        row += [r.low <= true <= r.high for r, true in zip(recalled, np.diag(truly), strict=True)]
        held.append(row)
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


def differences(accuracy, errors, better, alike, trials, rng):
    """Share of intervals of paired differences that hold the truth, and of p values below 0.05.

    The other model makes ``better`` times as many errors.
    """
    one, other = population(accuracy, errors), population(1 - (1 - accuracy) * better, errors)
    both = joint(one, other, alike)
    truth = metrics.of_confusion(one * N_OF[:, None]) - metrics.of_confusion(other * N_OF[:, None])
    held, different = [], []
    for _ in range(trials):
        drawn = [rng.multinomial(n, p.ravel()) for n, p in zip(N_OF, both, strict=True)]
        first, second = np.divmod(
            np.concatenate([np.repeat(np.arange(C * C), d) for d in drawn]), C
        )
        found = paired.of_predictions(LABELS, first, second, C, RESAMPLES)
        held.append(
            [
                found.differences[name].low <= true <= found.differences[name].high
                for name, true in zip(OF_CONFUSION, truth, strict=True)
            ]
        )
        different.append(found.p < 0.05)
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


def areas(accuracy, trials, rng):
    """Share of test sets whose interval of the macro AUROC holds the truth, and of differences."""
    separation, many = separation_of(accuracy), np.tile(LABELS, 10)
    large = [
        macro_auroc(many, metrics.probabilities(scores(separation, many, rng))).value
        for _ in range(20)
    ]
    truth = np.mean(large)
    held, same = [], []
    for _ in range(trials):
        one, other = two_scores(separation, LABELS, rng)
        found = intervals.auroc(LABELS, one)
        held.append(found.low <= truth <= found.high)
        gap = paired.auroc_difference(LABELS, one, other)
        same.append(gap.low <= 0 <= gap.high)
    return np.mean(held), np.mean(same)


def family(accuracy, n_models, trials, rng):
    """Among equal models: share of trials in which any pair is called different; and of pairs.

    Patches differ in difficulty, so that models tend to err on the same ones.
    """
    concentration = 0.3
    any_pair, first_pair = [], []
    for _ in range(trials):
        easy = rng.beta(accuracy * concentration, (1 - accuracy) * concentration, N)
        right = rng.random((n_models, N)) < easy
        any_pair.append((ranking.pairwise(list(right[:, None])) < 0.05).any())
        first_pair.append(ranking.pairwise(list(right[:2, None]))[0, 1] < 0.05)
    return np.mean(any_pair), np.mean(first_pair)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="test sets of each kind")
    trials = parser.parse_args().trials
    rng = np.random.default_rng(0)
    names = [*OF_CONFUSION, "recall"]
    single, double = [], []
    for accuracy in ACCURACIES:
        for errors in ("published", "even"):
            found = figures(accuracy, errors, trials, rng)
            single.append([accuracy, errors, *(f"{100 * found[n]:.1f}" for n in names)])
            for better, alike in ((1, 0.5), (1.2, 0.8)):
                found, different = differences(accuracy, errors, better, alike, trials, rng)
                shares = (f"{100 * found[n]:.1f}" for n in OF_CONFUSION)
                called = f"{100 * different:.1f}"
                double.append([accuracy, errors, better, alike, *shares, called])
            print(*single[-1:], *double[-2:], sep="\n", flush=True)
    area = [[a, *(f"{100 * x:.1f}" for x in areas(a, trials, rng))] for a in ACCURACIES]
    ten = [[a, *(f"{100 * x:.1f}" for x in family(a, 10, trials, rng))] for a in ACCURACIES]
    parts = [
        "# Coverage of intervals",
        f"Written by `python tests/simulations/coverage.py --trials {trials}`. Test sets of {N:,} "
        f"patches, as many of each class as in CRC-VAL-HE-7K; {trials:,} of each kind. Figures "
        f"are percentages; their own standard error is {100 * np.sqrt(0.95 * 0.05 / trials):.1f}.",
        "## 95 % intervals that hold the truth",
        "`recall`: mean over classes. Errors as published for EfficientNet-B0 avg, or even.",
        tabulate(single, ["accuracy", "errors", *names], "github", disable_numparse=True),
        "## 95 % intervals of paired differences that hold the truth",
        "`times`: errors of the second model relative to the first. `alike`: share of predictions "
        "in which the models are coupled as closely as can be. `p < .05`: called different; for "
        "equal models (times 1) this is the error that may be 5 %.",
        tabulate(
            double,
            ["accuracy", "errors", "times", "alike", *OF_CONFUSION, "p < .05"],
            "github",
            disable_numparse=True,
        ),
        "## Macro AUROC",
        "Of one model, and of the difference of two equal ones.",
        tabulate(area, ["accuracy", "one", "difference"], "github", disable_numparse=True),
        "## Equal models called different",
        "Ten equal models that tend to err on the same patches: trials in which any of the 45 "
        "pairs is called different after Holm's correction, and in which one given pair is before.",
        tabulate(ten, ["accuracy", "any of 45", "one pair"], "github", disable_numparse=True),
    ]
    Path(__file__).with_suffix(".md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
