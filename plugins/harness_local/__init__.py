"""The executor of this machine: a number of processes, each with its share of cores and GPUs."""

from __future__ import annotations

from harness import Executor, hookimpl, later


@hookimpl
def harness_executors() -> list[Executor]:
    """The executor ``local``, which runs use unless another is named."""
    return [
        Executor(
            name="local",
            title="Processes of this machine, each with its share of cores and GPUs",
            start=later("harness.execution.local:start"),
        )
    ]
