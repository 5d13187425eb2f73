"""The executor of a Ray cluster: ``harness run --executor ray``, from one machine to many."""

from __future__ import annotations

from harness import Executor, hookimpl, later


@hookimpl
def harness_executors() -> list[Executor]:
    """The executor ``ray``."""
    return [
        Executor(
            name="ray",
            title="Nodes of a Ray cluster that see the same store; needs the extra `ray`",
            start=later("harness_ray.cluster:start"),
        )
    ]
