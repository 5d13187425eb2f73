"""Write docs/hooks: a page for each hook, from its docstring and those of the types it returns.

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

import harness
from harness import hookspecs

FOLDER = Path(__file__).with_name("hooks")


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


def page(name: str, hook: FunctionType) -> str:
    """A hook's page, Markdown."""
    said = inspect.getdoc(hook).partition("Example:\n")[0].strip()
    signature = str(inspect.signature(hook)).replace("'", "")
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
        signature = str(inspect.signature(function)).replace("'", "").replace("(self, ", "(")
        if isinstance(member, property):
            signature = signature.replace("(self) ->", ":")
        yield f"- `{name}{signature}`: {_line(function.__doc__)}"


def _line(text: str) -> str:
    return _markdown(" ".join(inspect.cleandoc(text).split()))


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def pages() -> dict[Path, str]:
    """What each page says."""
    return {FOLDER / f"{name}.md": page(name, hook) for name, hook in hooks().items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
