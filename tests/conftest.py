"""Fixtures: a toy plugin found through real entry points, and the command in a real subprocess."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

from harness.store import stored
from harness.system import messages

# No test is about how long it takes; and a busy machine is no reason to fail.
hypothesis.settings.register_profile(
    "harness", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("harness")

TESTS = Path(__file__).parent
TOY = TESTS / "toy"


@dataclass
class Command:
    """Runs ``harness`` in a folder of its own, as a user would."""

    folder: Path
    path: list[Path] = field(default_factory=list)
    """Folders with further distributions to put on the path."""
    without: str = ""
    """Plugins to switch off."""
    ignored: tuple[signal.Signals, ...] = ()
    """Signals that what ``start`` starts ignores; all others end it, also where the tests run in
    the background, which ignores Ctrl-C, or under ``nohup``."""

    @property
    def toy_log(self) -> list[str]:
        log = self.folder / "toy.log"
        return log.read_text().splitlines() if log.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join([*map(str, self.path), os.environ.get("PYTHONPATH", "")])
        foreign = ("HARNESS_", "COLUMNS", "LINES")  # the latter as pytest-xdist sets them
        own = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
        added = {
            "PYTHONPATH": path,
            "TOY_LOG": str(self.folder / "toy.log"),
            "HARNESS_NO_REPORT": "1",  # which takes seconds to draw
        }
        return {**own, **added, "HARNESS_WITHOUT": self.without, **more}

    def arguments(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "harness", *map(str, arguments)]

    def start(self, *arguments: object, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.arguments(*arguments),
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self.in_child if os.name == "posix" else None,
        )

    def in_child(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number in self.ignored else signal.SIG_DFL)

    def __call__(self, *arguments: object, code: int = 0, **more: str) -> str:
        """Run to the end, expect an exit code, return both outputs together."""
        done = subprocess.run(
            self.arguments(*arguments),
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        assert "Traceback" not in output, output
        return output

    def wait_for(self, line: str, process: subprocess.Popen[str]) -> None:
        """Wait until the toy log holds a line that starts so."""
        for _ in range(3000):
            if any(logged.startswith(line) for logged in self.toy_log):
                return
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        raise AssertionError(f"{line!r} never came: {self.toy_log}")


@pytest.fixture(autouse=True)
def _no_plugin_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command called in this process was given with --plugin is not in later advice."""
    monkeypatch.setattr(stored, "plugin_files", [])


@pytest.fixture(autouse=True)
def _no_html_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process draws no report, which takes seconds."""
    monkeypatch.setenv("HARNESS_NO_REPORT", "1")


@pytest.fixture
def console() -> Iterator[None]:
    """Messages are lines on standard error, and bars are drawn, as the command line does."""
    with messages.handled(messages.ConsoleHandler(), logging.INFO, bars=True):
        yield


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command with the built-in plugins alone."""
    return Command(tmp_path)


@pytest.fixture(scope="session")
def new_toy() -> Callable[[Path], Command]:
    """A function of a folder: the command there with the toy plugin, and no probes but its own."""
    return lambda folder: Command(folder, [TOY], without="bias")


@pytest.fixture
def toy(tmp_path: Path, new_toy: Callable[[Path], Command]) -> Command:
    """The command with the toy plugin as well, and with no probes but that plugin's."""
    return new_toy(tmp_path)


def distribution(folder: Path, name: str, modules: dict[str, str]) -> Path:
    """Write an installed distribution by hand: modules by entry-point name; returns its folder."""
    info = folder / f"{name.replace('-', '_')}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    lines = ["[harness]"]
    for point, source in modules.items():
        module = f"{name}_{point}".replace("-", "_")
        (folder / f"{module}.py").write_text(source)
        lines.append(f"{point} = {module}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def make_distribution(tmp_path: Path):
    """A function of (name, {entry point: source}) that returns a folder for ``Command.path``."""
    return lambda name, modules: distribution(tmp_path / f"site-{name}", name, modules)
