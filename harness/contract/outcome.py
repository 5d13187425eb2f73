"""What may come of a promise besides being kept."""

from __future__ import annotations


class Broken(Exception):  # noqa: N818  (it is an outcome; "BrokenError" would say it twice)
    """A promise is broken: ``seen`` is what happened, ``mend`` what the author can do about it."""

    def __init__(self, seen: str, mend: str, details: str = "") -> None:
        super().__init__(f"{seen}; {mend}")
        self.details = details
        """A traceback from another process."""


class Skipped(Exception):  # noqa: N818
    """A promise could not be checked here, for the reason that this names."""
