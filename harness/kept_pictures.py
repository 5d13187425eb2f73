"""Pictures kept in the store, so that only those are drawn whose content has changed."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from harness.later import named
from harness.store import Key, Store
from harness.stored import DamagedError

FILE = "picture.png"


def key_of(dataset: str, name: str, draw: Callable[..., Any], content: Any) -> Key | None:
    """Under what a picture of ``content``, JSON with NumPy arrays, is kept.

    It depends on the file in which ``draw`` is defined, and on matplotlib. None, so that it is
    drawn each time, where that file or the content cannot be told: a function with values of its
    own, such as a closure, or content that is not JSON.
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
            "code": [code, version("histo-harness"), version("matplotlib")],
        },
    )


def read(store: Store, key: Key) -> tuple[bytes, dict[str, int]] | None:
    """A kept picture, as PNG, and the numbers in it that stand for names.

    None if there is none or it is damaged.
    """
    try:
        if folder := store.find(key):
            return (folder / FILE).read_bytes(), store.record(key)["numbers"]
    except (DamagedError, OSError):
        pass
    return None


def keep(store: Store, key: Key, png: bytes, numbers: dict[str, int]) -> None:
    """Keep a picture in place of the one of the same name."""
    try:
        with store.write(key) as (folder, record):
            (folder / FILE).write_bytes(png)
            record["numbers"] = numbers
        for folder in store.results(key.kind, key.dataset, key.name).iterdir():
            if folder.name != key.digest:
                store.remove(folder)
    except OSError:  # a store that is only read: drawn again the next time
        pass


def _code(draw: Callable[..., Any]) -> str | None:
    if (name := named(draw)) is not None:
        spec = find_spec(name.partition(":")[0])
        path = spec.origin if spec else None
    elif inspect.isfunction(draw) and not draw.__closure__:
        name, path = draw.__qualname__, draw.__code__.co_filename
    else:
        return None
    try:
        return f"{name} {hashlib.sha256(Path(path or '').read_bytes()).hexdigest()}"
    except OSError:
        return None


def _digest(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return [str(value.dtype), value.shape, digest]
