"""How long runs stop: Ctrl-C once to finish what is in hand, twice to stop at once; processes end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait


@contextmanager
def stopped_by_interrupt(tell: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed inside the block; a second time raises KeyboardInterrupt.

    Args:
        tell: called at the first Ctrl-C.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield pressed.is_set
        return

    def press(_: int, __: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        tell()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """End this process when its parent has ended, however that happened."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
