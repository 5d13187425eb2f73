"""A static site: reports of several datasets and stores, an index, and other pages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from harness.errors import HarnessError
from harness.reports.html import board as board_part
from harness.reports.html import page
from harness.reports.html.gathered import FindLoaded, Gathered
from harness.store.failures import Collected
from harness.system.atomic import write_atomically

KINDS = ("-to-", "transfer", "few-shot", "shortcut", "calibration")
"""Pages besides those of a board that a site shows, by a part of their name."""
OF_A_BOARD = ("", "-errors", "-probes", "-audit", "-selection")
"""What the names of pages that a report has already end in after the name of a dataset."""


@dataclass(frozen=True)
class Placed:
    """A report and the name of its page."""

    store: str
    gathered: Gathered
    page: str


def write(
    reports: Sequence[tuple[str, Gathered]],
    others: Sequence[Path],
    folder: Path,
    problems: Collected,
    loaded: FindLoaded,
) -> list[Path]:
    """Write a site into a folder; returns the paths of its pages, the index first.

    ``reports`` are pairs of the name of a store and what is known of a dataset of it, ``others``
    pages in Markdown with pictures beside them. Raises HarnessError where a page cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    placed = _placed(reports)
    written = []
    for one in placed:
        path = folder / one.page
        write_atomically(path, page.render(one.gathered, problems, loaded, "index.html"))
        written.append(path)
    further = []
    for source in others:
        title, path = _from_markdown(source, folder)
        further.append({"title": title, "page": quote(path.name)})
        written.append(path)
    index = folder / "index.html"
    text = (
        page.environment()
        .get_template("index.html.jinja")
        .render(
            datasets=[_of_dataset(one, several=len({s for s, _ in reports}) > 1) for one in placed],
            models=_across(placed),
            others=further,
            style=page.style(),
        )
    )
    write_atomically(index, text)
    return [index, *written]


def other_pages(folder: Path, datasets: Sequence[str]) -> list[Path]:
    """Pages in Markdown of a folder that a site shows besides boards, in the order of names."""
    known = {f"{name}{ending}" for name in datasets for ending in OF_A_BOARD}
    found = (path for path in folder.glob("*.md") if path.stem not in known)
    return sorted(path for path in found if any(kind in path.stem for kind in KINDS))


def _placed(reports: Sequence[tuple[str, Gathered]]) -> list[Placed]:
    """Each report with a page of its own; the store is in its name where two have one dataset."""
    names = [gathered.board.dataset["name"] for _, gathered in reports]
    found: list[Placed] = []
    for (store, gathered), name in zip(reports, names, strict=True):
        stem = name if names.count(name) == 1 else f"{_plain(store)}-{name}"
        taken, number, chosen = {one.page for one in found}, 2, f"{stem}.html"
        while chosen in taken or chosen == "index.html":
            chosen, number = f"{stem}-{number}.html", number + 1
        found.append(Placed(store, gathered, chosen))
    return found


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "store"


def _of_dataset(one: Placed, *, several: bool) -> dict[str, Any]:
    built = one.gathered.board
    measured = [row for row in built.rows if row["result"] == "measured"]
    audit = one.gathered.audit
    return {
        "name": built.dataset["name"],
        "title": built.dataset["title"],
        "store": one.store if several else "",
        "page": quote(one.page),
        "n_test": built.dataset["n_test"],
        "measured": len(measured),
        "best": (measured[0]["model"], measured[0]["accuracy"]) if measured else None,
        "color": board_part.floors(one.gathered).get("color"),
        "flagged": audit.flagged if audit else None,
    }


def _across(placed: Sequence[Placed]) -> list[dict[str, Any]]:
    """Models that were measured on any dataset, with their rows on each, by name."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for number, one in enumerate(placed):
        for row, entry in board_part.measured(one.gathered.board):
            found.setdefault(entry.name, {})[number] = row
    return [
        {"model": model, "rows": [by_dataset.get(k) for k in range(len(placed))]}
        for model, by_dataset in sorted(found.items())
    ]


def _scrolling(body: str) -> str:
    """HTML whose tables scroll by themselves where the window is narrow."""
    region = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    body = body.replace("<table>", f'{region}<table class="plain">')
    return body.replace("</table>", "</table></div>")


def _from_markdown(source: Path, folder: Path) -> tuple[str, Path]:
    """Write a page in Markdown as HTML, its pictures beside it; returns its title and path."""
    from markdown_it import MarkdownIt

    try:
        text = source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"report: {source}: {error}; write that page again") from error
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    for found in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text):
        picture = source.parent / unquote(found)
        if picture.is_file() and picture.resolve().parent == source.resolve().parent:
            shutil.copyfile(picture, folder / picture.name)
    title = next((line[2:] for line in text.splitlines() if line.startswith("# ")), source.stem)
    path = folder / f"{source.stem}.html"
    made = (
        page.environment()
        .get_template("page.html.jinja")
        .render(title=title, body=_scrolling(parser.render(text)), style=page.style())
    )
    write_atomically(path, made)
    return title, path
