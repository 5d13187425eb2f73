"""What goes between the harness and plugins: a copy that is the receiver's own, or read-only.

A plugin that writes into what it is given fails with numpy's "assignment destination is read-only",
or, where a library such as torch writes past numpy, changes a copy of its own. One that keeps what
it has returned changes nothing later. None of this reaches what others see.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from harness.system.modules import loaded

COPY_CAME_BACK = 70
"""Exit code of a copy of this process that returned from a plugin's code."""


@contextlib.contextmanager
def contained(may_end: bool = False) -> Iterator[None]:
    """Around a plugin's code: what it sets for the whole process is as before afterwards.

    That is the state of global generators of random numbers, the working folder, the environment,
    how numpy takes an overflow, filters of warnings, and threads and number types of OpenCV and
    torch. For the main thread. What computes results has a process of its own for each plugin
    instead: see ``harness.execution.supervise``. Unless it ``may_end`` the process, as what is
    loaded in one of its own may, ``os._exit`` is an error of the plugin.
    """
    put_back = [*_states()]
    leave = os._exit
    if not may_end:
        os._exit = _not_here(leave, os.getpid())  # type: ignore[assignment]
    try:
        with alone(), warnings.catch_warnings(), np.errstate():
            yield
    finally:
        os._exit = leave
        for restore, state in put_back:
            with contextlib.suppress(Exception):
                restore(state)


def _not_here(leave: Callable[[int], NoReturn], process: int) -> Callable[[int], NoReturn]:
    """``os._exit`` for a plugin's code in a process that others need: an error, not the end."""

    def refused(status: int) -> NoReturn:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if os.getpid() != process or caller.partition(".")[0] == "harness":
            leave(status)
        raise SystemExit(f"it called os._exit({status}), which would have ended the whole run")

    return refused


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Around a plugin's code: a copy of the process (``os.fork``) that comes back is ended."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            with contextlib.suppress(OSError):
                os.write(2, b"a copy of the process (os.fork) came back and was ended\n")
            os._exit(COPY_CAME_BACK)


def _states() -> Iterator[tuple[Callable[[Any], Any], Any]]:
    """What a plugin may set for the process: how to put it back, and what it is now."""
    yield random.setstate, random.getstate()
    if "numpy.random" in sys.modules:  # numpy loads it when it is first used
        yield np.random.set_state, np.random.get_state()
    with contextlib.suppress(OSError):
        yield os.chdir, Path.cwd()
    yield _set_environment, dict(os.environ)
    if cv2 := loaded("cv2"):
        yield _where_changed(cv2.getNumThreads, cv2.setNumThreads), cv2.getNumThreads()
    if torch := loaded("torch"):
        yield torch.set_rng_state, torch.get_rng_state()
        put_back = _where_changed(torch.get_num_threads, torch.set_num_threads)
        yield put_back, torch.get_num_threads()
        yield torch.set_grad_enabled, torch.is_grad_enabled()
        yield torch.set_default_dtype, torch.get_default_dtype()
    else:  # it may be loaded meanwhile
        yield _default_type, "float32"


def _where_changed(get: Callable[[], Any], put: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For what has an effect even where it sets what is set already."""
    return lambda value: None if get() == value else put(value)


def _set_environment(state: Mapping[str, str]) -> None:
    for name in [*os.environ]:
        if name not in state:
            del os.environ[name]
    for name, value in state.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _default_type(name: str) -> None:
    if torch := loaded("torch"):
        torch.set_default_dtype(getattr(torch, name))


def is_read_only(error: BaseException) -> bool:
    """Whether an exception is that of a plugin that wrote into what it was given."""
    return isinstance(error, ValueError | TypeError) and any(
        text in str(error) for text in ("read-only", "readonly", "WRITEABLE", "mappingproxy")
    )
