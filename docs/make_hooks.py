"""Write docs/hooks: a page for each hook, from its docstring and those of the types it returns.

And tables of the keys of TOML files and of encoders, in the pages about these.

python docs/make_hooks.py
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Protocol

import harness
from harness.hooks import hookspecs
from harness.hooks.toml_keys import table

if TYPE_CHECKING:
    from harness_timm.encoders import Encoder

FOLDER = Path(__file__).with_name("hooks")
KEYS_IN = ("datasets.md", "deepcmorph.md", "embeddings.md", "encoders.md", "predictions.md")
"""Pages of how-to with tables of keys."""


def hooks() -> dict[str, FunctionType]:
    """The hook specifications by name, in their order."""
    found = vars(hookspecs).items()
    return {name: value for name, value in found if hasattr(value, "harness_spec")}


def example(hook: FunctionType) -> str:
    """The example in a hook's docstring: a whole plugin."""
    _, mark, code = inspect.getdoc(hook).partition("Example:\n")
    return textwrap.dedent(code).strip() + "\n" if mark else ""


def types(text: str) -> Iterator[type]:
    """The types of the public interface that a signature names, and those that their fields name.

    Each comes once, before those that only it names.
    """
    found: list[type] = []
    waiting = [text]
    while waiting:
        for name in re.findall(r"\w+", waiting.pop(0)):
            kind = getattr(harness, name, None)
            if isinstance(kind, type) and kind not in found:
                if not issubclass(kind, Exception):
                    found.append(kind)
                    yield kind
                waiting += [str(hint) for hint in vars(kind).get("__annotations__", {}).values()]
                if issubclass(kind, Protocol):
                    members = filter(inspect.isfunction, vars(kind).values())
                    waiting += [_signature(member) for member in members]


def page(name: str, hook: FunctionType) -> str:
    """A hook's page, Markdown."""
    said = inspect.getdoc(hook).partition("Example:\n")[0].strip()
    signature = _signature(hook)
    parts = [f"# {name}", f"```python\ndef {name}{signature}\n```", _markdown(said)]
    if code := example(hook):
        parts += ["## Example", f"```python\n{code}```"]
    for kind in types(signature):
        members = [*_fields(kind), *_methods(kind)]
        parts += [f"## {kind.__name__}", _markdown(inspect.getdoc(kind)), "\n".join(members)]
    return "\n\n".join(parts) + "\n"


def _fields(kind: type) -> Iterator[str]:
    """The fields of a type as a list, with their types, defaults and what is said of them."""
    if not is_dataclass(kind):
        return
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    said: dict[str, str] = {}
    source: dict[str, str] = {}
    previous = ""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            previous = node.target.id
            source[previous] = ast.unparse(node.value) if node.value else ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and previous:
            said[previous] = _line(node.value.value)
        else:
            previous = ""
    for field in fields(kind):
        default = source[field.name]
        factory = re.fullmatch(r"field\(default_factory=(\w+).*\)", default)
        default = (
            f"{factory[1]}()" if factory else re.sub(r"field\(default=(\w+).*\)", r"\1", default)
        )
        shown = f"`{field.name}: {field.type}" + (f" = {default}`" if default else "`")
        yield f"- {shown}" + (f": {said[field.name]}" if field.name in said else "")


def _methods(kind: type) -> Iterator[str]:
    """Its methods and properties, with their signatures."""
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        signature = _signature(function).replace("(self, ", "(")
        if isinstance(member, property):
            signature = signature.replace("(self) ->", ":")
        signature = signature.replace("(self)", "()")
        yield f"- `{name}{signature}`: {_line(function.__doc__)}"


def _signature(function: FunctionType) -> str:
    """Its signature, without quotes around the annotations."""
    return re.sub(r"(: |-> )(['\"])(.*?)\2", r"\1\3", str(inspect.signature(function)))


def _line(text: str) -> str:
    return _markdown(" ".join(inspect.cleandoc(text).split()))


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def pages() -> dict[Path, str]:
    """What each page says."""
    return {FOLDER / f"{name}.md": page(name, hook) for name, hook in hooks().items()}


def tables() -> dict[Path, str]:
    """Pages with tables of the keys of TOML files, as they should be."""
    from harness.hooks.loader import load_plugins

    readers = load_plugins().readers
    folder = Path(__file__).parent / "how-to"
    of_parquet = table(readers["parquet"].keys())  # in which a key may mean something else
    common = {row["key"] for row in table(readers["folder"].keys()) if row in of_parquet}
    common -= {"train", "validation", "test"}

    def filled(match: re.Match[str]) -> str:
        kind = match[2]
        rows = table(readers["folder" if kind == "common" else kind].keys())
        if kind == "common":
            rows = [row for row in rows if row["key"] in common]
        elif kind in ("folder", "table", "parquet", "npz", "webdataset"):
            rows = [row for row in rows if row["key"] not in common]
        return f"{match[1]}\n\n{_keys(rows)}\n\n<!-- /keys -->"

    texts = {folder / name: (folder / name).read_text("utf-8") for name in KEYS_IN}
    mark = r"(?s)(<!-- keys: (\S+) -->).*?<!-- /keys -->"
    return {path: re.sub(mark, filled, text) for path, text in texts.items()}


def encoders() -> dict[Path, str]:
    """The page about encoders, with the table of all that are known."""
    from harness_timm.encoders import known

    path = Path(__file__).parent / "how-to/encoders.md"
    lines = [
        "| name | loader | million parameters | numbers | read as | pixels | license | gated | "
        "verified |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    sources = ["| name | repository | sources |", "| --- | --- | --- |"]
    notes = []
    for name, one in known().items():
        loaded = one.loader != "none"
        read = ", ".join([f"**{one.poolings[0]}**", *one.poolings[1:]]) if loaded else ""
        length = one.length(one.pooling) if loaded else one.width
        parameters = f"{one.parameters:g}" if one.parameters else ""
        gated = "yes" if one.gated else ""
        pixels = one.size if loaded else ""
        lines.append(
            f"| `{name}` | {one.package or one.loader} | {parameters} | {length:,} | {read} | "
            f"{pixels} | {one.license} | {gated} | {_verified(one)} |"
        )
        where = f"{one.hub}@{one.revision[:12]}" if one.revision else one.hub
        facts = "; ".join(f"{fact}: {source}" for fact, source in one.sources.items())
        sources.append(f"| `{name}` | {where} | {facts} |")
        said = [text for text in (one.how, one.disagreement, one.uncertain) if text]
        if said:
            notes.append(f"- `{name}`: {'; '.join(said)}.")
    remote = [f"`{name}`" for name, one in known().items() if one.loader == "remote-code"]
    text = re.sub(
        r"(?s)(<!-- encoders -->).*?(<!-- /encoders -->)",
        lambda match: "\n".join(
            [match[1], "", *lines, "",
             f"Not verified, as their code was not available: {', '.join(remote)}.", "",
             "What sources disagree on, or leave open:", "", *notes, "",
             "Where each fact is from:", "", *sources, "", match[2]]
        ),
        tables()[path],
    )  # fmt: skip
    return {path: text}


def _verified(one: Encoder) -> str:
    """What of an encoder was compared, without its weights; "" for nothing."""
    if one.loader in ("remote-code", "none"):
        return ""
    compared = "numbers, parameters" if one.parameters else "numbers"
    return f"{compared}, with its package" if one.loader == "package" else compared


def _keys(rows: list[dict[str, str]]) -> str:
    lines = ["| key | meaning | must be | if left out |", "| --- | --- | --- | --- |"]
    for row in rows:
        default = row["if left out"]
        shown = default if default in ("", "required") else f"`{default}`"
        lines.append(f"| `{row['key']}` | {row['meaning']} | {row['must be']} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in (pages() | tables() | encoders()).items():
        path.write_text(text, encoding="utf-8")
