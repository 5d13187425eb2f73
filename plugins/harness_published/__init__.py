"""Published results on CRC-VAL-HE-7K, read from ``published.toml`` beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness import PublishedResult, hookimpl
from harness.hooks.toml_files import read_toml

FILE = Path(__file__).with_name("published.toml")


def result(content: dict[str, Any], entry: dict[str, Any]) -> PublishedResult:
    """One entry of the file as a PublishedResult."""
    confusion = entry.pop("confusion", None)
    return PublishedResult(
        test_set=content["test_set"],
        classes=tuple(content["classes"]),
        n_train=content["training_sets"].get(entry["trained_on"]),
        confusion=None if confusion is None else tuple(tuple(row) for row in confusion),
        **entry,
    )


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """Every entry of the file."""
    content = read_toml(FILE)
    return [result(content, entry) for entry in content["result"]]
