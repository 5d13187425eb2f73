"""Pictures kept in the store, so that only those are drawn whose content has changed."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np

from harness.hooks.later import named
from harness.store.store import Key, Store
from harness.store.stored import DamagedError

FILE = "picture."
"""The name of a file, before its format."""


def key_of(dataset: str, name: str, draw: Callable[..., Any], content: Any) -> Key | None:
    """Under what a picture of ``content``, JSON with NumPy arrays, is kept.

    It depends on matplotlib and on the code of the package that ``draw`` is from and of this one.
    None, so that it is drawn each time, where not all of that is known: functions of plugins of
    other distributions, which may use any module, functions with values of their own, such as
    closures, and content that is not JSON.
    """
    if (code := _code(draw)) is None:
        return None
    try:
        shown = json.dumps(content, default=_digest)
    except (TypeError, ValueError):
        return None
    return Key(
        "picture",
        dataset,
        name,
        {
            "content": hashlib.sha256(shown.encode()).hexdigest(),
            "code": [code, version("matplotlib")],
        },
    )


def read(store: Store, key: Key) -> tuple[dict[str, bytes], dict[str, int]] | None:
    """A kept picture, by format, and the numbers in it that stand for names.

    None if there is none or it is damaged.
    """
    try:
        if folder := store.find(key):
            paths = folder.glob(f"{FILE}*")
            found = {path.suffix[1:]: path.read_bytes() for path in paths}
            return found, store.record(key)["numbers"]
    except (DamagedError, OSError):
        pass
    return None


def keep(store: Store, key: Key, files: Mapping[str, bytes], numbers: dict[str, int]) -> None:
    """Keep a picture, in all its formats, in place of the one of the same name."""
    try:
        store.remove(store.folder(key))  # which has fewer formats
        with store.write(key) as (folder, record):
            for form, content in files.items():
                (folder / f"{FILE}{form}").write_bytes(content)
            record["numbers"] = numbers
        for folder in store.results(key.kind, key.dataset, key.name).iterdir():
            if folder.name != key.digest:
                store.remove(folder)
    except OSError:  # a store that is only read: drawn again the next time
        pass


def _code(draw: Callable[..., Any]) -> str | None:
    """The name of a function, and a digest of the code that it may use."""
    if (name := named(draw)) is None:
        if not inspect.isfunction(draw) or draw.__closure__ or draw.__defaults__:
            return None
        name = f"{draw.__module__}:{draw.__qualname__}"
    package = name.partition(":")[0].partition(".")[0]
    return f"{name} {_code_of(package)}" if package in _own_packages() else None


@cache
def _own_packages() -> frozenset[str]:
    """The packages of this distribution."""
    points = distribution("histo-harness").entry_points
    return frozenset(point.module.partition(".")[0] for point in points)


@cache
def _code_of(package: str) -> str:
    """A digest of the files of a package of this distribution and of the core."""
    code = hashlib.sha256()
    for name in sorted({"harness", package}):
        for folder in getattr(import_module(name), "__path__", ()):
            for path in sorted(Path(folder).rglob("*.py")):
                code.update(path.read_bytes())
    return code.hexdigest()


def _digest(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return [str(value.dtype), value.shape, digest]
