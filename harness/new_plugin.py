"""``harness new-plugin``: a small distribution to start from, made of a template.

The templates are plugins that work, named ``my-plugin``. A new one has another name, no more.
"""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from harness.errors import HarnessError
from harness.registry import Registry
from harness.store import disk_error

TEMPLATES = Path(__file__).with_name("templates")
KINDS = ("model", "dataset", "perturbation", "probe", "published", "column")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def create(name: str, kind: str, folder: Path, registry: Registry, single_file: bool) -> str:
    """Write a new distribution to ``folder/name``; returns what to type next.

    With ``single_file`` it is a file for ``--plugin`` alone, in ``folder``. Raises HarnessError
    when the name is no good or taken, or when something lies there already.
    """
    if not NAME.fullmatch(name):
        raise HarnessError(
            f"new-plugin {name!r}: use lower-case letters and digits, with single hyphens between, "
            "such as my-stain-model"
        )
    module = name.replace("-", "_")
    target = folder / (f"{module}.py" if single_file else name)
    if target.exists():
        raise HarnessError(f"{target}: is there already; choose another name or --folder")
    if why := _taken(name, module, registry):
        raise HarnessError(f"new-plugin {name}: {why}; choose another name")

    def renamed(text: str) -> str:
        title = name.replace("-", " ").capitalize()
        text = text.replace("my-plugin", name).replace("my_plugin", module)
        return text.replace("My plugin", title)

    contents = {
        renamed(path.relative_to(part).as_posix()): renamed(path.read_text(encoding="utf-8"))
        for part in (TEMPLATES / "common", TEMPLATES / kind)
        for path in sorted(part.rglob("*.*"))
        if path.suffix in (".md", ".py", ".toml")
    }
    found = SHELL.search(contents["README.md"])
    assert found is not None
    commands = found[1].splitlines()
    if single_file:
        _write({target: contents[f"{module}.py"]})
        commands = [f"{line} --plugin {target}" for line in commands if line.startswith("harness")]
    else:
        _write({target / path: text for path, text in contents.items()})
        commands = [f"cd {target}", *commands]
    return "\n  ".join([f"Wrote {target}. Next:\n", *commands])


def _taken(name: str, module: str, registry: Registry) -> str:
    """Why a name cannot be used; "" if it can."""
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or find_spec(module):
        return f"Python has a module {module} already"
    for plugin in registry.plugins:
        offered = [other for names in plugin.contributes.values() for other in names]
        if plugin.name == module or name in offered:
            return f"the plugin {plugin.name} of {plugin.distribution} has that name already"
    return ""


def _write(contents: dict[Path, str]) -> None:
    for path, text in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise disk_error(error, path.parent) from error
