"""What published results promise. Those of one name are looked at together."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks.bench import Bench
from harness.checks.outcome import Broken, Skipped
from harness.types.published import PublishedResult

ROUNDING = 0.00051
"""How far a published accuracy may be from that of its confusion matrix: it is often rounded to a
tenth of a percent."""


@dataclass(frozen=True)
class Row:
    """All published results of one name."""

    name: str
    results: tuple[PublishedResult, ...]


def told(result: PublishedResult) -> str:
    """Which result of a name is meant."""
    level = "" if result.level is None else f" {result.level:g}"
    return f"{result.test_set}, {result.perturbation}{level}"


def source(row: Row, bench: Bench) -> None:
    """It names its source, and whether that was read or only seen quoted."""
    for result in row.results:
        if not result.source.strip():
            raise Broken(f"{told(result)}: source is empty", "name the paper and the table")
        if result.checked not in ("source", "secondary"):
            raise Broken(
                f"{told(result)}: checked is {result.checked!r}", 'say "source" or "secondary"'
            )


def figure(row: Row, bench: Bench) -> None:
    """It has a figure."""
    for result in row.results:
        if result.accuracy is result.balanced_accuracy is result.auroc is None:
            raise Broken(f"{told(result)}: no figure", "give an accuracy or another figure")


def confusion(row: Row, bench: Bench) -> None:
    """A confusion matrix names its classes, counts ``n`` patches and agrees with the accuracy."""
    there = [result for result in row.results if result.confusion is not None]
    if not there:
        raise Skipped("it has no confusion matrix")
    for result in there:
        matrix = result.confusion or ()
        if any(len(line) != len(matrix) for line in matrix):
            raise Broken(f"{told(result)}: the confusion matrix is not square", "correct it")
        if len(result.classes) != len(matrix):
            raise Broken(
                f"{told(result)}: {len(result.classes)} classes are named for the {len(matrix)} "
                "rows of the confusion matrix",
                "give classes, in the order of the rows",
            )
        total = sum(map(sum, matrix))
        if total != result.n:
            raise Broken(
                f"{told(result)}: the confusion matrix counts {total} patches, n is {result.n}",
                "read both from the source again",
            )
        right = sum(line[label] for label, line in enumerate(matrix)) / total
        if result.accuracy is not None and abs(right - result.accuracy) > ROUNDING:
            raise Broken(
                f"{told(result)}: accuracy {result.accuracy:.4f}, and {right:.4f} by the confusion "
                "matrix",
                "read both from the source again",
            )


def condition(row: Row, bench: Bench) -> None:
    """A perturbation is one that some plugin offers, at a level that it has."""
    perturbed = [result for result in row.results if result.perturbation != "clean"]
    if any(result.level is not None for result in row.results if result.perturbation == "clean"):
        raise Broken("a clean result has a level", "leave level out, or name the perturbation")
    if not perturbed:
        raise Skipped("it is of clean patches")
    for result in perturbed:
        known = bench.registry.perturbations.get(result.perturbation)
        if known is None:
            raise Skipped(f"no plugin offers {result.perturbation}")
        if result.level not in known.levels and not known.learns:
            raise Broken(
                f"{told(result)}: {known.name} has the levels {known.levels}",
                "name one of them",
            )


PUBLISHED = (source, figure, confusion, condition)
