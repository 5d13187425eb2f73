"""Commands that plugins add: found when the first word is no command of the harness itself."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from harness import plugin_options
from harness.commands.common import (
    BROKEN_PLUGIN,
    data_folder,
    exit_code,
    keep_details,
    plugin_files,
    registry_of,
    switched_off,
)
from harness.errors import HarnessError, one_line
from harness.reserved import COMMANDS


def run(arguments: Sequence[str]) -> int:
    """Run the command that ``arguments`` begin with, and return its exit code.

    Raises HarnessError when no plugin offers it, and SystemExit as argparse does.
    """
    import sys

    from harness.registry import absent
    from harness.session import Session
    from harness.types import Command

    name = arguments[0]
    # Which plugins there are is said by options among those of the command.
    early = argparse.ArgumentParser(
        prog=f"harness {name}",
        add_help=False,
        allow_abbrev=False,
        parents=[plugin_options.plugins()],
    )
    registry = registry_of(early.parse_known_args(arguments[1:])[0])
    commands = registry.of(Command)
    if name not in commands:
        known = [*COMMANDS, *commands]
        raise HarnessError(
            f"no command named {name!r}; {absent(name, known, registry.plugins)}; see "
            "harness --help"
        )
    command, plugin = commands[name], commands.plugin[name]
    try:
        options = plugin_options.parser_for(command).parse_args(arguments[1:])
        options.said = shlex.join(["harness", *arguments])
        session = Session(
            store=options.store,
            data=data_folder(options),
            plugins=plugin_files(options),
            without=switched_off(options),
            time_limit=options.time_limit,
        )
        session._use(registry)
        code = command.run(session, options)
        if not isinstance(code, int):
            raise TypeError(f"run returned {code!r} where an exit code is expected")
    except HarnessError:
        raise
    except Exception as error:
        what = one_line(f"{type(error).__name__}: {error}")
        where = keep_details(error)
        print(
            f"harness: error: the command {name} of the plugin {plugin.name} raised {what}{where}; "
            "report it to the plugin's author",
            file=sys.stderr,
        )
        return BROKEN_PLUGIN
    return exit_code(options, registry, int(code))
