"""Published results on CRC-VAL-HE-7K, read from ``published.toml`` beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import PublishedResult, hookimpl
from harness.toml_files import read_toml

FILE = Path(__file__).with_name("published.toml")


def result(test_set: str, entry: dict[str, Any]) -> PublishedResult:
    """One entry of the file as a PublishedResult."""
    confusion = entry.pop("confusion", None)
    return PublishedResult(
        test_set=test_set,
        confusion=None if confusion is None else tuple(tuple(row) for row in confusion),
        **entry,
    )


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """Every entry of the file."""
    content = read_toml(FILE)
    return [result(content["test_set"], entry) for entry in content["result"]]
