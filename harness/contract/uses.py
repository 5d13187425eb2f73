"""What perturbations and probes promise of files: that using them writes none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.contract import dataset_probes, model_probes, perturbations
from harness.contract.bench import Bench
from harness.contract.watching import none_outside
from harness.plugins import KINDS
from harness.probes import DatasetProbe, ModelProbe
from harness.types import Perturbation

USES: dict[type, Callable[[Any, Bench], Any]] = {
    Perturbation: perturbations.applied,
    DatasetProbe: dataset_probes.found,
    ModelProbe: model_probes.found,
}
"""How each is used on the few patches."""


def own_folder(about: Any, bench: Bench) -> None:
    """Nothing is written but caches and temporary files."""
    USES[type(about)](about, bench)
    kind = KINDS[type(about)]
    task, folder = bench.task("use", about.name)
    plugin = bench.registry.offers[kind].plugin[about.name]
    answer = bench.in_fresh_process({**task, "offer": kind}, folder, plugin)
    none_outside(answer["written"], folder, "return what there is to tell, and write nothing")
