"""The error that a user can act on, and what others say, in one line."""

import re


class HarnessError(Exception):
    """A mistake or a shortage that the user can mend.

    The message is one line: it names the file, the plugin or the option at fault and says what to
    do next. The command line prints it without a traceback. Plugins raise it too.
    """


class UnavailableError(HarnessError):
    """Something that cannot be had on this machine, such as weights from a hub out of reach.

    ``harness run --all`` leaves out what needs it, and says so; for what was named it is an error.
    """


def one_line(text: str) -> str:
    """Text on one line, without what a terminal would take for a command or cannot be written.

    Names of files that are not UTF-8 have surrogates in them.
    """
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = text.encode("utf-8", "backslashreplace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
