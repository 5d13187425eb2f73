"""For authors of plugins: the contract as a test in one line, and fixtures.

    from harness.testing import contract

    test_contract = contract("my_plugin")

The fixtures ``patches`` and ``run_harness`` come with ``pytest_plugins = ["harness.testing"]`` in
the ``conftest.py`` at the top of the tests. Nothing is registered with pytest by itself, so that
having the harness installed changes nothing for other tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.checks.cases import Case
    from harness.types.datasets import Splits


def contract(
    name: str,
    *,
    plugin_file: str | Path | None = None,
    dataset: str | None = None,
    data: str | Path | None = None,
    settings: Sequence[str] = (),
) -> Callable[..., None]:
    """A test of everything that a plugin, or one contribution, promises: ``harness check NAME``.

    ``name`` is a plugin's (its entry point, its distribution or the stem of its file) or that of
    something a plugin offers. ``plugin_file`` is a .py or .toml file to load as a plugin first.
    ``dataset`` names the dataset whose patches are used, by default the first demo dataset;
    ``data`` is the folder with data (``$HARNESS_DATA``, or ``data``); ``settings`` are those of
    ``--set``, such as ``["epochs=1"]``. The test has a case for each promise and contribution.
    Without its data a dataset is skipped, and the whole test if it is the one named. Raises
    HarnessError when nothing has that name.
    """
    from harness.checks.cases import bench_for, cases

    files = () if plugin_file is None else (Path(plugin_file).absolute(),)
    folder = Path(data or os.environ.get("HARNESS_DATA") or "data")
    bench = bench_for(files=files, data=folder, dataset=dataset)
    if dataset and (lack := bench.registry.datasets.find(dataset).missing(folder)):

        def test_nothing() -> None:
            pytest.skip(f"dataset {dataset}: {lack}")

        return test_nothing
    found = cases(bench, [name], settings)

    @pytest.mark.parametrize("case", found, ids=str)
    def test_contract(case: Case) -> None:
        __tracebackhide__ = True
        outcome = case.check(bench)
        if outcome.status == "skipped":
            pytest.skip(outcome.message)
        if outcome.status == "BROKEN":
            pytest.fail("\n".join(filter(None, (str(outcome), outcome.details))), pytrace=False)

    return test_contract


@pytest.fixture(scope="session")
def patches() -> Splits:
    """A few real patches of each class of the first demo dataset: Splits with a validation."""
    from harness.checks.cases import bench_for

    return bench_for().patches


@pytest.fixture
def run_harness(tmp_path: Path) -> Callable[..., str]:
    """``run_harness("run", "--model", "mine")`` runs the command in a folder of the test's own.

    Returns both outputs together; ``code`` is the exit code to expect, 0 by default. Files that it
    writes are in ``tmp_path``.
    """

    def run(*arguments: object, code: int = 0) -> str:
        own = {key: text for key, text in os.environ.items() if not key.startswith("HARNESS_")}
        command = [sys.executable, "-m", "harness", *map(str, arguments)]
        done: Any = subprocess.run(
            command,
            cwd=tmp_path,
            env={
                **own,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONIOENCODING": "utf-8",
            },
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=600,
            check=False,
        )
        output: str = done.stdout + done.stderr
        assert done.returncode == code, output
        return output

    return run
