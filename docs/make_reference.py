"""Write pages of docs/reference from the code: the command line, Python, and kinds of TOML file.

python docs/make_reference.py
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import make_hooks

import harness
from harness import cli, session
from harness.hooks.loader import load_plugins

DOCS = Path(__file__).parent
FOLDER = DOCS / "reference"
TOML_PAGES = {
    "folder": "datasets.md#class-folders",
    "table": "datasets.md#a-table-of-paths-and-labels",
    "parquet": "datasets.md#parquet-files-as-hugging-face-saves-image-datasets",
}
"""Where a kind of TOML file is described, if not on the page that has the table of its keys."""


def command_line() -> str:
    """The page of commands, with the options of each."""
    path = FOLDER / "command-line.md"
    parts = list(_parsers("harness", cli._parser()))
    said = "\n\n".join(_command(name, parser) for name, parser in parts)
    return _between(path, "options", said)


def _parsers(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command with its parser, those of commands within included."""
    within = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not within:
        yield name, parser
    for action in within:
        for word, inner in action.choices.items():
            yield from _parsers(f"{name} {word}", inner)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [one for one in parser._actions if not isinstance(one, argparse._HelpAction)]
    named = [one for one in actions if one.option_strings]
    placed = [_placed(one) for one in actions if not one.option_strings]
    needed = [f"{one.option_strings[-1]} {one.metavar}" for one in named if one.required]
    usage = " ".join([name, *placed, *needed])
    lines = [f"## {name}", "", (parser.description or "").strip(), "", "```text", usage, "```", ""]
    lines += ["| option | what it does |", "| --- | --- |"]
    common = {"--quiet", "--verbose", "--traceback"}
    for action in actions:
        if not common & set(action.option_strings):
            shown = ", ".join(f"`{one}`" for one in _shown(action))
            lines.append(f"| {shown} | {_cell(_help(action))} |")
    return "\n".join(lines)


def _placed(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)


def _shown(action: argparse.Action) -> list[str]:
    """The names of an option, the last with its value."""
    if not action.option_strings:
        return [_placed(action)]
    value = ""
    if action.nargs != 0:
        choices = ",".join(map(str, action.choices or ()))
        value = " " + str(action.metavar or (f"{{{choices}}}" if choices else action.dest.upper()))
    return [*action.option_strings[:-1], action.option_strings[-1] + value]


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {**vars(action), "prog": "harness"}


def _cell(text: str) -> str:
    """A text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def python() -> str:
    """The page of the Python interface."""
    path = FOLDER / "python.md"
    cls = harness.Session
    parts = [
        "## harness.Session",
        _code("Session", make_hooks._signature(cls.__init__)),
        make_hooks._markdown(inspect.getdoc(cls) or ""),
    ]
    returned: list[str] = []
    for name, member in vars(cls).items():
        if name.startswith("_") or not inspect.isfunction(member) or name in ("load", "executor"):
            continue
        member = inspect.unwrap(member)
        signature = make_hooks._signature(member)
        parts += [f"### Session.{name}", _code(name, signature)]
        parts.append(make_hooks._markdown(inspect.getdoc(member) or ""))
        returned += re.findall(r"\w+", signature.rpartition("->")[2])
    parts.append("## What it returns")
    for kind in _kinds(returned):
        members = [*make_hooks._fields(kind), *make_hooks._methods(kind)]
        parts += [f"### {kind.__name__}", make_hooks._markdown(inspect.getdoc(kind) or "")]
        parts.append("\n".join(members))
    parts.append("## Functions for plugins")
    for name in harness.__all__:
        member = getattr(harness, name)
        if inspect.isfunction(member):
            parts += [f"### {name}", _code(name, make_hooks._signature(member))]
            parts.append(make_hooks._markdown(inspect.getdoc(member) or ""))
    parts += ["## Types for plugins", "\n".join(_types())]
    parts += ["## Errors", "\n".join(_errors())]
    parts += ["## Modules for plugins", "\n".join(_modules())]
    return _between(path, "interface", "\n\n".join(parts))


def _code(name: str, signature: str) -> str:
    """A signature as Python, a parameter a line where it is long."""
    shown = signature.replace("(self, ", "(").replace("(self)", "()").replace("(self: Session", "(")
    text = f"{name}{shown}"
    if len(text) > 90:
        inside, arrow, after = text.partition(") ->")
        head, _, parameters = inside.partition("(")
        split = re.split(r", (?![^\[(]*[\])])", parameters)
        text = "\n".join([f"{head}(", *(f"    {one}," for one in split), f"{arrow}{after}"])
    return f"```text\n{text}\n```"


def _kinds(names: list[str]) -> Iterator[type]:
    """The classes that annotations of the session name, each once."""
    tree = ast.parse(inspect.getsource(session))
    places = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for name in dict.fromkeys(names):
        if str(places.get(name, "")).startswith(("harness.analysis", "harness.reports")):
            yield getattr(importlib.import_module(places[name]), name)


def _types() -> Iterator[str]:
    yield "| type | described with |"
    yield "| --- | --- |"
    pages: dict[str, str] = {}
    signatures = {name: make_hooks._signature(hook) for name, hook in make_hooks.hooks().items()}
    for name, signature in signatures.items():  # first what a hook itself returns
        named = re.findall(r"\w+", signature.rpartition("->")[2])
        pages |= {kind: name for kind in named if kind in harness.__all__}
    for name, signature in signatures.items():
        for kind in make_hooks.types(signature):
            pages.setdefault(kind.__name__, name)
    for kind, hook in sorted(pages.items()):
        yield f"| `{kind}` | [{hook}](../hooks/{hook}.md#{kind.lower()}) |"


def _errors() -> Iterator[str]:
    for kind in (harness.HarnessError, harness.UnavailableError):
        yield f"- `{kind.__name__}`: {make_hooks._line(inspect.getdoc(kind) or '')}"


def _modules() -> Iterator[str]:
    """The public modules that the package's docstring names, in a table."""
    yield "| module | what is in it |"
    yield "| --- | --- |"
    named = re.findall(r"``(harness\.[\w.]+)``", harness.__doc__ or "")
    for name in dict.fromkeys([*named, "harness.testing"]):
        module = importlib.import_module(name)
        yield f"| `{name}` | {_cell(make_hooks._line((module.__doc__ or '').split(chr(10))[0]))} |"


def toml() -> str:
    """The page of kinds of TOML file."""
    where = dict(TOML_PAGES)
    for name in make_hooks.KEYS_IN:
        text = (DOCS / "how-to" / name).read_text(encoding="utf-8")
        for kind in re.findall(r"<!-- keys: (\S+) -->", text):
            where.setdefault(kind, name)
    lines = ["| `kind` | what it describes | keys |", "| --- | --- | --- |"]
    for name, reader in load_plugins().readers.items():
        lines.append(f"| `{name}` | {_cell(reader.title)} | [keys](../how-to/{where[name]}) |")
    return _between(FOLDER / "toml.md", "kinds", "\n".join(lines))


def _between(path: Path, mark: str, said: str) -> str:
    """A page with what stands between two marks replaced."""
    text = path.read_text(encoding="utf-8")
    pattern = rf"(?s)(<!-- {mark} -->\n).*?(\n<!-- /{mark} -->)"
    assert re.search(pattern, text), f"{path} has no mark {mark}"
    return re.sub(pattern, lambda match: f"{match[1]}\n{said}\n{match[2]}", text)


def pages() -> dict[Path, str]:
    """What each page says."""
    return {
        FOLDER / "command-line.md": command_line(),
        FOLDER / "python.md": python(),
        FOLDER / "toml.md": toml(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
