"""The error that a user can act on, and what others say, in one line."""

import re


class HarnessError(Exception):
    """A mistake or a shortage that the user can fix.

    The message is one line: it names the file, the plugin or the option at fault and says what to
    do next. The command line prints it without a traceback. Plugins raise it too.
    """


class UnavailableError(HarnessError):
    """Something that cannot be obtained on this machine, such as weights from a hub out of reach.

    ``harness run --all`` leaves out what needs it, and says so; for what was named it is an error.
    """


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)")
"""Commands to a terminal: colors and the cursor (CSI), and the title of the window (OSC)."""


def printable(text: str) -> str:
    """Text without what a terminal would take for a command or cannot be written.

    Names of files that are not UTF-8 have surrogates in them. Control characters, of which ends of
    lines are some, become spaces.
    """
    text = _ESCAPES.sub("", text).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str, longest: int | None = None) -> str:
    """Printable text on one line; what is beyond ``longest`` characters is cut off."""
    text = " ".join(printable(text).split())
    return text if longest is None or len(text) <= longest else f"{text[:longest]} ..."
