"""A job, and the session that it runs in, as data: names, numbers and keys, never objects.

Whoever can start a process that imports ``harness`` and sees the store and the data can run a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from harness.store.store import Key
from harness.types.models import Setting

Kind = Literal[
    "dataset",
    "features",
    "fit",
    "prediction",
    "sum",
    "finding",
    "calibration",
    "check",
    "planted",
]
"""What computes a job: see ``harness.jobs.KINDS``."""
CHANGED = "has changed since the run began; run the command again"


@dataclass(frozen=True)
class SessionSpec:
    """Where jobs run and with which plugins. Those of the store and the data are absolute."""

    store: str
    data: str
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Files that are loaded as plugins, and the version that each must have."""
    without: tuple[str, ...] = ()
    """Plugins that are switched off."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Plugins that must not be imported, and why."""
    cache_bytes: int = 0
    """What perturbed patches that are kept for the length of a run may take on disk."""

    def as_json(self) -> dict[str, Any]:
        """The session as plain JSON."""
        return dict(_plain(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SessionSpec:
        """The session of ``as_json``."""
        return cls(**{**content, "without": tuple(content["without"])})


@dataclass(frozen=True)
class ConditionSpec:
    """What is done to patches: a perturbation at a level ("" for none), then a view."""

    perturbation: str = ""
    level: float | None = None
    view: str = "identity"
    learned_from: tuple[str, ...] = ()
    """Parts of the dataset that the perturbation learned from; their features are the job's input
    ``learned``, in this order."""


@dataclass(frozen=True)
class FeaturesSpec:
    """Features by what brings them: a model with certain settings, a probe or a perturbation."""

    of: Literal["model", "probe", "perturbation"]
    by: str
    """Its name."""
    name: str
    """Name of the features, of which a probe may have several."""


@dataclass(frozen=True)
class JobSpec:
    """One result to compute, stored under ``key`` once the results in ``inputs`` are.

    Which of the fields matter depends on ``kind``; ``harness.jobs`` has a module for each.
    """

    kind: Kind
    key: Key
    label: str
    """For a person to read."""
    dataset: str = ""
    """Name of the dataset whose patches it reads; "" for that of the key."""
    data: str = ""
    """Fingerprint of the dataset that the job was planned for."""
    inputs: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)
    """The stored results that the job needs, by their part in it."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """All settings of a model, those that change only the execution included."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Digest, label and warning of the initial weights of a model; empty without."""
    seed: int = 0
    fold: int = 0
    selected_on: str = "none"
    """The split that chooses the checkpoint: none, held-out, validation or test; for a pretrained
    classifier, what its authors did."""
    audited: bool = False
    """Whether what each epoch of a fit predicts is kept."""
    part: str = ""
    """The part of the dataset that features are of."""
    features: FeaturesSpec | None = None
    condition: ConditionSpec = ConditionSpec()
    names: tuple[str, ...] = ()
    """Of a calibration or a planted fault, the probes."""
    group: str = ""
    """Jobs with the same are computed together, in one pass over the patches."""
    kept_in: str = ""
    """The folder, below that of the store, in which perturbed patches are kept for other groups
    that need them; "" if none does."""
    title: str = ""
    """What such a group is called."""
    n_fit: int = 0
    """Patches that a fit may train on, for an estimate of how long it takes."""
    estimated: bool = False
    """Whether the model can tell how long a fit takes."""
    as_long_as: Key | None = None
    """A result that takes about as long."""
    hint: str = ""
    """How to make it shorter."""
    network: bool = False
    """Whether it runs a network, on a GPU if there is one."""
    owner: str = ""
    """The plugin whose model it runs."""
    guests: tuple[str, ...] = ()
    """The plugins whose code it runs, built-in ones left out; the same for all jobs of a group."""

    @property
    def about(self) -> str:
        """Name of the dataset that the job is about."""
        return self.dataset or self.key.dataset

    @property
    def fits(self) -> tuple[Key, ...]:
        """The fits that a prediction is made with."""
        return self.inputs.get("fits", ())

    @property
    def needs(self) -> tuple[Key, ...]:
        """The stored results that the job needs."""
        return tuple({k.digest: k for keys in self.inputs.values() for k in keys}.values())

    def as_json(self) -> dict[str, Any]:
        """The job as plain JSON."""
        return dict(_plain(self))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> JobSpec:
        """The job of ``as_json``."""
        given = dict(content)
        given["key"] = Key(**given["key"])
        given["inputs"] = {
            name: tuple(Key(**key) for key in keys) for name, keys in given["inputs"].items()
        }
        if given["as_long_as"]:
            given["as_long_as"] = Key(**given["as_long_as"])
        if given["features"]:
            given["features"] = FeaturesSpec(**given["features"])
        condition = given["condition"]
        learned_from = tuple(condition["learned_from"])
        given["condition"] = ConditionSpec(**{**condition, "learned_from": learned_from})
        for name in ("names", "guests"):
            given[name] = tuple(given[name])
        return cls(**given)


def sweep_key(group: Sequence[JobSpec]) -> Key:
    """Names the workspace of a pass: the same when the same results are wanted again."""
    key = group[0].key
    return Key("sweep", key.dataset, key.name, {"parts": [job.key.digest for job in group]})


def _plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as what JSON has in their place."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value
