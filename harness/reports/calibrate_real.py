"""The page of a calibration on real patches: which planted faults are seen, from which dose on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.jobs.planted import Graded, Judges
from harness.reports.flags_picture import Shares
from harness.statistics.intervals import wilson
from harness.text.numbers import given
from harness.types.faults import PlantedFault
from harness.types.findings import Finding, Table
from harness.types.probes import DatasetProbe

FOUND = 0.95
"""Share of the draws in which a fault must be found at its detection limit and at larger doses."""


@dataclass(frozen=True)
class Cell:
    """What a probe said of a fault at a dose, in all draws."""

    raised: int
    undecided: int
    draws: int

    @property
    def share(self) -> float:
        """Share of the draws in which the flag was raised."""
        return self.raised / self.draws


Cells = Mapping[tuple[str, float, str], Cell]


@dataclass(frozen=True)
class Limit:
    """From which dose on a probe finds a fault that it ought to find."""

    fault: str
    unit: str
    probe: str
    dose: float | None
    """None: at no dose that was tried."""


def counted(readings: Mapping[str, Sequence[Graded]]) -> dict[tuple[str, float, str], Cell]:
    """Flags by fault, dose and probe."""
    found: dict[tuple[str, float, str], list[bool | None]] = {}
    for name, own in readings.items():
        for one in own:
            found.setdefault((name, one.dose, one.probe), []).append(one.flag)
    return {
        key: Cell(flags.count(True), flags.count(None), len(flags)) for key, flags in found.items()
    }


def limits(faults: Sequence[PlantedFault], names: Sequence[str], cells: Cells) -> list[Limit]:
    """The detection limit of every fault and probe that ought to find it."""
    found = []
    for fault in faults:
        for name in (probe for probe in fault.raises if probe in names):
            dose = None
            for larger in reversed(fault.doses):
                if cells[fault.name, larger, name].share < FOUND:
                    break
                dose = larger
            found.append(Limit(fault.name, fault.unit, name, dose))
    return found


def flags(
    faults: Sequence[PlantedFault], names: Sequence[str], readings: Sequence[Graded]
) -> list[tuple[str, Shares]]:
    """For each fault, how often the probes that ought to find it do, by dose."""
    by_fault: dict[str, list[Graded]] = {}
    for one in readings:
        by_fault.setdefault(one.fault, []).append(one)
    cells = counted(by_fault)
    return [
        (
            fault.name,
            {
                name: [
                    (dose, cell.raised, cell.draws)
                    for dose in fault.doses
                    if (cell := cells.get((fault.name, dose, name)))
                ]
                for name in fault.raises
                if name in names
            },
        )
        for fault in faults
    ]


def describe(
    judges: Judges,
    faults: Sequence[PlantedFault],
    probes: Sequence[DatasetProbe],
    readings: Mapping[str, Sequence[Graded]],
) -> Finding:
    """Tables of flags by fault, of detection limits, of false flags and of cross-talk."""
    names = [probe.name for probe in probes]
    cells = counted(readings)
    draws = max(cell.draws for cell in cells.values())
    flags = Table(
        name="flags",
        title=f"Largest share over the doses of {draws} draws in which a probe raises its flag "
        "(* where it should)",
        headings=("planted", *names),
        rows=tuple(
            (fault.title, *(_largest(fault, name, cells) for name in names)) for fault in faults
        ),
    )
    found = Table(
        name="limits",
        title=f"Detection limit: the dose from which on at least {100 * FOUND:.0f} % of the draws "
        "are found (-: at no dose tried)",
        headings=("planted", "probe", "detection limit", "doses tried", "a dose is in"),
        rows=tuple(_limits(faults, names, cells)),
    )
    tables = (flags, found, _false_flags(faults, names, cells), _cross_talk(faults, names, cells))
    known = "patients or slides dealt as a whole" if judges.groups is not None else "each by itself"
    return Finding(
        summary=f"{len(judges.split.labels):,} patches, {known}; {draws} draws of labels; "
        f"{judges.tuned:,} patches on which limits of a probe were set are left out",
        tables=tables,
    )


def _asked(fault: PlantedFault, name: str, cells: Cells) -> list[Cell]:
    """What a probe said of a fault, dose by dose, as far as it was asked."""
    keys = [(fault.name, dose, name) for dose in fault.doses]
    return [cells[key] for key in keys if key in cells]


def _largest(fault: PlantedFault, name: str, cells: Cells) -> str:
    own = _asked(fault, name, cells)
    mark = "*" if name in fault.raises else ""
    if all(cell.undecided == cell.draws for cell in own):
        return f"open{mark}"
    return f"{100 * max(cell.share for cell in own):.0f} %{mark}"


def _limits(
    faults: Sequence[PlantedFault], names: Sequence[str], cells: Cells
) -> Iterator[tuple[str, ...]]:
    by_name = {fault.name: fault for fault in faults}
    for limit in limits(faults, names, cells):
        fault = by_name[limit.fault]
        dose = "-" if limit.dose is None else given(limit.dose)
        tried = ", ".join(map(given, fault.doses))
        yield fault.title, limit.probe, dose, tried, fault.unit


def _false_flags(faults: Sequence[PlantedFault], names: Sequence[str], cells: Cells) -> Table:
    """Flags on controls, which are no fault of a class."""
    controls = [fault for fault in faults if not fault.raises]
    return Table(
        name="false flags",
        title="False flags: on patches without a fault, and on those changed alike or at random, "
        "pooled (95 % Wilson intervals, as if draws were independent)",
        headings=("probe", *POOLED, "most often on"),
        rows=tuple((name, *_pooled(controls, name, cells)) for name in names),
    )


def _cross_talk(faults: Sequence[PlantedFault], names: Sequence[str], cells: Cells) -> Table:
    """Flags on faults that are another probe's."""

    def row(name: str) -> tuple[str | float | None, ...]:
        others = [fault for fault in faults if fault.raises and name not in fault.raises]
        largest = [replace(fault, doses=fault.doses[-1:]) for fault in others]
        *pooled, _ = _pooled(largest, name, cells)
        _, _, share, *_, which = _pooled(others, name, cells)
        return (name, *pooled, share, which)

    return Table(
        name="cross-talk",
        title="Cross-talk: flags on faults that are another probe's, at the largest dose, pooled; "
        "and at all doses",
        headings=("probe", *POOLED, "% at all doses", "most often on"),
        rows=tuple(map(row, names)),
    )


POOLED = ("flags", "draws", "%", "from", "to", "undecided %")


def _pooled(
    faults: Sequence[PlantedFault], name: str, cells: Cells
) -> tuple[str | float | None, ...]:
    """The columns of ``POOLED``, and the fault and dose on which a flag was raised most often."""
    keys = [(f, dose, (f.name, dose, name)) for f in faults for dose in f.doses]
    found = [(fault, dose, cells[key]) for fault, dose, key in keys if key in cells]
    raised, draws = (sum(getattr(c, kind) for *_, c in found) for kind in ("raised", "draws"))
    if not draws:
        return (0, 0, *(None,) * (len(POOLED) - 2), "")
    low, high = wilson(raised, draws)
    undecided = sum(cell.undecided for *_, cell in found)
    shares = (raised / draws, low, high, undecided / draws)
    fault, dose, worst = max(found, key=lambda one: (one[2].share, one[1] == one[0].doses[-1]))
    which = f"{fault.title}, {given(dose)}: {worst.raised} of {worst.draws}" if worst.raised else ""
    return (raised, draws, *(f"{100 * share:.1f}" for share in shares), which)
