"""Options that several commands have, a function for each set; and types of values.

Each function adds its options to a parser. Nothing heavy is imported: ``harness --help`` makes
every parser.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.statistics.equivalence import MARGIN

if TYPE_CHECKING:
    from harness.types.commands import Command

MESSAGES = ("-q", "--quiet", "-v", "--verbose", "--traceback")
"""Options that may stand before the name of a command."""
MOST_EPISODES = 10_000
FORMATS = ("png", "svg", "pdf")
"""Of pictures."""
EXIT_CODES = """\
exit codes: 0 all is well; 1 some results could not be computed; 2 bad usage or input;
3 a plugin is broken (run; other commands with --strict); 130 interrupted (Ctrl-C), 143 ended by
SIGTERM, 129 by SIGHUP. Finished results are kept in any case.
"""


def parser_of(commands: Any, name: str, about: str) -> argparse.ArgumentParser:
    """Add the parser of a command to what ``add_subparsers`` or ``subcommands`` has returned."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def subcommands(parser: argparse.ArgumentParser) -> Any:
    """A place for commands of a command, such as ``results list``."""
    return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")


def messages(parser: argparse.ArgumentParser, *, first: bool = False) -> None:
    """``--quiet``, ``--verbose`` and ``--traceback``.

    They work before and after the command's name: the ``first`` parser has the defaults, and the
    others set a value only when the option is given.
    """
    group = parser.add_argument_group("messages")
    for short, long, level, about in (
        ("-q", "--quiet", "quiet", "print warnings and errors only, and no progress"),
        ("-v", "--verbose", "verbose", "also print what is read and computed, where, and how long"),
    ):
        group.add_argument(
            short,
            long,
            dest="messages",
            action="store_const",
            const=level,
            default="normal" if first else argparse.SUPPRESS,
            help=about,
        )
    group.add_argument(
        "--traceback",
        action="store_true",
        default=False if first else argparse.SUPPRESS,
        help="print the traceback of an error (check: also of the plugin's)",
    )


def plugins(parser: argparse.ArgumentParser) -> None:
    """Which plugins are loaded, and how long they may take."""
    group = parser.add_argument_group("plugins")
    group.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="switch a plugin off, by its name or its distribution's "
        "($HARNESS_WITHOUT: several, with commas)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="exit with 3 when a plugin is broken (run always does)",
    )
    group.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=path,
        metavar="FILE",
        help="load a plugin from a .py file, or what a .toml file describes "
        "($HARNESS_PLUGINS: several, with commas)",
    )
    group.add_argument(
        "--trace-hooks", action="store_true", help="print which hook of which plugin is called"
    )
    group.add_argument(
        "--time-limit",
        type=minutes,
        default=os.environ.get("HARNESS_TIME_LIMIT") or None,
        metavar="MINUTES",
        help="end what takes longer, and go on with the rest ($HARNESS_TIME_LIMIT; default: none)",
    )


def data(parser: argparse.ArgumentParser) -> None:
    """Where datasets are."""
    parser.add_argument(
        "--data",
        type=folder,
        default=os.environ.get("HARNESS_DATA") or None,
        metavar="DIR",
        help="folder with the datasets, unpacked or as zips ($HARNESS_DATA; default: data)",
    )


def store(parser: argparse.ArgumentParser) -> None:
    """Where results are."""
    parser.add_argument(
        "--store",
        type=folder,
        default=os.environ.get("HARNESS_STORE") or "runs",
        metavar="DIR",
        help="folder with the stored results ($HARNESS_STORE; default: runs)",
    )


def results(parser: argparse.ArgumentParser) -> None:
    """Where results are, and where tables go."""
    store(parser)
    pages(parser)


def pages(parser: argparse.ArgumentParser) -> None:
    """Where tables, pages and pictures go."""
    parser.add_argument(
        "--leaderboards",
        type=folder,
        default=Path("reports"),
        metavar="DIR",
        help="folder to write tables, pages and pictures to (default: reports; harness publish "
        "copies them to leaderboards)",
    )


def pictures(parser: Any) -> None:
    """What pictures are saved as."""
    parser.add_argument(
        "--format",
        type=formats,
        default=("png",),
        metavar="NAME,...",
        help="save pictures as png (default), svg, pdf, or several of them: png,svg,pdf",
    )


def images(parser: Any) -> None:
    """Whether patches are shown."""
    parser.add_argument(
        "--no-images", action="store_true", help="show no patches, as where their license forbids"
    )


def judged(parser: Any) -> None:
    """How differences are judged."""
    parser.add_argument(
        "--design-effect",
        type=design_effect,
        default=1.0,
        metavar="X",
        help="widen intervals, ranks and verdicts as if variances were X times those of "
        "independent patches (default: 1)",
    )
    parser.add_argument(
        "--margin",
        type=margin,
        default=MARGIN,
        metavar="POINTS",
        help="percentage points of accuracy within which models count as equal "
        f"(default: {100 * MARGIN:g})",
    )


def tables(parser: argparse.ArgumentParser, *, forms: bool = True) -> None:
    """What leaderboards show, and in which ``forms`` they are written."""
    group = parser.add_argument_group("tables")
    group.add_argument(
        "--columns",
        type=lambda text: tuple(filter(None, text.split(","))),
        default=("default",),
        metavar="NAME,...",
        help="columns of the tables: sets (default, figures, calibration, published, seeds, run, "
        "probes, all) and single columns, such as macro_f1",
    )
    group.add_argument(
        "--temperature",
        action="store_true",
        help="add a row for each model with its logits scaled by a temperature that is fitted on "
        "the held-out part",
    )
    if forms:
        several(
            group,
            "--report",
            "write only this report, such as csv, and no other page; several times: these "
            "(default: all; see harness list reports)",
        )
    judged(group)


def computing(parser: argparse.ArgumentParser, default: str = "1") -> None:
    """How results are computed."""
    parser.add_argument(
        "--jobs",
        type=jobs,
        metavar="N",
        help="compute with N processes at once, each with its share of cores and GPUs; auto: one "
        "for each GPU "
        f"(default: {default})",
    )
    parser.add_argument(
        "--executor",
        default="local",
        metavar="NAME",
        help="what computes: local, the processes of this machine (default), or an executor of a "
        "plugin; see harness list executors",
    )
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of the cluster, for an executor such as ray (default: $RAY_ADDRESS; without it, a "
        "cluster is started on this machine)",
    )
    parser.add_argument(
        "--job-cores",
        type=positive,
        default=1,
        metavar="N",
        help="cores that a cluster reserves for each group of jobs (default: 1)",
    )
    parser.add_argument(
        "--job-gpus",
        type=gpus,
        default=1.0,
        metavar="X",
        help="GPUs that a cluster reserves for a group that runs a network, such as 0.5 for two on "
        "one (default: 1)",
    )
    parser.add_argument(
        "--job-memory",
        type=gigabytes,
        default=0.0,
        metavar="GB",
        help="memory that a cluster reserves for each group of jobs, so that no node gets more at "
        "once than fit (default: 0, as many as it has cores)",
    )


def caching(parser: argparse.ArgumentParser) -> None:
    """What may be kept on disk while results are computed."""
    parser.add_argument(
        "--perturbed-cache",
        type=gigabytes,
        default=8.0,
        metavar="GB",
        help="while the run lasts, keep perturbed patches that passes of built-in plugins share "
        "with others in the store's folder, up to so many GB and half of what the disk has left "
        "(default: 8; 0: each pass perturbs them again)",
    )


def experiment(parser: argparse.ArgumentParser) -> None:
    """What every command has that computes what the store lacks and writes pages about it."""
    data(parser)
    results(parser)
    computing(parser)
    plugins(parser)


def fitting(parser: argparse.ArgumentParser, *, protocol: bool = True) -> None:
    """How models are trained; without ``protocol``, none is selected on test patches."""
    group = parser.add_argument_group("training")
    group.add_argument("--seed", type=seed, default=0, help="seed of fits and held-out parts")
    group.add_argument(
        "--seeds",
        type=positive,
        default=1,
        metavar="N",
        help="train N times, with the seeds from --seed on (default: 1)",
    )
    if protocol:
        group.add_argument(
            "--protocol",
            choices=["held-out", "published"],
            default="held-out",
            help="choose checkpoints on a held-out part of the training patches (default), or on "
            "the test patches as published",
        )
    settings(group, "epochs=5")


def settings(parser: Any, example: str) -> None:
    """Settings of models."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="[MODEL.]KEY=VALUE",
        help=f"change a setting of the models, e.g. {example}",
    )


def several(parser: Any, option: str, about: str, **more: Any) -> None:
    """An option that names one of several things, and may be given several times."""
    more = {"metavar": "NAME", **more}
    parser.add_argument(option, action="append", default=[], help=about, **more)


def parser_for(command: Command) -> argparse.ArgumentParser:
    """The parser of a command that a plugin adds. Raises what its ``add_arguments`` raises."""
    parser = argparse.ArgumentParser(
        prog=f"harness {command.name}", description=command.title, allow_abbrev=False
    )
    store(parser)
    data(parser)
    plugins(parser)
    messages(parser, first=True)
    command.add_arguments(parser)
    return parser


def path(text: str) -> Path:
    """A file or folder."""
    if not text:  # which Path takes for the working folder
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def folder(text: str) -> Path:
    """A folder, which need not be there."""
    found = path(text)
    try:
        if found.exists() and not found.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a file, not a folder; name another")
    except OSError as error:  # such as a folder above it that cannot be read, or too long a name
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}; name another") from error
    return found


def seed(text: str) -> int:
    """A seed of numpy and torch."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 4294967295")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def episodes(text: str) -> int:
    """A number of few-shot episodes."""
    if not text.isdecimal() or not 2 <= int(text) <= MOST_EPISODES:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from 2 to {MOST_EPISODES:,}"
        )
    return int(text)


def jobs(text: str) -> int | Literal["auto"]:
    """A number of processes, or ``auto``."""
    return "auto" if text == "auto" else positive(text)


def gigabytes(text: str) -> float:
    """A number of gigabytes."""
    return _number(text, lambda value: 0 <= value < float("inf"), "of gigabytes, 0 or more")


def gpus(text: str) -> float:
    """A number of GPUs: a part of one, or whole ones."""
    return _number(text, lambda value: 0 < value < 1 or value in range(1, 1025), "of GPUs above 0")


def formats(text: str) -> tuple[str, ...]:
    """Formats of pictures."""
    chosen = tuple(dict.fromkeys(filter(None, text.lower().split(","))))
    if not chosen or not set(chosen) <= set(FORMATS):
        raise argparse.ArgumentTypeError(
            f"{text!r} names none, or others than {', '.join(FORMATS)}"
        )
    return chosen


def minutes(text: str) -> float:
    """A number of minutes."""
    return _number(text, lambda value: 0 < value < float("inf"), "of minutes above 0")


def margin(text: str) -> float:
    """Percentage points, as a fraction of 1."""
    within = "of percentage points above 0 and below 100"
    return _number(text, lambda value: 0 < value < 100, within) / 100


def design_effect(text: str) -> float:
    """A factor of variances."""
    return _number(text, lambda value: 1 <= value < float("inf"), "of at least 1")


def _number(text: str, fits: Callable[[float], bool], what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {what}")
    return value
