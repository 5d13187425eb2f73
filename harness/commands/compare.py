"""``harness compare``."""

from __future__ import annotations

import argparse

from harness.commands import options as shared
from harness.commands.common import existing_store, exit_code, registry_of
from harness.commands.printing import print_json, print_parts, table_text
from harness.errors import HarnessError

NAME = "compare"
HELP = "compare two measured models on the same patches, or published results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    for name in ("one", "other"):
        parser.add_argument(
            name, metavar="MODEL", help="a model, a result's digest, or published:MODEL"
        )
    parser.add_argument(
        "--dataset", metavar="NAME", help="needed when the store has several datasets"
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON, ids of patches included"
    )
    shared.judged(parser)
    shared.store(parser)
    shared.plugins(parser)


def run(options: argparse.Namespace) -> int:
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
        print_parts(published.text(sides[0], sides[1], results, effect, margin, table_text))
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
        print_parts(comparing.text(compared, table_text))
    return exit_code(options, registry)


def _compared_dataset(options: argparse.Namespace) -> str:
    """The dataset that is meant: the one that was named, or the only one of the store."""
    known = existing_store(options).datasets()
    if options.dataset is None and len(known) != 1:
        raise HarnessError(
            f"compare: give --dataset, one of {', '.join(known)}"
            if known
            else f"--store {options.store}: no results there; run harness run --all first"
        )
    return str(options.dataset or known[0])
