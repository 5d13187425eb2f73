"""The leaderboard as files: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from functools import partial

from harness import Report, hookimpl, later


@hookimpl
def harness_reports() -> list[Report]:
    """One for each format."""
    write = later("harness.formats:write")
    return [
        Report(name="markdown", title="A page in Markdown", write=partial(write, ".md")),
        Report(name="latex", title="The table in LaTeX", write=partial(write, ".tex")),
        Report(name="csv", title="All figures as CSV", write=partial(write, ".csv")),
        Report(name="json", title="Everything as JSON", write=partial(write, ".json")),
    ]
