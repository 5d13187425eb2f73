"""Commands that plugins add: found when the first word is no command of the harness itself."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Sequence

from harness.commands.common import (
    BROKEN_PLUGIN,
    FAILED,
    USAGE,
    exit_code,
    keep_details,
    session_of,
)
from harness.errors import HarnessError, one_line
from harness.hooks import command_options
from harness.hooks.reserved import COMMANDS


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the options say that all commands have; ``command`` runs the one that is named.

    Which plugins there are is said by options among those of the command, so the others cannot be
    read yet. Raises SystemExit as argparse does.
    """
    early = argparse.ArgumentParser(
        prog=f"harness {arguments[0]}", add_help=False, allow_abbrev=False
    )
    command_options.store(early)
    command_options.data(early)
    command_options.plugins(early)
    command_options.messages(early, first=True)
    found, _ = early.parse_known_args(arguments[1:])
    found.command = lambda options: run(arguments, options)
    return found


def run(arguments: Sequence[str], early: argparse.Namespace) -> int:
    """Run the command that ``arguments`` begin with, and return its exit code.

    Raises HarnessError when no plugin offers it.
    """
    from harness.hooks.registry import absent
    from harness.types.commands import Command

    name = arguments[0]
    session = session_of(early)
    registry = session.registry
    commands = registry.of(Command)
    if name not in commands:
        known = [*COMMANDS, *commands]
        raise HarnessError(
            f"no command named {name!r}; {absent(name, known, registry.plugins)}; see "
            "harness --help and harness list commands"
        )
    command, plugin = commands[name], commands.plugin[name]
    try:
        parser = command_options.parser_for(command)
        try:
            options = parser.parse_args(arguments[1:])
        except SystemExit as end:  # argparse has said what there is to say
            return end.code if isinstance(end.code, int) else USAGE
        options.said = shlex.join(["harness", *arguments])
        code = command.run(session, options)
        if not isinstance(code, int):
            raise TypeError(f"run returned {code!r} where an exit code is expected")
    except HarnessError:
        raise
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(f"harness: error: {one_line(str(end.code))}", file=sys.stderr)
            return FAILED
        code = end.code or 0
    except Exception as error:
        if early.traceback:
            traceback.print_exc()
        what = one_line(f"{type(error).__name__}: {error}")
        where = keep_details(error)
        print(
            f"harness: error: the command {name} of the plugin {plugin.name} raised {what}{where}; "
            "report it to the plugin's author",
            file=sys.stderr,
        )
        return BROKEN_PLUGIN
    return exit_code(options, registry, int(code))
