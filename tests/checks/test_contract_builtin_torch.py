"""The plugins that need torch keep what plugins promise."""

from __future__ import annotations

import pytest

from harness.testing import contract

pytest.importorskip("torch")
pytest.importorskip("timm")

# Smaller than any use of it, but the same code.
test_timm = contract("timm", settings=["epochs=1", "image_size=32"])

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 9)

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3)))
"""
TOML = """
kind = "torch-checkpoint"
name = "few"
network = "net:Net"
classes = ["ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM"]
trained_on = "unknown"
device = "cpu"

[weights]
file = "net.pt"
"""


def test_a_checkpoint(command, tmp_path):
    import torch

    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "few.toml").write_text(TOML)
    torch.save({"head.weight": torch.rand(9, 3), "head.bias": torch.rand(9)}, tmp_path / "net.pt")
    output = command("check", "few", "--plugin", "few.toml")
    assert "BROKEN" not in output
    for promise in ("any-batch", "fresh-process", "own-folder", "pretrained", "memory"):
        assert f"ok       model:few:{promise}" in output
