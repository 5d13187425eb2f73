"""Pages about what probes found: Markdown and JSON, with pictures beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.calibrate import Reading
from harness.failures import Collected, Failure
from harness.leaderboard import Board
from harness.plan import Plan
from harness.probes import DatasetProbe, Figure, Finding, Phantom, Table, finding_from
from harness.store import Store, write_atomically
from harness.stored import DamagedError, load_json, verify

SCHEMA = 1


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


def summary(probes: Sequence[DatasetProbe], findings: Mapping[str, Finding]) -> list[str]:
    """A line for each probe, flagged ones marked."""
    mark = {True: "FLAG", False: "ok", None: "-"}
    wide = max((len(name) for name in findings), default=0)
    lines = [
        f"{probe.name:{wide}}  {mark[findings[probe.name].flag]:4}  {findings[probe.name].summary}"
        for probe in probes
        if probe.name in findings
    ]
    return [
        *lines,
        "",
        "FLAG: the fault that the probe looks for is there; ok: not seen; "
        "-: not judged, or too few patches to tell",
    ]


def write_audit(
    store: Store,
    dataset: str,
    probes: Sequence[DatasetProbe],
    findings: Mapping[str, Finding],
    folder: Path,
    problems: Collected,
) -> list[Path]:
    """Write ``<dataset>-audit.md``, ``.json`` and the pictures; returns their paths.

    Pictures that cannot be drawn are added to ``problems``.
    """
    described = verify(store.current(dataset))
    name = f"{dataset}-audit"
    lines = [
        f"# {dataset}: audit",
        f"{described['title']}: {described['n_test']:,} test patches. What the images themselves "
        "give away, without any model of tissue. A flag says that the fault a probe looks for is "
        "there; how far flags can be trusted is in the calibration (`harness calibrate`).",
        "```\n" + "\n".join(summary(probes, findings)) + "\n```",
    ]
    written = []
    for probe in probes:
        if probe.name not in findings:
            continue
        finding = findings[probe.name]
        lines += [f"## {probe.title}", *_body(finding)]
        for plot, draw in probe.plots.items():
            path = folder / f"{name}-{plot}.png"
            if write_picture(path, lambda draw=draw, finding=finding: draw(finding), problems):
                written.append(path)
                lines.append(f"![{plot.replace('-', ' ')}]({path.name})")
    lines.append(f"Written by `harness audit --dataset {dataset}`.")
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "digest": described["digest"],
        "findings": {key: asdict(finding) for key, finding in findings.items()},
    }
    return [*write_page(folder / name, lines, content), *written]


def write_probes(board: Board, folder: Path, problems: Collected) -> list[Path]:
    """Write ``<dataset>-probes.md``, ``.json`` and pictures; nothing when nothing was found.

    Pictures that cannot be drawn are added to ``problems``.
    """
    dataset = board.dataset["name"]
    name = f"{dataset}-probes"
    lines = [
        f"# {dataset}: what the models rely on",
        "From the logits stored for clean and for changed test patches. Only models whose logits "
        "for changed patches are stored appear.",
    ]
    same_patches = [result for result in board.published if not board.other_test_data(result)]
    written: list[Path] = []
    for probe in board.probes:
        findings = board.findings.get(probe.name, {})
        if not findings:
            continue
        lines.append(f"## {probe.title}")
        for plot, draw in probe.plots.items():
            path = folder / f"{name}-{plot}.png"
            given = findings, same_patches, board.truth.classes
            if write_picture(path, lambda draw=draw, given=given: draw(*given), problems):
                written.append(path)
                lines.append(f"![{plot.replace('-', ' ')}]({path.name})")
        for model, finding in findings.items():
            lines += [f"### {model}", *_body(finding)]
    if not any(board.findings.values()):
        return []
    if board.changed:
        lines += ["## Published under the same changes", *_others(board), render(_published(board))]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "digest": board.dataset["digest"],
        "findings": {
            probe: {model: asdict(finding) for model, finding in by_model.items()}
            for probe, by_model in board.findings.items()
        },
        "published": list(board.changed),
    }
    lines.append("Written by `harness run`; `harness leaderboard` writes it again from the store.")
    return [*write_page(folder / name, lines, content), *written]


def _others(board: Board) -> list[str]:
    """A sentence about published accuracies that are of other test patches."""
    reasons = dict.fromkeys(row["not_comparable_because"] for row in board.changed)
    if named := list(filter(None, reasons)):
        return [
            f"Published on other test patches than measured here ({'; '.join(named)}): the two are "
            "not comparable, and pictures have no published accuracies."
        ]
    return []


def _published(board: Board) -> Table:
    rows = sorted(board.changed, key=lambda row: (row["perturbation"], row["level"], row["model"]))
    return Table(
        name="published",
        title="",
        headings=("change", "level", "model", "measured %", "published %", "source"),
        rows=tuple(
            (
                *(row["perturbation"], row["level"], row["model"]),
                "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}",
                f"{100 * row['published_accuracy']:.2f}",
                row["published_source"],
            )
            for row in rows
        ),
    )


def write_calibration(
    phantom: Phantom,
    page: Finding,
    readings: Sequence[Reading],
    checks: Sequence[tuple[str, Table]],
    versions: Mapping[str, Any],
    command: str,
    folder: Path,
) -> list[Path]:
    """Write ``calibration-<phantom>.md``, ``.json`` and, every reading, ``.csv``; returns paths."""
    faults = "\n".join(
        f"- **{fault.name}**: {fault.title}. A dose of 1: {fault.fitted}."
        for fault in phantom.faults
    )
    lines = [
        f"# Calibration of the probes of datasets on {phantom.name}",
        f"{page.summary}. Planted:",
        faults,
        *(part for table in page.tables for part in (f"## {table.title}", render(table))),
    ]
    if checks:
        lines.append("## Real patches, changed by known amounts")
        for probe, table in checks:
            lines += [f"**{probe}: {table.title}**", render(table)]
    lines.append(f"Written by `{command}`.")
    content = {
        "schema": SCHEMA,
        "phantom": phantom.name,
        "version": phantom.version,
        "probes": versions,
        "command": command,
        "tables": [asdict(table) for table in page.tables],
        "checks": [{"probe": probe, **asdict(table)} for probe, table in checks],
    }
    path = folder / f"calibration-{phantom.name}"
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Reading)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(reading) for reading in readings)
    write_atomically(path.with_suffix(".csv"), text.getvalue())
    return [*write_page(path, lines, content), path.with_suffix(".csv")]


def write_page(path: Path, paragraphs: Sequence[str], content: Any) -> list[Path]:
    """Write a page as Markdown, and what is on it as JSON; returns their paths."""
    page, data = path.with_suffix(".md"), path.with_suffix(".json")
    write_atomically(page, "\n\n".join(paragraphs) + "\n")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(data, text + "\n")
    return [page, data]


def _body(finding: Finding) -> list[str]:
    """A finding as Markdown paragraphs."""
    lines = [f"{finding.summary}."]
    if finding.figures:
        lines.append("\n".join(f"- {show(figure)}" for figure in finding.figures))
    for table in finding.tables:
        lines += [f"**{table.title}**", render(table)]
    return lines


def show(figure: Figure) -> str:
    """A figure with its interval."""
    known = [value for value in (figure.value, figure.low, figure.high) if value is not None]
    value, *interval = _numbers(known)
    return f"{figure.name}: {value}" + (f" ({' to '.join(interval)})" if interval else "")


def render(table: Table, style: str = "github") -> str:
    """A table in a format of ``tabulate``; the numbers of a column have equally many decimals."""
    from tabulate import tabulate

    columns = [_column(column) for column in zip(*table.rows, strict=True)]
    rows = list(zip(*columns, strict=True))
    return str(tabulate(rows, table.headings, tablefmt=style, disable_numparse=True))


def _column(cells: Sequence[str | float | None]) -> list[str]:
    numbers = iter(_numbers([cell for cell in cells if isinstance(cell, (int, float))]))
    return [next(numbers) if isinstance(cell, (int, float)) else str(cell or "") for cell in cells]


def _numbers(values: Sequence[float]) -> list[str]:
    """Numbers as text: whole ones and short ones, such as levels, as they are; others rounded."""
    if all(float(value).is_integer() for value in values):
        return [f"{int(value):,}" for value in values]
    if all(float(f"{value:.2g}") == value for value in values):
        return [f"{value:g}" for value in values]
    decimals = 3 if max(map(abs, values)) < 10 else 1
    return [f"{value:.{decimals}f}" for value in values]


def write_picture(path: Path, draw: Any, problems: Collected) -> bool:
    """Write a picture as PNG; False when there is nothing to draw, or when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure = draw()
        if figure is None:
            return False
        figure.savefig(path, dpi=110, metadata={"Software": None})
    except OSError:
        raise
    except (Exception, SystemExit) as error:
        problems.add(f"picture {path.name}", error)
        return False
    return True
