"""The error that a user can act on."""


class HarnessError(Exception):
    """A mistake or a shortage that the user can mend.

    The message is one line: it names the file, the plugin or the option at fault and says what to
    do next. The command line prints it without a traceback. Plugins raise it too.
    """
