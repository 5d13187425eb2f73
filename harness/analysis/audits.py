"""What the probes of datasets found, read back from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.dataframes import dataframe, of_rows
from harness.errors import HarnessError
from harness.jobs.dataset import Instance
from harness.planning.plan import Plan
from harness.store.failures import Failure
from harness.store.store import Store
from harness.store.stored import DamagedError, Record, load_json, verify
from harness.text.names import suggest
from harness.types.findings import Finding, finding_from
from harness.types.probes import DatasetProbe


@dataclass(frozen=True)
class DatasetAudit:
    """What the images of a dataset give away about the class, without any model of tissue."""

    described: Record = field(repr=False)
    """What is known of the dataset."""
    probes: tuple[DatasetProbe, ...] = field(repr=False)
    """Those that found something, in the order of the page."""
    findings: Mapping[str, Finding]
    """By the name of the probe: summary, figures, tables and flag."""
    instance: Instance | None = field(default=None, repr=False)
    """The dataset as it is here, to show patches of."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """What could not be computed, and why."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.described["name"])

    @property
    def flagged(self) -> list[str]:
        """Names of the probes whose fault is there."""
        return [name for name, finding in self.findings.items() if finding.flag]

    def __getitem__(self, probe: str) -> Finding:
        if probe not in self.findings:
            raise HarnessError(f"no probe {probe!r} in this audit; {suggest(probe, self.findings)}")
        return self.findings[probe]

    def to_dataframe(self, probe: str | None = None, table: str | None = None) -> Any:
        """A pandas DataFrame: every figure of every probe, a row each; or one table of a probe.

        The columns are probe, flag, figure, value, low and high. Raises HarnessError without
        pandas, and for a probe or a table that there is not.
        """
        if probe is None:
            return of_rows(
                [
                    {
                        "probe": name,
                        "flag": finding.flag,
                        "figure": estimate.name,
                        "value": estimate.value,
                        "low": estimate.low,
                        "high": estimate.high,
                    }
                    for name, finding in self.findings.items()
                    for estimate in finding.estimates
                ]
            )
        tables = {one.name: one for one in self[probe].tables}
        if table not in tables:
            raise HarnessError(
                f"the probe {probe} has the tables {', '.join(tables) or 'none'}; name one"
            )
        columns = zip(*tables[table].rows, strict=True)
        return dataframe(dict(zip(tables[table].headings, map(list, columns), strict=False)))

    def plots(self) -> dict[str, Any]:
        """The pictures of the probes as matplotlib figures, by name, to look at or to save."""
        from harness.reports import display

        return display.plots(self)

    def __repr__(self) -> str:
        flagged = ", ".join(self.flagged) or "none"
        return f"<audit of {self.dataset}: {len(self.findings)} probes, flagged: {flagged}>"

    def __str__(self) -> str:
        from harness.reports import display

        return display.text_of_audit(self)

    def _repr_html_(self) -> str:
        from harness.reports import display

        return display.html_of_audit(self)


def load_findings(
    store: Store, plan: Plan, failures: dict[str, Failure]
) -> dict[str, dict[str, Finding]]:
    """What is stored of the findings of a plan, by dataset and probe.

    Those that are damaged are added to ``failures``.
    """
    found: dict[str, dict[str, Finding]] = {}
    for (dataset, probe), key in plan.findings.items():
        try:
            if folder := store.find(key):
                content = load_json(folder, "finding.json")
                found.setdefault(dataset, {})[probe] = finding_from(content)
        except DamagedError as error:
            failures[f"{dataset}: {probe} probe on the page"] = Failure(str(error))
    return found


def load(
    store: Store, plan: Plan, probes: tuple[DatasetProbe, ...], failures: dict[str, Failure]
) -> list[DatasetAudit]:
    """An audit of each dataset of a plan of which anything was found.

    Findings that are damaged are added to ``failures``.
    """
    return [
        DatasetAudit(
            described=verify(store.current(dataset)),
            probes=tuple(probe for probe in probes if probe.name in findings),
            findings=findings,
            instance=plan.instances.get(dataset),
        )
        for dataset, findings in load_findings(store, plan, failures).items()
    ]
