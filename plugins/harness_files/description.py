"""What the TOML files of all kinds have in common: keys and their checks, and splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from harness import Dataset, HarnessError, Split, Splits
from harness.data.classes import check_spelling, missing_label
from harness.hooks.toml_keys import Keys, MustBe, Names, checked
from harness.text.names import folded, quoted, suggest

PARTS = ("train", "validation", "test")
LARGEST = 10_000
"""Pixels of a side that ``resize`` may ask for."""
Side = Annotated[int, Field(ge=1, le=LARGEST)]


class CommonKeys(Keys):
    """What a TOML file of any kind of dataset may say."""

    name: str | None = Field(None, description="of the dataset; by default, that of the file")
    title: str | None = Field(None, description="for tables; by default, the name")
    license: str = Field("", description="said on the pages")
    shows_patches: bool = Field(
        True, description="whether pages may have pictures of patches, which a license may forbid"
    )
    source: str = Field("", description="where the patches come from")
    test_set: str = Field(
        "", description="name of the test set as published results call it; these join the board"
    )
    trained_on: str = Field("", description="name of the training set as published results call it")
    demo: bool = Field(
        False, description="too small to mean much: models use their settings for that"
    )
    classes: Annotated[Names | None, MustBe("a list of at least two different names")] = Field(
        None, min_length=2, description="in the order of the labels; by default, sorted"
    )
    resize: Annotated[
        Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None,
        MustBe(f"a number of pixels from 1 to {LARGEST}, or [height, width]"),
    ] = Field(None, description="brings patches of several sizes to one")
    folds: int | None = Field(None, ge=2, le=100, description="of cross-validation; 5 by default")
    map: Annotated[dict[str, str], MustBe('a table such as { NOR = "NORM" }')] = Field(
        default_factory=dict,
        description='what others call some classes, such as { NOR = "NORM" }, and "" for one '
        "that they do not have: for harness transfer",
    )
    micrometers_per_pixel: Annotated[
        float | None, MustBe("a number from 0.02 to 50, such as 0.5")
    ] = Field(
        None,
        ge=0.02,
        le=50,
        description="width of a pixel, to bring patches to the scale of others",
    )


class Description:
    """A TOML file of a dataset, its keys checked.

    ``keys`` are those of its kind. Raises HarnessError naming the file and the key for a key that
    is unknown or has another value.
    """

    def __init__(
        self, path: Path, content: Mapping[str, Any] | CommonKeys, keys: type[CommonKeys]
    ) -> None:
        self.path = path
        self.content = checked(path, content, keys).model_dump(exclude_none=True)
        """What it says, with defaults; what it leaves out and has no default is not there."""
        self.name: str = self.content.get("name", path.stem)
        self.classes: tuple[str, ...] = tuple(self.content.get("classes", ()))
        size = self.content.get("resize")
        self.shape: tuple[int, int] | None = (
            None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        )

    @property
    def resizing(self) -> str:
        """What to do about patches of several sizes."""
        return f"remove it, or bring all to one size with resize = ... in {self.path}"

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

    def check_apart(self, places: Mapping[str, Sequence[Path]]) -> None:
        """Check that no place is part of two splits."""
        parts: dict[Path, str] = {}
        for part, paths in places.items():
            for path in paths:
                other = parts.setdefault(path.resolve(), part)
                if other != part:
                    raise self.error(f"{path} is in both {other} and {part}")

    def from_one(self, labels: str, have: str) -> str:
        """A warning about labels that are indices into the classes, of which none is 0."""
        return (
            f"{labels} {have} no 0, so no patch is of class {self.classes[0]!r}; classes count "
            "from 0: if these labels count from 1, subtract 1 from them"
        )

    def sorted_classes(self, found: Mapping[str, Collection[str]]) -> tuple[str, ...]:
        """``classes`` if given, else the labels in order; whole numbers in that of numbers.

        ``found`` has the label of each patch for each part. Raises HarnessError when two labels
        differ only in how they are spelled, or when one marks patches that have no label.
        """
        if self.classes:
            return self.classes
        counts = {part: Counter(labels) for part, labels in found.items()}
        check_spelling(self.path, counts, f", or list both with classes = [...] in {self.path}")
        labels = sorted(set().union(*counts.values()))
        for label in labels:
            if missing_label(label):
                n = sum(count[label] for count in counts.values())
                raise HarnessError(
                    f"{self.path}: {n:,} patches have the label {label}, which usually says that "
                    "there is none; leave them out, or list all with classes = [...]"
                )
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
        if unknown := [name for name in content["map"] if classes and name not in classes]:
            raise self.error(
                f"map names {unknown[0]!r}, which is no class; {suggest(unknown[0], classes)}"
            )

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
                test_set=content["test_set"],
                trained_on=content["trained_on"],
                demo=content["demo"],
                license=content["license"],
                shows_patches=content["shows_patches"],
                source=content["source"],
                counterparts=content["map"] if classes else {},
                micrometers=content.get("micrometers_per_pixel", 0.0),
            )
        ]

    def splits(
        self,
        parts: Mapping[str, Split],
        groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
        train_shortfall: str = "",
        shortfall: str = "",
        warnings: tuple[str, ...] = (),
    ) -> Splits:
        """Splits of train, test and perhaps validation, or of "all" to cross-validate.

        ``groups`` has the group of each patch of each part, if they are known;
        ``train_shortfall`` is what training and validation patches lack, and ``shortfall`` what the
        test patches lack. ``warnings`` are said before the run.
        """
        tested = "all" if "all" in parts else "test"
        of_test = groups.get(tested)
        if of_test is not None and 1 < len(of_test) == len(set(of_test)):
            warnings += (
                f"each of the {len(of_test):,} test patches is a group of its own, as if none were "
                f"known; if several are of one patient or slide, intervals are too narrow: correct "
                f"the groups of {self.path}",
            )
        if tested == "all":
            folds = self.content.get("folds", 5)
            return Splits(
                train=None,
                test=parts["all"],
                folds=folds,
                groups=of_test,
                shortfall=shortfall,
                warnings=warnings,
            )
        return Splits(
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts["test"],
            groups=of_test,
            train_groups=groups.get("train"),
            shortfall=shortfall,
            train_shortfall=", ".join(filter(None, (train_shortfall, *_shared(groups)))),
            warnings=warnings,
        )


def _shared(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """How many test groups are also in other parts, or may be under another spelling."""
    of_test = set(groups.get("test", ()))
    shared = []
    for part in ("train", "validation"):
        others = set(groups.get(part, ()))
        both = of_test & others
        if both:
            shared.append(f"{len(both):,} of {len(of_test):,} test groups are also in {part}")
        near = {folded(name): name for name in sorted(others - both)}
        for name in sorted(of_test - both):
            if meant := near.get(folded(name)):
                shared.append(
                    f"the test group {quoted(name, [meant])} may be {quoted(meant, [name])} in "
                    f"{part}"
                )
                break
    return shared
