"""The command line: it registers the commands, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version as version_of

from harness.commands import COMMANDS, of_plugins
from harness.commands.common import FAILED, USAGE, keep_details
from harness.errors import HarnessError, one_line
from harness.hooks import command_options as options
from harness.system import console, messages, signals


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
        asked = of_plugins.parse(_name_first(arguments)) if _of_plugin(arguments) else None
        asked = asked or parse(arguments)
    except SystemExit as end:  # of argparse, which has said what there is to say
        return end.code if isinstance(end.code, int) else USAGE
    handler, level = messages.ConsoleHandler(), messages.LEVELS[asked.messages]
    with messages.handled(handler, level, bars=asked.messages != "quiet"):
        try:
            code: int = asked.command(asked)
        except (Exception, SystemExit):
            if asked.traceback:
                traceback.print_exc()
            raise
    return code


def _of_plugin(arguments: Sequence[str]) -> bool:
    """Whether a command line names a command that only a plugin may have."""
    own = {command.NAME for command in COMMANDS}
    first = _name_first(arguments)[:1]
    return bool(first) and not first[0].startswith("-") and first[0] not in own


def _name_first(arguments: Sequence[str]) -> list[str]:
    """A command line with the name of the command before options about messages."""
    before = list(itertools.takewhile(lambda word: word in options.MESSAGES, arguments))
    rest = arguments[len(before) :]
    return [*rest[:1], *before, *rest[1:]]


def _failed(error: BaseException) -> int:
    """Print in a line what went wrong; the details go to a file if nobody has expected it."""
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
    """What a command line asks for; ``command`` is the function that does it."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    for name, value in vars(asked).items():
        if "" in (value if isinstance(value, list | tuple) else [value]):
            option = {"settings": "set"}.get(name, name)
            parser.error(f"argument {option}: must not be empty")
    asked.said = shlex.join(["harness", *arguments])
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Benchmark histopathology patch classifiers: how accurate, how sure, and how "
        "much of\nit color or compression alone explains.",
        epilog="Plugins may add commands: harness list commands names them.\n\n"
        f"{options.EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"harness {version_of('histo-harness')}"
    )
    options.messages(parser, first=True)
    added = options.subcommands(parser)
    for command in COMMANDS:
        own = options.parser_of(added, command.NAME, command.HELP)
        command.add_arguments(own)
        options.messages(own)
        own.set_defaults(command=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
