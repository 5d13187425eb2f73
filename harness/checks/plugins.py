"""What plugins promise as a whole."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from harness.checks.bench import Bench
from harness.checks.outcome import Broken, Skipped
from harness.checks.watching import none_outside
from harness.hooks.loader import GROUP
from harness.hooks.registry import Plugin


def loads(plugin: Plugin, bench: Bench) -> None:
    """It loads, and all that its hooks return is well formed."""
    if plugin.status:
        raise Broken(plugin.status, "see harness plugins --json", plugin.traceback)


def loaded_alone(plugin: Plugin, bench: Bench) -> tuple[dict[str, Any], Path]:
    """What a fresh process that loads it answers, once, and its folder."""
    if plugin.status:
        raise Skipped("it does not load")
    if plugin.distribution.endswith(".toml"):
        raise Skipped("it is a TOML file, read by another plugin")

    def make() -> tuple[dict[str, Any], Path]:
        others = [point.name for point in entry_points(group=GROUP) if point.name != plugin.name]
        files = [path for path in bench.files if path.stem == plugin.name]
        alone = Bench(bench.registry, bench.data, without=others, files=files)
        folder = bench.new_folder("alone")
        return alone.in_fresh_process({"kind": "heavy"}, folder, plugin), folder

    return bench.once(("alone", plugin.name), make)


def light(plugin: Plugin, bench: Bench) -> None:
    """Loading it imports no package that takes long, so that ``harness list`` stays quick."""
    imported = loaded_alone(plugin, bench)[0]["imported"]
    if imported:
        raise Broken(
            f"loading it imports {', '.join(imported)}",
            "import inside functions, or name them with harness.hooks.later",
        )


def own_folder(plugin: Plugin, bench: Bench) -> None:
    """Loading it writes nothing but caches and temporary files."""
    answer, folder = loaded_alone(plugin, bench)
    none_outside(answer["written"], folder, "write files where a run asks for them, if at all")


PLUGIN = (loads, light, own_folder)
