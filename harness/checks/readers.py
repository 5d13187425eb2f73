"""What readers of TOML files promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.checks.bench import Bench
from harness.checks.outcome import Broken
from harness.errors import HarnessError
from harness.hooks.toml_files import described
from harness.types.readers import Reader


def refused(reader: Reader, bench: Bench, content: Mapping[str, Any]) -> None:
    """Raise Broken unless a file with this content is refused by an error that names it."""
    path = bench.new_folder("reader") / f"{reader.name}.toml"
    path.write_text(
        "\n".join(f"{key} = {value!r}" for key, value in content.items()) + "\n", encoding="utf-8"
    )
    what = f"a file with {', '.join(content)} alone"
    try:
        found = described(reader, path, content)
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
        f"{what} was read as {len(found)} contributions",
        "raise harness.HarnessError that names the file and the key",
    )


def empty_file(reader: Reader, bench: Bench) -> None:
    """A file that says nothing but its kind is refused with a HarnessError that names it."""
    refused(reader, bench, {"kind": reader.name})


def unknown_keys(reader: Reader, bench: Bench) -> None:
    """A file with a key that means nothing is refused with a HarnessError that names it."""
    refused(reader, bench, {"kind": reader.name, "surely_no_such_key": 1})


READER = (empty_file, unknown_keys)
