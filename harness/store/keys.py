"""Keys: what a result depends on, and so under which digest it is stored.

Results under perturbations are stored together, as a *sweep*: the predictions of a model with the
same fits, or the same features of a part of a dataset. Each of them has a key of its own, by which
it is asked for; ``sweep`` makes that of the whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

SHARED = "_shared"
"""In place of a dataset, in keys of what is the same for all datasets with the same patches: fits,
and features of a part. No dataset can have this name."""
SWEPT = ("perturbation", "perturbation_version", "level", "view", "learned", "sum")
"""Fields in which the keys of a sweep may differ."""
CONDITIONS = "conditions"
"""The field of the key of a sweep that has these fields of each of its results."""
SWEEP = "sweep-"
"""How the name of the folder of a sweep begins."""


@dataclass(frozen=True)
class Key:
    """What a result depends on. Two keys are the same result when their digests are equal.

    ``fields`` must be JSON; ``kind`` is one of ``harness.store.store.KINDS``; ``dataset`` and
    ``name`` also make the folder, for a person to find it.
    """

    kind: str
    dataset: str
    name: str
    fields: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over everything in the key; of a sweep, with ``sweep-`` before."""
        content = json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))
        before = SWEEP if CONDITIONS in self.fields else ""
        return before + sha256(content.encode()).hexdigest()[:16]

    @property
    def is_swept(self) -> bool:
        """Whether the result is about perturbed patches, and so part of a sweep."""
        return bool(self.fields.get("perturbation", "clean") != "clean")

    def as_dict(self) -> dict[str, Any]:
        """The key as plain JSON."""
        return {
            "kind": self.kind,
            "dataset": self.dataset,
            "name": self.name,
            "fields": dict(self.fields),
        }

    def common(self) -> Key:
        """The key without what may differ within a sweep: the same for all that it may hold."""
        fields = {name: value for name, value in self.fields.items() if name not in SWEPT}
        return Key(self.kind, self.dataset, self.name, fields)


def sweep(keys: Sequence[Key]) -> Key:
    """The key of the sweep of some results, which have the same ``common`` key."""
    common = keys[0].common()
    conditions = [
        {name: value for name, value in key.fields.items() if name in SWEPT} for key in keys
    ]
    return Key(common.kind, common.dataset, common.name, {**common.fields, CONDITIONS: conditions})


def parts(key: Key) -> list[Key]:
    """The keys of the results of a sweep, in the order in which it holds them; none if it is none.

    ``key`` may be that of any result.
    """
    common = {name: value for name, value in key.fields.items() if name != CONDITIONS}
    return [
        Key(key.kind, key.dataset, key.name, {**common, **condition})
        for condition in key.fields.get(CONDITIONS, ())
    ]
