"""More columns of the leaderboard, and the files that it is written to."""

from __future__ import annotations

from functools import partial

from harness import Metric, Report, hookimpl, later


@hookimpl
def harness_metrics() -> list[Metric]:
    """Cohen's kappa and top-2 accuracy, shown with ``--columns figures``."""
    return [
        Metric(
            name="kappa",
            title="Cohen's kappa",
            heading="kappa",
            about="agreement with the labels beyond that of chance (Cohen 1960).",
            value=later("harness_board.agreement:kappa"),
            columns="figures",
        ),
        Metric(
            name="top2",
            title="Top-2 accuracy",
            heading="top-2 %",
            about="share of patches whose class is one of the two that the model puts first.",
            value=later("harness_board.agreement:top2"),
            percent=True,
            columns="figures",
        ),
    ]


@hookimpl
def harness_reports() -> list[Report]:
    """Markdown, LaTeX, CSV and JSON."""
    write = later("harness.reports.formats:write")
    return [
        Report(name="markdown", title="A page in Markdown", write=partial(write, ".md")),
        Report(name="latex", title="The table in LaTeX", write=partial(write, ".tex")),
        Report(name="csv", title="All figures as CSV", write=partial(write, ".csv")),
        Report(name="json", title="Everything as JSON", write=partial(write, ".json")),
    ]
