"""What readers of TOML files promise, and plugins as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from harness.contract.bench import Bench
from harness.contract.outcome import Broken, Skipped
from harness.contract.watching import none_outside
from harness.errors import HarnessError
from harness.plugins import GROUP
from harness.registry import Plugin
from harness.types import Reader


def refused(reader: Reader, bench: Bench, content: Mapping[str, Any]) -> None:
    """Raise Broken unless a file with this content is refused by an error that names it."""
    path = bench.new_folder("reader") / f"{reader.name}.toml"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in content.items()) + "\n")
    what = f"a file with {', '.join(content)} alone"
    try:
        found = reader.read(path, content)
    except HarnessError as error:
        if path.name not in str(error):
            raise Broken(f"{what} is refused by {str(error)!r}", "name the file") from error
        return
    except Exception as error:
        raise Broken(
            f"{what} raised {type(error).__name__}: {error}",
            "raise harness.HarnessError that names the file and the key that it lacks",
        ) from error
    raise Broken(
        f"{what} was read as {len(list(found))} contributions",
        "raise harness.HarnessError that names the file and the key",
    )


def empty_file(reader: Reader, bench: Bench) -> None:
    """A file that says nothing but its kind is refused with a HarnessError that names it."""
    refused(reader, bench, {"kind": reader.name})


def unknown_keys(reader: Reader, bench: Bench) -> None:
    """A file with a key that means nothing is refused with a HarnessError that names it."""
    refused(reader, bench, {"kind": reader.name, "surely_no_such_key": 1})


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
            "import inside functions, or name them with harness.later",
        )


def own_folder(plugin: Plugin, bench: Bench) -> None:
    """Loading it writes nothing but caches and temporary files."""
    answer, folder = loaded_alone(plugin, bench)
    none_outside(answer["written"], folder, "write files where a run asks for them, if at all")


READER = (empty_file, unknown_keys)
PLUGIN = (loads, light, own_folder)
