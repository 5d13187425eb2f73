"""Some trials of the simulation that damages a file of a store at a time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parent / "store_faults.py"
TRIALS, PARTS = 120, 2
KINDS = ("dataset", "failed", "features", "figures", "finding", "fit", "prediction")
NAMES = ("store.json", "current", "record.json", "logits.npy", "values.npy")
OF_FITS = ("held-out.npz", "epochs.npz", "estimator.skops", "figures.json")


@pytest.mark.parametrize("part", range(PARTS))
def test_no_damage_changes_a_figure_or_goes_unnamed(part):
    # In a process of its own, in which no other test has loaded or set anything.
    trials = TRIALS // PARTS
    asked = ["--trials", str(trials), "--first", str(part * trials), "--dataset", "toy-folds"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = re.findall(r"^may be damaged: (.*)/(.*)$", done.stdout, re.MULTILINE)
    assert {kind for kind, _ in files} >= {*KINDS}
    assert {name for _, name in files} >= {*NAMES, *OF_FITS}
    healed = re.findall(r"refused, then computed again +(\d+)$", done.stdout, re.MULTILINE)
    assert sum(map(int, healed)) > 5, "it is damage that shows"
