"""``harness data get``."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.common import exit_code, registry_of
from harness.errors import HarnessError
from harness.progress import say


def get(options: argparse.Namespace) -> int:
    """Download a dataset."""
    from harness.download import check_space, fetch

    registry = registry_of(options)
    dataset = registry.datasets.find(options.name)
    if not dataset.downloads:
        raise HarnessError(f"dataset {dataset.name} has nothing to download")
    folder = Path(options.data or "data")
    check_space(dataset.downloads, folder)
    for file in dataset.downloads:
        fetch(file, folder, mirror=options.mirror)
    say(f"{dataset.name} is ready in {folder}: harness run --dataset {dataset.name}")
    return exit_code(options, registry)
