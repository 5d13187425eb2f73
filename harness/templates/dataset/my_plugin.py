"""My plugin: patches in class folders, ``my-plugin/train/CLASS/*.png`` and ``.../test/CLASS``."""

from __future__ import annotations

from pathlib import Path

from harness import Dataset, Split, Splits, hookimpl

CLASSES = ("normal", "tumor")


def missing(folder: Path) -> str:
    """What is lacking below the folder given as ``--data``, and how to get it; "" if nothing."""
    from harness.patches import place

    lacking = [part for part in ("train", "test") if not place(folder / "my-plugin", part)]
    if not lacking:
        return ""
    return (
        f"no {' and no '.join(lacking)} (folder or .zip) in {folder / 'my-plugin'}; put folders "
        f"named {', '.join(CLASSES)} with images there"
    )


def load(folder: Path) -> Splits:
    """List the patches; they are decoded only when they are read."""
    return Splits(train=split(folder, "train"), test=split(folder, "test"))


def split(folder: Path, part: str) -> Split:
    """One part: all patches of the size of its first."""
    from harness.patches import FileSplit, list_files, place

    path = place(folder / "my-plugin", part) or folder / "my-plugin" / part
    return FileSplit(list_files(path), CLASSES, None, f"my-plugin/{part}")


@hookimpl
def harness_datasets() -> list[Dataset]:
    """The datasets of this plugin."""
    return [
        Dataset(
            name="my-plugin",
            title="My plugin",
            classes=CLASSES,
            load=load,
            missing=missing,
            license="unknown",
            source="where the patches come from",
        )
    ]
