"""Every plugin that comes with the harness keeps its promises; those of torch are beside."""

from __future__ import annotations

import csv
from importlib.metadata import entry_points

import cv2
import numpy as np
import pytest

from harness.testing import contract

pytestmark = pytest.mark.once

NEED_TORCH = {"timm"}
"""In ``test_contract_builtin_torch.py``."""

for point in entry_points(group="harness"):
    assert point.dist is not None
    if point.dist.name == "histo-harness" and point.name not in NEED_TORCH:
        globals()[f"test_{point.name}"] = contract(point.name)


@pytest.fixture
def patches():
    """Six patches of each of three classes: uint8 RGB (18, 28, 28, 3), and labels."""
    images = np.random.default_rng(0).integers(0, 256, (18, 28, 28, 3), np.uint8)
    return images, np.arange(18) % 3


def kept(output, name, count):
    """Whether ``harness check`` found nothing broken, and that this was read at all."""
    assert f"{count} promises: 0 broken" in output
    assert f"ok       dataset:{name}:reads" in output
    assert f"ok       dataset:{name}:own-folder" in output


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pathmnist(save, command, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (18, 28, 28, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(18, dtype=np.uint8)[:, None] % 9
    (tmp_path / "data").mkdir()
    save(tmp_path / "data" / "pathmnist.npz", **arrays)
    kept(command("check", "pathmnist-28", "--data", "data"), "pathmnist-28", 14)


def test_a_table(patches, command, tmp_path):
    with (tmp_path / "patches.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group", "split"])
        for number, (image, label) in enumerate(zip(*patches, strict=True)):
            cv2.imwrite(str(tmp_path / f"{number}.png"), image)
            split = ("train", "validation", "test")[number // 3 % 3]
            rows.writerow([f"{number}.png", "abc"[label], number, split])
    (tmp_path / "few.toml").write_text('kind = "table"\ntable = "patches.csv"\n')
    kept(command("check", "few", "--plugin", "few.toml"), "few", 17)


def test_parquet(patches, command, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    for part in ("train", "test"):
        encoded = [cv2.imencode(".png", image)[1].tobytes() for image in patches[0]]
        images = pa.array([{"bytes": data, "path": part} for data in encoded])
        table = pa.table({"image": images, "label": pa.array("abc"[n] for n in patches[1])})
        pyarrow.parquet.write_table(table, tmp_path / f"{part}.parquet")
    text = 'kind = "parquet"\ntrain = "train.parquet"\ntest = "test.parquet"\n'
    (tmp_path / "few.toml").write_text(text)
    kept(command("check", "few", "--plugin", "few.toml"), "few", 17)
