"""The plugins that need torch keep what plugins promise."""

from __future__ import annotations

import pytest

from harness.testing import contract

pytest.importorskip("torch")
pytest.importorskip("timm")

# Smaller than any use of it, but the same code.
test_timm = contract("timm", settings=["epochs=1", "image_size=32"])
