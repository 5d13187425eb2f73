"""A process that runs code of others, maybe by another interpreter: how it starts, talks and ends.

The script that it runs imports nothing of the harness but ``harness.system.foreign_loop``, whose
path it is given.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from harness.errors import HarnessError
from harness.system.foreign_loop import plain

LOOP = Path(__file__).with_name("foreign_loop.py")
TAIL = 65536
"""Bytes of what the process last printed that are kept for errors."""
GRACE = 5.0
"""Seconds that it gets to end by itself."""


class Foreign:
    """A process that runs a script. Raises HarnessError, which begins with ``about``, if it cannot.

    It ends with this object, or with ours.
    """

    def __init__(
        self,
        script: Path,
        *,
        python: str,
        folder: Path,
        about: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in a working folder, with the environment of this process by default."""
        self.about = about
        self.python = python
        try:
            self.process = subprocess.Popen(
                [python, str(script), str(LOOP)],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise HarnessError(
                f"{about}: python = {python!r}: cannot be started in {folder} "
                f"({error.strerror}); correct the path"
            ) from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.to, self.back = self.process.stdin, self.process.stdout
        self.asked = 0
        self.tail = bytearray()
        self.listener = threading.Thread(
            target=_keep_tail, args=(self.process.stderr, self.tail), daemon=True
        )
        self.listener.start()
        self.close = weakref.finalize(self, _end, self.process, self.listener)

    def ask(self, message: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The answer to a message, and its bytes. Raises HarnessError when there is none."""
        self.asked += 1
        number = {"number": self.asked, "bytes": len(data)}
        try:
            self.to.write(json.dumps({**message, **number}).encode() + b"\n")
            self.to.write(data)
            self.to.flush()
            line = self.back.readline()
            answer = json.loads(line)
            content = self.back.read(answer["bytes"])
            strange = answer["number"] != self.asked
        except (OSError, ValueError, KeyError, TypeError):  # it is gone, or no worker at all
            self._fail(self._how_it_ended())
        if strange:  # such as the answer of a copy of the process, which the network has forked
            self._fail("what the process that runs the model answered is not what it was asked")
        if "error" in answer:
            self._fail(self.explained(answer))
        if len(content) < answer["bytes"]:
            self._fail(self._how_it_ended())
        return answer, content

    def explained(self, answer: Mapping[str, Any]) -> str:
        """What to say about an answer that is an error."""
        return str(answer["error"])

    def _how_it_ended(self) -> str:
        self.close()
        code = self.process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        if code == -9:
            how += ", perhaps out of memory"
        lines = [line for line in plain(self._printed()).splitlines() if line.strip()]
        last = f"; the last line printed: {lines[-1].strip()[:200]}" if lines else ""
        return f"the process that runs the model ended ({how}); correct the model or python{last}"

    def _fail(self, why: str) -> NoReturn:
        self.close()
        error = HarnessError(f"{self.about}: {why}")
        if printed := self._printed().strip():
            error.add_note(f"The process that ran the model printed last:\n{printed}")
        raise error from None

    def _printed(self) -> str:
        return bytes(self.tail).decode("utf-8", "backslashreplace")


def _keep_tail(file: IO[bytes], tail: bytearray) -> None:
    """Read all that is printed, keep the end of it."""
    while chunk := os.read(file.fileno(), TAIL):
        tail += chunk
        del tail[:-TAIL]


def _end(process: subprocess.Popen[bytes], listener: threading.Thread) -> None:
    """End the process, and read the rest of what it printed."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):  # what was to be sent finds nobody
        process.stdin.close()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    listener.join(GRACE)
    process.stdout.close()
