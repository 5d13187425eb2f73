"""The process that runs a described model, seen from the harness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness import HarnessError, Setting
from harness_checkpoint.advice import unsafe_file
from harness_checkpoint.description import Description, beside
from harness_checkpoint.loading import plain

WORKER = Path(__file__).with_name("worker.py")
TAIL = 65536
"""Bytes of what the process last printed that are kept for errors."""
GRACE = 5.0
"""Seconds that it gets to end by itself."""

_accelerators: dict[tuple[str, str], str] = {}
"""By interpreter and device: the name of the accelerator that a process ran on."""


def accelerator(description: Description, settings: Mapping[str, Setting]) -> str:
    """Name of the accelerator that these settings run on; "" for the CPU."""
    key = _python(description, settings), str(settings["device"])
    if key not in _accelerators:
        Worker(description, settings).close()
    return _accelerators[key]


class Worker:
    """The process that runs ``worker.py`` with a description. Raises HarnessError if it cannot.

    ``seed`` seeds random numbers before the network is built; ``disturbed`` fills it with noise
    before weights are loaded, and ``digests`` asks for ``tensors``.
    """

    def __init__(
        self,
        description: Description,
        settings: Mapping[str, Setting],
        *,
        seed: int = 0,
        disturbed: bool = False,
        digests: bool = False,
    ) -> None:
        self.description, self.path = description, description.path
        self.python = python = _python(description, settings)
        device = str(settings["device"])
        size = settings["batch_size"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise HarnessError(f"setting batch_size={size}: must be a whole number, at least 1")
        try:
            self.process = subprocess.Popen(
                [python, str(WORKER)],
                cwd=description.folder,  # checkouts read their files from relative paths
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise HarnessError(
                f"{self.path}: python = {python!r}: cannot be started in {description.folder} "
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
        setup = {
            "device": device,
            "batch_size": size,
            "network": description.network,
            "arguments": description.arguments,
            "weights": description.weights,
            "input": description.input,
            "n_classes": len(description.classes),
            "seed": seed,
            "disturbed": disturbed,
            "digests": digests,
        }
        ready, _ = self._ask(setup)
        self.tensors: Mapping[str, str] = ready["tensors"]
        """By name of each tensor of the network, a digest of it."""
        self.configuration: Mapping[str, list[float]] = ready["configuration"]
        """Mean and standard deviation that the network itself says, if it does."""
        _accelerators[python, device] = ready["device"]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), in the model's order."""
        answer, data = self._ask({"shape": images.shape}, images.tobytes())
        return np.frombuffer(data, np.float32).reshape(answer["shape"])

    def _ask(self, message: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        self.asked += 1
        about = {"number": self.asked, "bytes": len(data)}
        try:
            self.to.write(json.dumps({**message, **about}).encode() + b"\n")
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
            unsafe = answer.get("unsafe")
            self._fail(
                unsafe_file(self.description, self.python, unsafe) if unsafe else answer["error"]
            )
        if len(content) < answer["bytes"]:
            self._fail(self._how_it_ended())
        return answer, content

    def _how_it_ended(self) -> str:
        self.close()
        code = self.process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        if code == -9:
            how += ", perhaps for want of memory"
        lines = [line for line in plain(self._printed()).splitlines() if line.strip()]
        last = f"; the last that it printed: {lines[-1].strip()[:200]}" if lines else ""
        return f"the process that runs the model ended ({how}); correct the model or python{last}"

    def _fail(self, why: str) -> NoReturn:
        self.close()
        error = HarnessError(f"{self.path}: {why}")
        if printed := self._printed().strip():
            error.add_note(f"The process that ran the model printed last:\n{printed}")
        raise error from None

    def _printed(self) -> str:
        return bytes(self.tail).decode("utf-8", "backslashreplace")


def _python(description: Description, settings: Mapping[str, Setting]) -> str:
    """The interpreter; a bare name, such as "python3.12", is looked for as a shell does."""
    python = str(settings["python"]) or sys.executable
    return (
        str(beside(description.path, "python", python)) if Path(python).name != python else python
    )


def _keep_tail(file: IO[bytes], tail: bytearray) -> None:
    """Read all that is printed, keep the end of it."""
    while chunk := os.read(file.fileno(), TAIL):
        tail += chunk
        del tail[:-TAIL]


def _end(process: subprocess.Popen[bytes], listener: threading.Thread) -> None:
    """End the process and hear its last words."""
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
