"""Files outside of docs/ that pages link to, such as boards: part of the site, under repository/.

A hook of mkdocs, which knows files below ``docs_dir`` alone. In the repository the links lead to
the files themselves.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PLACE = "repository"
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+|[^):#\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add what pages link to, and what these link to in turn."""
    known = {Path(file.abs_src_path) for file in files}
    waiting = [path for path in known if path.suffix == ".md"]
    while waiting:
        page = waiting.pop()
        for _, link, _ in LINK.findall(page.read_text(encoding="utf-8")):
            target = Path(os.path.normpath(page.parent / unquote(link)))
            if target in known or not target.is_file() or not target.is_relative_to(ROOT):
                continue
            known.add(target)
            if not target.is_relative_to(ROOT / "docs"):
                place = f"{PLACE}/{target.relative_to(ROOT).as_posix()}"
                files.append(File.generated(config, place, abs_src_path=str(target)))
                waiting += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files outside of docs/, as they are in the site."""
    source = Path(page.file.abs_src_path)
    here = (ROOT / "docs" / page.file.src_uri).parent

    def there(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / unquote(match[2])))
        if not target.is_file():
            return match[0]
        inside = target.is_relative_to(ROOT / "docs")
        place = (
            ROOT
            / "docs"
            / ("" if inside else PLACE)
            / target.relative_to(ROOT / "docs" if inside else ROOT)
        )
        return f"{match[1]}{quote(os.path.relpath(place, here))}{match[3]}"

    return LINK.sub(there, markdown)
