"""My plugin: a column of the leaderboard with the recall of the class that a model is worst at."""

from __future__ import annotations

import numpy as np

from harness import Column, Figure, Finding, ModelProbe, Predictions, hookimpl


def measure(predictions: Predictions) -> Finding:
    """The lowest recall of any class, with Wilson's 95 % interval for that class alone."""
    from scipy.stats import binomtest

    right = predictions.clean.argmax(axis=1) == predictions.labels
    present = np.unique(predictions.labels)
    recalls = [right[predictions.labels == label].mean() for label in present]
    worst = present[int(np.argmin(recalls))]
    of_class = right[predictions.labels == worst]
    found = binomtest(int(of_class.sum()), len(of_class))
    interval = found.proportion_ci(method="wilson")
    figure = Figure(
        name="worst recall",
        value=float(found.statistic),
        low=float(interval.low),
        high=float(interval.high),
    )
    name = predictions.classes[worst]
    return Finding(summary=f"{100 * figure.value:.0f} % of {name} are found", figures=(figure,))


def show(figure: Figure) -> str:
    """The cell of the table."""
    return f"{100 * figure.value:.1f}"


@hookimpl
def harness_probes() -> list[ModelProbe]:
    """The probes of this plugin."""
    return [
        ModelProbe(
            name="my-plugin",
            title="My plugin",
            measure=measure,
            columns=(
                Column(
                    figure="worst recall",
                    heading="worst class %",
                    about="recall of the class that the model is worst at.",
                    show=show,
                ),
            ),
        )
    ]
