"""Whether a published result is about the very test patches that a dataset has here.

Names of test sets are claims. Numbers of patches, by class too where a confusion matrix was
published, and the names and the order of the classes must be the published ones as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.text.names import alike, folded, quoted
from harness.types.datasets import Dataset
from harness.types.published import PublishedResult

Counts = tuple[int, ...]
SHOWN = 3
"""Classes whose numbers of patches are named."""


def other_test_data(
    result: PublishedResult, dataset: Mapping[str, Any], known: Sequence[PublishedResult]
) -> str:
    """Why the test patches of a dataset are not those of a published result; "" if they are.

    ``dataset`` is the record of a dataset. ``known`` are all published results of its test set:
    where this one has no confusion matrix, those of as many patches tell the number of each class.
    """
    if dataset["shortfall"]:
        return str(dataset["shortfall"])
    if dataset["n_test"] != result.n:
        return _number(dataset["n_test"], result.n)
    reasons = [
        _other_classes(classes, counts, dataset["classes"], dataset["test_counts"])
        for classes, counts in _by_class(result, known)
    ]
    return "" if "" in reasons else next(iter(reasons), "")


def misspelled(dataset: Dataset, results: Sequence[PublishedResult]) -> list[str]:
    """Sentences about names of a dataset's sets that published results spell differently."""
    names = {
        "test_set": (dataset.test_set, {result.test_set for result in results}),
        "trained_on": (dataset.trained_on, {result.trained_on for result in results}),
    }
    return [
        f"{field} is {quoted(name, meant)}; published results call it {quoted(meant[0], [name])}, "
        "and are not found by another name"
        for field, (name, known) in names.items()
        if name and name not in known and (meant := alike(name, sorted(known)))
    ]


def identity(dataset: Mapping[str, Any], part: str) -> str | None:
    """How "test" or "train" is known to be the published set of its name; None without a name."""
    if not dataset["test_set" if part == "test" else "trained_on"]:
        return None
    if short := dataset["shortfall" if part == "test" else "train_shortfall"]:
        return f"not the published patches: {short}"
    verified = dataset.get(f"{part}_identity")
    return str(verified or f"not verified; only what {_described_by(dataset)} says")


def unverified(dataset: Mapping[str, Any], fitted_here: bool) -> str:
    """What a comparison with published results takes for granted; "" if it was verified."""
    parts = [] if dataset.get("test_identity") else ["test"]
    if fitted_here and not dataset.get("train_identity") and dataset["trained_on"]:
        parts.append("training")
    if not parts:
        return ""
    return f"the {' and '.join(parts)} patches are what {_described_by(dataset)} says"


def _described_by(dataset: Mapping[str, Any]) -> str:
    return str(dataset.get("described_by") or "its plugin")


def between(one: PublishedResult, other: PublishedResult) -> str:
    """Why two published results are not about the same test patches; "" if they may be."""
    if one.test_set != other.test_set:
        return f"on {one.test_set}, not on {other.test_set}"
    if one.n != other.n:
        return _number(one.n, other.n)
    if one.confusion is None or other.confusion is None:
        return ""
    names = one.classes or other.classes
    return _other_classes(other.classes or names, _counts(other), names, _counts(one))


def class_names(result: PublishedResult, dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """What to call the classes of a published confusion matrix; () if that is not known.

    A class that the dataset has too goes by its name there.
    """
    if not result.classes:
        # Numbers of patches that all differ tell the order of the classes, too.
        counts = _counts(result)
        told = len(set(counts)) == len(counts) and list(counts) == list(dataset["test_counts"])
        return tuple(dataset["classes"]) if told else ()
    here = {folded(name): name for name in dataset["classes"]}
    return tuple(here.get(folded(name), name) for name in result.classes)


def _number(n: int, published: int) -> str:
    if n < published:
        return f"{n:,} of {published:,} test patches"
    return f"{n:,} test patches, published on {published:,}"


def _counts(result: PublishedResult) -> Counts:
    return tuple(sum(line) for line in result.confusion or ())


def _by_class(
    result: PublishedResult, known: Sequence[PublishedResult]
) -> list[tuple[tuple[str, ...], Counts]]:
    """Names of classes and numbers of patches that were published of this test set."""
    if result.confusion is not None:
        return [(result.classes, _counts(result))]
    alike = [
        (one.classes, _counts(one))
        for one in known
        if one.n == result.n and one.confusion is not None
    ]
    return list(dict.fromkeys(alike)) or [(result.classes, ())]


def _other_classes(
    classes: Sequence[str], counts: Counts, ours: Sequence[str], our_counts: Sequence[int]
) -> str:
    """How published classes, and numbers of patches of each, differ from ours; "" if they do not.

    Either may be empty where it was not published.
    """
    published = [folded(name) for name in classes]
    here = [folded(name) for name in ours]
    if counts and len(counts) != len(our_counts):
        return f"{len(our_counts)} classes, published for {len(counts)}"
    if published and here and published != here:
        if sorted(published) == sorted(here):
            return f"classes in another order than published ({', '.join(classes)})"
        return f"other classes than published ({', '.join(classes)})"
    if not counts or list(counts) == list(our_counts):
        return ""
    names = ours or [f"class {number}" for number in range(1, len(counts) + 1)]
    differing = [
        f"{name} {n:,} instead of {wanted:,}"
        for name, n, wanted in zip(names, our_counts, counts, strict=True)
        if n != wanted
    ]
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return f"other counts a class than published: {', '.join(differing[:SHOWN])}{more}"
