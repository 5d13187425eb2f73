"""``harness compare`` and ``harness contrast``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.commands.common import (
    FAILED,
    OK,
    data_folder,
    executor_for,
    existing_store,
    exit_code,
    leaderboards_folder,
    print_failures,
    print_json,
    registry_of,
)
from harness.errors import HarnessError
from harness.progress import say

if TYPE_CHECKING:
    from harness.plan import Request
    from harness.registry import Registry


def compare(options: argparse.Namespace) -> int:
    """Print how two models compare."""
    from harness import compare as comparing
    from harness import compare_published as published
    from harness.statistics.intervals import Sampling

    registry = registry_of(options)
    names = (options.one, options.other)
    effect, margin = options.design_effect, options.margin
    results = [result for result, _ in registry.published]
    if any(name.startswith(published.PREFIX) for name in names):
        if options.json:
            raise HarnessError("compare: --json is for two measured models")
        measured = {}
        for name in names:
            if not name.startswith(published.PREFIX):
                dataset = _compared_dataset(options)
                store = existing_store(options)
                truth, entries = comparing.measured(store, dataset, registry.versions, effect)
                entry = comparing.find(entries, name, dataset, comparing.failed(store, truth))
                measured[name] = published.of_entry(entry, truth)
        test_set = next((side.test_set for side in measured.values()), "")
        sampling = Sampling(design_effect=effect)
        sides = [
            measured.get(name)
            or published.of_result(results, name, test_set, registry.plugins, sampling)
            for name in names
        ]
        print("\n\n".join(published.text(sides[0], sides[1], results, effect, margin)))
        return exit_code(options, registry)
    dataset = _compared_dataset(options)
    store = existing_store(options)
    truth, entries = comparing.measured(store, dataset, registry.versions, effect)
    failed = comparing.failed(store, truth)
    one, other = (comparing.find(entries, name, dataset, failed) for name in names)
    compared = comparing.compare(truth, one, other, effect, margin)
    if options.json:
        print_json(comparing.as_json(compared))
    else:
        print("\n\n".join(comparing.text(compared)))
    return exit_code(options, registry)


def _compared_dataset(options: argparse.Namespace) -> str:
    """The dataset that is meant: the one that was named, or the only one of the store."""
    known = existing_store(options).datasets()
    if options.dataset is None and len(known) != 1:
        raise HarnessError(
            f"compare: say --dataset, one of {', '.join(known)}"
            if known
            else f"--store {options.store}: no results there; run harness run --all first"
        )
    return str(options.dataset or known[0])


def contrast(options: argparse.Namespace) -> int:
    """Train models on two versions of the same patches and print how they compare."""
    from harness import contrast as contrasting
    from harness import planner, report
    from harness.execute import execute
    from harness.store import Store, disk_error

    registry = registry_of(options)
    request, n_train = _contrast_request(options, registry)
    folder = leaderboards_folder(options)
    store = Store(options.store)
    plan = planner.build(registry, store, request)
    plan.failures |= plan.unavailable
    executor = executor_for(options, registry, store)
    failures = execute(plan, store, registry, executor, options.time_limit)
    one, other = (dataset.name for dataset in request.datasets)
    names = [model.name for model in request.models]
    found = contrasting.contrast(store, plan, (one, other), names, n_train)
    if found.compared:
        for table in contrasting.tables(found):
            print(f"\n{table.title}\n\n{report.render(table, 'simple')}")
        print(f"\n{contrasting.about(found)}")
        try:
            written = contrasting.write(found, folder)
        except OSError as error:
            raise disk_error(error, folder) from error
        say(f"Wrote {', '.join(map(str, written))}")
    print_failures(failures)
    return exit_code(options, registry, FAILED if failures else OK)


def _contrast_request(options: argparse.Namespace, registry: Registry) -> tuple[Request, int]:
    """The request, and how many patches both datasets are trained on."""
    from harness import choose, pairing, plan, settings

    data = data_folder(options)
    models = choose.models(registry, options.model)
    fitted = choose.fitted(registry, models)
    for model in fitted:
        if model.trained_on:
            raise HarnessError(
                f"contrast: {model.name} is pretrained and not trained here; name another model"
            )
    if options.one == options.other:
        raise HarnessError(f"contrast: {options.one} is contrasted with itself; name two datasets")
    one, other = choose.datasets(registry, [options.one, options.other], data)
    names, n_train = pairing.pair(one, other, data)
    request = plan.Request(
        datasets=[registry.datasets.find(name) for name in names],
        models=models,
        data=data,
        seeds=range(options.seed, options.seed + options.seeds),
        protocol=options.protocol,
        given=settings.parse(options.settings, fitted),
        minutes=options.time_limit,
    )
    return request, n_train
