"""Pages about what probes found: Markdown and JSON, with pictures beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.analysis.audits import DatasetAudit
from harness.analysis.leaderboard import Board
from harness.jobs.calibration import Reading
from harness.jobs.planted import Graded, Judges
from harness.reports import (
    calibrate,
    calibrate_real,
    drawing,
    flags_picture,
    patch_pictures,
    terms,
)
from harness.reports.calibrate_real import Limit
from harness.reports.kept_pictures import key_of
from harness.statistics.estimates import Estimate
from harness.store.failures import Collected
from harness.system.atomic import write_atomically
from harness.text import markup, numbers
from harness.text.markup import code, csv_table, fenced, inline, visible
from harness.text.numbers import percent
from harness.types.faults import PlantedFault
from harness.types.findings import Finding, Table
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe

SCHEMA = 1
VERDICTS = {True: "Found", False: "Not seen", None: "Not judged"}
"""What a flag says, in words."""
FEW = 10
"""Patches of a class below which its figures stand apart."""
LONGEST = 20
"""Rows of the longest table that stands on a page in Markdown."""
CLAUSE = re.compile(r"; (?![^(]*\))")
"""What parts of a summary end with, outside of parentheses."""
OPEN = "not judged: "
"""What the part of a summary begins with that says why nothing was judged."""
CHOSEN = ("level", "dose")
"""Headings of columns with numbers that somebody has chosen."""


def summary(probes: Sequence[DatasetProbe], findings: Mapping[str, Finding]) -> list[str]:
    """A line for each probe, flagged ones marked."""
    mark = {True: "FLAG", False: "ok", None: "-"}
    wide = max((len(name) for name in findings), default=0)
    lines = [
        f"{probe.name:{wide}}  {mark[findings[probe.name].flag]:4}  "
        f"{visible(findings[probe.name].summary)}"
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
    audit: DatasetAudit, folder: Path, problems: Collected, images: bool = True
) -> list[Path]:
    """Write ``<dataset>-audit.md``, ``.json`` and the pictures; returns their paths.

    Pictures that cannot be drawn are added to ``problems``. Without ``images`` there are none of
    patches, nor of a dataset whose license forbids that.
    """
    described, dataset, findings = audit.described, audit.dataset, audit.findings
    name = f"{dataset}-audit"
    lines = [
        f"# {inline(dataset)}: audit",
        f"{inline(described['title'])}: {described['n_test']:,} test patches. What the images "
        "themselves give away, without any model of tissue. A flag says that the fault a probe "
        "looks for is there; how far flags can be trusted is in the calibration "
        "(`harness calibrate`).",
        *_in_short(audit),
        _of_groups(described.get("n_groups", {})),
    ]
    written = []
    instance = audit.instance if images else None
    if instance is not None and not instance.dataset.shows_patches:
        lines.append("Patches are not shown, as the dataset says that they may not be.")
        instance = None
    if instance is not None:
        shown = patch_pictures.write_sheet(instance, folder, problems)
        lines += shown
        written += [folder / f"{name}-patches.jpg"] if shown else []
    for probe in audit.probes:
        finding = findings[probe.name]
        said = [f"**{title}.** {inline(text)}" for title, text in in_words(probe, finding)]
        lines += [f"## {inline(probe.title)}", *said, *_body(finding)]
        lines += [f"*{inline(sentence)}*" for sentence in explanations(finding)]
        for plot, draw in probe.plots.items():
            path = folder / f"{name}-{plot}.png"
            key = key_of(dataset, path.stem, draw, asdict(finding))
            shown = drawing.write(path, plot, partial(draw, finding), problems, key=key)
            lines += shown
            written += drawing.files(path) if shown else []
        if instance is None:
            continue
        for gallery, choose in probe.galleries.items():
            asked = partial(choose, finding)
            shown = patch_pictures.write_gallery(instance, gallery, asked, folder, problems)
            lines += shown
            written += [folder / f"{name}-{gallery}.jpg"] if shown else []
    lines += [
        "## All verdicts",
        fenced("\n".join(summary(audit.probes, findings))),
        f"Written by {code(f'harness audit --dataset {dataset}')}.",
    ]
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
        f"# {inline(dataset)}: what the models rely on",
        "From the logits stored for clean and for perturbed test patches. Of each probe, only "
        "models appear of which the logits that it needs are stored.",
        *board.assumed,
    ]
    same_patches = tuple(r for r in board.published if not board.other_test_data(r))
    published = list(map(asdict, same_patches))
    found = {
        probe: {model: asdict(finding) for model, finding in by_model.items()}
        for probe, by_model in board.findings.items()
    }
    written: list[Path] = []
    for probe in board.probes:
        findings = board.findings.get(probe.name, {})
        if not findings:
            continue
        lines.append(f"## {inline(probe.title)}")
        shows = [found[probe.name], published, board.truth.classes]
        for plot, draw in probe.plots.items():
            path = folder / f"{name}-{plot}.png"
            draw_all = partial(draw, MappingProxyType(findings), same_patches, board.truth.classes)
            key = key_of(dataset, path.stem, draw, shows)
            shown = drawing.write(path, plot, draw_all, problems, key=key)
            lines += shown
            written += drawing.files(path) if shown else []
        used = dict.fromkeys(one for finding in findings.values() for one in explanations(finding))
        lines += [f"*{inline(sentence)}*" for sentence in used]
        for model, finding in findings.items():
            lines += [f"### {inline(model)}", *_body(finding)]
    if not any(found.values()):
        return []
    if board.changed:
        lines += ["## Published under the same changes", *_others(board), render(_published(board))]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "digest": board.dataset["digest"],
        "findings": found,
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
                "" if row["accuracy"] is None else percent(row["accuracy"]),
                percent(row["published_accuracy"]),
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
    problems: Collected,
) -> list[Path]:
    """Write ``calibration-<phantom>.md``, ``.json``, a picture and, every reading, ``.csv``;
    returns paths. A picture that cannot be drawn is added to ``problems``."""
    faults = "\n".join(
        f"- **{inline(fault.name)}**: {inline(fault.title)}. A dose of 1: {inline(fault.fitted)}."
        for fault in phantom.faults
    )
    path = folder / f"calibration-{phantom.name}"
    flags = calibrate.flags(phantom, readings)
    shown, pictures = flags_picture.write(flags, folder / f"{path.name}-flags.png", problems)
    lines = [
        f"# Calibration of the probes of datasets on {inline(phantom.name)}",
        f"{inline(page.summary)}. Planted:",
        faults,
        *shown,
        *(part for table in page.tables for part in (f"## {inline(table.title)}", render(table))),
    ]
    if checks:
        lines.append("## Real patches, changed by known amounts")
        for probe, table in checks:
            lines += [f"**{inline(probe)}: {inline(table.title)}**", render(table)]
    lines.append(f"Written by {code(command)}.")
    content = {
        "schema": SCHEMA,
        "phantom": phantom.name,
        "version": phantom.version,
        "probes": versions,
        "command": command,
        "tables": [asdict(table) for table in page.tables],
        "checks": [{"probe": probe, **asdict(table)} for probe, table in checks],
    }
    text = csv_table([f.name for f in fields(Reading)], [asdict(reading) for reading in readings])
    write_atomically(path.with_suffix(".csv"), text)
    return [*write_page(path, lines, content), path.with_suffix(".csv"), *pictures]


def write_real_calibration(
    dataset: str,
    page: Finding,
    faults: Sequence[PlantedFault],
    readings: Sequence[Graded],
    judges: Judges,
    limits: Sequence[Limit],
    versions: Mapping[str, Any],
    command: str,
    folder: Path,
    problems: Collected,
) -> list[Path]:
    """Write ``calibration-real-<dataset>.md``, ``.json``, a picture and, every reading, ``.csv``.

    A picture that cannot be drawn is added to ``problems``.
    """
    path = folder / f"calibration-real-{dataset}"
    flags = calibrate_real.flags(faults, list(versions), readings)
    shown, pictures = flags_picture.write(flags, folder / f"{path.name}-flags.png", problems)
    lines = [
        f"# Calibration of the probes of datasets on {inline(dataset)}",
        f"{inline(page.summary)}. Labels are dealt at random within each true class and part, so "
        "that tissue is the same in all of them, and a fault is planted by label: in two of four "
        "classes at one level and in two at another, a dose apart, or as the title says. What "
        "plants it shares no code with the probes.",
        *shown,
        *(part for table in page.tables for part in (f"## {inline(table.title)}", render(table))),
        f"Written by {code(command)}.",
    ]
    content = {
        "schema": SCHEMA,
        "dataset": dataset,
        "patches": list(judges.split.ids),
        "draws": 1 + max(reading.seed for reading in readings),
        "faults": {fault.name: [fault.version, list(fault.doses)] for fault in faults},
        "probes": versions,
        "command": command,
        "limits": list(map(asdict, limits)),
        "tables": [asdict(table) for table in page.tables],
    }
    text = csv_table([f.name for f in fields(Graded)], list(map(asdict, readings)))
    write_atomically(path.with_suffix(".csv"), text)
    return [*write_page(path, lines, content), path.with_suffix(".csv"), *pictures]


def write_page(path: Path, paragraphs: Sequence[str], content: Any) -> list[Path]:
    """Write a page as Markdown, and what is on it as JSON; returns their paths."""
    page, data = path.with_suffix(".md"), path.with_suffix(".json")
    write_atomically(page, "\n\n".join(paragraphs) + "\n")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(data, text + "\n")
    return [page, data]


def _of_groups(known: Mapping[str, int]) -> str:
    """What is known of patients or slides, and what that does to verdicts."""
    if not known:
        return (
            "Patients and slides are not known. Patches count as independent, so that a patient "
            "who is recognized can pass for a fault of a class, above all where a class comes from "
            "few patients."
        )
    counted = " and ".join(f"{n:,} in the {part} patches" for part, n in known.items())
    return (
        f"Patients or slides are known ({counted}). Each is left out as a whole when patches are "
        "predicted and keeps one label when labels are dealt at random, so that to recognize a "
        "patient is no fault of a class."
    )


def _body(finding: Finding) -> list[str]:
    """A finding as Markdown paragraphs."""
    lines = [f"{inline(finding.summary)}."]
    if finding.grade:
        lines[0] += f" Verdict: **{inline(finding.grade)}**."
    if finding.blind:
        lines[0] += f" It cannot see {inline(finding.blind)}."
    if finding.estimates:
        lines.append("\n".join(f"- {inline(show(estimate))}" for estimate in finding.estimates))
    for table in shown(finding):
        if len(table.rows) > LONGEST:
            lines.append(
                f"**{inline(table.title)}**: {len(table.rows):,} rows, which are in the JSON file "
                "and in the HTML report."
            )
        else:
            lines += [f"**{inline(table.title)}**", render(table)]
    return lines


def _in_short(audit: DatasetAudit) -> list[str]:
    """What each probe asked and what came of it, what was found first; and terms in it."""
    asked = [probe for probe in audit.probes if probe.question]
    order = {True: 0, None: 1, False: 2}
    asked.sort(key=lambda probe: order[audit.findings[probe.name].flag])
    told = [(probe, in_short(probe, audit.findings[probe.name])) for probe in asked]
    if not told:
        return []
    lines = [
        f"- **{VERDICTS[audit.findings[probe.name].flag]}**: "
        f"{inline(' '.join(filter(None, (probe.question, text))))}"
        for probe, text in told
    ]
    terms_used = terms.explained(text for _, text in told)
    return ["## In short", "\n".join(lines), *(f"*{inline(one)}*" for one in terms_used)]


def in_short(probe: DatasetProbe, finding: Finding) -> str:
    """What a fault that was found means and how strong it is, or why nothing was judged."""
    if finding.flag is None:
        why = [one for one in CLAUSE.split(finding.summary) if one.startswith(OPEN)]
        return _sentence(why[0].removeprefix(OPEN)) if why else ""
    if not finding.flag:
        return ""
    first = CLAUSE.split(finding.summary)[0]
    about, colon, rest = first.partition(": ")
    measured = _sentence(rest if colon and len(about.split()) <= 4 else first)
    means = probe.meaning.partition(". ")[0].removesuffix(".")
    return f"{means}. {measured}" if means else measured


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def in_words(probe: DatasetProbe, finding: Finding) -> list[tuple[str, str]]:
    """What a fault means, what to do, and how far to trust the verdict: titles and texts.

    Nothing of what a fault means where none is seen. A flag is trusted by how seldom it is raised
    without the fault, any other verdict by how small a fault would have been seen.
    """
    found = "If it is there: " if finding.flag is None else ""
    meant = (
        []
        if finding.flag is False
        else [
            ("What it means", f"{found}{probe.meaning}" if probe.meaning else ""),
            ("What to do", f"{found}{probe.advice}" if probe.advice else ""),
        ]
    )
    not_judged = "Not judged here. " if finding.flag is None else ""
    measured = probe.false_flags if finding.flag else probe.limits
    trust = f"{not_judged}{measured}." if measured else ""
    return [(title, text) for title, text in (*meant, ("How far to trust it", trust)) if text]


def shown(finding: Finding) -> list[Table]:
    """The tables of a finding for people: none is empty, and classes of few patches go apart."""
    return [part for table in finding.tables if table.rows for part in _apart(table)]


def _apart(table: Table) -> list[Table]:
    """A table by class as two: classes with at least ``FEW`` patches, and the others."""
    if not {"class", "patches"} <= set(table.headings):
        return [table]
    place = table.headings.index("patches")
    few = [isinstance(row[place], int) and row[place] < FEW for row in table.rows]  # type: ignore[operator]
    if all(few) or not any(few):
        return [table]
    parts = [
        tuple(row for row, is_few in zip(table.rows, few, strict=True) if is_few is wanted)
        for wanted in (False, True)
    ]
    title = f"{table.title}: classes with fewer than {FEW} patches, mostly chance"
    return [replace(table, rows=parts[0]), replace(table, title=title, rows=parts[1])]


def explanations(finding: Finding) -> list[str]:
    """A sentence for each term that a finding uses."""
    tables = [text for table in finding.tables for text in (table.title, *table.headings)]
    estimates = [estimate.name for estimate in finding.estimates]
    return terms.explained([finding.summary, *estimates, *tables])


def show(estimate: Estimate) -> str:
    """A figure with its interval."""
    known = [value for value in (estimate.value, estimate.low, estimate.high) if value is not None]
    value, *interval = numbers.column(known)
    return f"{estimate.name}: {value}" + (f" ({' to '.join(interval)})" if interval else "")


def render(table: Table, style: str = "github") -> str:
    """A table in a format of ``tabulate``."""
    return markup.table(*cells(table), style)


def simple(table: Table) -> str:
    """A table in plain text, as wide as it is."""
    return render(table, "simple")


def cells(table: Table) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Headings and rows as text; the numbers of a column have equally many decimals."""
    columns = [
        _column(values, heading in CHOSEN)
        for heading, values in zip(table.headings, zip(*table.rows, strict=True), strict=False)
    ]
    return table.headings, list(zip(*columns, strict=True))


def _column(cells: Sequence[str | float | None], chosen: bool) -> list[str]:
    values = [cell for cell in cells if isinstance(cell, (int, float))]
    texts = iter(numbers.column(values, chosen))
    return [next(texts) if isinstance(cell, (int, float)) else str(cell or "") for cell in cells]
