"""How fast figures, their intervals and a board come from stored logits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness_published
from harness.analysis import leaderboard
from harness.statistics import intervals
from harness.store.store import Key, Store

sys.path.append(str(Path(__file__).parent))

N_OF = np.array([1338, 847, 339, 634, 1035, 592, 741, 421, 1233])
LABELS = np.repeat(np.arange(9), N_OF)


def many_logits(n):
    rng = np.random.default_rng(0)
    for separation in np.linspace(2, 5, n):
        logits = rng.standard_normal((len(LABELS), 9)).astype(np.float32)
        logits[np.arange(len(LABELS)), LABELS] += separation
        yield logits


def figures_of_20():
    for logits in many_logits(20):
        intervals.of_predictions(LABELS, logits.argmax(axis=1), 9)


def test_every_figure_of_a_matrix_for_20_models(benchmark):
    benchmark.pedantic(figures_of_20, rounds=1)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from many_patches import peak_of_this_process\n"
        "from test_statistics_speed import figures_of_20\n"
        "figures_of_20(); print(peak_of_this_process())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = float(done.stdout)
    benchmark.extra_info["peak MiB, interpreter and imports included"] = round(peak)
    assert peak < 1024


def test_auroc_intervals_for_20_models(benchmark):
    benchmark.pedantic(
        lambda: [intervals.auroc(LABELS, logits) for logits in many_logits(20)], rounds=1
    )


@pytest.fixture
def store_of_100(tmp_path):
    store = Store(tmp_path / "runs")
    described = Key("dataset", "d", "splits", {"data": "copy"})
    with store.write(described) as (folder, record):
        np.save(folder / "labels.npy", LABELS)
        np.save(folder / "folds.npy", np.zeros_like(LABELS))
        (folder / "ids.json").write_text("[" + ",".join(f'"{i}"' for i in range(len(LABELS))) + "]")
        record |= {
            **{"name": "d", "title": "D", "classes": list("abcdefghi"), "license": "", "folds": 0},
            **{"source": "", "test_set": "CRC-VAL-HE-7K", "trained_on": "NCT-CRC-HE-100K"},
            **{"shortfall": "", "train_shortfall": "", "n_train": 100_000, "n_test": len(LABELS)},
            "test_counts": N_OF.tolist(),
        }
    store.set_current(described)
    for number, logits in enumerate(many_logits(100)):
        key = Key("prediction", "d", f"m{number}", {"data": "copy"})
        with store.write(key) as (folder, record):
            np.save(folder / "logits.npy", logits)
            record |= {
                **{"model": f"m{number}", "title": "M", "data": "copy", "perturbation": "clean"},
                **{"view": "identity", "seed": 0, "created": "2026", "selected_on": "held-out"},
                **{"initial_weights": "none", "device": "CPU", "fits": [], "features": []},
                **{"seconds": 1.0, "n": len(LABELS), "deviations": "", "plugin": "p"},
            }
    return store


@pytest.mark.parametrize("cached", [False, True], ids=["first time", "cached"])
def test_a_board_of_100_results(benchmark, store_of_100, cached):
    published = harness_published.harness_published_results()

    def build():
        return leaderboard.build(store_of_100, "d", published)

    if cached:
        build()
    board = benchmark.pedantic(build, rounds=1)
    assert sum(row["result"] == "measured" for row in board.rows) == 100
