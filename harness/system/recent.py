"""What a process remembers, up to a number: one that runs for weeks must not grow without end."""

from __future__ import annotations

import threading
from typing import TypeVar

V = TypeVar("V")


class Recent(dict[str, V]):
    """A dict that forgets what was set longest ago when it holds more than ``most`` items."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self._lock = threading.Lock()

    def __setitem__(self, name: str, value: V) -> None:
        with self._lock:
            self.pop(name, None)
            super().__setitem__(name, value)
            while len(self) > self.most:
                self.pop(next(iter(self)), None)
