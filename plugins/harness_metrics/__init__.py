"""Metrics beside those that every leaderboard has: Cohen's kappa and top-2 accuracy."""

from __future__ import annotations

from harness import Metric, hookimpl, later


@hookimpl
def harness_metrics() -> list[Metric]:
    """Shown with ``--columns figures``."""
    return [
        Metric(
            name="kappa",
            title="Cohen's kappa",
            heading="kappa",
            about="agreement with the labels beyond that of chance (Cohen 1960).",
            value=later("harness_metrics.agreement:kappa"),
            columns="figures",
        ),
        Metric(
            name="top2",
            title="Top-2 accuracy",
            heading="top-2 %",
            about="share of patches whose class is one of the two that the model puts first.",
            value=later("harness_metrics.agreement:top2"),
            percent=True,
            columns="figures",
        ),
    ]
