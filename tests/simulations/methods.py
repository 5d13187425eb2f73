"""How often equal methods are called different, by tests of these trainings and of methods, and how
often a difference is found that is said to show in 80 % of trials: by simulation.

    python tests/simulations/methods.py            writes methods.md beside this file

Methods are equal where trainings of both are as good on average. Two kinds are simulated: trainings
whose accuracies have a normal deviation, drawn anew for each fold, as in ``verdicts.py``; and
methods that learn: the class mean that is nearest, by features of which each method sees its own
half, both alike. There, all patches are drawn anew in each trial, and folds share training patches.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import verdicts
from sklearn.model_selection import StratifiedKFold
from tabulate import tabulate

from harness.statistics import over_datasets
from harness.statistics.methods import compare_methods, corrected_t
from harness.statistics.paired import mcnemar
from harness.statistics.ranking import detectable_of, pairwise

DRAWN = [(n, spread, k) for n in (111, 7180) for spread in (0, 0.3, 0.6, 3) for k in (5, 10)]
"""Patches, standard deviation over trainings in points, folds."""
DIFFERENT = [
    (111, 0.3, 5, 10),
    (111, 0.3, 5, 20),
    *((7180, 0.3, k, d) for d in (0.5, 1) for k in (5, 10)),
]
"""The same, and the difference between the methods in points."""
LEARNED = [
    *((111, 3, 10, 0.5), (111, 5, 10, 0.5), (111, 10, 10, 0.5)),
    *((500, 5, 10, 0.4), (500, 10, 10, 0.4), (500, 5, 200, 0.1)),
]
"""Patches, folds, features of a method, and the standard deviation of the means of classes."""
REPEATS = 3
SHOWN = [(n, d, m) for n, d in ((111, 0.24), (111, 0.03), (7180, 0.023)) for m in (2, 10)]
"""Patches, discordance, models."""
OVER = [(models, n, gap) for models in (3, 8) for n in (5, 10, 20) for gap in (0, 1, 3)]
"""Models, datasets, and by how many points the first is better than the others."""
CLASSES = 9


def called(one, other, folds):
    """Whether the tests of trainings and of methods call two methods different, (2,)."""
    p = mcnemar((one & ~other).sum(), (other & ~one).sum())
    return p < 0.05, compare_methods(one[None], other[None], folds).p < 0.05


def drawn(n, spread, k, gap, trials, seed):
    """Shares of trials in which methods are called different whose trainings vary by chance.

    The other method is worse by ``gap``; that and the spread are in points.
    """
    rng = np.random.default_rng(seed)
    accuracy, folds = verdicts.TESTS[n], np.arange(n) % k
    found = []
    for _ in range(trials):
        easy = verdicts.difficulty(n, accuracy, rng)
        shifts = rng.normal([[0], [-gap / 100]], spread / 100, (2, k))
        pair = np.zeros((2, n), bool)
        for fold in range(k):
            own = folds == fold
            pair[:, own] = verdicts.trainings(easy[own], accuracy, shifts[:, fold], rng)
        found.append(called(*pair, folds))
    return np.mean(found, axis=0)


def learned(n, k, features, apart, trials, seed):
    """The same of methods that learn; besides, over repeats with other folds, (4,).

    The last are the corrected test over all folds of all repeats, and that without correction.
    """
    rng = np.random.default_rng(seed)
    means = np.tile(rng.normal(0, apart, (CLASSES, features)), 2)
    halves = slice(0, features), slice(features, None)
    found = []
    for _ in range(trials):
        labels = rng.permutation(np.arange(n) % CLASSES)
        values = means[labels] + rng.normal(size=(n, 2 * features))
        gaps = []
        for repeat in range(REPEATS):
            cut = StratifiedKFold(k, shuffle=True, random_state=rng.integers(2**31))
            folds, pair = np.zeros(n, np.int64), np.zeros((2, n), bool)
            for number, (fit, test) in enumerate(cut.split(labels, labels)):
                folds[test] = number
                for right, half in zip(pair, halves, strict=True):
                    guess = nearest(values[fit, half], labels[fit], values[test, half])
                    right[test] = guess == labels[test]
                gaps.append(pair[0, test].mean() - pair[1, test].mean())
            if repeat == 0:
                first = called(*pair, folds)
        every = np.array(gaps)
        p = [corrected_t(every, overlap, n).p for overlap in (1 / (k - 1), 0.0)]
        found.append([*first, *(value < 0.05 for value in p)])
    return np.mean(found, axis=0)


def nearest(values, labels, others):
    """The class whose mean is nearest to each of the others."""
    means = np.stack([values[labels == label].mean(axis=0) for label in range(CLASSES)])
    return (np.square(means).sum(axis=1) - 2 * others @ means.T).argmin(axis=1)


def shown(n, discordance, models, trials, seed):
    """The difference that is said to show, and in what share of trials McNemar's test finds it."""
    rng = np.random.default_rng(seed)
    level = 0.05 / (models * (models - 1) / 2)
    gap = float(detectable_of(np.array([discordance]), n, level)[0])
    share = max(discordance, gap)
    cells = (share + gap) / 2, (share - gap) / 2, 1 - share
    only = rng.multinomial(n, cells, trials)
    return gap, (mcnemar(only[:, 0], only[:, 1]) < level).mean()


def shown_otherwise(kind, trials, seed):
    """The same with groups, or with several seeds: median over trials, and the share."""
    rng = np.random.default_rng(seed)
    n, gap, seeds, groups = 2000, 0.0, 1, None
    if kind == "100 groups":
        groups = np.arange(n) // 20
    if kind == "5 seeds":
        seeds = 5

    def pair(gap):
        lean = 0 if groups is None else rng.normal(0, 0.05, 100)[groups]
        easy = np.clip(0.8 + lean + np.where(rng.random(n) < 0.5, 0.15, -0.15), 0, 1)
        sides = []
        for sign in (1, -1):
            shifts = rng.normal(sign * gap / 2, 0.01 if seeds > 1 else 0, (seeds, 1))
            sides.append(rng.random((seeds, n)) < easy + shifts - sign * lean)
        return sides

    gap = float(np.median([pairwise(pair(0.0), groups).detectable for _ in range(200)]))
    return gap, np.mean([pairwise(pair(gap), groups).p[0, 1] < 0.05 for _ in range(trials)])


def over(models, n, gap, trials, seed):
    """Of models on datasets: in which share of trials the best is distinguished, by three rules.

    Differences vary over datasets by 2 points. Nemenyi's test, after Friedman's, of any two models
    where all are equal, else of the better one and another; the signed-rank test of the first two,
    with a probability above 0.95 of being more than 0.5 points better or worse, or of being equal.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        figures = rng.normal(0.8, 0.05, (n, 1)) + rng.normal(0, 0.02 / np.sqrt(2), (n, models))
        figures[:, 0] += gap / 100
        ranks = over_datasets.ranks(figures)
        mean = ranks.mean if not gap else ranks.mean[:2]
        p = over_datasets.signed_rank(figures[:, 0] - figures[:, 1], 0.005)
        told = ranks.p < 0.05 and np.ptp(mean) >= ranks.critical_difference
        found.append([told, max(p.worse, p.better) > 0.95, p.equal > 0.95])
    return np.mean(found, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="test sets of each kind")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work")
    options = parser.parse_args()
    trials = options.trials
    kinds = ("100 groups", "5 seeds")
    with ProcessPoolExecutor(options.processes) as pool:
        by_chance = [pool.submit(drawn, *case, 0, trials, 1) for case in DRAWN]
        apart = [pool.submit(drawn, *case, trials, 5) for case in DIFFERENT]
        learning = [pool.submit(learned, *case, trials, 2) for case in LEARNED]
        found = [pool.submit(shown, *case, 10 * trials, 3) for case in SHOWN]
        others = [pool.submit(shown_otherwise, kind, trials, 4) for kind in kinds]
        datasets = [pool.submit(over, *case, trials // 10, 6) for case in OVER]
        every = by_chance, learning, apart, found, others, datasets
        results = [[job.result() for job in jobs] for jobs in every]
    write(trials, kinds, *results)


def write(trials, kinds, by_chance, learning, apart, found, others, datasets):
    percent = verdicts.percent
    one = [
        [f"{n:,}", k, f"{spread:g}", *map(percent, shares)]
        for (n, spread, k), shares in zip(DRAWN, by_chance, strict=True)
    ]
    two = [
        [n, k, features, *map(percent, shares)]
        for (n, k, features, _), shares in zip(LEARNED, learning, strict=True)
    ]
    unequal = [
        [f"{n:,}", k, f"{spread:g}", f"{gap:g}", *map(percent, shares)]
        for (n, spread, k, gap), shares in zip(DIFFERENT, apart, strict=True)
    ]
    three = [
        [f"{n:,}", percent(d), models, f"{100 * gap:.2f}", percent(share)]
        for (n, d, models), (gap, share) in zip(SHOWN, found, strict=True)
    ]
    three += [
        [f"2,000, {kind}", "", 2, f"{100 * gap:.2f}", percent(share)]
        for kind, (gap, share) in zip(kinds, others, strict=True)
    ]
    four = [
        [models, n, gap, *map(percent, shares)]
        for (models, n, gap), shares in zip(OVER, datasets, strict=True)
    ]

    def table(rows, headings):
        return tabulate(rows, headings, "github", disable_numparse=True)

    error = 100 * np.sqrt(0.95 * 0.05 / trials)
    parts = [
        "# Methods",
        f"Written by `python tests/simulations/methods.py --trials {trials}`; {trials:,} trials of "
        "each kind. Figures are percentages of trials; one of 5 has a standard error of "
        f"{error:.1f}.",
        "## Equal methods called different: trainings that vary by chance",
        "Each fold has trainings of its own, whose accuracies vary by `spread` points (standard "
        "deviation) in both methods. McNemar's test pools the folds. The test of methods is the "
        "corrected t-test over folds.",
        table(one, ["patches", "folds", "spread", "McNemar", "methods"]),
        "## Equal methods called different: trainings that share patches",
        "Methods that learn from patches, all of which are drawn anew in each trial; nine classes. "
        f"“Repeated” is the test over {REPEATS} cross-validations, each with other folds, with the "
        "corrected variance and with that of independent differences.",
        table(
            two,
            [
                *("patches", "folds", "features", "McNemar", "methods"),
                *("methods, repeated", "repeated, not corrected"),
            ],
        ),
        "## Different methods called different",
        "As in the first table, with a difference in points.",
        table(unequal, ["patches", "folds", "spread", "difference", "McNemar", "methods"]),
        "## Differences that are said to show in 80 % of trials",
        "Of the lowest difference that is said to show, in points, between two models or between "
        "two of ten after Holm's correction: how often it is found. Discordance: share of patches "
        "that exactly one of two models gets right, at least the difference. With groups, or with "
        "several seeds, the difference is the median over test sets of equal models.",
        table(three, ["patches", "discordance", "models", "difference", "found"]),
        "## Models over several datasets",
        f"{trials // 10:,} trials. The first model is better by `difference` points on average, "
        "and differences vary by 2 points from dataset to dataset. Nemenyi: distinguished after "
        "Friedman's test, any two models where all are equal, else the best and a given one. "
        "Signed rank: of the first two models, a probability above 0.95 that one is more than 0.5 "
        "points better, or that they are equal within 0.5 points.",
        table(
            four,
            ["models", "datasets", "difference", "Nemenyi", "signed rank: better", "equal"],
        ),
    ]
    Path(__file__).with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
