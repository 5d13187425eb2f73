"""The command line: parse, call, print. No logic lives here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.progress import say

if TYPE_CHECKING:
    from harness.plugins import Registry

OK, FAILED, USAGE, BROKEN_PLUGIN, INTERRUPTED = 0, 1, 2, 3, 130
EXIT_CODES = """\
exit codes: 0 all is well; 1 some results could not be computed; 2 bad usage or input;
3 a plugin is broken (with --strict); 130 interrupted. Finished results are kept in any case.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``harness`` and return its exit code."""
    options = _parser().parse_args(arguments)
    # Idle threads of GNU OpenMP spin for long and starve whoever else wants the cores, such as the
    # threads that read patches: two trainings side by side took five times as long as one. Short
    # spinning costs nothing on idle cores. Read when torch or scikit-learn is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except HarnessError as error:
        print(f"harness: error: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # of a disk or a folder that no nearer place accounts for
        print(f"harness: error: {error}; mend it and run again", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(
            "\nharness: interrupted; finished results are kept, the same command goes on from here",
            file=sys.stderr,
        )
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Benchmark histopathology patch classifiers: how accurate, how sure, and how "
        "much of it color or compression alone explains.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plugins = argparse.ArgumentParser(add_help=False)
    plugins.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="switch a plugin off, by its name or its distribution's "
        "($HARNESS_WITHOUT: several, with commas)",
    )
    plugins.add_argument(
        "--strict", action="store_true", help="exit with 3 when a plugin is broken"
    )
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("HARNESS_DATA"),
        metavar="DIR",
        help="folder with the datasets, unpacked or as zips ($HARNESS_DATA; default: data)",
    )
    results = argparse.ArgumentParser(add_help=False)
    results.add_argument(
        "--store",
        type=Path,
        default=Path(os.environ.get("HARNESS_STORE", "runs")),
        metavar="DIR",
        help="folder with the stored results ($HARNESS_STORE; default: runs)",
    )
    results.add_argument(
        "--leaderboards",
        type=Path,
        default=Path("leaderboards"),
        metavar="DIR",
        help="folder to write the tables to (default: leaderboards)",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        parents=[plugins, data, results],
        help="compute what the store lacks, then write the leaderboards",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--all", action="store_true", help="every dataset and model that can run here")
    run.add_argument("--dataset", action="append", default=[], metavar="NAME")
    run.add_argument("--model", action="append", default=[], metavar="NAME")
    run.add_argument(
        "--perturbation",
        action="append",
        default=[],
        metavar="NAME",
        help="also predict under this perturbation at all its levels, and store the logits",
    )
    run.add_argument("--seed", type=_seed, default=0, help="seed of fits and held-out parts")
    run.add_argument(
        "--protocol",
        choices=["held-out", "published"],
        default="held-out",
        help="choose checkpoints on a held-out part of the training patches (default), or on the "
        "test patches as published",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="[MODEL.]KEY=VALUE",
        help="change a setting of the models, e.g. epochs=5",
    )
    run.set_defaults(command=_run)

    listing = commands.add_parser(
        "list",
        parents=[plugins, data],
        help="datasets, models, perturbations, probes and published results",
    )
    listing.set_defaults(command=_list)

    shown = commands.add_parser("plugins", parents=[plugins], help="what is installed, what failed")
    shown.set_defaults(command=_plugins)

    board = commands.add_parser(
        "leaderboard", parents=[plugins, results], help="write the tables again from the store"
    )
    board.set_defaults(command=_leaderboard)

    for_data = commands.add_parser("data", help="get datasets")
    data_commands = for_data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    get = data_commands.add_parser(
        "get", parents=[plugins, data], help="download a dataset; goes on where it broke off"
    )
    get.add_argument("name", metavar="DATASET")
    get.add_argument("--mirror", metavar="URL", help="download the same files from this base URL")
    get.set_defaults(command=_get)
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 4294967295")
    return int(text)


def _registry(options: argparse.Namespace) -> Registry:
    from harness.plugins import load_plugins

    switched_off = [name for name in os.environ.get("HARNESS_WITHOUT", "").split(",") if name]
    registry = load_plugins([*switched_off, *options.without])
    for plugin in registry.broken:
        say(f"WARNING: plugin {plugin.name} of {plugin.distribution} is left out: {plugin.status}")
    return registry


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


def _exit(options: argparse.Namespace, registry: Registry, code: int = OK) -> int:
    return BROKEN_PLUGIN if options.strict and registry.broken and not code else code


def _run(options: argparse.Namespace) -> int:
    if not (options.all or options.dataset or options.model):
        raise HarnessError("run: say --all, or choose with --dataset and --model; see harness list")
    if options.all and (options.dataset or options.model):
        raise HarnessError("run: say either --all or --dataset and --model, not both")
    from harness import choose, plan, settings
    from harness.execute import execute
    from harness.store import Store

    registry = _registry(options)
    data = _data(options)
    models = choose.models(registry, options.model)
    datasets = choose.datasets(registry, options.dataset, data)
    request = plan.Request(
        datasets=datasets,
        models=models,
        perturbations=[registry.perturbations.find(name) for name in options.perturbation],
        data=data,
        seed=options.seed,
        protocol=options.protocol,
        given=settings.parse(options.settings, choose.fitted(registry, models)),
    )
    store = Store(options.store)
    failures = execute(plan.build(registry, store, request), store, registry)
    _write_boards(options, registry, [dataset.name for dataset in datasets])
    for label, why in failures.items():
        print(f"harness: failed: {label}: {why}", file=sys.stderr)
    return _exit(options, registry, FAILED if failures else OK)


def _write_boards(options: argparse.Namespace, registry: Registry, names: Sequence[str]) -> None:
    from harness import leaderboard
    from harness.store import Store, disk_error

    store = Store(options.store)
    published = [result for result, _ in registry.published]
    for name in names:
        if name not in store.datasets():
            continue
        board = leaderboard.build(store, name, published)
        print(f"\n{name}\n")
        print(leaderboard.table(board, "simple"))
        for line in leaderboard.about(board):
            print(f"\n{line}")
        try:
            written = leaderboard.write(board, options.leaderboards)
        except OSError as error:
            raise disk_error(error, options.leaderboards) from error
        say(f"Wrote {', '.join(map(str, written))}")


def _leaderboard(options: argparse.Namespace) -> int:
    from harness.store import Store

    if not (options.store / "store.json").exists():
        raise HarnessError(f"--store {options.store}: no store there; run harness run --all first")
    registry = _registry(options)
    _write_boards(options, registry, list(Store(options.store).datasets()))
    return _exit(options, registry)


def _list(options: argparse.Namespace) -> int:
    from tabulate import tabulate

    from harness.choose import lacks

    registry = _registry(options)
    folder = _data(options)

    def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
        print(f"\n{title}\n")
        print(tabulate(rows, headings, disable_numparse=True) if rows else "(none)")

    def source(offers: Any, name: str) -> str:
        plugin = offers.plugin[name]
        return f"{plugin.name} ({plugin.distribution} {plugin.version})"

    datasets, models = registry.datasets, registry.models
    show(
        "Datasets",
        ["name", "title", "plugin", "status"],
        [
            [name, d.title, source(datasets, name), d.missing(folder) or "ready"]
            for name, d in datasets.items()
        ],
    )
    show(
        "Models",
        ["name", "title", "plugin", "status"],
        [
            [name, m.title, source(models, name), lacks(registry, name) or "ready"]
            for name, m in models.items()
        ],
    )
    perturbations = registry.perturbations
    show(
        "Perturbations",
        ["name", "title", "levels", "plugin"],
        [
            [name, p.title, ", ".join(f"{v:g}" for v in p.levels), source(perturbations, name)]
            for name, p in perturbations.items()
        ],
    )
    show(
        "Probes",
        ["name", "title", "asks of", "plugin"],
        [
            [name, p.title, p.subject, source(registry.probes, name)]
            for name, p in registry.probes.items()
        ],
    )
    show(
        "Published results",
        ["model", "test set", "under", "accuracy %", "balanced %", "plugin", "source"],
        [
            [
                result.name,
                result.test_set,
                result.perturbation + ("" if result.level is None else f" {result.level:g}"),
                "" if result.accuracy is None else f"{100 * result.accuracy:.2f}",
                "" if result.balanced_accuracy is None else f"{100 * result.balanced_accuracy:.2f}",
                f"{plugin.name} ({plugin.distribution})",
                result.source,
            ]
            for result, plugin in registry.published
        ],
    )
    return _exit(options, registry)


def _plugins(options: argparse.Namespace) -> int:
    from tabulate import tabulate

    registry = _registry(options)
    rows = [
        [
            plugin.name,
            plugin.distribution,
            plugin.version,
            ", ".join(f"{count} {kind}" for kind, count in plugin.contributes.items()),
            plugin.status or "ok",
        ]
        for plugin in registry.plugins
    ]
    headings = ["plugin", "distribution", "version", "contributes", "status"]
    print(tabulate(rows, headings, disable_numparse=True))
    return _exit(options, registry)


def _get(options: argparse.Namespace) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
