"""The HTML file of a report, and pictures inside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis import error_analysis
from harness.reports import drawing, kept_pictures, terms
from harness.reports.formats import about
from harness.reports.html import audit, board, gallery, models, pairs
from harness.reports.html.gathered import FindLoaded, Gathered
from harness.reports.kept_pictures import key_of
from harness.store.failures import Collected
from harness.system.atomic import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment


def write(
    gathered: Gathered,
    folder: Path,
    problems: Collected,
    loaded: FindLoaded,
) -> Path:
    """Write ``<dataset>.html``; returns its path.

    Pictures that cannot be drawn are added to ``problems``.
    """
    path = folder / f"{gathered.board.dataset['name']}.html"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(gathered, problems, loaded))
    return path


def render(
    gathered: Gathered,
    problems: Collected,
    loaded: FindLoaded,
    home: str = "",
) -> str:
    """The report as HTML. ``home`` is the address of the site that it is part of, if any."""
    with drawing.of_models(gathered.models):
        return _render(gathered, problems, loaded, home)


def _render(
    gathered: Gathered,
    problems: Collected,
    loaded: FindLoaded,
    home: str,
) -> str:
    built = gathered.board
    links = models.anchors([entry.name for entry in built.entries])
    draw = partial(picture, built.dataset["name"], problems)
    audited = audit.context(gathered.audit, draw, problems) if gathered.audit else []
    named = [
        one
        for probe in audited
        for table in probe["patches"]
        for row in table["rows"]
        for one in row["ids"]
    ]
    compared = pairs.context(built)
    some = [one for _, ids in gathered.by_class for one in ids]
    pictures = gallery.thumbnails(gathered, [*gallery.pictured(built), *named, *some])
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=built.dataset["title"],
            dataset=built.dataset,
            home=home,
            about=about(built, ("all",)),
            board=board.context(gathered, links),
            models=models.contexts(gathered, draw, links, loaded),
            pairs=compared,
            pair_tables=pairs.tables(compared),
            audit=audited,
            audit_terms=terms.explained(probe["short"] for probe in audited),
            no_audit=gathered.no_audit,
            no_patches=gathered.no_patches,
            sheets=gallery.sheets(gathered.by_class, pictures),
            thumbnails=pictures,
            other_pictures={k: v for k, v in pictures.items() if k not in {*named, *some}},
            hard=error_analysis.nobody_right(built) if built.entries else [],
            data={
                "patches": gallery.context(built),
                "pairs": compared,
                "audit": [table for probe in audited for table in probe["patches"]],
            },
            library=_library(),
            library_style=_text("itables", "html/dt_bundle.css"),
            style=style(),
            script=_text(__package__, "static/report.js"),
        )
    )


def picture(
    dataset: str,
    problems: Collected,
    title: str,
    draw: Callable[..., Any],
    shows: Sequence[Any],
    content: Any,
) -> str:
    """``draw(*shows)``, a matplotlib figure, as SVG; "" where it is None or fails.

    One that the store has is not drawn again: ``content`` is what it shows, as JSON with NumPy
    arrays. One that fails is added to ``problems``.
    """
    name = f"report-{_mark(title)}"
    key = drawing.with_models(key_of(dataset, name, draw, [title, content]))
    try:
        kept = kept_pictures.read(problems.store, key) if key else None
        if kept and "svg" in kept[0]:
            svg, numbers = kept[0]["svg"].decode(), kept[1]
        else:
            found = drawing.svg(partial(draw, *shows), name, title)
            if found is None:
                return ""
            svg, numbers = found
            if key and all(map(drawing.is_drawable, numbers)):
                kept_pictures.keep(problems.store, key, {"svg": svg.encode()}, numbers)
    except (Exception, SystemExit) as error:
        problems.add(f"picture {title!r} of the report", error)
        return ""
    if numbers:
        names = ", ".join(f"({number}) is {name}" for name, number in numbers.items())
        svg += f"<p>In the picture {html.escape(names)}.</p>"
    return svg


def _mark(title: str) -> str:
    """A short name for a picture of this title."""
    return hashlib.sha256(title.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@cache
def environment() -> Environment:
    """The templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("harness.reports.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["percent"] = lambda share, digits=0: f"{100 * share:.{digits}f}"
    made.filters["p_value"] = lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}"
    made.filters["points"] = lambda share: f"{100 * share:+.1f}".replace("-", "−")
    made.filters["script_json"] = lambda value: Markup(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
    made.filters["safe_code"] = lambda text: Markup(text)
    return made


def style() -> str:
    """The style of all pages, as CSS."""
    return _text(__package__, "static/report.css")


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text("utf-8")


@cache
def _library() -> str:
    """The table library as an address that a module imports: DataTables, which itables ships."""
    return (
        "data:text/javascript;base64,"
        + base64.b64encode(_text("itables", "html/dt_bundle.js").encode()).decode()
    )
