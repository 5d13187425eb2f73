"""What a run would compute, for ``harness run --dry-run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.jobs.spec import JobSpec
from harness.planning.plan import is_late
from harness.system.progress import duration
from harness.types.findings import Table


def table(to_do: Sequence[JobSpec], seconds: Callable[[JobSpec], float | None]) -> Table:
    """Results to compute by dataset and model, and how long fitting takes where that is known."""
    groups: dict[tuple[str, str], list[JobSpec]] = {}
    for job in to_do:
        groups.setdefault((job.about, _of(job)), []).append(job)
    rows: list[tuple[str | float | None, ...]] = []
    for (dataset, name), jobs in groups.items():
        fits = [job for job in jobs if job.kind == "fit"]
        known = [found for job in fits if (found := seconds(job)) is not None]
        late = sum(is_late(job) for job in jobs)
        rows.append(
            (
                dataset,
                name,
                len(fits) or None,
                len(jobs) - len(fits) - late or None,
                late or None,
                duration(sum(known)) if fits and len(known) == len(fits) else "",
            )
        )
    return Table(
        name="to-do",
        title="Results to compute",
        headings=("dataset", "model", "fits", "other results", "perturbed", "fitting takes"),
        rows=tuple(rows),
    )


def _of(job: JobSpec) -> str:
    """The model that a job is about, or what it is about instead."""
    if job.kind == "features":
        return f"({job.features.name} features)" if job.features else ""
    if job.kind == "dataset":
        return "(patches listed)"
    return job.key.name
