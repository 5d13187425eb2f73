"""A distribution to start a plugin from, written from the templates beside this module."""

from __future__ import annotations

import keyword
import re
import shlex
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from harness.errors import HarnessError

SAMPLE = "nct-crc-he-sample"
KINDS = {
    "model": f"harness run --dataset {SAMPLE} --model $name",
    "dataset": "harness run --dataset $name --model color-histogram",
    "perturbation": f"harness run --dataset {SAMPLE} --model color-histogram --perturbation $name",
    "probe": f"harness audit --dataset {SAMPLE} --probe $name",
    "published": "harness list",
    "metric": f"harness run --dataset {SAMPLE} --model color-histogram --no-probes",
    "report": f"harness run --dataset {SAMPLE} --model color-histogram --no-probes",
    "command": "harness $name --help",
    "column": f"harness run --dataset {SAMPLE} --model color-histogram --probe $name",
}
"""What can be written, and what to type to see it at work."""
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write(name: str, kind: str, folder: Path) -> list[Path]:
    """Write the distribution ``name`` into a new folder of that name; returns its files.

    Raises HarnessError for a name that cannot be one, or that is taken.
    """
    from harness.hooks.loader import load_plugins

    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(module):
        raise HarnessError(
            f"new-plugin {name}: not a name for a plugin; use lower-case letters, digits and "
            "single hyphens, such as my-model"
        )
    if find_spec(module) is not None:
        raise HarnessError(
            f"new-plugin {name}: a module {module} is installed already; choose another name"
        )
    registry = load_plugins()
    taken = {plugin.name for plugin in registry.plugins}.union(*registry.offers.values())
    if taken & {name, module}:  # two plugins of one name, or offers, and no command works
        raise HarnessError(
            f"new-plugin {name}: a plugin has or offers this name already, see harness list; "
            "choose another name"
        )
    target = folder / name
    if target.exists():
        raise HarnessError(f"new-plugin {name}: {target} exists already; choose another name")
    words = {"name": name, "module": module, "kind": kind}
    words["try_it"] = Template(KINDS[kind]).substitute(words)
    made = []
    for template, place in {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "test.py": f"tests/test_{module}.py",
        f"modules/{kind}.py": f"{module}.py",
    }.items():
        text = (files("harness.hooks") / "templates" / f"{template}.template").read_text("utf-8")
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        made.append(path)
    return made


def next_steps(name: str, kind: str, folder: Path) -> str:
    """What to type now, a line each."""
    module, place = name.replace("-", "_"), folder / name
    installable = place if place.is_absolute() else f"./{place}"
    install = shlex.quote(f"{installable}[test]")
    return "\n".join(
        [
            f"pip install -e {install}",
            Template(KINDS[kind]).substitute(name=name),
            f"harness check {module}",
            f"pytest {shlex.quote(str(place))}",
        ]
    )
