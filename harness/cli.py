"""The command line: what can be said, and what becomes of mistakes. No logic lives here."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path

from harness import commands, console, kinds, plugin_options, signals
from harness.commands import of_plugins
from harness.commands.common import FAILED, USAGE, keep_details
from harness.errors import HarnessError, one_line
from harness.new_plugin import KINDS
from harness.reserved import COMMANDS
from harness.statistics.equivalence import MARGIN

EXIT_CODES = """\
exit codes: 0 all is well; 1 some results could not be computed; 2 bad usage or input;
3 a plugin is broken (run; other commands with --strict); 130 interrupted (Ctrl-C), 143 ended by
SIGTERM, 129 by SIGHUP. Finished results are kept in any case.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``harness`` and return its exit code.

    Without ``arguments`` it is the command itself: then it also takes care of the signals and the
    standard streams of the process.
    """
    try:
        if arguments is None:
            signals.listen()
            console.prepare()
        try:
            code = _command(sys.argv[1:] if arguments is None else arguments)
        except (Exception, SystemExit) as error:
            if signals.received():  # which is why, whatever became of it on its way here
                raise KeyboardInterrupt from error
            code = _failed(error)
        if lost := console.finish():
            print(f"harness: error: {lost}; what was printed is not complete", file=sys.stderr)
            code = code or FAILED
    except KeyboardInterrupt:
        return signals.leave()
    signals.ignore()
    return signals.leave() if signals.received() else code


def _command(arguments: Sequence[str]) -> int:
    # Idle threads of GNU OpenMP spin for long and starve whoever else wants the cores, such as the
    # threads that read patches: two trainings side by side took five times as long as one. Short
    # spinning costs nothing on idle cores. Read when torch or scikit-learn is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Jupyter's, which its children inherit, is not installed everywhere, and no window is opened.
    os.environ["MPLBACKEND"] = "agg"
    if not sys.warnoptions:  # warnings of libraries are for developers, who ask for them
        warnings.simplefilter("ignore")
    try:
        if _of_plugin(arguments):
            return of_plugins.run(arguments)
        options = parse(arguments)
    except SystemExit as end:  # of argparse, which has said what there is to say
        return end.code if isinstance(end.code, int) else USAGE
    code: int = options.command(options)
    return code


def _of_plugin(arguments: Sequence[str]) -> bool:
    """Whether a command line names a command that only a plugin may have."""
    return bool(arguments) and not arguments[0].startswith("-") and arguments[0] not in COMMANDS


def _failed(error: BaseException) -> int:
    """Say in a line what went wrong; the details go to a file if nobody has expected it."""
    if isinstance(error, HarnessError):
        print(f"harness: error: {one_line(str(error))}", file=sys.stderr)
        return USAGE
    if isinstance(error, OSError) and error.filename is not None:
        # Of a disk or a folder that no nearer place accounts for.
        where = one_line(str(error.filename))
        print(f"harness: error: {where}: {error.strerror}; fix that and run again", file=sys.stderr)
        return USAGE
    advice = "report it"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "make room on the disks of --store, --leaderboards and $TMPDIR"
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        print(
            f"harness: error: {one_line(str(error.strerror))}; set TMPDIR to a folder that can be "
            "written to",
            file=sys.stderr,
        )
        return USAGE
    where = keep_details(error)
    what = one_line(f"{type(error).__name__}: {error}")
    print(f"harness: error: {what}{where}; {advice}", file=sys.stderr)
    return FAILED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if "" in (value if isinstance(value, list | tuple) else [value]):
            option = {"settings": "set"}.get(name, name)
            parser.error(f"argument {option}: must not be empty")
    options.said = shlex.join(["harness", *arguments])
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Benchmark histopathology patch classifiers: how accurate, how sure, and how "
        "much of it color or compression alone explains.",
        epilog=f"Plugins may add commands: harness list commands names them.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"harness {version_of('histo-harness')}"
    )
    plugins, data, stored = plugin_options.plugins(), plugin_options.data(), plugin_options.store()
    results = argparse.ArgumentParser(add_help=False, parents=[stored])
    results.add_argument(
        "--leaderboards",
        type=plugin_options.folder,
        default=Path("leaderboards"),
        metavar="DIR",
        help="folder to write the tables to (default: leaderboards)",
    )
    judged = argparse.ArgumentParser(add_help=False)
    judged.add_argument(
        "--design-effect",
        type=_design_effect,
        default=1.0,
        metavar="X",
        help="widen intervals, ranks and verdicts as if variances were X times those of "
        "independent patches (default: 1)",
    )
    judged.add_argument(
        "--margin",
        type=_margin,
        default=MARGIN,
        metavar="POINTS",
        help="percentage points of accuracy within which models count as equal "
        f"(default: {100 * MARGIN:g})",
    )
    tables = argparse.ArgumentParser(add_help=False, parents=[judged])
    tables.add_argument(
        "--columns",
        type=lambda text: tuple(filter(None, text.split(","))),
        default=("default",),
        metavar="NAME,...",
        help="columns of the tables: sets (default, figures, calibration, published, seeds, run, "
        "probes, all) and single columns, such as macro_f1",
    )
    tables.add_argument(
        "--temperature",
        action="store_true",
        help="add a row for each model with its logits scaled by a temperature that is fitted on "
        "the held-out part",
    )
    tables.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="NAME",
        help="write only this report, such as csv, and no other page; several times: these "
        "(default: all; see harness list reports)",
    )
    computing = argparse.ArgumentParser(add_help=False)
    computing.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="compute with N processes at once, each with its share of cores and GPUs (default: 1; "
        "calibrate: one for each core)",
    )
    computing.add_argument(
        "--executor",
        default="local",
        metavar="NAME",
        help="who computes: local, the processes of this machine (default), or an executor of a "
        "plugin; see harness list executors",
    )
    fitting = argparse.ArgumentParser(add_help=False)
    fitting.add_argument("--seed", type=_seed, default=0, help="seed of fits and held-out parts")
    fitting.add_argument(
        "--seeds",
        type=_positive,
        default=1,
        metavar="N",
        help="train N times, with the seeds from --seed on (default: 1)",
    )
    fitting.add_argument(
        "--protocol",
        choices=["held-out", "published"],
        default="held-out",
        help="choose checkpoints on a held-out part of the training patches (default), or on the "
        "test patches as published",
    )
    fitting.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="[MODEL.]KEY=VALUE",
        help="change a setting of the models, e.g. epochs=5",
    )
    added = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = added.add_parser(
        "run",
        parents=[plugins, data, results, tables, computing, fitting],
        help="compute what the store lacks, then write the leaderboards",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--all", action="store_true", help="every dataset and model that can run here")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be computed, about how long fitting takes, and what is missing",
    )
    run.add_argument("--dataset", action="append", default=[], metavar="NAME")
    run.add_argument("--model", action="append", default=[], metavar="NAME")
    run.add_argument(
        "--perturbation",
        action="append",
        default=[],
        metavar="NAME",
        help="also predict under this perturbation at all its levels, and store the logits",
    )
    asked = run.add_mutually_exclusive_group()
    asked.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="NAME",
        help="ask only this probe of the models (default: all of them)",
    )
    asked.add_argument(
        "--no-probes", action="store_true", help="predict clean patches only; quicker"
    )
    run.add_argument(
        "--audit-selection",
        action="store_true",
        help="let each epoch predict the test patches as well, and say what choosing the epoch "
        "on them would have added to the accuracy",
    )
    run.set_defaults(command=commands.run)

    audit = added.add_parser(
        "audit",
        parents=[plugins, data, results, computing],
        help="ask of a dataset what color, compression and clipping give away",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    audit.add_argument("--dataset", action="append", default=[], metavar="NAME", required=True)
    audit.add_argument(
        "--probe", action="append", default=[], metavar="NAME", help="only this probe"
    )
    audit.set_defaults(command=commands.audit)

    calibrate = added.add_parser(
        "calibrate",
        parents=[plugins, data, results, computing],
        help="measure on phantoms with planted faults how far probes can be trusted",
    )
    calibrate.add_argument("--phantom", action="append", default=[], metavar="NAME")
    calibrate.add_argument(
        "--probe", action="append", default=[], metavar="NAME", help="only this probe"
    )
    calibrate.add_argument(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="also change patches of this dataset by known amounts, and see what is measured",
    )
    calibrate.add_argument(
        "--seeds", type=_positive, default=20, metavar="N", help="phantoms to make (default: 20)"
    )
    calibrate.set_defaults(command=commands.calibrate)

    listing = added.add_parser(
        "list",
        parents=[plugins, data],
        help="datasets, models, perturbations, probes and published results",
    )
    listing.add_argument(
        "kinds",
        nargs="*",
        type=_kind,
        metavar="KIND",
        help=f"only these: {', '.join(kinds.NAMES)}",
    )
    listing.add_argument("--model", metavar="NAME", help="one model, with its settings")
    listing.add_argument("--reader", metavar="NAME", help="one kind of TOML file, with its keys")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=commands.list_)

    shown = added.add_parser("plugins", parents=[plugins], help="what is installed, what failed")
    shown.add_argument(
        "--json", action="store_true", help="as JSON, with every name and the tracebacks"
    )
    shown.set_defaults(command=commands.plugins)

    check = added.add_parser(
        "check",
        parents=[plugins, data],
        help="see whether a plugin, or what it offers, keeps what every plugin promises",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("names", nargs="*", metavar="NAME", help="e.g. my_plugin or my-model")
    check.add_argument(
        "--dataset",
        metavar="NAME",
        help="check with a few patches of this dataset (default: the first demo dataset)",
    )
    check.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="[MODEL.]KEY=VALUE",
        help="change a setting of the models, e.g. epochs=1",
    )
    check.add_argument(
        "--traceback", action="store_true", help="show where a plugin raised an exception"
    )
    check.add_argument("--promises", action="store_true", help="list what is promised, and stop")
    check.set_defaults(command=commands.check)

    new_plugin = added.add_parser(
        "new-plugin", help="write a small distribution to start a plugin from"
    )
    new_plugin.add_argument("name", metavar="NAME", help="e.g. my-model")
    new_plugin.add_argument("--kind", choices=list(KINDS), required=True)
    new_plugin.add_argument(
        "--folder",
        type=plugin_options.folder,
        default=Path(),
        metavar="DIR",
        help="where to put its folder (default: here)",
    )
    new_plugin.set_defaults(command=commands.new_plugin)

    board = added.add_parser(
        "leaderboard",
        parents=[plugins, results, tables],
        help="write the tables again from the store",
    )
    board.set_defaults(command=commands.leaderboard)

    for_results = added.add_parser("results", help="see what is stored, and remove some of it")
    results_commands = for_results.add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    filters = argparse.ArgumentParser(add_help=False, parents=[stored])
    for option, about in (
        ("--dataset", "only results on this dataset; several times: on these"),
        ("--model", "only results of this model; several times: of these"),
    ):
        filters.add_argument(option, action="append", default=[], metavar="NAME", help=about)
    filters.add_argument("--failed", action="store_true", help="only models that failed")
    list_results = results_commands.add_parser(
        "list",
        parents=[filters],
        help="a row for each run: settings, seed, size, digest, and whether it is damaged",
    )
    list_results.set_defaults(command=commands.list_results)
    remove_results = results_commands.add_parser(
        "remove",
        parents=[filters],
        help="remove runs, with what is computed from them and what nothing else needs",
    )
    remove_results.add_argument(
        "digests", nargs="*", metavar="DIGEST", help="results to remove, as the list names them"
    )
    remove_results.add_argument(
        "--yes", action="store_true", help="remove them; without it, only say what would go"
    )
    remove_results.set_defaults(command=commands.remove_results)

    for_stores = added.add_parser("store", help="bring stores together")
    store_commands = for_stores.add_subparsers(title="commands", required=True, metavar="COMMAND")
    merge_stores = store_commands.add_parser(
        "merge", help="copy the results of other stores, such as those of other machines, into one"
    )
    merge_stores.add_argument("into", type=plugin_options.folder, metavar="STORE")
    merge_stores.add_argument("sources", type=plugin_options.folder, nargs="+", metavar="OTHER")
    merge_stores.set_defaults(command=commands.merge_stores)

    compare = added.add_parser(
        "compare",
        parents=[plugins, stored, judged],
        help="compare two measured models on the same patches, or published results",
    )
    for name in ("one", "other"):
        compare.add_argument(
            name, metavar="MODEL", help="a model, a result's digest, or published:MODEL"
        )
    compare.add_argument(
        "--dataset", metavar="NAME", help="needed when the store has several datasets"
    )
    compare.add_argument(
        "--json", action="store_true", help="print everything as JSON, ids of patches included"
    )
    compare.set_defaults(command=commands.compare)

    contrast = added.add_parser(
        "contrast",
        parents=[plugins, data, results, computing, fitting],
        help="train models on two versions of the same patches, and compare what comes of it",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    contrast.add_argument("one", metavar="DATASET")
    contrast.add_argument("other", metavar="DATASET", help="e.g. nct-crc-he nct-crc-he-nonorm")
    contrast.add_argument("--model", action="append", default=[], metavar="NAME", required=True)
    contrast.set_defaults(command=commands.contrast)

    for_data = added.add_parser("data", help="get datasets")
    data_commands = for_data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    get = data_commands.add_parser(
        "get", parents=[plugins, data], help="download a dataset; goes on where it broke off"
    )
    get.add_argument("name", metavar="DATASET")
    get.add_argument("--mirror", metavar="URL", help="download the same files from this base URL")
    get.set_defaults(command=commands.get)
    return parser


def _kind(text: str) -> str:
    if text not in kinds.NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(kinds.NAMES)}")
    return text


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 4294967295")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of percentage points above 0 and below 100"
        )
    return value / 100


def _design_effect(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
