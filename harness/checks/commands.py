"""What commands of plugins promise."""

from __future__ import annotations

from harness.checks.bench import Bench
from harness.checks.outcome import Broken
from harness.hooks.command_options import parser_for
from harness.types.commands import Command


def title(command: Command, bench: Bench) -> None:
    """It says in a line what it does."""
    if not command.title.strip() or "\n" in command.title:
        raise Broken(f"title is {command.title!r}", "say in a line what the command does")


def arguments(command: Command, bench: Bench) -> None:
    """Its arguments go with those that all commands of plugins have, and its help can be shown."""
    parser = parser_for(command)
    try:
        text = parser.format_help()
    except (ValueError, TypeError, KeyError) as error:  # such as a % in a help
        raise Broken(f"its help cannot be shown ({error})", "write %% for % in a help") from error
    for option in ("--store", "--data", "--plugin"):
        if option not in text:
            raise Broken(f"{option} is gone", "add arguments, and take none away")


COMMAND = (title, arguments)
