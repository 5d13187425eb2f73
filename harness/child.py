"""A process of our own that runs what plugins do: how it starts, talks and ends.

It reads commands on standard input and answers on standard output, a line of JSON each. What
plugins print goes to standard error, whichever of the two they print to.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from harness import signals

Tell = Callable[[dict[str, Any]], None]
KILLED = -9
"""The code of a process that was ended by SIGKILL."""


def start(
    function: str, errors: int | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that calls ``function``, named as "MODULE:FUNCTION".

    ``errors`` is where its standard error goes, as ``subprocess.Popen`` takes it. Raises OSError.
    """
    module, _, name = function.partition(":")
    # As ``python -m`` would, but without the working folder as a place of modules.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from {module} import {name}; sys.exit({name}())"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        # To be ended with its children; and Ctrl-C is answered here.
        process_group=0 if os.name == "posix" else None,
    )
    signals.groups.add(process.pid)
    return process


def send(process: subprocess.Popen[bytes], message: Any) -> None:
    """Send a line. Raises OSError when the process is gone."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def answers(process: subprocess.Popen[bytes]) -> queue.SimpleQueue[Any]:
    """What the process answers, as it comes; None when there will be no more."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hear(pipe: IO[bytes]) -> None:
        for line in pipe:
            heard.put(json.loads(line))
        heard.put(None)

    threading.Thread(target=hear, args=(process.stdout,), daemon=True).start()
    return heard


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it has started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    signals.groups.discard(process.pid)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(OSError):
            pipe.close()


def how_it_died(code: int | None) -> str:
    """What a process did that ended with this code; None is one that lives but says nothing."""
    if code is None:
        return "stopped answering"
    if code >= 0:
        return f"ended the process with exit code {code}"
    if code == KILLED:
        return "was killed (SIGKILL), as happens when memory runs out"
    known = {one.value: one.name for one in signal.Signals}
    return f"crashed with {known.get(-code, f'signal {-code}')} ({signal.strsignal(-code)})"


def channels() -> tuple[queue.SimpleQueue[str], Tell]:
    """In the process: the lines that come in, and a function that answers.

    Ends the process, with all its children, when nobody is there any more to give commands.
    """
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    lock = threading.Lock()

    def tell(answer: dict[str, Any]) -> None:
        line = json.dumps(answer) + "\n"
        with lock:
            out.write(line)
            out.flush()

    # The other end interrupts with it, also where it is ignored there, as in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands, lines), daemon=True).start()
    return lines, tell


def die_with_parent() -> None:
    """Let the system end this process with its parent, however that ends.

    On Linux alone, but also when C code never lets another thread run.
    """
    with contextlib.suppress(Exception):
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _listen(commands: IO[str], lines: queue.SimpleQueue[str]) -> None:
    for line in commands:
        lines.put(line)
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
