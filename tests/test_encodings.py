"""Every text file has its encoding said: that of a terminal or a system is no file's."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in ("harness", "plugins", "docs", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
PATHS = {"read_text": 0, "write_text": 1}
"""Methods of a path, and where the encoding stands among their arguments."""
MODE = re.compile(r"[rwxa+tb]+")


def without_encoding(tree):
    """Lines of a module that read or write text in the encoding of the system."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if "encoding" in keywords:
            continue
        modes = [
            one.value
            for one in (*node.args, *([keywords["mode"]] if "mode" in keywords else []))
            if isinstance(one, ast.Constant)
            and isinstance(one.value, str)
            and MODE.fullmatch(one.value)
        ]
        binary = any("b" in mode for mode in modes)
        if name in PATHS:
            wrong = len(node.args) <= PATHS[name]
        elif name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):
            built_in = isinstance(node.func, ast.Name)
            # With other arguments it is a member of an archive, or a descriptor.
            text = modes or not node.args or (built_in and name == "open")
            wrong = bool(text) and not binary and not (name.endswith("File") and not modes)
        else:
            wrong = isinstance(keywords.get("text"), ast.Constant) and keywords["text"].value
        if wrong:
            yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_text_has_an_encoding(path):
    tree = ast.parse((ROOT / path).read_bytes())
    assert list(without_encoding(tree)) == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("path.read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.read_text(encoding='utf-8')", False),
        ("path.read_text(errors='replace')", True),
        ("path.write_text('rb')", True),
        ("path.open()", True),
        ("path.open('w')", True),
        ("path.open('rb')", False),
        ("path.open('wb', buffering=0)", False),
        ("open(name)", True),
        ("open(name, 'a')", True),
        ("open(name, mode='rb')", False),
        ("archive.open(member)", False),
        ("os.open(os.devnull, os.O_RDWR)", False),
        ("os.fdopen(number, 'w')", True),
        ("NamedTemporaryFile('w')", True),
        ("NamedTemporaryFile()", False),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, text=True, encoding='utf-8')", False),
    ],
)
def test_what_lacks_an_encoding_is_found(code, wrong):
    assert bool(list(without_encoding(ast.parse(code)))) == wrong
