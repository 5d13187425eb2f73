"""Classes that do not meet: tested and never fitted, fitted and never tested, spelled in two ways.

Anything that is tested and never fitted is an error, or a warning where groups leave no choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.splits import hold_out
from harness.errors import HarnessError
from harness.text.names import NUMBER, alike, folded, nearest, quoted
from harness.types.datasets import Dataset, Split, Splits

MISSING = ("nan", "na", "<na>", "n/a", "none", "null")
"""Labels, folded, that say that there is none."""
Pairs = Sequence[tuple[Split, NDArray[np.int64]]]
"""For each fold, what is fitted on and which test patches are predicted."""


def check_spelling(
    origin: object, counts: Mapping[str, Mapping[str, int]], advice: str = ""
) -> None:
    """Raise HarnessError when two classes that were found have names that a person takes for one.

    ``counts`` has the number of patches by class for each part of the dataset ("train", "test", or
    "all"). ``advice`` is what to do where they are two classes after all.
    """
    names = sorted({name for by_name in counts.values() for name in by_name})
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(folded(name), name)
        if other != name:
            raise HarnessError(
                f"{origin}: {_found(other, name, counts)} and {_found(name, other, counts)} are "
                f"spelled differently, so they would be two classes; give them one name{advice}"
            )


def _found(name: str, other: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    where = [
        f"{by_name[name]:,} patches" + ("" if part == "all" else f" in {part}")
        for part, by_name in counts.items()
        if by_name.get(name)
    ]
    return f"{quoted(name, [other])} ({', '.join(where)})"


def missing_label(label: str) -> bool:
    """Whether a label that was found marks patches without a label: a negative number, NA, None."""
    text = folded(label)
    return text in MISSING or (text.startswith("-") and NUMBER.fullmatch(text) is not None)


def groups_alike(groups: Iterable[str]) -> list[list[str]]:
    """Pairs of groups whose names a person takes for one, so that a fold may cut that one."""
    first: dict[str, str] = {}
    names = sorted(set(groups))
    return [[one, name] for name in names if (one := first.setdefault(folded(name), name)) != name]


def group_warnings(described: Mapping[str, Any]) -> list[str]:
    """Sentences about groups that may be one, for people."""
    pairs = described.get("groups_alike", ())
    if not pairs:
        return []
    (one, other), more = pairs[0], len(pairs) - 1
    return [
        f"the groups {quoted(one, [other])} and {quoted(other, [one])}"
        f"{f' and {more:,} more pairs' if more else ''} are spelled differently and count as two; "
        "if they are one patient or slide, its patches are in several folds and intervals are too "
        "narrow: give it one name"
    ]


def facts(classes: Sequence[str], splits: Splits, pairs: Pairs) -> dict[str, Any]:
    """What the record of a dataset says of classes that do not meet, and of numbers of patches."""
    n_classes = len(classes)
    tested = np.bincount(splits.test.labels, minlength=n_classes)
    fitted = [np.bincount(train.labels, minlength=n_classes) for train, _ in pairs]
    sizes = [int(counts.sum()) for counts in fitted]
    most = np.max(fitted, axis=0) if fitted else np.zeros(n_classes, np.int64)
    lacking: dict[str, list[str]] = {}
    if splits.validation is not None:
        chosen_on = [np.bincount(splits.validation.labels, minlength=n_classes)]
        lacking["validation"] = _without(classes, chosen_on, tested)
    elif fitted:
        held = [train.labels[hold_out(train.labels, 0)[1]] for train, _ in pairs]
        counts = [np.bincount(labels, minlength=n_classes) for labels in held]
        lacking["held-out"] = _without(classes, counts, tested)
    return {
        "n_train": min(sizes, default=0),
        "n_train_max": max(sizes, default=0),
        "n_train_own": 0 if splits.train is None else len(splits.train.labels),
        "unfitted": _unfitted(classes, splits, pairs, fitted),
        "untested": [
            {"class": name, "n_train": int(n)}
            for name, n, found in zip(classes, most, tested, strict=True)
            if not found
        ],
        "groups_alike": groups_alike(map(str, splits.groups or ())),
        "not_selected_on": {part: names for part, names in lacking.items() if names},
    }


def _without(
    classes: Sequence[str], counts: Sequence[NDArray[np.int64]], tested: NDArray[np.int64]
) -> list[str]:
    """Classes that are tested and of which some part has no patch."""
    fewest = np.min(counts, axis=0)
    return [name for name, n, t in zip(classes, fewest, tested, strict=True) if t and not n]


def _unfitted(
    classes: Sequence[str], splits: Splits, pairs: Pairs, fitted: Sequence[NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """Classes that are predicted by models that were fitted without them."""
    found = []
    for number, ((_, predicted), counts) in enumerate(zip(pairs, fitted, strict=True), 1):
        labels = splits.test.labels[predicted]
        for label in np.unique(labels).tolist():
            if counts[label]:
                continue
            own = predicted[labels == label]
            group = None
            if splits.groups is not None:
                groups = {splits.groups[index] for index in own}
                group = str(groups.pop()) if len(groups) == 1 else None
            found.append(
                {
                    "fold": number if splits.folds else None,
                    "class": classes[label],
                    "n_test": len(own),
                    "group": group,
                }
            )
    return found


def check(dataset: Dataset, splits: Splits, described: Mapping[str, Any]) -> None:
    """Raise HarnessError when models that are to be fitted could never be right about a class.

    ``described`` are ``facts``. What folds by group cannot avoid is no error: see ``warnings``.
    """
    lacking = [
        (one["class"], f"{one['n_test']:,} test patches")
        for one in described["unfitted"]
        if one["fold"] is None
    ]
    trained: dict[str, int] = {}
    if splits.train is not None:
        trained = _counts(dataset.classes, splits.train)
    if splits.validation is not None:
        lacking += [
            (name, f"{n:,} validation patches")
            for name, n in _counts(dataset.classes, splits.validation).items()
            if name not in trained
        ]
    if not lacking:
        return
    unused = set(trained) - set(_counts(dataset.classes, splits.test))
    problems, advice = [], "add training patches, or leave these out"
    for name, patches in lacking:
        meant = alike(name, trained) or nearest(name, unused)
        said = f"class {quoted(name, meant)} has {patches} and no training patch"
        if meant:
            advice = "give a class one name everywhere"
            near = quoted(meant[0], [name])
            said += f" (did you mean {near}, which has {trained[meant[0]]:,} training patches?)"
        problems.append(said)
    raise HarnessError(f"dataset {dataset.name}: {'; '.join(problems)}; {advice}")


def _counts(classes: Sequence[str], split: Split) -> dict[str, int]:
    """Patches of each class that has any."""
    counts = np.bincount(split.labels, minlength=len(classes)).tolist()
    return {name: n for name, n in zip(classes, counts, strict=True) if n}


def warnings(described: Mapping[str, Any]) -> list[str]:
    """Sentences about classes that are tested and never fitted, for people."""
    return [_sentence(one) for one in described.get("unfitted", ())]


def _sentence(one: Mapping[str, Any]) -> str:
    patches = f"{one['n_test']:,} patches"
    if one["fold"] is None:
        return f"{one['class']} is tested ({patches}) and has no training patch: its recall is 0"
    if one["group"] is not None:
        patches += f", all of the group {one['group']}"
    return (
        f"fold {one['fold']} tests {one['class']}, which its training part lacks: its recall is 0 "
        f"by construction ({patches})"
    )


def notes(described: Mapping[str, Any], selected_on: str) -> list[str]:
    """What a row says of a model that was fitted here and selected on a part."""
    lacking = described.get("not_selected_on", {}).get(selected_on, ())
    where = "the held-out part" if selected_on == "held-out" else "the validation split"
    said = [f"{where} has no patch of {', '.join(lacking)}"] if lacking else []
    return [*warnings(described), *said]


def untested(described: Mapping[str, Any]) -> str:
    """A sentence about classes that no test patch is of; "" if there is none."""
    known = described.get("untested", ())
    named = [
        f"{one['class']} ({one['n_train']:,} training patches)" for one in known if one["n_train"]
    ]
    absent = [one["class"] for one in known if not one["n_train"]]
    said = [f"no test patch is of {', '.join(named)}"] if named else []
    said += [f"there is no patch of {', '.join(absent)}"] if absent else []
    return f"Classes: {'; '.join(said)}." if said else ""


def spelling(one: Sequence[str], other: Sequence[str]) -> str:
    """What to add to an error about two lists of classes that differ: which names are alike."""
    left = set(other) - set(one)
    pairs = [
        f"{quoted(name, meant)} and {quoted(meant[0], [name])}"
        for name in one
        if name not in other and (meant := alike(name, left))
    ]
    return f"; {', '.join(pairs)} are spelled differently" if pairs else ""
