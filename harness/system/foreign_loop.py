"""The other end of ``harness.system.foreign``: what scripts share that any interpreter can run.

Imports nothing of the harness and runs from Python 3.8 on; a script loads it from the path that is
its first argument. A message is a line of JSON, followed by as many raw bytes as its "bytes" says:
first what to load, then what to compute, each answered likewise. An answer with "error" is the last
one.
"""

from __future__ import annotations

import io
import json
import os
import queue
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

LONGEST = 300
"""Characters of an error message of others that are passed on."""


class Problem(Exception):  # noqa: N818
    """What the user can fix, in one line. ``unsafe`` names what a file of weights holds besides
    tensors, if that is the problem."""

    def __init__(self, message: str, unsafe: str = "") -> None:
        super().__init__(message)
        self.unsafe = unsafe


def plain(text: str) -> str:
    """A text without the codes that color a terminal."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


def short(error: BaseException) -> str:
    """An error of others in one line."""
    text = " ".join(plain(f"{type(error).__name__}: {error}").split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def find_device(torch: Any, name: str) -> Any:
    """The torch device called "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises Problem when this machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    there = ["cpu", *["cuda"][:count], *[f"cuda:{n}" for n in range(count)]]
    if name not in there:
        raise Problem(f"device = {name!r}: not on this machine; use {' or '.join(there)}")
    return torch.device(name)


def serve(begin: Callable[[Any], Any], end: Callable[[], None] = lambda: None) -> None:
    """Answer messages until nobody is there any more, then call ``end`` and end the process.

    ``begin`` is given the first message and returns the answer to it, and a function from a message
    and its bytes to an answer and its bytes. A Problem that they raise is the last answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the harness's to answer
    messages, answers = _channels()
    received: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(messages, received, end), daemon=True).start()

    process, asked = os.getpid(), 0

    def answer(content: dict[str, Any], data: bytes = b"") -> None:
        if os.getpid() != process:  # a copy, which the network has forked
            os._exit(1)
        about = {"number": asked, "bytes": len(data)}
        answers.write(json.dumps({**content, **about}).encode() + b"\n")
        answers.write(data)
        answers.flush()

    try:
        setup, _ = received.get()
        asked = setup["number"]
        ready, respond = begin(setup)
        answer(ready)
        while True:
            message, data = received.get()
            asked = message["number"]
            answer(*respond(message, data))
    except Problem as problem:
        traceback.print_exc()
        answer({"error": str(problem), "unsafe": problem.unsafe})
    finally:
        end()


def _channels() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for messages; whatever else is printed goes to standard error."""
    messages, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)  # so that a crash loses nothing
    return messages, answers


def _listen(messages: BinaryIO, received: queue.Queue[Any], end: Callable[[], None]) -> None:
    """Pass messages on; end the process, whatever it is doing, when nobody is there any more."""
    while True:
        line = messages.readline()
        if not line:
            try:
                end()
            finally:
                os._exit(0)
        message = json.loads(line)
        data = messages.read(message["bytes"])
        received.put((message, data))
