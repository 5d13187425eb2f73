"""What may come of a promise."""

from __future__ import annotations

from dataclasses import dataclass


class Broken(Exception):  # noqa: N818  (it is an outcome; "BrokenError" would say it twice)
    """A promise is broken: ``seen`` is what happened, ``fix`` what the author can do about it."""

    def __init__(self, seen: str, fix: str, details: str = "") -> None:
        super().__init__(f"{seen}; {fix}")
        self.details = details
        """A traceback from another process."""


class Skipped(Exception):  # noqa: N818
    """A promise could not be checked here, for the reason that this names."""


@dataclass(frozen=True)
class Outcome:
    """What came of a promise: "ok", "BROKEN" or "skipped", and why."""

    case: str
    text: str
    """What is promised, in a sentence."""
    status: str
    message: str = ""
    details: str = ""
    """A traceback, or what another process printed."""

    def __str__(self) -> str:
        if self.status == "skipped":
            return f"skipped  {self.case} ({self.message})"
        if self.status == "BROKEN":
            return f"BROKEN   {self.case}\n         {self.text}\n         {self.message}"
        return f"ok       {self.case}"
