"""What perturbations, probes and the like promise of files: that using them writes none."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from harness.checks.bench import Bench
from harness.checks.watching import none_outside
from harness.hooks.kinds import BY_TYPE


def use(about: Any, bench: Bench) -> None:
    """Use a contribution on the few patches, as its kind says."""
    resolve_name(BY_TYPE[type(about)].types[type(about)].use)(about, bench)


def own_folder(about: Any, bench: Bench) -> None:
    """Nothing is written but caches and temporary files."""
    use(about, bench)
    kind = BY_TYPE[type(about)].name
    task, folder = bench.task("use", about.name)
    plugin = bench.registry.offers[kind].plugin[about.name]
    answer = bench.in_fresh_process({**task, "offer": kind}, folder, plugin)
    none_outside(answer["written"], folder, "return what there is to tell, and write nothing")
