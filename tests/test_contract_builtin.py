"""Every plugin that comes with the harness keeps its promises; those of torch are beside."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from harness.testing import contract

pytestmark = pytest.mark.once

NEED_TORCH = {"timm"}
"""In ``test_contract_builtin_torch.py``."""

for point in entry_points(group="harness"):
    assert point.dist is not None
    if point.dist.name == "histo-harness" and point.name not in NEED_TORCH:
        globals()[f"test_{point.name}"] = contract(point.name)
