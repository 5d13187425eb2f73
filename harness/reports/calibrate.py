"""The page of a calibration: how far dataset probes can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from harness.jobs.calibration import ALL, Reading
from harness.reports.flags_picture import Shares
from harness.types.findings import Finding, Table
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe


def describe(
    phantom: Phantom,
    probes: Sequence[DatasetProbe],
    readings: Sequence[Reading],
    real: Mapping[str, Mapping[str, Finding]],
) -> Finding:
    """Tables of flags and readings by fault and dose, and of real datasets by name."""
    names = [probe.name for probe in probes]
    settings = list(dict.fromkeys((reading.fault, reading.dose) for reading in readings))
    seeds = len({reading.seed for reading in readings})
    wanted = {fault.name: fault.raises for fault in phantom.faults}
    cells: dict[tuple[str, float, str], list[Reading]] = {
        (fault, dose, name): [] for fault, dose in settings for name in names
    }
    for reading in readings:
        cells[reading.fault, reading.dose, reading.probe].append(reading)

    def share(fault: str, dose: float, name: str) -> str:
        raised = sum(reading.flag is True for reading in cells[fault, dose, name])
        undecided = sum(reading.flag is None for reading in cells[fault, dose, name])
        everything = {probe for raises in wanted.values() for probe in raises}
        mark = "*" if name in (everything if fault == ALL else wanted.get(fault, ())) else ""
        rest = f" ({100 * undecided / seeds:.0f} % open)" if undecided else ""
        return f"{100 * raised / seeds:.0f} %{mark}{rest}"

    def spread(fault: str, dose: float, name: str) -> str:
        values = [r.reading for r in cells[fault, dose, name] if r.reading is not None]
        if not values:
            return ""
        return f"{np.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"

    def rows(
        planted: Callable[[str, float, str], str], real_one: Callable[[Finding | None], str]
    ) -> Iterator[tuple[str | float | None, ...]]:
        for fault, dose in settings:
            yield (fault, dose, *(planted(fault, dose, name) for name in names))
        for dataset, found in real.items():
            yield (dataset, None, *(real_one(found.get(name)) for name in names))

    flags = Table(
        name="flags",
        title=f"Share of {seeds} seeds in which a probe raises its flag (* where it should; open: "
        "too few patches to tell)",
        headings=("planted", "dose", *names),
        rows=tuple(rows(share, _flag)),
    )
    doses = Table(
        name="readings",
        title="Readings: median (smallest–largest) over the seeds",
        headings=("planted", "dose", *names),
        rows=tuple(rows(spread, _read)),
    )
    return Finding(
        summary=f"{phantom.title}, {seeds} seeds",
        tables=(flags, doses),
    )


def flags(phantom: Phantom, readings: Sequence[Reading]) -> list[tuple[str, Shares]]:
    """For each fault, how often the probes that ought to find it do, by dose."""
    found: dict[tuple[str, str], dict[float, list[bool]]] = {}
    for one in readings:
        doses = found.setdefault((one.fault, one.probe), {})
        doses.setdefault(one.dose, []).append(one.flag is True)
    return [
        (
            fault.name,
            {
                name: [(dose, sum(of), len(of)) for dose, of in sorted(own.items())]
                for name in fault.raises
                if (own := found.get((fault.name, name)))
            },
        )
        for fault in phantom.faults
    ]


def _flag(finding: Finding | None) -> str:
    if finding is None or finding.flag is None:
        return ""
    return "raised" if finding.flag else "not raised"


def _read(finding: Finding | None) -> str:
    return "" if finding is None or finding.reading is None else f"{finding.reading:.3f}"
