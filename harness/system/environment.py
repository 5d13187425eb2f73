"""Where a result was computed: versions, device, revision."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.system.threads import cpu_count

PACKAGES = (
    *("histo-harness", "numpy", "scipy", "scikit-learn", "opencv-python-headless"),
    *("scikit-image", "torchstain", "torch", "torchvision", "timm"),
)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def revision() -> str | None:
    """Git revision of the harness, with "+changes" if it has any; None when installed elsewhere."""
    try:
        _git("ls-files", "--error-unmatch", "environment.py")
        commit = _git("rev-parse", "HEAD")
        return commit + "+changes" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def cpu() -> str:
    """The CPU as a device: architecture and the cores this process may use."""
    n = cpu_count()
    return f"CPU ({platform.machine()}, {n} core{'' if n == 1 else 's'})"


def provenance() -> dict[str, Any]:
    """What every record says of where it came from."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "versions": versions(),
        "revision": revision(),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
