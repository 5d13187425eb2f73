"""The described model as a Classifier, and the process that runs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from harness import FitContext, HarnessError, Setting, Split
from harness_checkpoint.description import Description, beside
from harness_checkpoint.worker import plain

WORKER = Path(__file__).with_name("worker.py")
SAVED = "checkpoint.json"
TAIL = 65536
"""Bytes of what the process last printed that are kept for errors."""
GRACE = 5.0
"""Seconds that it gets to end by itself."""

_accelerators: dict[tuple[str, str], str] = {}
"""By interpreter and device: the name of the accelerator that a process ran on."""


def fit(
    description: Description, train: Split, validation: Split | None, context: FitContext
) -> CheckpointClassifier:
    """Start the model once, so that what is wrong with it shows before anything is predicted.

    Reads no patch. Raises HarnessError when the dataset has other classes.
    """
    order = description.order(context.classes)
    classifier = CheckpointClassifier(description, context.settings, order)
    loaded = classifier.worker().loaded
    told = (loaded, description.source, description.license and f"license: {description.license}")
    if said := "; ".join(filter(None, told)):
        context.say(f"{description.name}: {said}")
    return classifier


def load(
    description: Description, folder: Path, settings: Mapping[str, Setting]
) -> CheckpointClassifier:
    """What ``save`` left in a folder, run from the files that the description names.

    Raises HarnessError when any of them is no longer as it was then.
    """
    path = folder / SAVED
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        order, weights, before = saved["order"], saved["weights"], saved["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path}: cannot be read ({error}); remove its folder and run again"
        ) from error
    now = description.digests()
    if description.digest(now) != weights:
        changed = [name for name, digest in now.items() if before.get(name, digest) != digest]
        raise HarnessError(
            f"{changed[0] if changed else description.path}: has changed since {folder} was "
            "written; run again, without changing it meanwhile"
        )
    return CheckpointClassifier(description, settings, order)


def accelerator(description: Description, settings: Mapping[str, Setting]) -> str:
    """Name of the accelerator that these settings run on; "" for the CPU."""
    key = _python(description, settings), str(settings["device"])
    if key not in _accelerators:
        Worker(description, settings).close()
    return _accelerators[key]


class CheckpointClassifier:
    """A described model; a ``harness.Classifier``. ``order`` has the output of each class.

    Its process starts when it is first needed and ends with this object, or with ours.
    """

    def __init__(
        self, description: Description, settings: Mapping[str, Setting], order: Sequence[int]
    ) -> None:
        self.description = description
        self.settings = dict(settings)
        self.order = list(order)
        self._worker: Worker | None = None

    def worker(self) -> Worker:
        """The process, started if there is none."""
        if self._worker is None:
            self._worker = Worker(self.description, self.settings)
        return self._worker

    def logits(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of uint8 RGB patches (B, H, W, 3) with any B.

        Raises HarnessError when the model fails; the next call starts it anew.
        """
        worker = self.worker()
        try:
            return worker.logits(inputs)[:, self.order]
        except BaseException:  # also when interrupted: an answer may be half read
            worker.close()
            self._worker = None
            raise

    def save(self, folder: Path) -> None:
        """Write ``checkpoint.json``: which files the model is made of, and their digests."""
        files = self.description.digests()
        content = {
            "description": str(self.description.path),
            "source": self.description.source,
            "license": self.description.license,
            "order": self.order,
            "weights": self.description.digest(files),
            "files": files,
        }
        (folder / SAVED).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class Worker:
    """The process that runs ``worker.py`` with a description. Raises HarnessError if it cannot."""

    def __init__(self, description: Description, settings: Mapping[str, Setting]) -> None:
        self.path = description.path
        python, device = _python(description, settings), str(settings["device"])
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
        }
        ready, _ = self._ask(setup)
        self.loaded = ready["loaded"]
        """What was loaded, in words; "" when nothing is known of it."""
        _accelerators[python, device] = ready["device"]

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), in the model's order."""
        answer, data = self._ask({"shape": images.shape}, images.tobytes())
        return np.frombuffer(data, np.float32).reshape(answer["shape"])

    def _ask(self, message: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        try:
            self.to.write(json.dumps({**message, "bytes": len(data)}).encode() + b"\n")
            self.to.write(data)
            self.to.flush()
            line = self.back.readline()
            answer = json.loads(line)
            content = self.back.read(answer["bytes"])
        except (OSError, ValueError, KeyError, TypeError):  # it is gone, or no worker at all
            self._fail(self._how_it_ended())
        if "error" in answer:
            self._fail(answer["error"])
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
