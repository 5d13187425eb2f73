"""Published results on CRC-VAL-HE-7K, read from ``published.toml`` beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import PublishedResult, hookimpl
from harness.toml_files import read_toml

FILE = Path(__file__).with_name("published.toml")


def result(test_set: str, classes: tuple[str, ...], entry: dict[str, Any]) -> PublishedResult:
    """One entry of the file as a PublishedResult."""
    confusion = entry.pop("confusion", None)
    return PublishedResult(
        test_set=test_set,
        classes=classes,
        confusion=None if confusion is None else tuple(tuple(row) for row in confusion),
        **entry,
    )


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """Every entry of the file."""
    content = read_toml(FILE)
    said = content["test_set"], tuple(content["classes"])
    return [result(*said, entry) for entry in content["result"]]
