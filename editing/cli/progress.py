"""A progress bar as a callback with the number done and the total."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def counting(label: str, unit: str = "face") -> Iterator[Callable[[int, int], None]]:
    """Yields a callback that takes the number done and the total, and shows them on a progress bar."""
    with tqdm(desc=label, unit=unit, leave=False, disable=None) as bar:  # shown on a terminal only

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
