"""How results show themselves: text for a terminal, HTML for a notebook.

``str()`` and ``_repr_html_`` of what the Python interface returns end here. HTML takes colors and
fonts from the page, so that it can be read in light and in dark notebooks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape, unescape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import reproduction
from harness.analysis.audits import DatasetAudit
from harness.analysis.compare import Compared
from harness.analysis.compare_published import ComparedCounts
from harness.analysis.contrast import Contrast
from harness.analysis.few_shot import FewShot
from harness.analysis.leaderboard import Board
from harness.analysis.transfer import Transfer
from harness.hooks.guard import contained
from harness.reports import (
    compare_published_text,
    compare_text,
    contrast_text,
    drawing,
    few_shot_text,
    formats,
    transfer_text,
)
from harness.reports.report import cells, show, simple, summary
from harness.text.markup import visible
from harness.types.findings import Table

WIDEST = 36
"""Widest cell of a table, in letters; longer text goes on in the next line."""


def text_of_board(board: Board) -> str:
    """The table that the command prints, and what a reader needs to know of it."""
    return "\n\n".join([formats.table(board, "simple"), *formats.about(board)])


def html_of_board(board: Board) -> str:
    """The table of the default columns; published rows and what to know of it are folded."""
    chosen, rows = formats.filled(board)
    headings = [column.heading for column in chosen]
    kinds = [row["result"] for row in board.rows]
    measured, published = (
        [row for row, kind in zip(rows, kinds, strict=True) if (kind == "published") is wanted]
        for wanted in (False, True)
    )
    tables = [_table(headings, some) for some in (measured, published) if some]
    if measured and published:
        tables[1] = _folded(f"Published results: {len(published)}", tables[1])
    return _joined(
        _heading(board.dataset["title"]),
        *tables,
        _folded("How to read this table", *map(_paragraph, formats.about(board))),
    )


def latex_of_board(board: Board, columns: Sequence[str]) -> str:
    """The table in LaTeX, as ``harness leaderboard`` writes it."""
    return formats.latex(board, columns)


def text_of_comparison(compared: Compared) -> str:
    """What ``harness compare`` prints."""
    return "\n\n".join(compare_text.text(compared))


def html_of_comparison(compared: Compared) -> str:
    """The verdict, the figures, and the classes; what differs patch by patch is folded."""
    first, *rest = compare_text.introduction(compared)
    verdict = compare_text.verdict(compared)
    named = [
        (name, model, compare_text.some(ids, "`differing`"))
        for name, model, ids in compare_text.only_right(compared)
    ]
    folded = ""
    if named:
        table = _table(("class", "only right", "patches"), named)
        folded = _folded("Patches that only one gets right", table)
    return _joined(
        _heading(first),
        _paragraph(verdict, bold=True),
        *(_paragraph(line) for line in rest if line != verdict),
        _of(compare_text.estimates(compared)),
        *map(_paragraph, compare_text.about_seeds(compared)),
        _of(compare_text.patches(compared)),
        folded,
    )


def text_of_counts(compared: ComparedCounts) -> str:
    """What ``harness compare`` prints of published results."""
    return "\n\n".join(compare_published_text.text(compared))


def html_of_counts(compared: ComparedCounts) -> str:
    """The verdict and the figures, and recalls where confusion matrices are known."""
    recalls = [_of(reproduction.class_table(compared.recalls))] if compared.recalls else []
    return _joined(
        *map(_paragraph, compare_published_text.introduction(compared)),
        *(_paragraph(line, bold=True) for line in compare_published_text.verdict(compared)),
        _of(compare_published_text.estimates(compared)),
        *recalls,
    )


def text_of_contrast(found: Contrast) -> str:
    """What ``harness contrast`` prints."""
    tables = [f"{t.title}\n\n{simple(t)}" for t in contrast_text.tables(found)]
    return "\n\n".join([*tables, contrast_text.about(found)])


def html_of_contrast(found: Contrast) -> str:
    """What was done, and the tables."""
    tables = [
        part
        for table in contrast_text.tables(found)
        for part in (_heading(table.title), _of(table))
    ]
    about = _paragraph(contrast_text.about(found))
    return _joined(_heading(" against ".join(found.titles)), about, *tables, *_lost(found.failed))


def text_of_transfer(found: Transfer) -> str:
    """What ``harness transfer`` prints."""
    tables = [f"{t.title}\n\n{simple(t)}" for t in transfer_text.tables(found)]
    cohorts = [transfer_text.of_cohort(found, cohort) for cohort in found.cohorts]
    return "\n\n".join([*tables, *cohorts, transfer_text.about(found)])


def html_of_transfer(found: Transfer) -> str:
    """What was done, what the cohorts are, and the tables."""
    tables = [
        part
        for table in transfer_text.tables(found)
        for part in (_heading(table.title), _of(table))
    ]
    said = [transfer_text.about(found)]
    said += [transfer_text.of_cohort(found, cohort) for cohort in found.cohorts]
    title = f"{found.home.name} on cohorts of other origin"
    return _joined(_heading(title), *map(_paragraph, said), *tables, *_lost(found.failed))


def text_of_few_shot(found: FewShot) -> str:
    """What ``harness few-shot`` prints."""
    tables = [f"{t.title}\n\n{simple(t)}" for t in few_shot_text.tables(found)]
    return "\n\n".join([*tables, *few_shot_text.about(found)])


def html_of_few_shot(found: FewShot) -> str:
    """The tables and the picture; what was done is folded."""
    tables = [
        part
        for table in few_shot_text.tables(found)
        for part in (_heading(table.title), _of(table))
    ]
    return _joined(
        _heading(f"{found.title}: few-shot curves"),
        *tables,
        _picture("few-shot curves", partial(few_shot_text.draw, found)),
        _folded("How to read this", *map(_paragraph, few_shot_text.about(found))),
        *_lost(found.failed),
    )


def plot_of_few_shot(found: FewShot) -> Any:
    """The curves as a matplotlib figure."""
    with drawing.clean():
        return few_shot_text.draw(found)


def text_of_audit(audit: DatasetAudit) -> str:
    """What ``harness audit`` prints."""
    return "\n".join(summary(audit.probes, audit.findings))


def html_of_audit(audit: DatasetAudit) -> str:
    """A row for each probe; its figures, tables and pictures are folded."""
    mark = {True: '<b style="color:#e5484d">FLAG</b>', False: "ok", None: "–"}
    rows, details = [], []
    for probe in audit.probes:
        finding = audit.findings[probe.name]
        rows.append((_text(probe.name), mark[finding.flag], _text(finding.summary)))
        items = "".join(f"<li>{_text(show(estimate))}</li>" for estimate in finding.estimates)
        tables = [part for t in finding.tables for part in (_paragraph(t.title), _of(t))]
        pictures = [_picture(name, partial(draw, finding)) for name, draw in probe.plots.items()]
        details.append(_folded(probe.title, f"<ul>{items}</ul>", *tables, *pictures))
    return _joined(
        _heading(f"{audit.described['title']}: audit"),
        _html_table(("probe", "flag", "what it found"), rows),
        *details,
        *_lost(audit.failed),
    )


def plots(audit: DatasetAudit) -> dict[str, Any]:
    """Matplotlib figures of the probes of an audit, by name; those with nothing to draw not."""
    found = {}
    with drawing.clean():
        for probe in audit.probes:
            for name, draw in probe.plots.items():
                if (picture := draw(audit.findings[probe.name])) is not None:
                    found[name] = picture
    return found


def html_of_patches(images: NDArray[np.uint8], captions: Sequence[Sequence[str]]) -> str:
    """A gallery: each patch with lines of text below, of which the first stands out."""
    shown = []
    for image, (first, *rest) in zip(images, captions, strict=True):
        lines = "".join(f"<br>{_text(line)}" for line in rest)
        shown.append(
            '<figure style="margin:0;width:150px">'
            f'<img src="{_jpeg(image)}" style="width:150px" alt="{escape(first)}">'
            f'<figcaption style="font-size:small;overflow-wrap:anywhere"><b>{_text(first)}</b>'
            f"{lines}</figcaption></figure>"
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(shown)}</div>'


def _jpeg(image: NDArray[np.uint8]) -> str:
    """A patch for the eye, an eighth of the size that it has as PNG."""
    import cv2

    done, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _picture(name: str, draw: Callable[[], Any]) -> str:
    """A picture of a probe; a sentence where it cannot be drawn."""
    title = name.replace("-", " ")
    try:
        with drawing.numbered() as numbers, drawing.clean(), contained():
            found = drawing.png(draw)
    except Exception as error:  # a plugin's
        return _paragraph(f"The picture {title} cannot be drawn: {type(error).__name__}: {error}")
    if found is None:
        return ""
    # What is drawn on white stays on white.
    style = "max-width:100%;background:white"
    source = f"data:image/png;base64,{base64.b64encode(found.png).decode()}"
    shown = f'<p><img src="{source}" alt="{escape(title)}" style="{style}"></p>'
    names = ", ".join(f"({number}) is {name}" for name, number in numbers.items())
    return shown + (_paragraph(f"In the picture {names}.") if names else "")


def _lost(failed: Mapping[str, str]) -> list[str]:
    return [_paragraph(f"Failed: {label}: {why}") for label, why in failed.items()]


def _of(table: Table) -> str:
    return _table(*cells(table))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of text without the columns that are empty."""
    return _html_table(headings, [[_text(cell) for cell in row] for row in rows])


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML without the columns that are empty; it can be scrolled if it is wide."""
    kept = [at for at, _ in enumerate(headings) if any(row[at] for row in rows)]
    numbers = {at for at in kept if all(_is_number(row[at]) for row in rows)}

    def line(tag: str, row: Sequence[str], style: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{"right" if at in numbers else "left"};padding:2px 8px;'
            f'{style};{_width(row[at]) if tag == "td" else ""}">{row[at]}</{tag}>'
            for at in kept
        )

    body = "".join(f"<tr>{line('td', row, 'vertical-align:top')}</tr>" for row in rows)
    head = line("th", [_text(heading) for heading in headings], "vertical-align:bottom")
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:4px 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _width(cell: str) -> str:
    return "white-space:nowrap" if len(cell) <= WIDEST else f"min-width:{WIDEST // 2}em"


def _is_number(cell: str) -> bool:
    """Whether a cell is empty, a number, or a number with its interval."""
    return not re.search("[A-Za-z]", unescape(cell).replace(" to ", ""))


def _text(text: str) -> str:
    """A text as HTML; what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(visible(text)))


def _heading(text: str) -> str:
    return f'<p style="margin:8px 0 4px"><b>{_text(text)}</b></p>'


def _paragraph(text: str, bold: bool = False) -> str:
    shown = _text(text)
    return f'<p style="margin:4px 0;max-width:50em">{f"<b>{shown}</b>" if bold else shown}</p>'


def _folded(title: str, *parts: str) -> str:
    return (
        f'<details style="margin:4px 0"><summary style="cursor:pointer">{_text(title)}</summary>'
        f"{''.join(parts)}</details>"
    )


def _joined(*parts: str) -> str:
    return f"<div>{''.join(parts)}</div>"
