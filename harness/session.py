"""The Python interface: what a notebook, a script and a command call.

import harness

session = harness.Session(store="runs")
session.run(datasets=["nct-crc-he-sample"], models=["color-histogram", "rgb-means"])
board = session.leaderboard("nct-crc-he-sample")  # shows itself in a notebook
board.to_dataframe()
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from harness.errors import HarnessError
from harness.statistics.equivalence import MARGIN

if TYPE_CHECKING:
    from harness.analysis.audits import DatasetAudit
    from harness.analysis.compare import Compared
    from harness.analysis.compare_published import ComparedCounts
    from harness.analysis.contrast import Contrast
    from harness.analysis.few_shot import FewShot
    from harness.analysis.leaderboard import Board
    from harness.analysis.transfer import Transfer
    from harness.hooks.registry import Registry
    from harness.jobs.dataset import Instance
    from harness.reports.shown import Patches, PatchPredictions
    from harness.store.failures import Failure
    from harness.store.store import Store
    from harness.types.executors import Execution
    from harness.types.models import Setting

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def _quietly(
    method: Callable[Concatenate[Session, P], T],
) -> Callable[Concatenate[Session, P], T]:
    """A method that shows no bars and messages if its session is quiet."""

    @wraps(method)
    def quiet(self: Session, /, *given: P.args, **named: P.kwargs) -> T:
        from harness.system import messages, progress

        with ExitStack() as shown:
            if self.quiet:
                shown.enter_context(progress.silent())
                shown.enter_context(messages.silent(logging.WARNING))
            return method(self, *given, **named)

    return quiet


class Session:
    """A store of results, a folder of data, and plugins.

    Nothing is loaded or created before it is needed. ``store`` and ``data`` default to
    ``$HARNESS_STORE`` or ``runs``, and ``$HARNESS_DATA`` or ``data``, as for the command.
    ``plugins`` are ``.py`` or ``.toml`` files, ``without`` names of plugins to switch off.
    ``time_limit`` is in minutes; ``jobs`` is the number of processes that compute, "auto" for one
    for each GPU. ``executor`` names who starts them: processes of this machine, or what a plugin
    offers, such as ``ray``, for which there are the ``address`` of the cluster and the cores and
    GPUs that it reserves for each group of jobs.
    ``perturbed_cache`` is how many GB of perturbed patches, which built-in plugins share with
    others, a run may keep on disk while it lasts. With ``trace_hooks``, each hook of a plugin that
    is called is named. A notebook shows a bar while something is computed; with ``quiet``, neither
    bars nor messages other than warnings are shown.
    """

    def __init__(
        self,
        store: str | Path | None = None,
        data: str | Path | None = None,
        *,
        plugins: Iterable[Any] = (),
        without: Iterable[str] = (),
        time_limit: float | None = None,
        jobs: int | Literal["auto"] = 1,
        executor: str = "local",
        address: str = "",
        job_cores: int = 1,
        job_gpus: float = 1.0,
        job_memory: float = 0.0,
        perturbed_cache: float = 8.0,
        trace_hooks: bool = False,
        quiet: bool = False,
    ) -> None:
        self.store_path = Path(store or os.environ.get("HARNESS_STORE") or "runs")
        self.data = Path(data or os.environ.get("HARNESS_DATA") or "data")
        self.plugins = [Path(path) for path in _several("plugins", plugins)]
        self.without = _several("without", without)
        if jobs != "auto" and (not isinstance(jobs, int) or jobs < 1):
            raise HarnessError(f"jobs: {jobs!r} is not a whole number of at least 1, nor 'auto'")
        if not isinstance(job_cores, int) or job_cores < 1:
            raise HarnessError(f"job_cores: {job_cores!r} is not a whole number of at least 1")
        if not 0 < job_gpus < float("inf"):
            raise HarnessError(f"job_gpus: {job_gpus!r} is not a number of GPUs above 0")
        _check_gigabytes("job_memory", job_memory)
        _check_gigabytes("perturbed_cache", perturbed_cache)
        if time_limit is not None and not time_limit > 0:
            raise HarnessError(f"time_limit: {time_limit} is not a number of minutes above 0")
        self.time_limit = time_limit
        self.perturbed_cache = perturbed_cache
        self.jobs = jobs
        self.executor_name = executor
        self.address = address
        self.job_cores = job_cores
        self.job_gpus = job_gpus
        self.job_memory = job_memory
        self.trace_hooks = trace_hooks
        self.quiet = quiet
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
        from harness.store.failures import warn_of_broken

        before = self._registry
        registry = self.load()
        if registry is not before:
            warn_of_broken(registry)
        return registry

    def load(self) -> Registry:
        """The same, without a word about plugins that are broken."""
        from harness.hooks import trial

        contents = self._read()
        if self._registry is None or contents != self._contents:
            self._registry = trial.load(
                self.without, self.plugins, self.time_limit, self.trace_hooks
            )
            self._contents = contents
            self._instances.clear()
        return self._registry

    def _read(self) -> list[bytes]:
        return [path.read_bytes() if path.is_file() else b"" for path in self.plugins]

    @_quietly
    def run(
        self,
        datasets: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        *,
        seeds: Sequence[int] = (0,),
        perturbations: Sequence[str] = (),
        probes: Sequence[str] | None = (),
        settings: Mapping[str, Setting] | None = None,
        protocol: Literal["held-out", "published"] = "held-out",
        audit_selection: bool = False,
    ) -> dict[str, str]:
        """Compute what the store lacks. Returns what failed, and why; empty when all is well.

        Without ``datasets`` or ``models`` these are all that are here. ``settings`` are those
        of ``--set``: ``{"epochs": 5}`` for every model that has it, or ``{"MODEL.epochs": 5}``.
        Models predict patches under the ``perturbations``, of which a name may be a pattern with
        ``*``, and under those that the ``probes`` of models need; None are all probes. Raises
        HarnessError when something that is named is not known, or not here.
        """
        from harness.workflows import running

        _check_protocol(protocol)
        if audit_selection and protocol == "published":
            raise HarnessError(
                "audit_selection compares the protocols in one training; leave out protocol"
            )
        everything = datasets is None and models is None
        registry, problems = self.registry, dict[str, Exception]()
        request = running.request(
            registry,
            self.data,
            self.time_limit,
            problems,
            datasets=() if datasets is None else _several("datasets", datasets, least=1),
            models=() if models is None else _several("models", models, least=1),
            seeds=_seeds(seeds),
            perturbations=_several("perturbations", perturbations),
            probes=None if probes is None else _several("probes", probes),
            assigned=_assigned(settings),
            protocol=protocol,
            audit_selection=audit_selection,
        )
        store = self._store()
        failures = running.compute(
            request,
            store,
            registry,
            self.executor(store, registry),
            not_run=_not_run if everything else None,
        )
        return running.as_text(failures, problems)

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
        from harness.analysis import asking, measuring
        from harness.store.failures import Collected
        from harness.workflows import running

        _check_numbers(design_effect, margin)
        store = self._store_with(dataset)
        problems = Collected(store)
        board = running.board(
            store,
            dataset,
            self.registry,
            temperature=temperature,
            design_effect=design_effect,
            margin=margin,
            ask=asking.careful(problems, self.time_limit),
            measure=measuring.careful(problems, self.time_limit),
        )
        for label, failure in problems.items():
            log.warning(f"{label}: {failure}")
        return board

    def compare(
        self,
        one: str,
        other: str,
        dataset: str | None = None,
        *,
        design_effect: float = 1.0,
        margin: float = MARGIN,
    ) -> Compared | ComparedCounts:
        """Two results on the same patches: differences with intervals, and where they differ.

        Names are those of ``harness compare``; with ``published:MODEL`` only counts are compared.
        Without ``dataset`` it is the only one of the store. Raises HarnessError when a result is
        not stored, or when they are of different patches.
        """
        from harness.workflows import comparing

        _check_numbers(design_effect, margin)

        return comparing.compare(
            self.store_path, self.registry, one, other, dataset, design_effect, margin
        )

    @_quietly
    def audit(self, dataset: str, probes: Sequence[str] = ()) -> DatasetAudit:
        """What the images of a dataset give away about the class: what its probes found.

        Asks the named probes of datasets, or all of them, if the store does not know already; the
        audit has what was found before, too. What failed is in ``failed``. Raises HarnessError when
        the dataset or a probe is not known, or when nothing at all was found.
        """
        from harness.planning import choose
        from harness.workflows import auditing, running

        registry, names = self.registry, _several("probes", probes)
        datasets = choose.datasets(registry, [dataset], self.data)
        store = self._store()
        executor = self.executor(store, registry)
        found, failures = auditing.audit(
            registry, store, datasets, self.data, names, executor, self.time_limit
        )
        failed = running.as_text(failures)
        if not found:
            why = "; ".join(f"{label}: {text}" for label, text in failed.items())
            raise HarnessError(f"audit: nothing was found of {dataset}: {why}")
        return replace(found[0], failed=failed)

    @_quietly
    def contrast(
        self,
        one: str,
        other: str,
        models: Sequence[str],
        *,
        seeds: Sequence[int] = (0,),
        settings: Mapping[str, Setting] | None = None,
        protocol: Literal["held-out", "published"] = "held-out",
    ) -> Contrast:
        """Train models on two datasets that share their patches, and compare what comes of it.

        Such as ``nct-crc-he`` and ``nct-crc-he-nonorm``, patches with and without color
        normalization. Computes what the store lacks; what failed is in ``failed``. Raises
        HarnessError when the datasets do not share their test patches, or when no model is left to
        compare.
        """
        from harness.workflows import contrasting

        _check_protocol(protocol)
        registry = self.registry
        request = contrasting.request(
            registry,
            self.data,
            self.time_limit,
            one,
            other,
            models=_several("models", models, least=1),
            seeds=_seeds(seeds),
            assigned=_assigned(settings),
            protocol=protocol,
        )
        store = self._store()
        executor = self.executor(store, registry)
        found, _ = contrasting.compute(request, registry, store, executor)
        if not found.compared:
            why = "; ".join(f"{label}: {text}" for label, text in found.failed.items())
            raise HarnessError(f"contrast: nothing to compare: {why}")
        return found

    @_quietly
    def transfer(
        self,
        home: str,
        cohorts: Sequence[str],
        models: Sequence[str],
        *,
        seeds: Sequence[int] = (0,),
        settings: Mapping[str, Setting] | None = None,
    ) -> Transfer:
        """Test models that are fitted on one dataset on others, on the classes that both have.

        Such as ``nct-crc-he`` and ``["starc-9"]``. Baselines, such as color histograms, join the
        models. Computes what the store lacks; what failed is in ``failed``. Raises HarnessError
        when a cohort shares no class with the dataset, or when no model could be tested.
        """
        from harness.workflows import transferring

        registry = self.registry
        request = transferring.request(
            registry,
            self.data,
            self.time_limit,
            home,
            _several("cohorts", cohorts, least=1),
            models=_several("models", models, least=1),
            seeds=_seeds(seeds),
            assigned=_assigned(settings),
        )
        store = self._store()
        executor = self.executor(store, registry)
        found, failures = transferring.compute(request, registry, store, executor)
        if found is None or not any(cohort.models for cohort in found.cohorts):
            why = "; ".join(f"{label}: {failure}" for label, failure in failures.items())
            raise HarnessError(f"transfer: no model was tested: {why}")
        return found

    @_quietly
    def few_shot(
        self,
        dataset: str,
        models: Sequence[str],
        *,
        heads: Sequence[str] = ("simpleshot",),
        episodes: int = 100,
        seed: int = 0,
        settings: Mapping[str, Setting] | None = None,
    ) -> FewShot:
        """How well models do with 1 to 32 labeled patches of each class, on frozen features.

        Extracts the features that the store lacks; what failed is in ``failed``. ``heads`` are
        fitted in each episode, "simpleshot", "linear" or "linear-uni", whatever the models' own
        are. Raises HarnessError when something that is named is not known, not here or has no
        features, when a class has no patch to draw, and when nothing at all could be computed.
        """
        from harness.hooks.command_options import MOST_EPISODES
        from harness.workflows import few_shot, running

        if not isinstance(episodes, int) or not 2 <= episodes <= MOST_EPISODES:
            raise HarnessError(
                f"episodes: {episodes!r} is not a whole number from 2 to {MOST_EPISODES:,}"
            )
        registry = self.registry
        request = few_shot.request(
            registry,
            self.data,
            self.time_limit,
            dataset,
            models=_several("models", models, least=1),
            heads=_several("heads", heads),
            episodes=episodes,
            seed=_seeds([seed])[0],
            assigned=_assigned(settings),
        )
        store = self._store()
        executor = self.executor(store, registry)
        found, failures = few_shot.compute(request, registry, store, executor)
        if found is None:
            failed = running.as_text(failures)
            why = "; ".join(f"{label}: {text}" for label, text in failed.items())
            raise HarnessError(f"few-shot: nothing was computed: {why}")
        return found

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
        from harness.workflows import lookup

        return lookup.predictions_of(
            self._store_with(dataset),
            dataset,
            model,
            seed,
            perturbation,
            level,
            self.registry,
        )

    @_quietly
    def patches(
        self, dataset: str, ids: Sequence[str], predictions: PatchPredictions | None = None
    ) -> Patches:
        """Patches of a dataset by their ids, uint8 RGB; they show themselves in a notebook.

        With ``predictions``, what was predicted stands below each. Raises HarnessError for an id
        that the dataset does not have.
        """
        from harness.jobs.dataset import load
        from harness.planning import choose
        from harness.workflows import lookup

        registry = self.registry
        if dataset not in self._instances:
            (found,) = choose.datasets(registry, [dataset], self.data)
            self._instances[dataset] = load(found, self.data, registry.described_by(dataset))
        return lookup.patches_of(self._instances[dataset], ids, predictions)

    def executor(
        self,
        store: Store,
        registry: Registry | None = None,
        jobs: int | Literal["auto"] | None = None,
    ) -> Execution:
        """What computes with the plugins and data of this session, into a store.

        Raises HarnessError when no plugin offers the executor.
        """
        from harness.execution.executor_guard import Guarded
        from harness.execution.local import gpus
        from harness.jobs.session import versions
        from harness.jobs.spec import SessionSpec
        from harness.types.executors import Executor, ExecutorOptions

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
            cache_bytes=int(self.perturbed_cache * 1e9),
        )
        wanted = jobs or self.jobs
        at_once = max(1, len(gpus())) if wanted == "auto" else wanted
        options = ExecutorOptions(
            *(at_once, self.time_limit, self.address),
            *(self.job_cores, self.job_gpus, self.job_memory),
        )
        if executors.plugin[chosen.name].name in registry.guests:
            return Guarded(chosen.name, lambda: chosen.start(spec, options), store)
        return chosen.start(spec, options)

    def _store(self) -> Store:
        """The store, created if it is not there."""
        from harness.store.store import Store

        return Store(self.store_path)

    def _store_with(self, dataset: str) -> Store:
        """The store, which must have results of a dataset."""
        from harness.store.store import Store
        from harness.text.names import suggest

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


def _not_run(label: str, why: Failure) -> None:
    log.info(f"Not run: {label}: {why}")


def _seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    try:
        chosen = tuple(int(seed) for seed in seeds)
    except (TypeError, ValueError):
        raise HarnessError(f"seeds: {seeds!r} is no list of whole numbers") from None
    if not chosen or min(chosen) < 0 or max(chosen) >= 2**32:
        raise HarnessError("seeds: give whole numbers from 0 to 4294967295, at least one")
    return chosen


def _check_gigabytes(name: str, number: Any) -> None:
    if not isinstance(number, int | float) or not 0 <= number < float("inf"):
        raise HarnessError(f"{name}: {number!r} is not a number of gigabytes, 0 or more")


def _check_numbers(design_effect: float, margin: float) -> None:
    if not 1 <= design_effect < float("inf"):
        raise HarnessError(f"design_effect: {design_effect!r} is not a number of at least 1")
    if not 0 < margin < 1:
        raise HarnessError(
            f"margin: {margin!r} is not a difference in accuracy above 0 and below 1, such as 0.005"
        )


def _assigned(settings: Mapping[str, Setting] | None) -> list[str]:
    """Settings as the command takes them."""
    return [f"{name}={value}" for name, value in (settings or {}).items()]


def _check_protocol(protocol: str) -> None:
    if protocol not in ("held-out", "published"):
        raise HarnessError(f"protocol: {protocol!r} is neither 'held-out' nor 'published'")
