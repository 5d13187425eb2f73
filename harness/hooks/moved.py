"""What plugins knew by another name up to version 0.1, and what it is called now."""

from __future__ import annotations

import re

MODULES = {
    "harness.boundary": "harness.data.handover",
    "harness.checkpoints": "harness.system.checkpoints",
    "harness.classes": "harness.data.classes",
    "harness.connection": "harness.data.connection",
    "harness.contract": "harness.checks",
    "harness.copies": "harness.data.copies",
    "harness.drawing": "harness.reports.drawing",
    "harness.files": "harness.data.files",
    "harness.hookspecs": "harness.hooks.hookspecs",
    "harness.jpeg": "harness.data.jpeg",
    "harness.names": "harness.text.names",
    "harness.normalization": "harness.data.normalization",
    "harness.numbers": "harness.text.numbers",
    "harness.patches": "harness.data.patches",
    "harness.probes": "harness.types.probes",
    "harness.progress": "harness.system.progress",
    "harness.registry": "harness.hooks.registry",
    "harness.splits": "harness.data.splits",
    "harness.toml_files": "harness.hooks.toml_files",
    "harness.toml_keys": "harness.hooks.toml_keys",
    "harness.verified": "harness.data.verified",
    "harness.zips": "harness.data.zips",
}
"""Modules that plugins import."""
NAMES = {"Figure": "Estimate", "figures": "estimates", "figure": "estimate"}
"""A type, and fields of ``Finding`` and ``Column``."""
_FIELD = re.compile(
    r"(?:Finding|Column)\.__init__\(\) got an unexpected keyword argument '(figures?)'"
    r"|'(?:Finding|Column)' object has no attribute '(figures?)'"
    r"|(?:import name|module 'harness' has no attribute) '(Figure)'"
)


def advice(error: BaseException) -> str:
    """What to write instead of a name that is no more; "" for other errors."""
    if isinstance(error, ModuleNotFoundError) and error.name in MODULES:
        return f"import {MODULES[error.name]} instead"
    if found := _FIELD.search(str(error)):
        old = next(filter(None, found.groups()))
        return f"{old} is {NAMES[old]} now"
    if isinstance(error, ImportError) and error.name == "harness.types":
        return "import it from harness"
    return ""
