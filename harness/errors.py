"""The error that a user can act on."""


class HarnessError(Exception):
    """A mistake or a shortage that the user can mend.

    The message is one line: it names the file, the plugin or the option at fault and says what to
    do next. The command line prints it without a traceback. Plugins raise it too.
    """


class UnavailableError(HarnessError):
    """Something that cannot be had on this machine, such as weights from a hub out of reach.

    ``harness run --all`` leaves out what needs it, and says so; for what was named it is an error.
    """
