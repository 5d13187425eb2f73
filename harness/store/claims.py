"""Claims: runs that share a store do not compute the same result twice.

A run claims a result before it computes it: it creates ``<store>/claims/<digest>``, which fails if
the file is there, and touches it while it works. That needs no locks of the file system, so it
works on NFS. The claim of a process of this machine that is gone, or one that was not touched for
``LEASE`` seconds, is taken over. Results are written whole or not at all, whoever computes them, so
a claim that goes wrong costs time and never a result.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.system.atomic import writing_to

FOLDER = "claims"
RUN = "run-"
"""How the name of the claim begins that each process has as long as it uses the store."""
BEAT = 10.0
"""Seconds between two touches of a claim."""
LEASE = 120.0
"""Seconds without a touch after which a claim is taken over: more than a file server may need to
show a touch to others."""
LONG_GONE = 30 * 60.0
"""Seconds since the last touch, by whatever clock, after which nobody waits to see it touched."""


class Claims:
    """The claims of one run. Leaving the context gives all of them up."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root.absolute() / FOLDER  # a tracker may change the working folder
        self.mine: set[str] = set()
        self.run = f"{RUN}{uuid.uuid4().hex}"
        """A claim of the run itself, for whoever asks who is using the store."""
        self._seen: dict[Path, tuple[int, float]] = {}
        """By claim of others: when it was touched last, and since when this run knows."""
        self._judged: dict[Path, int] = {}
        """By claim that was found abandoned: when it was touched last."""
        self._over = threading.Event()

    def __enter__(self) -> Claims:
        self.take(self.run)
        for path in self._paths():
            if self._abandoned(path):
                self._remove(path)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._over.set()
        for digest in [*self.mine]:
            self.give_up(digest)

    def take(self, digest: str) -> bool:
        """Claim a result; False if another run has claimed it. Raises HarnessError."""
        if digest in self.mine:
            return True
        path = self.folder / digest
        with writing_to(self.root):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not _create(path):
                if not self._abandoned(path):
                    return False
                if not self._remove(path) or not _create(path):  # another run was quicker
                    return False
        self.mine.add(digest)
        return True

    def give_up(self, digest: str) -> None:
        """Let others claim a result, which is stored now or cannot be computed here."""
        if digest not in self.mine:
            return
        self.mine.discard(digest)
        with contextlib.suppress(OSError):
            (self.folder / digest).unlink()

    def holder(self, digest: str) -> str:
        """Who has claimed a result, in words; "" if nobody has."""
        path = self.folder / digest
        if not path.exists():
            return ""
        found = _read(path)
        return f"process {found['pid']} on {found['host']}" if found else "another process"

    def others(self) -> dict[str, Path]:
        """Who else is at work with this store, in words, and the claim that says so."""
        runs = [path for path in self._paths() if path.name.startswith(RUN)]
        alive = [path.name for path in runs if not self._abandoned(path)]
        found = {self.holder(name): self.root / FOLDER / name for name in sorted(alive)}
        return {who: found[who] for who in sorted(found) if who}

    def _paths(self) -> list[Path]:
        """The claims of others."""
        try:
            return [
                path
                for path in self.folder.iterdir()
                if path.name not in self.mine and not path.name.startswith(".")
            ]
        except OSError:
            return []

    def _abandoned(self, path: Path) -> bool:
        """Whether the process that made a claim is gone."""
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        self._judged[path] = touched
        found = _read(path)
        if found and found["machine"] == _machine() and not _is_alive(found["pid"]):
            return True
        if time.time() - touched / 1e9 > LONG_GONE:
            return True
        # By the clock of this process: that of a file server may be another.
        known = self._seen.get(path)
        if known is None or known[0] != touched:
            self._seen[path] = touched, time.monotonic()
            return False
        return time.monotonic() - known[1] > LEASE

    def _remove(self, path: Path) -> bool:
        """Remove an abandoned claim: of several runs that want to, one does."""
        judged = self._judged.pop(path, None)
        self._seen.pop(path, None)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        same = aside.stat().st_mtime_ns == judged
        if not same:  # another run has taken it over meanwhile
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink()
        return same

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            for digest in [*self.mine]:
                with contextlib.suppress(OSError):
                    os.utime(self.folder / digest)


def _create(path: Path) -> bool:
    """Create a claim; False if it is there already."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    about = {"pid": os.getpid(), "host": socket.gethostname(), "machine": _machine()}
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(about))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """What a claim says; None if it is being written, or damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return {"pid": int(found["pid"]), "host": str(found["host"]), "machine": found["machine"]}
    except (OSError, ValueError, TypeError, KeyError):
        return None


@cache
def _machine() -> str:
    """Names this machine, and where containers count processes for themselves, this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    return " ".join(parts)


def _is_alive(pid: int) -> bool:
    """Whether a process of this machine is there; on Windows, that is not asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and somebody else's
        return True
    return True
