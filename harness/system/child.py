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
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from harness.system import signals

Tell = Callable[[dict[str, Any]], None]
LONGEST = 1 << 26
"""Bytes of a line from the process at most."""
LOST_PIPE = 71
"""The code of a process that finds its pipes closed, or other files in their place."""
KILLED = -9
"""The code of a process that was ended by SIGKILL."""
ON_ITS_WAY = 5.0
"""Seconds for which the answers of a process that is gone may still be on their way: on a busy
machine, the thread that hears them may get no turn for a while."""


class NoAnswerError(Exception):
    """What came through the pipe of a process is no answer to what was asked."""

    def __str__(self) -> str:
        return "wrote into the pipe that the process answers through"


class Child:
    """A process of ours that answers questions. Raises OSError when none can be started.

    Questions have numbers, and each line that answers begins with the secret and the number of its
    question: what else comes through the pipe, such as what a plugin writes to every descriptor it
    finds, is no answer.
    """

    def __init__(
        self,
        function: str,
        errors: IO[bytes] | int | None = None,
        environment: Mapping[str, str] | None = None,
        cpus: Sequence[int] | None = None,
    ) -> None:
        """Start a process that calls ``function``, named as "MODULE:FUNCTION".

        ``errors`` is where its standard error goes, as ``subprocess.Popen`` takes it; ``cpus`` are
        the cores that it is bound to from the start, where the system can do so.
        """
        module, _, name = function.partition(":")
        # As ``python -m`` would, but without the working folder as a place of modules.
        bound = f"import os; os.sched_setaffinity(0, {list(cpus)}); " if cpus else ""
        code = (
            f"{bound}import sys; sys.path[:] = {sys.path!r}; from {module} import {name}; "
            f"sys.exit({name}())"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            # To be ended with its children; and Ctrl-C is answered here.
            process_group=0 if os.name == "posix" else None,
        )
        signals.groups.add(self.process.pid)
        self.secret = secrets.token_hex(8)
        self.number = 0
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._hear, args=(self.process.stdout,), daemon=True).start()

    def ask(self, question: Any) -> None:
        """Ask. Raises OSError when the process is gone."""
        self.number += 1
        assert self.process.stdin is not None
        line = json.dumps([self.secret, self.number, question])
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, wait: float) -> dict[str, Any] | None:
        """The next answer to the last question; None when there will be no more.

        That is when the pipe is closed; or, where something else that the process has started
        holds it open, when the process is gone and all it said has been heard. Raises queue.Empty
        when none comes within ``wait`` seconds, and NoAnswerError when something else came. What is
        left of an earlier question is dropped.
        """
        while True:
            try:
                heard = self._heard.get(timeout=wait)
            except queue.Empty:
                if self.process.poll() is None:
                    raise
                try:
                    heard = self._heard.get(timeout=ON_ITS_WAY)
                except queue.Empty:
                    return None
            if heard is None:
                return None
            number, answer = heard
            if number > self.number or not isinstance(answer, dict):
                raise NoAnswerError
            if number == self.number:
                return answer

    def _hear(self, pipe: IO[bytes]) -> None:
        """Put what comes through the pipe in the queue, up to the first that is no answer."""
        begin = self.secret.encode() + b" "
        while line := pipe.readline(LONGEST):
            try:
                if not line.startswith(begin):
                    raise ValueError
                _, number, answer = line.split(b" ", 2)
                self._heard.put((int(number), json.loads(answer)))
            except ValueError:
                self._heard.put((sys.maxsize, None))
                return
        self._heard.put(None)

    def kill(self) -> None:
        """End the process with all that it has started."""
        process = self.process
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
    if code == LOST_PIPE:
        return "closed or replaced the pipe that the process answers through"
    if code >= 0:
        return f"ended the process with exit code {code}"
    if code == KILLED:
        return "was killed (SIGKILL), as happens when memory runs out"
    known = {one.value: one.name for one in signal.Signals}
    return f"crashed with {known.get(-code, f'signal {-code}')} ({signal.strsignal(-code)})"


def channels() -> tuple[Callable[[], Any], Tell]:
    """In the process: a function that waits for a question, and one that answers the last.

    Ends the process, with all its children, when nobody is there any more to ask. Only the process
    itself answers: a copy of it, which a plugin's ``os.fork`` has made, is ended when it tries.
    """
    questions, out = os.dup(0), os.dup(1)
    pipes = {fd: _pipe(fd) for fd in (questions, out)}
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    lock = threading.Lock()
    process = os.getpid()
    asked = ("", 0)

    def tell(answer: dict[str, Any]) -> None:
        secret, number = asked
        line = memoryview(f"{secret} {number} {json.dumps(answer)}\n".encode())
        if os.getpid() != process:
            os._exit(1)
        with lock:
            if _pipe(out) != pipes[out]:  # its number may be that of a file by now
                os._exit(LOST_PIPE)
            while line:
                line = line[os.write(out, line) :]

    def receive() -> Any:
        nonlocal asked
        secret, number, question = json.loads(lines.get())
        asked = secret, number
        return question

    def lost() -> bool:
        return _pipe(questions) != pipes[questions]

    # The other end interrupts with it, also where it is ignored there, as in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions, lost, lines), daemon=True).start()
    return receive, tell


def _pipe(descriptor: int) -> tuple[int, int] | None:
    """What tells the pipe behind a descriptor from other files; None if it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def die_with_parent() -> None:
    """Let the system end this process with its parent, however that ends.

    On Linux alone, but also when C code never lets another thread run.
    """
    with contextlib.suppress(Exception):
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _listen(questions: int, lost: Callable[[], bool], lines: queue.SimpleQueue[bytes]) -> None:
    with contextlib.suppress(OSError), os.fdopen(questions, "rb", closefd=False) as pipe:
        for line in pipe:
            lines.put(line)
    if lost():
        os._exit(LOST_PIPE)
    if os.name == "posix" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
