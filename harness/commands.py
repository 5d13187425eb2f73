"""What each command of ``harness`` does: call, print, say how it went."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.progress import say

if TYPE_CHECKING:
    from harness.failures import Failure
    from harness.leaderboard import Board
    from harness.plan import Plan, Request
    from harness.probes import Finding
    from harness.registry import Registry
    from harness.store import Store
    from harness.supervise import Worker
    from harness.types import Dataset

OK, FAILED, USAGE, BROKEN_PLUGIN, INTERRUPTED = 0, 1, 2, 3, 130


def _without(options: argparse.Namespace) -> list[str]:
    """Plugins to switch off."""
    return [*filter(None, os.environ.get("HARNESS_WITHOUT", "").split(",")), *options.without]


def _files(options: argparse.Namespace) -> list[Path]:
    """Files to load as plugins."""
    named = filter(None, os.environ.get("HARNESS_PLUGINS", "").split(","))
    return [*map(Path, named), *options.plugin]


def _registry(options: argparse.Namespace) -> Registry:
    registry = _load(options)
    _warn(registry)
    return registry


def _load(options: argparse.Namespace) -> Registry:
    from harness.plugins import load_plugins

    trace = (lambda line: say(f"hook: {line}")) if options.trace_hooks else None
    return load_plugins(_without(options), _files(options), trace)


def _warn(registry: Registry, store: Store | None = None) -> None:
    """Name the broken plugins, and the files with the details if there is a store for them."""
    from harness.failures import keep

    for plugin in registry.broken:
        why = plugin.status
        if store is not None:
            why = str(keep(store, f"plugin-{plugin.name}", why, plugin.traceback))
        say(f"WARNING: plugin {plugin.name} of {plugin.distribution} is left out: {why}")


def _data(options: argparse.Namespace) -> Path:
    """The data folder; one that the user named must be there."""
    if options.data is None:
        return Path("data")
    folder = Path(options.data)
    if not folder.is_dir():
        raise HarnessError(
            f"--data {folder} (or $HARNESS_DATA): no such folder; name the one with the datasets"
        )
    return folder


def _leaderboards(options: argparse.Namespace) -> Path:
    """The folder for tables; said to be unusable before, not after, the work for them is done."""
    folder: Path = options.leaderboards
    path = folder.absolute()
    there = next(known for known in (path, *path.parents) if known.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise HarnessError(
            f"--leaderboards {folder}: {there} is no folder that can be written to; name another"
        )
    return folder


def _check_tables(options: argparse.Namespace, registry: Registry) -> None:
    """What is wrong with the wishes for tables is said before, not after, the work for them."""
    from harness import choose, columns

    _leaderboards(options)
    columns.choose(options.columns, choose.model_probes(registry, ()))


def _exit(options: argparse.Namespace, registry: Registry, code: int = OK) -> int:
    return BROKEN_PLUGIN if options.strict and registry.broken and not code else code


def run(options: argparse.Namespace) -> int:
    """Compute what the store lacks, then write the leaderboards."""
    if not (options.all or options.dataset or options.model):
        raise HarnessError("run: say --all, or choose with --dataset and --model; see harness list")
    if options.all and (options.dataset or options.model):
        raise HarnessError("run: say either --all or --dataset and --model, not both")
    if options.audit_selection and options.protocol != "held-out":
        raise HarnessError(
            "run: --audit-selection compares the protocols in one training; leave out --protocol"
        )
    from harness import planner
    from harness.execute import execute
    from harness.store import Store
    from harness.supervise import Worker

    registry = _load(options)
    try:
        request = _run_request(options, registry)
        _check_tables(options, registry)
    except HarnessError:
        _warn(registry)
        raise
    store = Store(options.store)
    _warn(registry, store)
    names = [dataset.name for dataset in request.datasets]
    to_do = planner.build(registry, store, request)

    def write_clean() -> None:
        _write_boards(options, registry, names)

    if options.all:
        for label, failure in to_do.unavailable.items():
            say(f"Not run: {label}: {failure.why}")
    else:
        to_do.failures |= to_do.unavailable
    worker = Worker(options.arguments, store, options.time_limit)
    failures = execute(to_do, store, registry, worker, write_clean)
    _print_boards(options, registry, names)
    _print_failures(failures)
    if failures:
        return FAILED
    return BROKEN_PLUGIN if registry.broken else OK


def plan_run(options: argparse.Namespace) -> tuple[Plan, Store]:
    """What ``run`` plans, for the process that computes it."""
    from harness import planner
    from harness.store import Store

    registry, store = _load(options), Store(options.store)
    return planner.build(registry, store, _run_request(options, registry)), store


def _run_request(options: argparse.Namespace, registry: Registry) -> Request:
    from harness import choose, plan, settings

    data = _data(options)
    models = choose.models(registry, options.model)
    datasets = choose.datasets(registry, options.dataset, data)
    probes = [] if options.no_probes else choose.model_probes(registry, options.probe)
    return plan.Request(
        datasets=datasets,
        models=models,
        perturbations=choose.perturbations(registry, options.perturbation, probes),
        perturbed=choose.perturbed(models, options.model),
        data=data,
        seeds=range(options.seed, options.seed + options.seeds),
        protocol=options.protocol,
        audit_selection=options.audit_selection,
        given=settings.parse(options.settings, choose.fitted(registry, models)),
    )


def _print_failures(failures: Mapping[str, Failure]) -> None:
    """A line for each reason; what failed for the same one is counted."""
    labels: dict[str, list[str]] = {}
    for label, failure in failures.items():
        labels.setdefault(failure.why, []).append(label)
    for first, *others in labels.values():
        more = f" (and {len(others)} more for the same reason)" if others else ""
        print(f"harness: failed: {first}{more}: {failures[first]}", file=sys.stderr)


def _print_boards(options: argparse.Namespace, registry: Registry, names: Sequence[str]) -> None:
    from harness import formats

    for board in _write_boards(options, registry, names):
        print(f"\n{board.dataset['name']}\n")
        print(formats.table(board, "simple", options.columns))
        for line in formats.about(board, options.columns):
            print(f"\n{line}")


def _write_boards(
    options: argparse.Namespace, registry: Registry, names: Sequence[str]
) -> list[Board]:
    from harness import formats, leaderboard, mistakes, report, selection
    from harness.choose import model_probes
    from harness.store import Store, disk_error

    store = Store(options.store)
    published = [result for result, _ in registry.published]
    boards = [
        leaderboard.build(
            store,
            name,
            published,
            model_probes(registry, ()),
            registry.perturbations,
            options.design_effect,
            options.temperature,
            registry.versions,
        )
        for name in names
        if name in store.datasets()
    ]
    for board in boards:
        try:
            written = formats.write(board, options.leaderboards, options.columns)
            written += mistakes.write(board, options.leaderboards)
            written += selection.write(store, board, options.leaderboards)
            written += report.write_probes(board, options.leaderboards)
        except OSError as error:
            raise disk_error(error, options.leaderboards) from error
        say(f"Wrote {', '.join(map(str, written))}")
    return boards


def audit(options: argparse.Namespace) -> int:
    """Ask probes about datasets and write what they found."""
    from harness import choose, report
    from harness.store import Store, disk_error
    from harness.supervise import Worker

    registry = _registry(options)
    data = _data(options)
    datasets = choose.datasets(registry, options.dataset, data)
    folder = _leaderboards(options)
    store = Store(options.store)
    worker = Worker(options.arguments, store, options.time_limit)
    found, failures = _ask(registry, worker, datasets, data, options.probe)
    every = choose.dataset_probes(registry, ())
    for dataset, findings in found.items():
        print(f"\n{dataset}\n")
        print("\n".join(report.summary(every, findings)))
        try:
            written = report.write_audit(store, dataset, every, findings, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    _print_failures(failures)
    return _exit(options, registry, FAILED if failures else OK)


def plan_audit(options: argparse.Namespace) -> tuple[Plan, Store]:
    """What ``audit`` and ``calibrate`` plan, for the process that computes it."""
    from harness import choose
    from harness.store import Store

    registry, store, data = _load(options), Store(options.store), _data(options)
    datasets = choose.datasets(registry, options.dataset, data)
    return _plan_probes(registry, store, datasets, data, options.probe), store


def _plan_probes(
    registry: Registry, store: Store, datasets: Sequence[Dataset], data: Path, names: Sequence[str]
) -> Plan:
    from harness import choose, planner
    from harness.plan import Request

    probes = choose.dataset_probes(registry, names)
    request = Request(datasets=datasets, models=(), probes=probes, data=data)
    return planner.build(registry, store, request)


def _ask(
    registry: Registry,
    worker: Worker,
    datasets: Sequence[Dataset],
    data: Path,
    names: Sequence[str],
) -> tuple[dict[str, dict[str, Finding]], dict[str, Failure]]:
    """Ask the named probes; all that is known of each dataset by now, and what failed."""
    from harness import report
    from harness.execute import execute

    store = worker.store
    plan = _plan_probes(registry, store, datasets, data, names)
    failures = execute(plan, store, registry, worker)
    return report.load_findings(store, _plan_probes(registry, store, datasets, data, ())), failures


def calibrate(options: argparse.Namespace) -> int:
    """Ask probes about phantoms and write how far they can be trusted."""
    from harness import calibrate, choose, report
    from harness.failures import keep_error
    from harness.store import Store, disk_error
    from harness.supervise import Worker

    registry = _registry(options)
    data = _data(options)
    probes = choose.dataset_probes(registry, options.probe)
    phantoms = [registry.phantoms.find(name) for name in options.phantom or registry.phantoms]
    datasets = choose.datasets(registry, options.dataset, data) if options.dataset else []
    folder = _leaderboards(options)
    store = Store(options.store)
    worker = Worker(options.arguments, store)
    real, failures = _ask(registry, worker, datasets, data, options.probe)
    checks = []
    for dataset in datasets:
        for probe in probes:
            if probe.check is None:
                continue
            title = f"{probe.name} on {dataset.name}"
            try:
                tables = calibrate.check(probe, dataset.name, dataset.load(data), store)
            except OSError as error:
                raise disk_error(error, store.root) from error
            except Exception as error:
                name = f"check-{dataset.name}-{probe.name}"
                failures[f"known changes: {title}"] = keep_error(store, name, error)
            else:
                checks += [(title, table) for table in tables]
    for phantom in phantoms:
        readings = calibrate.run(
            phantom, probes, options.seeds, store, _without(options), _files(options)
        )
        page = calibrate.describe(phantom, probes, readings, real)
        for title, table in [*((table.title, table) for table in page.tables), *checks]:
            print(f"\n{title}\n\n{report.render(table, 'simple')}")
        if options.probe:
            say("Not written: the page is about all probes; leave out --probe")
            continue
        made = (calibrate.versions(probes), options.said)
        try:
            written = report.write_calibration(phantom, page, readings, checks, *made, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    _print_failures(failures)
    return _exit(options, registry, FAILED if failures else OK)


def compare(options: argparse.Namespace) -> int:
    """Print how two models compare."""
    from harness import compare as comparing
    from harness import compare_published as published

    registry = _registry(options)
    names = (options.one, options.other)
    results = [result for result, _ in registry.published]
    if any(name.startswith(published.PREFIX) for name in names):
        if options.json:
            raise HarnessError("compare: --json is for two measured models")
        truth = None
        sides = []
        for name in names:
            if name.startswith(published.PREFIX):
                sides.append(published.of_result(results, name))
            else:
                dataset = _compared_dataset(options)
                store = _stored(options)
                truth, entries = comparing.measured(store, dataset, registry.versions)
                entry = comparing.find(entries, name, dataset, comparing.failed(store, truth))
                sides.append(published.of_entry(entry, truth))
        known = [d.classes for d in registry.datasets.values() if d.test_set == sides[0].test_set]
        print("\n\n".join(published.text(sides[0], sides[1], known[0] if known else None)))
        return _exit(options, registry)
    dataset = _compared_dataset(options)
    store = _stored(options)
    truth, entries = comparing.measured(store, dataset, registry.versions)
    failed = comparing.failed(store, truth)
    one, other = (comparing.find(entries, name, dataset, failed) for name in names)
    compared = comparing.compare(truth, one, other)
    if options.json:
        content = comparing.as_json(compared)
        print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n".join(comparing.text(compared)))
    return _exit(options, registry)


def contrast(options: argparse.Namespace) -> int:
    """Train models on two versions of the same patches and print how they compare."""
    from harness import contrast as contrasting
    from harness import planner, report
    from harness.execute import execute
    from harness.store import Store, disk_error
    from harness.supervise import Worker

    registry = _registry(options)
    request, n_train = _contrast_request(options, registry)
    folder = _leaderboards(options)
    store = Store(options.store)
    plan = planner.build(registry, store, request)
    plan.failures |= plan.unavailable
    worker = Worker(options.arguments, store, options.time_limit)
    failures = execute(plan, store, registry, worker)
    one, other = (dataset.name for dataset in request.datasets)
    found = contrasting.contrast(store, plan, (one, other), request.models, n_train)
    if found.compared:
        for table in contrasting.tables(found):
            print(f"\n{table.title}\n\n{report.render(table, 'simple')}")
        print(f"\n{contrasting.about(found)}")
        try:
            written = contrasting.write(found, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    _print_failures(failures)
    return _exit(options, registry, FAILED if failures else OK)


def plan_contrast(options: argparse.Namespace) -> tuple[Plan, Store]:
    """What ``contrast`` plans, for the process that computes it."""
    from harness import planner
    from harness.store import Store

    registry, store = _load(options), Store(options.store)
    return planner.build(registry, store, _contrast_request(options, registry)[0]), store


def _contrast_request(options: argparse.Namespace, registry: Registry) -> tuple[Request, int]:
    """The request, and how many patches both datasets are trained on."""
    from harness import choose, plan, settings
    from harness import contrast as contrasting

    data = _data(options)
    models = choose.models(registry, options.model)
    one, other = choose.datasets(registry, [options.one, options.other], data)
    datasets, n_train = contrasting.pair(one, other, data)
    request = plan.Request(
        datasets=datasets,
        models=models,
        data=data,
        seeds=range(options.seed, options.seed + options.seeds),
        protocol=options.protocol,
        given=settings.parse(options.settings, choose.fitted(registry, models)),
    )
    return request, n_train


def _compared_dataset(options: argparse.Namespace) -> str:
    """The dataset that is meant: the one that was named, or the only one of the store."""
    known = list(_stored(options).datasets())
    if options.dataset is None and len(known) != 1:
        raise HarnessError(
            f"compare: say --dataset, one of {', '.join(known)}"
            if known
            else f"--store {options.store}: no results there; run harness run --all first"
        )
    return str(options.dataset or known[0])


def _stored(options: argparse.Namespace) -> Store:
    """A store that must be there already."""
    from harness.store import Store

    if not (options.store / "store.json").exists():
        raise HarnessError(f"--store {options.store}: no store there; run harness run --all first")
    return Store(options.store)


def leaderboard(options: argparse.Namespace) -> int:
    """Write the tables again from the store."""
    store = _stored(options)
    registry = _registry(options)
    _check_tables(options, registry)
    _print_boards(options, registry, list(store.datasets()))
    return _exit(options, registry)


def list_(options: argparse.Namespace) -> int:
    """Print everything that plugins offer."""
    from harness import listing

    registry = _registry(options)
    print(listing.offers(registry, _data(options)))
    return _exit(options, registry)


def plugins(options: argparse.Namespace) -> int:
    """Print what is installed."""
    from harness import listing

    registry = _registry(options)
    if options.json:
        print(json.dumps(listing.plugins_json(registry), indent=1, ensure_ascii=False))
    else:
        print(listing.plugins(registry))
    return _exit(options, registry)


def get(options: argparse.Namespace) -> int:
    """Download a dataset."""
    from harness.download import check_space, fetch

    registry = _registry(options)
    dataset = registry.datasets.find(options.name)
    if not dataset.downloads:
        raise HarnessError(f"dataset {dataset.name} has nothing to download")
    folder = Path(options.data or "data")
    check_space(dataset.downloads, folder)
    for file in dataset.downloads:
        fetch(file, folder, mirror=options.mirror)
    say(f"{dataset.name} is ready in {folder}: harness run --dataset {dataset.name}")
    return _exit(options, registry)


def check(options: argparse.Namespace) -> int:
    """See whether plugins, or what they offer, keep what they promise."""
    from harness.contract import cases as contract

    if options.promises:
        print("\n".join(contract.table()))
        return OK
    if not options.names:
        raise HarnessError("check: name a plugin, or what one offers; see harness plugins")
    bench = contract.bench_for(
        files=_files(options),
        without=_without(options),
        data=_data(options),
        dataset=options.dataset,
    )
    statuses: list[str] = []
    for case in contract.cases(bench, options.names, options.settings):
        outcome = case.check(bench)
        statuses.append(outcome.status)
        print(outcome, flush=True)
        if options.traceback and outcome.details:
            print(outcome.details)
    broken, skipped = statuses.count("BROKEN"), statuses.count("skipped")
    used = f"; patches of {bench.dataset.name}" if bench.looked else ""
    print(f"{len(statuses)} promises: {broken} broken, {skipped} skipped{used}")
    return FAILED if broken else OK


def new_plugin(options: argparse.Namespace) -> int:
    """Write a distribution to start a plugin from."""
    from harness import new_plugin as new

    try:
        written = new.write(options.name, options.kind, options.folder)
    except OSError as error:
        raise HarnessError(
            f"--folder {options.folder}: {error.strerror}; name one that can be written to"
        ) from error
    say(f"Wrote {', '.join(map(str, written))}")
    print(f"Next:\n{new.next_steps(options.name, options.kind, options.folder)}")
    return OK
