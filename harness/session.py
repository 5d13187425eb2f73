"""The Python interface: what a notebook, a script and a test call.

import harness

session = harness.Session(store="runs")
session.run(datasets=["nct-crc-he-sample"], models=["color-histogram", "rgb-means"])
board = session.leaderboard("nct-crc-he-sample")  # shows itself in a notebook
board.to_dataframe()
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import HarnessError
from harness.statistics.equivalence import MARGIN

if TYPE_CHECKING:
    from harness.compare import Compared
    from harness.executors import Execution
    from harness.jobs.dataset import Instance
    from harness.leaderboard import Board
    from harness.predictions import Run
    from harness.registry import Registry
    from harness.shown import Patches, PatchPredictions
    from harness.store import Store
    from harness.types import Setting


class Session:
    """A store of results, a folder of data, and plugins.

    Nothing is loaded or created before it is needed. ``store`` and ``data`` default to
    ``$HARNESS_STORE`` or ``runs``, and ``$HARNESS_DATA`` or ``data``, as for the command.
    ``plugins`` are ``.py`` or ``.toml`` files, ``without`` names of plugins to switch off.
    ``time_limit`` is in minutes; ``jobs`` is the number of processes that compute. ``executor``
    names who starts them: processes of this machine, or what a plugin offers.
    """

    def __init__(
        self,
        store: str | Path | None = None,
        data: str | Path | None = None,
        *,
        plugins: Iterable[Any] = (),
        without: Iterable[str] = (),
        time_limit: float | None = None,
        jobs: int = 1,
        executor: str = "local",
    ) -> None:
        self.store_path = Path(store or os.environ.get("HARNESS_STORE") or "runs")
        self.data = Path(data or os.environ.get("HARNESS_DATA") or "data")
        self.plugins = [Path(path) for path in _several("plugins", plugins)]
        self.without = _several("without", without)
        if jobs < 1:
            raise HarnessError(f"jobs: {jobs} is less than 1")
        if time_limit is not None and not time_limit > 0:
            raise HarnessError(f"time_limit: {time_limit} is not a number of minutes above 0")
        self.time_limit = time_limit
        self.jobs = jobs
        self.executor_name = executor
        self._instances: dict[str, Instance] = {}
        self._registry: Registry | None = None
        self._contents: list[bytes] = []
        """Of the plugin files, when they were loaded."""

    def __repr__(self) -> str:
        return f"harness.Session(store={str(self.store_path)!r}, data={str(self.data)!r})"

    @property
    def registry(self) -> Registry:
        """What the plugins offer; files that were edited since are loaded again.

        Plugins that are broken are named in a warning.
        """
        from harness import trial
        from harness.failures import warn_of_broken

        contents = self._read()
        if self._registry is None or contents != self._contents:
            self._registry = trial.load(self.without, self.plugins, self.time_limit)
            self._contents = contents
            self._instances.clear()
            warn_of_broken(self._registry)
        return self._registry

    def _use(self, registry: Registry) -> None:
        """Take what the plugins of this session offer from a registry that is loaded already."""
        self._registry, self._contents = registry, self._read()

    def _read(self) -> list[bytes]:
        return [path.read_bytes() if path.is_file() else b"" for path in self.plugins]

    def run(
        self,
        datasets: Sequence[str],
        models: Sequence[str],
        *,
        seeds: Sequence[int] = (0,),
        perturbations: Sequence[str] = (),
        probes: Sequence[str] = (),
        settings: Mapping[str, Setting] | None = None,
        protocol: Literal["held-out", "published"] = "held-out",
        audit_selection: bool = False,
    ) -> dict[str, str]:
        """Compute what the store lacks. Returns what failed, and why; empty when all is well.

        ``settings`` are those of ``--set``: ``{"epochs": 5}`` for every model that has it, or
        ``{"MODEL.epochs": 5}``. Models predict patches under the ``perturbations``, and under
        those that the ``probes`` of models need. Raises HarnessError when something that is named
        is not known, or not here.
        """
        from harness import choose, planner
        from harness import settings as model_settings
        from harness.execute import execute
        from harness.plan import Request
        from harness.store import Store

        if protocol not in ("held-out", "published"):
            raise HarnessError(f"protocol: {protocol!r} is neither 'held-out' nor 'published'")
        if audit_selection and protocol == "published":
            raise HarnessError(
                "audit_selection compares the protocols in one training; leave out protocol"
            )
        try:
            chosen_seeds = tuple(int(seed) for seed in seeds)
        except TypeError:
            raise HarnessError(f"seeds: {seeds!r} is no list of whole numbers") from None
        if not chosen_seeds or min(chosen_seeds) < 0:
            raise HarnessError("seeds: give whole numbers from 0 on, at least one")
        registry, minutes = self.registry, self.time_limit
        problems: dict[str, Exception] = {}
        chosen = choose.models(registry, _several("models", models, least=1))
        probes, perturbations = _several("probes", probes), _several("perturbations", perturbations)
        asked = choose.model_probes(registry, probes) if probes else []
        assigned = [f"{name}={value}" for name, value in (settings or {}).items()]
        request = Request(
            datasets=choose.datasets(registry, _several("datasets", datasets, 1), self.data),
            models=chosen,
            perturbations=choose.perturbations(registry, perturbations, asked, problems, minutes),
            perturbed=[model.name for model in chosen],
            data=self.data,
            seeds=chosen_seeds,
            protocol=protocol,
            audit_selection=audit_selection,
            given=model_settings.parse(assigned, choose.fitted(registry, chosen)),
            minutes=minutes,
        )
        store = Store(self.store_path)
        plan = planner.build(registry, store, request)
        plan.failures |= plan.unavailable
        failures = execute(plan, store, registry, self.executor(store), minutes)
        found = {label: str(failure) for label, failure in failures.items()}
        return {**{label: str(error) for label, error in problems.items()}, **found}

    def executor(self, store: Store, registry: Registry | None = None) -> Execution:
        """What computes with the plugins and data of this session, into a store.

        Raises HarnessError when no plugin offers the executor.
        """
        from harness.executor_guard import Guarded
        from harness.executors import Executor, ExecutorOptions
        from harness.jobs.session import versions
        from harness.jobs.spec import SessionSpec

        registry = registry or self.registry
        executors = registry.of(Executor)
        chosen = executors.find(self.executor_name)
        spec = SessionSpec(
            # A plugin may change the working folder.
            store=str(store.root.absolute()),
            data=str(self.data.absolute()),
            plugins=versions(registry),
            without=tuple(self.without),
            refused=registry.refused,
        )
        options = ExecutorOptions(self.jobs, self.time_limit)
        if executors.plugin[chosen.name].name in registry.guests:
            return Guarded(chosen.name, lambda: chosen.start(spec, options), store)
        return chosen.start(spec, options)

    def leaderboard(
        self,
        dataset: str,
        *,
        temperature: bool = False,
        design_effect: float = 1.0,
        margin: float = MARGIN,
    ) -> Board:
        """The leaderboard of a dataset, from stored results and published ones.

        ``temperature`` adds rows with logits scaled by a temperature that is fitted on the held-out
        part; ``design_effect`` widens intervals; ``margin`` is the difference in accuracy within
        which a model reproduces what was published. Raises HarnessError when nothing is stored of
        the dataset, or when a file of the store is damaged.
        """
        from harness import choose, leaderboard
        from harness.metrics import Metric

        return leaderboard.build(
            self._store_with(dataset),
            dataset,
            [result for result, _ in self.registry.published],
            choose.model_probes(self.registry, ()),
            self.registry.perturbations,
            design_effect,
            temperature,
            self.registry.versions,
            margin=margin,
            metrics=[*self.registry.of(Metric).values()],
        )

    def predictions(
        self,
        dataset: str,
        model: str,
        *,
        seed: int | None = None,
        perturbation: str = "",
        level: float | None = None,
    ) -> PatchPredictions:
        """What a model predicted for each test patch; of several seeds, the first by default.

        ``model`` is its name, or the digest of a result where it was run in several ways. Raises
        HarnessError when there is no such prediction in the store.
        """
        import numpy as np

        from harness import predictions
        from harness.shown import PatchPredictions
        from harness.stored import load_array

        store = self._store_with(dataset)
        truth = predictions.ground_truth(store, dataset)
        run = self._run_of(store, dataset, model, seed)
        logits = run.logits()
        if perturbation:
            levels = sorted(at for name, at in run.perturbed if name == perturbation)
            at = levels[0] if levels and level is None else level
            place = run.perturbed.get((perturbation, float("nan" if at is None else at)))
            if place is None:
                known = [f"{name} {at:g}" for name, at in sorted(run.perturbed)]
                asked = perturbation if level is None else f"{perturbation} {level:g}"
                raise HarnessError(
                    f"{model} under {asked} is not stored; there is {', '.join(known) or 'none'}"
                )
            logits = load_array(place, "logits.npy")
        return PatchPredictions(
            model=run.record["model"],
            classes=truth.classes,
            ids=tuple(truth.ids),
            labels=truth.labels,
            logits=logits / np.float32(run.terms),
            no_probabilities=run.no_probabilities,
        )

    def _run_of(self, store: Store, dataset: str, model: str, seed: int | None) -> Run:
        from harness import predictions
        from harness.registry import suggest

        every = predictions.runs(store, dataset, self.registry.perturbations)
        ways = [
            runs
            for runs in predictions.trainings(every, self.registry.versions)
            if model in (runs[0].record["model"], *(run.record["digest"] for run in runs))
        ]
        if not ways:
            models = {str(run.record["model"]) for run in every}
            raise HarnessError(
                f"no predictions of {model} for {dataset} are stored; {suggest(model, models)}"
            )
        if len(ways) > 1:
            digests = ", ".join(str(runs[0].record["digest"]) for runs in ways)
            raise HarnessError(f"{model} was run in several ways; name a result: {digests}")
        by_seed = {run.record["seed"]: run for run in ways[0]}
        for run in ways[0]:
            if run.record["digest"] == model:
                by_seed = {run.record["seed"]: run}
        chosen = by_seed.get(min(by_seed) if seed is None else seed)
        if chosen is None:
            raise HarnessError(
                f"{model} was not run with the seed {seed}; there is "
                + ", ".join(map(str, sorted(by_seed)))
            )
        return chosen

    def compare(
        self,
        one: str,
        other: str,
        dataset: str,
        *,
        design_effect: float = 1.0,
        margin: float = MARGIN,
    ) -> Compared:
        """Two measured models on the same patches, with paired intervals.

        Names and errors are those of ``harness compare``.
        """
        from harness import compare

        store = self._store_with(dataset)
        truth, entries = compare.measured(store, dataset, self.registry.versions, design_effect)
        failed = compare.failed(store, truth)
        left, right = (compare.find(entries, name, dataset, failed) for name in (one, other))
        return compare.compare(truth, left, right, design_effect, margin)

    def patches(self, dataset: str, ids: Sequence[str]) -> Patches:
        """Patches of a dataset by their ids, uint8 RGB; they show themselves in a notebook.

        Raises HarnessError for an id that the dataset does not have.
        """
        import numpy as np

        from harness import choose
        from harness.jobs.dataset import load
        from harness.registry import suggest
        from harness.shown import Patches

        if dataset not in self._instances:
            (found,) = choose.datasets(self.registry, [dataset], self.data)
            described_by = self.registry.described_by(dataset)
            self._instances[dataset] = load(found, self.data, described_by)
        instance = self._instances[dataset]
        parts = [
            part
            for part in (instance.splits.test, instance.splits.train, instance.splits.validation)
            if part is not None
        ]
        places = {id_: (part, at) for part in parts for at, id_ in enumerate(part.ids)}
        for id_ in ids:
            if id_ not in places:
                raise HarnessError(f"{dataset} has no patch {id_!r}; {suggest(id_, places)}")
        images = [part.read([at])[0] for part, at in (places[id_] for id_ in ids)]
        labels = [int(part.labels[at]) for part, at in (places[id_] for id_ in ids)]
        classes = instance.dataset.classes
        return Patches(
            images=np.stack(images) if images else np.zeros((0, 0, 0, 3), np.uint8),
            ids=tuple(ids),
            labels=tuple(classes[label] for label in labels),
        )

    def _store_with(self, dataset: str) -> Store:
        """The store, which must have results of a dataset."""
        from harness.registry import suggest
        from harness.store import Store

        store = Store.existing(self.store_path)
        known = store.datasets()
        if dataset not in known:
            raise HarnessError(
                f"nothing of {dataset} is in {self.store_path}; {suggest(dataset, known)}"
            )
        return store


def _several(what: str, names: Iterable[str], least: int = 0) -> list[str]:
    """Names that were given as a list, and are not one text, which is a list of letters."""
    if isinstance(names, str | Path):
        raise HarnessError(f"{what}: give a list, such as [{str(names)!r}]")
    found = list(names)
    if len(found) < least:
        raise HarnessError(f"{what}: give a list of names, at least one")
    return found
