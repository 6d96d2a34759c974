"""The lock of the network, which long jobs release between steps for quick drawings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

REST_SECONDS = 1.0  # longest rest of a long job at one pause


class NetworkLock:
    """A lock for long jobs and quick drawings.

    A long job holds it for many steps and calls :meth:`pause` between them, which lets the quick drawings go first that
    are waiting at that moment. Later ones wait for the next pause, so that neither kind starves.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._waiting = 0  # quick drawings that wait for the lock
        self._served = 0  # quick drawings that are done
        self._drawing = 0  # pictures that somebody waits for

    @contextmanager
    def quick(self) -> Iterator[None]:
        """Hold the lock for one drawing."""
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
    def drawing(self) -> Iterator[None]:
        """While somebody waits for a picture, of which only a part needs the lock: long jobs rest at their next pause.

        May not be held by a long job. :meth:`quick` is acquired inside as needed.
        """
        with self._changed:
            self._drawing += 1
        try:
            yield
        finally:
            with self._changed:
                self._drawing -= 1
                self._changed.notify_all()

    @contextmanager
    def long(self) -> Iterator[None]:
        """Hold the lock for a job of many steps."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._free()

    def pause(self) -> None:
        """Let waiting quick drawings go first; may be called only while :meth:`long` is held."""
        with self._changed:
            if not self._waiting and not self._drawing:
                return
            target = self._served + self._waiting
            self._free()
            self._changed.wait_for(lambda: not self._drawing, REST_SECONDS)
            self._changed.wait_for(lambda: not self._busy and (self._served >= target or not self._waiting))
            self._busy = True

    def _free(self) -> None:
        self._busy = False
        self._changed.notify_all()
