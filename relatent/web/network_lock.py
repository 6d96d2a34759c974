"""Who may use the network: one at a time, and a quick drawing passes between two steps of long work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NetworkLock:
    """One lock with two kinds of waiting.

    Long work holds it for many steps and calls :meth:`pause` between them; whoever waits for a quick drawing at that
    moment goes first. Those who come later wait for the next pause, so that neither kind waits for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._waiting = 0  # for a quick drawing
        self._served = 0  # quick drawings so far

    @contextmanager
    def quick(self) -> Iterator[None]:
        """Hold the network for one drawing."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._busy)
                self._busy = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                self._served += 1
                self._free()

    @contextmanager
    def long(self) -> Iterator[None]:
        """Hold the network for work of many steps."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._free()

    def pause(self) -> None:
        """Let those who wait for a quick drawing go first; only whoever holds :meth:`long` may call this."""
        with self._changed:
            if not self._waiting:
                return
            target = self._served + self._waiting
            self._free()
            self._changed.wait_for(lambda: not self._busy and (self._served >= target or not self._waiting))
            self._busy = True

    def _free(self) -> None:
        self._busy = False
        self._changed.notify_all()
