"""What the TOML files of all kinds have in common: keys and their checks, and splits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Dataset, HarnessError, Split, Splits
from harness.registry import suggest

COMMON = {
    "kind": str,
    "name": str,
    "title": str,
    "license": str,
    "source": str,
    "test_set": str,
    "trained_on": str,
    "demo": bool,
    "classes": list,
    "resize": (int, list),
    "folds": int,
}
NAMED = {str: "a text", bool: "true or false", int: "a whole number", list: "a list"}
PARTS = ("train", "validation", "test")
LARGEST = 10_000
"""Pixels of a side that ``resize`` may ask for."""


class Description:
    """A TOML file of a dataset, its keys checked.

    ``own`` are the keys that its kind has besides the common ones, with their types. Raises
    HarnessError naming the file and the key for a key that is unknown or has another type.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        self.path = path
        self.content = content
        known = {**COMMON, **own}
        for key, value in content.items():
            if key not in known:
                raise HarnessError(f"{path}: there is no key {key!r}; {suggest(key, known)}")
            types = known[key] if isinstance(known[key], tuple) else (known[key],)
            if type(value) not in types:
                wanted = " or ".join(NAMED[kind] for kind in types)
                raise HarnessError(f"{path}: {key} = {value!r} must be {wanted}; correct it")
        self.name: str = content.get("name", path.stem)
        self.shape = self._shape(content.get("resize"))
        self.classes = self._classes(content.get("classes"))
        if "folds" in content and not 2 <= content["folds"] <= 100:
            raise self.error(f"folds = {content['folds']} must be from 2 to 100")

    def _shape(self, resize: Any) -> tuple[int, int] | None:
        sides = [resize, resize] if isinstance(resize, int) else resize
        if sides is None:
            return None
        if len(sides) != 2 or not all(type(n) is int and 1 <= n <= LARGEST for n in sides):
            raise self.error(
                f"resize = {resize!r} must be a number of pixels from 1 to {LARGEST}, or "
                "[height, width]"
            )
        return sides[0], sides[1]

    def _classes(self, classes: Any) -> tuple[str, ...]:
        if classes is None:
            return ()
        if (
            not all(isinstance(name, str) and name for name in classes)
            or len(set(classes)) < len(classes)
            or len(classes) < 2
        ):
            raise self.error("classes must be a list of at least two different names")
        return tuple(classes)

    def error(self, problem: str) -> HarnessError:
        """A HarnessError about this file."""
        return HarnessError(f"{self.path}: {problem}; correct it")

    def beside(self, name: str) -> Path:
        """A path of the file, which is relative to the file."""
        return self.path.parent / name

    def check_parts(self, whole: str) -> None:
        """Check that there is either ``whole``, to cross-validate, or at least train and test."""
        given = [part for part in PARTS if part in self.content]
        if whole in self.content and given:
            raise self.error(f"give either {whole} or {' and '.join(given)}, not both")
        if whole not in self.content and not {"train", "test"} <= set(given):
            raise self.error(f"give {whole}, which is then cross-validated, or train and test")
        if given and "folds" in self.content:
            raise self.error(f"folds is for {whole}; leave it out")

    def sorted_classes(self, labels: Collection[str]) -> tuple[str, ...]:
        """``classes`` if given, else the labels in order; whole numbers in that of numbers."""
        if self.classes:
            return self.classes
        numbers = all(label.isascii() and label.isdecimal() for label in labels)
        return tuple(sorted(labels, key=lambda label: (int(label), label) if numbers else label))

    def dataset(
        self, classes: Sequence[str], load: Callable[[], Splits], missing: str = ""
    ) -> list[Dataset]:
        """The dataset. ``load`` lists the patches, unless ``missing`` says what is not there."""
        if not missing and len(classes) < 2:
            raise self.error(
                f"the patches are of {len(classes)} classes, where at least two are needed"
            )
        content = self.content

        def load_if_there(_: Path) -> Splits:
            if missing:
                raise HarnessError(missing)
            return load()

        return [
            Dataset(
                name=self.name,
                title=content.get("title", self.name),
                classes=tuple(classes),
                load=load_if_there,
                missing=lambda _: missing,
                test_set=content.get("test_set", ""),
                trained_on=content.get("trained_on", ""),
                demo=content.get("demo", False),
                license=content.get("license", ""),
                source=content.get("source", ""),
            )
        ]

    def splits(self, parts: Mapping[str, Split], groups: Sequence[str] | None = None) -> Splits:
        """Splits of train, test and perhaps validation, or of "all" to cross-validate.

        ``groups`` are those of the test patches.
        """
        if "all" in parts:
            folds = self.content.get("folds", 5)
            return Splits(train=None, test=parts["all"], folds=folds, groups=groups)
        return Splits(
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts["test"],
            groups=groups,
        )
