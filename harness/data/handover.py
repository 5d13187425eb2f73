"""What goes between the harness and plugins: a copy that is the receiver's own, or read-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.types.datasets import Dataset, Split, Splits
from harness.types.phantoms import Phantom

if TYPE_CHECKING:
    from harness.types.datasets import Indices


def frozen(values: NDArray[Any]) -> Any:
    """A view of an array of ours, for plugins; from here on nobody writes into it, nor do we.

    As whatever owns the memory is read-only then, ``setflags(write=True)`` raises ValueError.
    """
    owner: Any = values
    while isinstance(owner, np.ndarray):
        owner.flags.writeable = False
        last, owner = owner, owner.base
    if not last.flags.owndata:  # what owns it is no array, and may allow it
        return frozen(np.array(values))
    return values.view()


def kept(values: Any) -> Any:
    """A copy of what may be a plugin's or a caller's, frozen."""
    return frozen(np.array(values))


def lent(values: NDArray[Any]) -> Any:
    """A read-only view of an array that stays the caller's to write to."""
    view = values.view()
    view.flags.writeable = False
    return view


def own(values: NDArray[Any], last: bool) -> Any:
    """An array for one of several receivers, read-only: the ``last`` one gets it, others a copy.

    A view is not enough: libraries such as torch write through one that is read-only to numpy.
    """
    return frozen(values) if last else kept(values)


def file_of(split: Split, index: int) -> tuple[str, bytes] | None:
    """Name and content of a patch's file; None where the split has no files."""
    read = getattr(split, "file", None)
    return None if read is None else read(int(index))


class OwnSplit:
    """A split of a plugin: labels and ids as they were first said, and patches that are copies."""

    def __init__(self, base: Split) -> None:
        self.base = base

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels, int64 (N,), read-only."""
        labels: NDArray[np.int64] = kept(self.base.labels)
        return labels

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """N names."""
        return tuple(self.base.ids)

    @cached_property
    def fingerprint(self) -> str:
        """The plugin's."""
        return self.base.fingerprint

    def read(self, indices: Indices) -> NDArray[Any]:
        """Patches, uint8 (B, H, W, 3), an array of the caller's own."""
        return np.array(self.base.read(lent(np.asarray(indices, np.int64))))

    def file(self, index: int) -> tuple[str, bytes] | None:
        """Name and content of a patch's file; None where the split has no files."""
        return file_of(self.base, index)


class HandedSplit(OwnSplit):
    """A split of ours for one receiver: labels of its own, and what is read is a new array."""

    def read(self, indices: Indices) -> NDArray[Any]:
        """Patches or features, as the split gives them."""
        return self.base.read(np.array(indices, np.int64))


def received(item: Any) -> Any:
    """A contribution as the harness keeps it: nothing in it changes, nor in what it loads.

    Lists become tuples and dictionaries read-only; splits of datasets and of phantoms are read
    through ``OwnSplit``.
    """
    item = _settled(item)
    if isinstance(item, Dataset):
        load = item.load
        return replace(item, load=lambda folder: _own_splits(load(folder)))
    if isinstance(item, Phantom):
        make = item.make

        def made(seed: int) -> Callable[[Mapping[str, float]], Splits]:
            plant = make(seed)
            return lambda doses: _own_splits(plant(MappingProxyType(dict(doses))))

        return replace(item, make=made)
    return item


def _own_splits(splits: Any) -> Any:
    if not isinstance(splits, Splits):  # as is said where it is used
        return splits
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    own: dict[str, Any] = {n: part and OwnSplit(part) for n, part in parts.items()}
    for name in ("groups", "train_groups"):
        names = getattr(splits, name)
        own[name] = None if names is None else tuple(names)
    return replace(splits, warnings=tuple(splits.warnings), **own)


def _settled(value: Any) -> Any:
    """The same without lists and dictionaries, which whoever made them could change."""
    if type(value) in (list, tuple):
        return tuple(map(_settled, value))
    if type(value) is dict:
        return MappingProxyType({key: _settled(part) for key, part in value.items()})
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        settled = {name: _settled(part) for name, part in found.items()}
        changed = {name: part for name, part in settled.items() if part is not found[name]}
        return replace(value, **changed) if changed else value
    return value
